//! What a signature under a statement holds for, and that it holds for it in any company.

use super::*;
use crate::crafted::crafted;
use crate::{Domain, SecretKey};

/// A statement for tests: a number, which must be even. `K` is its kind.
#[derive(Clone, Debug, PartialEq)]
struct Even<const K: u8>(u64);

/// The kind that comes by the thousand.
const MASS: Kind = 9;

struct Keys(Scope, Vec<PublicKey>, SeenStatements);

impl Keyring<usize> for Keys {
    fn scope(&self) -> &Scope {
        &self.0
    }
    fn public_key(&self, signer: usize) -> Option<PublicKey> {
        self.1.get(signer).copied()
    }
    fn seen(&self) -> Option<&SeenStatements> {
        Some(&self.2)
    }
}

impl<const K: u8> Statement for Even<K> {
    type Signer = usize;
    type Keyring = Keys;
    const KIND: Kind = K;
    const POLICY: Policy = if K == MASS { Policy::Batched } else { Policy::Strict };

    fn encode(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }
    fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let bytes = payload.try_into().map_err(|_| Malformed("not eight bytes".into()))?;
        Ok(Self(u64::from_le_bytes(bytes)))
    }
    fn validate(&self, _: usize, _: &Keys) -> Result<(), Malformed> {
        if self.0.is_multiple_of(2) { Ok(()) } else { Err(Malformed("odd".into())) }
    }
}

fn secret(index: usize) -> SecretKey {
    SecretKey::from_seed(&[index as u8 + 1; 32])
}

fn keys(name: &[u8], epoch: u64) -> Keys {
    let scope = Scope { cluster: Digest::of(Domain::Cluster, name), epoch };
    Keys(scope, (0..3).map(|index| secret(index).public_key()).collect(), SeenStatements::default())
}

fn signed(value: u64) -> Signed<Even<1>> {
    Verified::sign(Even(value), 1, &secret(1), keys(b"a", 0).scope()).signed().clone()
}

#[test]
fn a_signed_value_verifies() {
    let verified = signed(4).verify(&keys(b"a", 0)).unwrap();
    assert_eq!((verified.value(), verified.signer()), (&Even(4), 1));
}

/// What was found good is found good again, and nothing else is on its account.
#[test]
fn a_remembered_statement_vouches_for_itself_only() {
    let (keys, good) = (keys(b"a", 0), signed(4));
    for _ in 0..2 {
        assert!(good.clone().verify(&keys).is_ok());
        assert!(signed(5).verify(&keys).is_err(), "what is refused is not remembered");
        let other = signed(6).payload().clone();
        for (signer, payload) in [(2, good.payload.clone()), (1, other)] {
            let forged: Signed<Even<1>> = Signed::from_parts(signer, payload, good.signature);
            assert!(matches!(forged.verify(&keys), Err(Rejected::BadSignature(_))));
        }
        let other_kind: Signed<Even<2>> = Signed::from_parts(1, good.payload.clone(), good.signature);
        assert!(matches!(other_kind.verify(&keys), Err(Rejected::BadSignature(_))));
    }
}

fn refused<const K: u8>(statement: Signed<Even<K>>, keys: &Keys) -> bool {
    matches!(statement.verify(keys), Err(Rejected::BadSignature(_)))
}

/// Fault 9: whoever is named as the signer, the key that verifies is the only author.
#[test]
fn fault_09_a_signature_holds_for_its_signer_only() {
    let (good, keys) = (signed(4), keys(b"a", 0));
    let renamed: Signed<Even<1>> = Signed::from_parts(2, good.payload.clone(), good.signature);
    assert!(refused(renamed, &keys));
    let unknown: Signed<Even<1>> = Signed::from_parts(3, good.payload.clone(), good.signature);
    assert!(matches!(unknown.verify(&keys), Err(Rejected::UnknownSigner(_))));
}

/// Fault 10: the kind is signed too.
#[test]
fn fault_10_a_signature_holds_for_its_kind_only() {
    let good = signed(4);
    let other_kind: Signed<Even<2>> = Signed::from_parts(1, good.payload.clone(), good.signature);
    assert!(refused(other_kind, &keys(b"a", 0)));
}

#[test]
fn a_signature_holds_for_its_cluster_and_epoch_only() {
    assert!(refused(signed(4), &keys(b"b", 0)));
    assert!(refused(signed(4), &keys(b"a", 1)));
}

#[test]
fn a_well_signed_statement_that_is_wrong_is_refused() {
    assert!(matches!(signed(5).verify(&keys(b"a", 0)), Err(Rejected::Malformed(_))));
    let payload: Bytes = Bytes::from_static(b"short");
    let key = secret(1);
    let signature = key.sign(&preimage::<Even<1>>(keys(b"a", 0).scope(), &key.public_key(), &payload));
    let short: Signed<Even<1>> = Signed::from_parts(1, payload, signature);
    assert!(matches!(short.verify(&keys(b"a", 0)), Err(Rejected::Malformed(_))));
}

