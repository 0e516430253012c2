use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Digest, Domain, Hasher, PublicKey, SeenStatements, Signature, SignatureBatch, Signer};

/// The kind of a statement. It is part of what is signed, so a signature over one kind never passes for another.
pub type Kind = u8;

/// By which rule signatures are judged: one for each kind of statement, the same at every replica and in every place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// For what replicas show each other, again and again: the strict rule, under which a signature that is good here is
    /// good for every verifier ([`PublicKey::verifies`]).
    Strict,
    /// For what comes by the thousand and once each: the rule of ZIP 215, so that many can be judged together
    /// ([`SignatureBatch`]). Nothing is remembered.
    Batched,
}

/// Something that is said under a signature.
///
/// What is signed is a fixed tag, the [`Scope`], the kind, the signer's public key and the encoded statement, in
/// this order. The signer is part of it and the statement itself names no author: the identity that a verified
/// key belongs to is the only one there is (fault 9).
pub trait Statement: Sized {
    /// Who may make this statement.
    type Signer: Copy + fmt::Debug + Ord;
    /// What knows the keys of those who may make it, and the limits that it must keep.
    type Keyring: Keyring<Self::Signer>;
    /// The statement's kind; each kind has its own number.
    const KIND: Kind;
    /// How signatures under statements of this kind are judged.
    const POLICY: Policy = Policy::Strict;
    /// Whether statements of this kind, if their policy is strict, are met again and again, so that it pays to remember
    /// the good ones.
    const REPEATED: bool = true;

    /// The bytes that stand for the statement; equal statements have equal bytes.
    fn encode(&self) -> Vec<u8>;

    /// Reads a statement, bounded before it allocates.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not exactly one encoded statement.
    fn decode(payload: &[u8]) -> Result<Self, Malformed>;

    /// Checks all that can be checked of the statement by itself: limits, and whatever signed statements it
    /// carries. [`Signed::verify`] calls it after the signature has been checked.
    ///
    /// # Errors
    /// [`Malformed`], with what is wrong.
    fn validate(&self, _signer: Self::Signer, _keyring: &Self::Keyring) -> Result<(), Malformed> {
        Ok(())
    }
}

/// The keys of a group of signers, and the scope within which they sign.
pub trait Keyring<S> {
    /// The scope that every signature covers.
    fn scope(&self) -> &Scope;

    /// The key of `signer`, or `None` if there is no such signer.
    fn public_key(&self, signer: S) -> Option<PublicKey>;

    /// The statements found good before, if they are remembered.
    fn seen(&self) -> Option<&SeenStatements> {
        None
    }
}

/// Where a signature holds: one cluster, in one epoch of its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The cluster's identity.
    pub cluster: Digest,
    /// The configuration's epoch.
    pub epoch: u64,
}

/// Bytes that are no well-formed statement, or a statement that contradicts itself or its limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed: {0}")]
pub struct Malformed(pub String);

/// Why a signed value was not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The named signer has no key here.
    #[error("signed by somebody unknown: {0}")]
    UnknownSigner(String),
    /// The signature is not the named signer's over these bytes.
    #[error("bad signature in the name of {0}")]
    BadSignature(String),
    /// The signature is good, and what it signs is not.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// A signed statement as it was received: believed by nobody until [`Signed::verify`].
///
/// It keeps the received bytes; they, and never a re-encoding, are what is verified, hashed and passed on.
pub struct Signed<T: Statement> {
    signer: T::Signer,
    payload: Bytes,
    signature: Signature,
}

impl<T: Statement> Signed<T> {
    /// A signed statement from its parts; certificates use it to restore a vote that they hold in compact form.
    #[must_use]
    pub fn from_parts(signer: T::Signer, payload: Bytes, signature: Signature) -> Self {
        Self { signer, payload, signature }
    }

    /// Who is said to have signed. A claim, until verified.
    #[must_use]
    pub fn claimed_signer(&self) -> T::Signer {
        self.signer
    }

    /// The encoded statement.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Reads what is said without believing it.
    ///
    /// # Errors
    /// [`Malformed`] if the payload is not exactly one encoded statement.
    pub fn peek(&self) -> Result<T, Malformed> {
        T::decode(&self.payload)
    }

