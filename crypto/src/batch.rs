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
use sha2::{Digest as _, Sha512};

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
        let settled = self.0.iter().all(|claim| !matches!(claim, Claim::Settled(false)));
        let open: Vec<_> = self.open().collect();
        let together = if open.len() > 1 { sum_is_neutral(&open) } else { None };
        settled && together.unwrap_or_else(|| open.iter().all(|equation| equation.holds()))
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
        let hash =
            Sha512::new().chain_update(r).chain_update(key.as_bytes()).chain_update(message).finalize();
        Some(Self {
            key: *key,
            s: Option::from(Scalar::from_canonical_bytes(*s))?,
            r: CompressedEdwardsY(*r).decompress()?,
            k: Scalar::from_bytes_mod_order_wide(&hash.into()),
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
