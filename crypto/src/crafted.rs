//! Signatures as nobody makes them in good faith, for tests.

use curve25519_dalek::{EdwardsPoint, Scalar, constants::EIGHT_TORSION};
use sha2::{Digest as _, Sha512};

use crate::{PublicKey, Signature};

/// A key and its signature, with points of small order mixed in: `torsion` says which in the key and which in `R`. The
/// error of the signature is of small order too. The nonce 0 leaves nothing of `R` but that point.
pub(crate) fn crafted(
    torsion: [usize; 2],
    nonce: u64,
    message: impl Fn(&PublicKey) -> Vec<u8>,
) -> (PublicKey, Signature) {
    let r = (EdwardsPoint::mul_base(&nonce.into()) + EIGHT_TORSION[torsion[1]]).compress();
    crafted_with_r(torsion[0], nonce, r.to_bytes(), message)
}

/// As above, with an encoding of `R` of choice.
pub(crate) fn crafted_with_r(
    torsion: usize,
    nonce: u64,
    r: [u8; 32],
    message: impl Fn(&PublicKey) -> Vec<u8>,
) -> (PublicKey, Signature) {
    let secret = Scalar::from(0x5ec7e7u64);
    let key = (EdwardsPoint::mul_base(&secret) + EIGHT_TORSION[torsion]).compress();
    let key = PublicKey::from_bytes(key.as_bytes()).expect("a key of a large order");
    let hash =
        Sha512::new().chain_update(r).chain_update(key.as_bytes()).chain_update(message(&key)).finalize();
    let s = Scalar::from(nonce) + Scalar::from_bytes_mod_order_wide(&hash.into()) * secret;
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&r);
    bytes[32..].copy_from_slice(s.as_bytes());
    (key, Signature::from_bytes(&bytes))
}
