//! Signatures that only some checks would take (faults 37 and 40): points of small order, in the key and in the
//! signature, scalars in another form, and whatever the bytes change besides.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::IsIdentity as _;
use curve25519_dalek::{EdwardsPoint, Scalar};
use sha2::{Digest as _, Sha512};

use pbft_crypto::{PublicKey, Signature, SignatureBatch};

use crate::draw::Draw;

/// The order L of the group, the smallest number first.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// A key, a message, and a signature: right if the bytes are all zeros.
struct Crafted {
    key: [u8; 32],
    message: Vec<u8>,
    signature: [u8; 64],
}

pub(super) fn crafted(bytes: &[u8]) {
    let draw = &mut Draw::new(bytes);
    let (mut batch, mut expected) = (SignatureBatch::default(), Vec::new());
    for _ in 0..=draw.below(3) {
        let Crafted { key, message, signature } = craft(draw);
        let read = PublicKey::from_bytes(&key);
        assert_eq!(read.is_ok(), sound_key(&key).is_some(), "the key {}", hex(&key));
        let Ok(read) = read else { continue };
        let (signed, said) = (Signature::from_bytes(&signature), [&key[..], &message, &signature].map(hex));
        assert_eq!(
            read.verifies(&message, &signed),
            is_strictly_valid(&key, &message, &signature),
            "votes: {said:?}"
        );
        batch.add(&read, &message, &signed);
        let mut alone = SignatureBatch::default();
        alone.add(&read, &message, &signed);
        expected.push(is_valid(&key, &message, &signature));
        assert_eq!(alone.all_hold(), expected[expected.len() - 1], "clients: {said:?}");
    }
    assert_eq!(batch.verdicts(), expected, "together");
    assert_eq!(batch.all_hold(), expected.iter().all(|holds| *holds), "all together");
}

fn craft(draw: &mut Draw<'_>) -> Crafted {
    let [secret, nonce] = [0, 1].map(|kind| scalar(kind, draw.byte()));
    // Rarely a scalar is 0, and what is left of its point is of small order.
    let [secret, nonce] = [secret, nonce].map(|it| if draw.below(8) == 7 { Scalar::ZERO } else { it });
    let key = with_torsion(secret, draw).compress().0;
    let commitment = with_torsion(nonce, draw).compress().0;
    let message = draw.bytes(40).to_vec();
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&commitment);
    let answer = nonce + challenge(&commitment, &key, &message) * secret;
    signature[32..].copy_from_slice(answer.as_bytes());
    if draw.below(8) == 7 {
        add_order(&mut signature[32..]);
    }
    if draw.rarely() {
        signature[draw.below(64) as usize] ^= 1 << draw.below(8);
    }
    Crafted { key, message, signature }
}

fn scalar(kind: u8, number: u8) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&Sha512::digest([kind, number]).into())
}

/// A multiple of the base point, mostly with nothing of small order added.
fn with_torsion(times: Scalar, draw: &mut Draw<'_>) -> EdwardsPoint {
    let torsion = if draw.below(4) == 3 { usize::from(draw.byte() % 8) } else { 0 };
    EdwardsPoint::mul_base(&times) + EIGHT_TORSION[torsion]
}

fn challenge(commitment: &[u8], key: &[u8], message: &[u8]) -> Scalar {
    let hash = Sha512::new().chain_update(commitment).chain_update(key).chain_update(message);
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}

fn add_order(scalar: &mut [u8]) {
    let mut carry = 0;
    for (byte, order) in scalar.iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
}

/// The point of a key, if it is one, and none of small order.
fn sound_key(key: &[u8; 32]) -> Option<EdwardsPoint> {
    CompressedEdwardsY(*key).decompress().filter(|point| !point.mul_by_cofactor().is_identity())
}

/// Whether s is in its lowest form, neither point is of small order, and R = sB − kA: the rule for votes.
fn is_strictly_valid(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let Some(difference) = difference(key, message, signature) else { return false };
    let commitment: [u8; 32] = signature[..32].try_into().expect("half of 64 bytes");
    sound_key(&commitment).is_some() && difference.compress().0 == commitment
}

/// Whether s is in its lowest form, R is a point, and 8R = 8(sB − kA): the rule for what clients sign.
fn is_valid(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let Some(difference) = difference(key, message, signature) else { return false };
    let commitment = signature[..32].try_into().expect("half of 64 bytes");
    let Some(commitment) = CompressedEdwardsY(commitment).decompress() else { return false };
    (difference - commitment).mul_by_cofactor().is_identity()
}

/// sB − kA, if the key is sound and s is in its lowest form.
fn difference(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Option<EdwardsPoint> {
    let (commitment, answer) = signature.split_at(32);
    let answer: Option<Scalar> =
        Scalar::from_canonical_bytes(answer.try_into().expect("half of 64 bytes")).into();
    let point = sound_key(key)?;
    Some(EdwardsPoint::mul_base(&answer?) - point * challenge(commitment, key, message))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is drawn is worth judging: good signatures, and bad ones of each kind.
    #[test]
    fn good_and_bad_ones_are_drawn() {
        let drawn: Vec<_> = (0..2000).map(|seed| craft(&mut Draw::new(&crate::random_input(seed)))).collect();
        let valid = |it: &&Crafted| is_valid(&it.key, &it.message, &it.signature);
        let strictly = |it: &&Crafted| is_strictly_valid(&it.key, &it.message, &it.signature);
        assert!(drawn.iter().filter(strictly).count() > 500);
        assert!(drawn.iter().filter(valid).any(|it| !strictly(&it)));
        let weak = drawn.iter().filter(|it| sound_key(&it.key).is_none()).count();
        assert!(weak > 50 && weak < 1000, "{weak}");
        let zero = Crafted { key: [0; 32], message: vec![], signature: [0; 64] };
        assert!(!is_valid(&zero.key, &zero.message, &zero.signature));
        let plain = craft(&mut Draw::new(&[]));
        assert!(is_valid(&plain.key, &plain.message, &plain.signature));
    }
}
