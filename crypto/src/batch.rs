//! How the signatures of clients are judged: by the rule of ZIP 215, alone or many together.
//!
//! A signature `(R, s)` over a message `M` holds for a key `A` if and only if
//!
//! 1. `s` is below ℓ, the prime order of the base point `B`;
//! 2. `R` encodes a point of the curve;
//! 3. its *error* `[8]([s]B − [k]A − R)` is the neutral element, where `k = SHA-512(R, A, M) mod ℓ`.
//!
//! Many are checked by one sum, `[z₁]E₁ + … + [zₙ]Eₙ` over their errors `E`, which must be neutral. Each `z` is a number of
//! 128 bits, drawn from the operating system after the signatures have come. It costs a third of checking each.
//!
//! # Why company changes no verdict (fault 37)
//!
//! Replicas meet the same signature alone, and in batches that are not the same. Were the verdicts to differ, a client could
//! set correct replicas against each other. They do not, whatever was crafted:
//!
//! - Every point of the curve is the sum of one of order 1 or ℓ and one whose order divides 8. The factor 8 removes the
//!   second from all errors, so they lie in a group of prime order: nothing in `A` or `R` is left that could cancel out
//!   in some sums and not in others. Without that factor, alone or together, it could: that is the fault.
//! - If all errors are neutral, so is the sum, whatever the `z`: good signatures never fail together.
//! - If an error `Eᵢ` is not neutral, it has order ℓ. For any values of the other `z` the sum is then neutral for one
//!   `zᵢ mod ℓ` at most, and that is drawn with a probability of 2⁻¹²⁸ or none.
//! - The numbers of one key are added, `([z₁k₁ + z₂k₂] mod ℓ)A`, so that a client with much to say costs less. Modulo ℓ
//!   this moves the sum by a point of small order at most, which the factor 8 removes.
//! - The first two conditions concern one signature each. They are judged before, by the code that judges it alone.
//!
//! Where a sum is not neutral, or there is no randomness, each signature is judged alone, so the verdict is always that
//! of the rule. Whatever the strict rule takes, this one takes; it has no form for many, which is why votes, that others
//! will be shown, are verified one by one. Keys of small order never get here: a [`PublicKey`] is none.

use std::collections::BTreeMap;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use ed25519_dalek::VerifyingKey;

use crate::strict::challenge;
use crate::{PublicKey, Signature, mutant};

/// Signatures to judge together, by the rule of ZIP 215.
#[derive(Default)]
pub struct SignatureBatch(Vec<Claim>);

/// What is known of a signature before any point was multiplied.
pub(crate) enum Claim {
    Settled(bool),
    Open(Box<Equation>),
}

impl SignatureBatch {
    /// Adds a signature, said to be `key`'s over `message`.
    pub fn add(&mut self, key: &PublicKey, message: &[u8], signature: &Signature) {
        self.0.push(key.claim(message, signature));
    }

    /// Whether all hold. It is the cheapest question: it does not tell which do not.
    #[must_use]
    pub fn all_hold(&self) -> bool {
        if self.0.iter().any(|claim| matches!(claim, Claim::Settled(false))) {
            return false;
        }
        let open: Vec<_> = self.open().collect();
        let together = if open.len() > 1 { sum_is_neutral(&open) } else { None };
        together.unwrap_or_else(|| open.iter().all(|equation| equation.holds()))
    }

    /// Which hold, in the order in which they were added. If not all do, each is judged alone.
    #[must_use]
    pub fn verdicts(&self) -> Vec<bool> {
        let open: Vec<_> = self.open().collect();
        let together = open.len() > 1 && sum_is_neutral(&open) == Some(true);
        let verdict = |claim: &Claim| match claim {
            Claim::Settled(verdict) => *verdict,
            Claim::Open(equation) => together || equation.holds(),
        };
        self.0.iter().map(verdict).collect()
    }

    fn open(&self) -> impl Iterator<Item = &Equation> {
        self.0.iter().filter_map(|claim| match claim {
            Claim::Settled(_) => None,
            Claim::Open(equation) => Some(&**equation),
        })
    }
}

impl Claim {
    pub(crate) fn of(key: &VerifyingKey, message: &[u8], signature: &Signature) -> Self {
        Equation::read(key, message, signature).map_or(Self::Settled(false), |it| Self::Open(Box::new(it)))
    }

    /// Whether it holds, judged alone.
    pub(crate) fn holds(&self) -> bool {
        match self {
            Self::Settled(verdict) => *verdict,
            Self::Open(equation) => equation.holds(),
        }
    }
}

