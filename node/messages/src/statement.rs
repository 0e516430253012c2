//! The kinds of signed statements, each with a number of its own.

/// Gives a serde type its place among the signed statements: who signs it, its kind, and optionally a check.
macro_rules! statement {
    ($type:ty, signer: $signer:ty, kind: $kind:literal $(, repeated: $repeated:literal)? $(, policy: $policy:ident)? $(, validate: $validate:expr)?) => {
        impl pbft_crypto::Statement for $type {
            type Signer = $signer;
            type Keyring = $crate::Configuration;
            const KIND: pbft_crypto::Kind = $kind;
            $(const REPEATED: bool = $repeated;)?
            $(const POLICY: pbft_crypto::Policy = pbft_crypto::Policy::$policy;)?

            fn encode(&self) -> Vec<u8> {
                $crate::codec::encode(self)
            }

            fn decode(payload: &[u8]) -> Result<Self, pbft_crypto::Malformed> {
                $crate::codec::decode(payload)
            }

            $(fn validate(&self, signer: $signer, configuration: &$crate::Configuration) -> Result<(), pbft_crypto::Malformed> {
                let validate: fn(&Self, $signer, &$crate::Configuration) -> Result<(), pbft_crypto::Malformed> = $validate;
                validate(self, signer, configuration)
            })?
        }
    };
}

pub(crate) use statement;

/// `Ok` if `holds`, else a [`pbft_crypto::Malformed`] with `message`.
pub(crate) fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), pbft_crypto::Malformed> {
    if holds { Ok(()) } else { Err(pbft_crypto::Malformed(message())) }
}