    /// Reads what is said, to be looked at before it is believed.
    ///
    /// # Errors
    /// [`Malformed`] if the payload is not exactly one encoded statement.
    pub fn open(self) -> Result<Opened<T>, Malformed> {
        let value = self.peek()?;
        Ok(Opened { signed: self, value })
    }

    /// Checks the signature, then the statement itself.
    ///
    /// # Errors
    /// [`Rejected`], with the reason.
    pub fn verify(self, keyring: &T::Keyring) -> Result<Verified<T>, Rejected> {
        let (key, message) = self.claim(keyring)?;
        match T::POLICY {
            Policy::Strict => self.verify_strictly(keyring, &key, &message),
            Policy::Batched if key.claim(&message, &self.signature).holds() => self.believe(keyring),
            Policy::Batched => Err(self.bad_signature()),
        }
    }

    fn verify_strictly(
        self,
        keyring: &T::Keyring,
        key: &PublicKey,
        message: &[u8],
    ) -> Result<Verified<T>, Rejected> {
        let seen = keyring.seen().filter(|_| T::REPEATED).map(|seen| {
            let signature = self.signature.to_bytes();
            (seen, Hasher::new(Domain::Statement).bytes(&signature).bytes(message).finish())
        });
        if let Some((seen, name)) = &seen
            && seen.contains(name)
        {
            return Ok(Verified(Arc::new(self.open()?)));
        }
        if !key.verifies(message, &self.signature) {
            return Err(self.bad_signature());
        }
        let verified = self.believe(keyring)?;
        if let Some((seen, name)) = seen {
            seen.insert(name);
        }
        Ok(verified)
    }

    /// Who is said to have signed what.
    fn claim(&self, keyring: &T::Keyring) -> Result<(PublicKey, Vec<u8>), Rejected> {
        let key = keyring
            .public_key(self.signer)
            .ok_or_else(|| Rejected::UnknownSigner(format!("{:?}", self.signer)))?;
        let message = preimage::<T>(keyring.scope(), &key, &self.payload);
        Ok((key, message))
    }

    fn bad_signature(&self) -> Rejected {
        Rejected::BadSignature(format!("{:?}", self.signer))
    }

    /// What is left to check once the signature was found good.
    fn believe(self, keyring: &T::Keyring) -> Result<Verified<T>, Rejected> {
        let opened = self.open()?;
        opened.value.validate(opened.signed.signer, keyring)?;
        Ok(Verified(Arc::new(opened)))
    }
}

/// A signed statement as it was received, and what it says: as little believed as [`Signed`].
#[derive(Clone, PartialEq, Eq)]
pub struct Opened<T: Statement> {
    signed: Signed<T>,
    value: T,
}

impl<T: Statement> Opened<T> {
    /// The signed bytes.
    #[must_use]
    pub fn signed(&self) -> &Signed<T> {
        &self.signed
    }

    /// What is said.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Checks many statements whose policy is [`Policy::Batched`] and of which one that is bad spoils all: their
    /// signatures together, then the statements themselves.
    ///
    /// # Errors
    /// [`Rejected`], with the first thing wrong; of a bad signature it does not say whose it is.
    pub fn check_all<'a>(
        statements: impl Iterator<Item = &'a Self> + Clone,
        keyring: &T::Keyring,
    ) -> Result<(), Rejected>
    where
        T: 'a,
    {
        const { assert!(matches!(T::POLICY, Policy::Batched)) }
        let mut batch = SignatureBatch::default();
        for Self { signed, .. } in statements.clone() {
            let (key, message) = signed.claim(keyring)?;
            batch.add(&key, &message, &signed.signature);
        }
        if !batch.all_hold() {
            return Err(Rejected::BadSignature("one of several".into()));
        }
        statements.into_iter().try_for_each(|it| Ok(it.value.validate(it.signed.signer, keyring)?))
    }
}

/// A statement whose signature and content have been checked, or that was signed here.
///
/// Nothing else makes one:
///
/// ```compile_fail
/// # fn forge<T: pbft_crypto::Statement>(signed: pbft_crypto::Signed<T>, value: T) -> pbft_crypto::Verified<T> {
/// pbft_crypto::Verified(std::sync::Arc::new(pbft_crypto::Opened { signed, value }))
/// # }
/// ```
///
/// ```compile_fail
/// # fn forge<T: pbft_crypto::Statement>(signed: pbft_crypto::Opened<T>) -> pbft_crypto::Verified<T> {
/// pbft_crypto::Verified(std::sync::Arc::new(signed))
/// # }
/// ```
pub struct Verified<T: Statement>(Arc<Opened<T>>);