/// The points and numbers of a signature that meets the first two conditions.
pub(crate) struct Equation {
    key: VerifyingKey,
    r: EdwardsPoint,
    s: Scalar,
    k: Scalar,
}

impl Equation {
    fn read(key: &VerifyingKey, message: &[u8], signature: &Signature) -> Option<Self> {
        let (r, s) = signature.parts();
        Some(Self {
            key: *key,
            s: Option::from(Scalar::from_canonical_bytes(*s))?,
            r: CompressedEdwardsY(*r).decompress()?,
            k: challenge(key, message, signature),
        })
    }

    fn holds(&self) -> bool {
        let key = -self.key.to_edwards();
        let error = EdwardsPoint::vartime_double_scalar_mul_basepoint(&self.k, &key, &self.s) - self.r;
        if mutant!("no-cofactor") { error == EdwardsPoint::default() } else { error.is_small_order() }
    }
}

/// Whether the sum of errors is neutral; `None` without randomness.
fn sum_is_neutral(equations: &[&Equation]) -> Option<bool> {
    let mut random = vec![0; equations.len() * size_of::<u128>()];
    getrandom::fill(&mut random).ok()?;
    let (numbers, _) = random.as_chunks();
    let z: Vec<_> = numbers.iter().map(|bytes| Scalar::from(u128::from_le_bytes(*bytes))).collect();
    let mut base = Scalar::ZERO;
    let mut keys = BTreeMap::new();
    for (Equation { key, s, k, .. }, z) in equations.iter().zip(&z) {
        base -= z * s;
        keys.entry(key.as_bytes()).or_insert((Scalar::ZERO, key.to_edwards())).0 += z * k;
    }
    let scalars = z.iter().chain(keys.values().map(|(sum, _)| sum)).chain([&base]);
    let points = equations.iter().map(|equation| &equation.r);
    let points = points.chain(keys.values().map(|(_, key)| key)).chain([&ED25519_BASEPOINT_POINT]);
    Some(EdwardsPoint::vartime_multiscalar_mul(scalars, points).is_small_order())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crafted::{crafted, crafted_with_r};
    use crate::{SecretKey, Signer as _, SimulatedKey};

    type Case = (PublicKey, Vec<u8>, Signature);

    fn honest(seed: u8, message: &[u8]) -> Case {
        let key = SecretKey::from_seed(&[seed; 32]);
        (key.public_key(), message.to_vec(), key.sign(message))
    }

    fn torsion(mask: [usize; 2], nonce: u64) -> Case {
        let (key, signature) = crafted(mask, nonce, |_| b"crafted".to_vec());
        (key, b"crafted".to_vec(), signature)
    }

    fn batch(cases: &[Case]) -> SignatureBatch {
        let mut batch = SignatureBatch::default();
        cases.iter().for_each(|(key, message, signature)| batch.add(key, message, signature));
        batch
    }

    fn alone((key, message, signature): &Case) -> bool {
        key.claim(message, signature).holds()
    }

    /// The case with its signature's `s` changed.
    fn moved((key, message, signature): &Case, change: impl Fn(Scalar) -> Scalar) -> Case {
        let mut bytes = signature.to_bytes();
        let s = Scalar::from_canonical_bytes(*signature.parts().1).unwrap();
        bytes[32..].copy_from_slice(change(s).as_bytes());
        (*key, message.clone(), Signature::from_bytes(&bytes))
    }

    /// What the strict rule takes, this one takes, and it takes crafted torsion besides, in whatever place.
    #[test]
    fn crafted_torsion_is_taken_alone_and_in_any_company() {
        let cases: Vec<_> = (0..8)
            .flat_map(|key| (0..8).map(move |r| [key, r]))
            .flat_map(|mask| [torsion(mask, 0xa0ce), torsion(mask, 0)])
            .collect();
        let mut strict = 0;
        for case in &cases {
            assert!(alone(case));
            assert!(batch(&[case.clone(), honest(1, b"a")]).all_hold());
            strict += usize::from(case.0.verifies(&case.1, &case.2));
        }
        assert!(strict < cases.len() / 4, "the strict rule refuses most of them");
        assert!(batch(&cases).all_hold());
        assert_eq!(batch(&cases).verdicts(), vec![true; cases.len()]);
    }

    /// The encodings that only some verifiers take are judged alike as well.
    #[test]
    fn encodings_are_judged_alike() {
        let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
        // The neutral element, whose `y` is 1, as 1 + p; and a `y` that no point has.
        let other_one = [&[0xee][..], &[0xff; 30], &[0x7f]].concat().try_into().unwrap();
        let no_point = (2..).map(|y| [&[y][..], &[0; 31]].concat().try_into().unwrap());
        let no_point = no_point.into_iter().find(|y| CompressedEdwardsY(*y).decompress().is_none()).unwrap();
        let with_r = |r| {
            let (key, signature) = crafted_with_r(0, 0, r, |_| b"crafted".to_vec());
            (key, b"crafted".to_vec(), signature)
        };
        let good = honest(1, b"a");
        let mut large = good.2.to_bytes();
        let mut carry = 0;
        for (byte, add) in large[32..].iter_mut().zip(order) {
            carry += u16::from(*byte) + u16::from(add);
            *byte = carry as u8;
            carry >>= 8;
        }
        let large = (good.0, good.1.clone(), Signature::from_bytes(&large));
        for (case, holds) in [(with_r(other_one), true), (with_r(no_point), false), (large, false)] {
            assert_eq!((alone(&case), batch(std::slice::from_ref(&case)).all_hold()), (holds, holds));
            assert_eq!(batch(&[good.clone(), case.clone()]).verdicts(), [true, holds]);
            assert_eq!(batch(&[good.clone(), case]).all_hold(), holds);
        }
    }

    /// Two signers cannot make their errors cancel out, which they do in a sum without random numbers.
    #[test]
    fn errors_do_not_cancel_out() {
        for (one, other) in [(1, 2), (1, 1)] {
            let one = moved(&honest(one, b"a"), |s| s + Scalar::from(5u64));
            let other = moved(&honest(other, b"b"), |s| s - Scalar::from(5u64));
            let cases = [one, honest(3, b"c"), other];
            assert!(!batch(&cases).all_hold());
            assert_eq!(batch(&cases).verdicts(), [false, true, false]);
        }
    }

    #[test]
    fn nothing_at_all_holds() {
        assert!(SignatureBatch::default().all_hold());
        assert!(SignatureBatch::default().verdicts().is_empty());
    }

    fn any_case() -> impl Strategy<Value = Case> {
        let seed = 1..4u8;
        let message = prop::collection::vec(any::<u8>(), 0..4);
        prop_oneof![
            4 => (seed.clone(), message.clone()).prop_map(|(seed, message)| honest(seed, &message)),
            2 => (0..8usize, 0..8usize, 0..2u64).prop_map(|(key, r, nonce)| torsion([key, r], nonce)),
            1 => (seed.clone(), message.clone(), 0..64usize, 1..=255u8).prop_map(|(seed, message, at, change)| {
                let (key, message, signature) = honest(seed, &message);
                let mut bytes = signature.to_bytes();
                bytes[at] ^= change;
                (key, message, Signature::from_bytes(&bytes))
            }),
            1 => (seed.clone(), message.clone(), any::<bool>()).prop_map(|(seed, message, good)| {
                let key = SimulatedKey::from_seed(&[seed; 32]);
                let signature = key.sign(if good { &message } else { b"another" });
                (key.public_key(), message, signature)
            }),
            1 => (seed, prop::array::uniform32(any::<u8>()), prop::array::uniform32(any::<u8>())).prop_map(
                |(seed, r, s)| {
                    let bytes = [r, s].concat().try_into().unwrap();
                    (honest(seed, b"").0, b"noise".to_vec(), Signature::from_bytes(&bytes))
                }
            ),
        ]
    }

    proptest! {
        /// The strict rule is the library's, whatever was crafted.
        #[test]
        fn the_strict_rule_is_the_library_s((key, message, signature) in any_case()) {
            let Ok(library) = ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes()) else { return Ok(()) };
            prop_assume!(key.to_subject_public_key_info() != [0; 0]);
            let bytes = ed25519_dalek::Signature::from_bytes(&signature.to_bytes());
            let verdict = library.verify_strict(&message, &bytes).is_ok();
            prop_assert_eq!(key.verifies(&message, &signature), verdict);
            prop_assert!(!verdict || alone(&(key, message, signature)), "the other rule takes all that this one takes");
        }

        /// Fault 37, for any mixture: together each is judged as alone.
        #[test]
        fn together_each_is_judged_as_alone(cases in prop::collection::vec(any_case(), 0..12)) {
            let verdicts: Vec<_> = cases.iter().map(alone).collect();
            prop_assert_eq!(batch(&cases).all_hold(), verdicts.iter().all(|it| *it));
            prop_assert_eq!(batch(&cases).verdicts(), verdicts);
        }
    }
}
