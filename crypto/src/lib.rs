//! The cryptographic vocabulary of `pbft`: digests with domain separation, Ed25519 keys and their files,
//! signed values whose verification is visible in the type, and Merkle trees.
//!
//! Nothing here does I/O except [`key_file`], and nothing here knows the protocol: what a signed value *says*
//! is described by a [`Statement`], which the messages crate implements.
//!
//! A value's journey is `Signed<T>` (bytes as received, believed by nobody) → [`Signed::verify`] →
//! `Verified<T>` (signature and content checked; no other way to make one from received bytes).

mod batch;
mod cost;
#[cfg(test)]
mod crafted;
mod digest;
mod key;
pub mod key_file;
mod merkle;
mod mutant;
mod seen;
mod signed;
mod simulated;
mod strict;
pub mod words;

pub use batch::SignatureBatch;
pub use cost::SignatureCosts;
pub use digest::{Digest, Domain, Hasher};
pub use key::{NoPublicKey, PublicKey, SecretKey, Signature, Signer, WeakKey};
pub use merkle::{MerkleProof, MerkleTree};
#[cfg(pbft_mutants)]
pub use mutant::mutant_is;
pub use seen::SeenStatements;
pub use signed::{Keyring, Kind, Malformed, Opened, Policy, Rejected, Scope, Signed, Statement, Verified};
pub use simulated::SimulatedKey;
