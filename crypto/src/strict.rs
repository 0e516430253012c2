//! How votes are judged: by the strict rule, one by one.
//!
//! A signature `(R, s)` over a message `M` holds for a key `A` if and only if `s` is below ℓ, neither `A` nor `R` is of
//! small order, and `R` is the one canonical encoding of `[s]B − [k]A`, where `k = SHA-512(R, A, M) mod ℓ`.
//!
//! These are the verdicts of ed25519-dalek's `verify_strict`, for an eighth less: it decodes `R`, which takes a square
//! root, to learn its order. But `R` either encodes the point on the right, whose order is as easily seen, or is refused.

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::VerifyingKey;
use sha2::{Digest as _, Sha512};

use crate::{Signature, mutant};

/// Whether a signature holds. Keys of small order never get here: a [`PublicKey`](crate::PublicKey) is none.
pub(crate) fn holds(key: &VerifyingKey, message: &[u8], signature: &Signature) -> bool {
    let (r, s) = signature.parts();
    let Some(s) = Option::from(Scalar::from_canonical_bytes(*s)) else { return false };
    let k = challenge(key, message, signature);
    let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &-key.to_edwards(), &s);
    expected.compress().as_bytes() == r && (mutant!("lax-verification") || !expected.is_small_order())
}

/// The number `k` that binds a signature to its key and message.
pub(crate) fn challenge(key: &VerifyingKey, message: &[u8], signature: &Signature) -> Scalar {
    let (r, _) = signature.parts();
    let hash = Sha512::new().chain_update(r).chain_update(key.as_bytes()).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}