impl<T: Statement> Verified<T> {
    /// Signs `value` in the name of `identity`, whose key `signer` holds.
    #[must_use]
    pub fn sign(value: T, identity: T::Signer, signer: &dyn Signer, scope: &Scope) -> Self {
        let payload = value.encode();
        let signature = signer.sign(&preimage::<T>(scope, &signer.public_key(), &payload));
        let signed = Signed { signer: identity, payload: payload.into(), signature };
        Self(Arc::new(Opened { signed, value }))
    }

    /// Checks each of many statements whose policy is [`Policy::Batched`], their signatures together: the answers of
    /// [`Signed::verify`], in order, for less work.
    ///
    /// # Errors
    /// None of its own; a bad statement costs the others time and nothing else.
    pub fn each(statements: Vec<Signed<T>>, keyring: &T::Keyring) -> Vec<Result<Self, Rejected>> {
        const { assert!(matches!(T::POLICY, Policy::Batched)) }
        let mut batch = SignatureBatch::default();
        let claims: Vec<Result<(), Rejected>> = statements
            .iter()
            .map(|signed| {
                let (key, message) = signed.claim(keyring)?;
                batch.add(&key, &message, &signed.signature);
                Ok(())
            })
            .collect();
        let mut verdicts = batch.verdicts().into_iter();
        let judged = statements.into_iter().zip(claims).map(|(signed, claim)| {
            claim?;
            match verdicts.next() {
                Some(true) => signed.believe(keyring),
                _ => Err(signed.bad_signature()),
            }
        });
        judged.collect()
    }

    /// What is said.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.0.value
    }

    /// Who said it.
    #[must_use]
    pub fn signer(&self) -> T::Signer {
        self.0.signed.signer
    }

    /// The signed bytes, to pass on.
    #[must_use]
    pub fn signed(&self) -> &Signed<T> {
        &self.0.signed
    }

    /// The signed bytes and what they say, for where it is no longer of interest that they were checked.
    #[must_use]
    pub fn opened(&self) -> &Opened<T> {
        &self.0
    }
}

/// What a signature covers.
fn preimage<T: Statement>(scope: &Scope, key: &PublicKey, payload: &[u8]) -> Vec<u8> {
    const TAG: &[u8] = b"pbft/statement/1\0";
    let mut message = Vec::with_capacity(TAG.len() + 73 + payload.len());
    message.extend_from_slice(TAG);
    message.extend_from_slice(scope.cluster.as_bytes());
    message.extend_from_slice(&scope.epoch.to_le_bytes());
    message.push(if crate::mutant!("kind-not-signed") { 0 } else { T::KIND });
    message.extend_from_slice(key.as_bytes());
    message.extend_from_slice(payload);
    message
}

// The traits below are written out because derives would demand them of `T` itself.

impl<T: Statement> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self { signer: self.signer, payload: self.payload.clone(), signature: self.signature }
    }
}

impl<T: Statement> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.signer, &self.payload, self.signature) == (other.signer, &other.payload, other.signature)
    }
}

impl<T: Statement> Eq for Signed<T> {}

impl<T: Statement + fmt::Debug> fmt::Debug for Signed<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peek() {
            Ok(value) => write!(formatter, "{:?} by {:?}", value, self.signer),
            Err(_) => write!(formatter, "unreadable bytes by {:?}", self.signer),
        }
    }
}

impl<T: Statement> Clone for Verified<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Statement> PartialEq for Verified<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.signed == other.0.signed
    }
}

impl<T: Statement> Eq for Verified<T> {}

impl<T: Statement + fmt::Debug> fmt::Debug for Verified<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} by {:?}", self.value(), self.signer())
    }
}

impl<T: Statement> Serialize for Signed<T>
where
    T::Signer: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.signer, &self.payload, &self.signature).serialize(serializer)
    }
}

impl<'de, T: Statement> Deserialize<'de> for Signed<T>
where
    T::Signer: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (signer, payload, signature) = Deserialize::deserialize(deserializer)?;
        Ok(Self { signer, payload, signature })
    }
}

#[cfg(test)]
mod tests;