/// A statement with components of small order mixed into its signature, as a signer may craft it.
fn crafted_statement<const K: u8>(torsion: [usize; 2], nonce: u64) -> (Keys, Signed<Even<K>>) {
    let Keys(scope, mut keys, seen) = keys(b"a", 0);
    let payload = Bytes::from(4u64.to_le_bytes().to_vec());
    let (key, signature) = crafted(torsion, nonce, |key| preimage::<Even<K>>(&scope, key, &payload));
    keys.push(key);
    (Keys(scope, keys, seen), Signed::from_parts(3, payload, signature))
}

/// Fault 37, where the policy is strict: replicas that meet crafted signatures, in whatever order, agree on them.
#[test]
fn fault_37_crafted_signatures_are_judged_alike_everywhere() {
    let verdicts = |torsion, nonce| {
        let (keys, statement) = crafted_statement::<1>(torsion, nonce);
        let message = preimage::<Even<1>>(keys.scope(), &keys.1[3], statement.payload());
        let alone = keys.1[3].verifies(&message, statement.signature());
        // First unknown, and then beside what was found good before.
        let statements = [0, 1].map(|_| statement.clone().verify(&keys).is_ok());
        assert_eq!([alone; 2], statements, "{torsion:?}");
        alone
    };
    let nonce = 0xa0ce;
    assert!(verdicts([0, 0], nonce), "without torsion it is an honest signature");
    for torsion in 1..8 {
        assert!(!verdicts([0, torsion], nonce), "R of mixed order");
        assert!(!verdicts([0, torsion], 0), "R of small order");
    }
    // A key of mixed order verifies what happens to cancel its torsion out; what counts is that all agree on it.
    let mixed = [1, 2, 3, 4, 5, 6, 7].map(|torsion| verdicts([torsion, 0], nonce));
    assert!(mixed.contains(&false), "a batch would take them all");
    assert!(!verdicts([0, 0], 0), "R is the neutral element, which the plain equation takes");
}

/// Fault 37, where the policy has a form for many: alone, among others whose verdicts are wanted, and in a proposal that
/// stands or falls as a whole.
#[test]
fn fault_37_company_changes_no_verdict() {
    type Mass = Even<MASS>;
    let sign = |value, scope: &Scope| {
        let signed = Verified::<Mass>::sign(Even(value), 1, &secret(1), scope).signed().clone();
        (signed.clone(), Signed::from_parts(2, signed.payload, signed.signature))
    };
    for torsion in (0..8).flat_map(|key| (0..8).map(move |r| [key, r])) {
        let (keys, statement) = crafted_statement::<MASS>(torsion, 0xa0ce);
        let (honest, forged) = sign(6, keys.scope());
        assert!(statement.clone().verify(&keys).is_ok(), "{torsion:?}");
        let each = |statements: &[&Signed<Mass>]| {
            let verdicts = Verified::each(statements.iter().map(|it| (*it).clone()).collect(), &keys);
            verdicts.iter().map(Result::is_ok).collect::<Vec<_>>()
        };
        assert_eq!(each(&[&honest, &statement, &statement]), [true; 3], "{torsion:?}");
        assert_eq!(each(&[&statement, &forged, &honest]), [true, false, true], "{torsion:?}");
        let all = |statements: &[&Signed<Mass>]| {
            let opened: Vec<_> = statements.iter().map(|it| (*it).clone().open().unwrap()).collect();
            Opened::check_all(opened.iter(), &keys)
        };
        assert_eq!(all(&[&honest, &statement]), Ok(()), "{torsion:?}");
        assert!(matches!(all(&[&honest, &statement, &forged]), Err(Rejected::BadSignature(_))));
    }
}

/// Many get the answers that each would get, whatever is wrong with which.
#[test]
fn many_statements_get_the_answers_of_each() {
    let keys = keys(b"a", 0);
    let sign =
        |value| Verified::<Even<MASS>>::sign(Even(value), 1, &secret(1), keys.scope()).signed().clone();
    let good = sign(4);
    let statements = [
        good.clone(),
        Signed::from_parts(7, good.payload.clone(), good.signature),
        sign(5),
        Signed::from_parts(2, good.payload.clone(), good.signature),
        Signed::from_parts(1, sign(6).payload, good.signature),
        sign(8),
    ];
    let answers = |answers: Vec<Result<Verified<Even<MASS>>, Rejected>>| {
        answers.into_iter().map(|it| it.map(|verified| verified.value().0)).collect::<Vec<_>>()
    };
    let alone = statements.iter().map(|it| it.clone().verify(&keys)).collect();
    assert_eq!(answers(Verified::each(statements.to_vec(), &keys)), answers(alone));
    for (index, statement) in statements.iter().enumerate() {
        let opened: Vec<_> = [&good, statement].map(|it| it.clone().open().unwrap()).into();
        let all = Opened::check_all(opened.iter(), &keys);
        assert_eq!(all.is_ok(), statement.clone().verify(&keys).is_ok(), "{index}");
    }
}
