//! TLS 1.3 with raw public keys (RFC 7250): who may be at the other end is decided by comparing keys, nothing else.
//!
//! There are no certificates, names or dates. Sessions are never resumed and no tickets are issued, on either side:
//! a resumed session skips the comparison, so it would let in a key that was revoked in the meantime.

use std::collections::HashSet;
use std::sync::Arc;

use quinn::Connection;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    ServerConfig, SignatureScheme,
};

use pbft_crypto::{PublicKey, SecretKey, Signer};

/// What a connection is for, as TLS negotiates it (ALPN): dialing the wrong socket of a replica fails at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Replica to replica.
    Peer,
    /// Client to replica.
    Client,
}

impl Protocol {
    fn names(self) -> Vec<Vec<u8>> {
        vec![match self {
            Self::Peer => b"pbft-peer/1".to_vec(),
            Self::Client => b"pbft-client/1".to_vec(),
        }]
    }
}

/// An Ed25519 identity in the form that TLS wants.
#[derive(Clone)]
pub(crate) struct Identity {
    provider: Arc<CryptoProvider>,
    key: Arc<CertifiedKey>,
}

impl Identity {
    /// Prepares `secret` for TLS.
    pub(crate) fn new(secret: &SecretKey) -> Result<Self, Error> {
        // The provider is named, not looked up: a process-wide default could be another one.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(secret.to_pkcs8_der().to_vec()));
        let public = CertificateDer::from(secret.public_key().to_subject_public_key_info());
        // Not `from_der`, which would read the raw key as a certificate.
        let private = provider.key_provider.load_private_key(private)?;
        Ok(Self { provider, key: Arc::new(CertifiedKey::new(vec![public], private)) })
    }

    /// The listening side's configuration: it takes connections of exactly the keys in `admitted`.
    pub(crate) fn listen(
        &self,
        protocol: Protocol,
        admitted: impl IntoIterator<Item = PublicKey>,
    ) -> Result<QuicServerConfig, Error> {
        let pins = Pins::new(&self.provider, admitted);
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(pins))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.key.clone())));
        config.alpn_protocols = protocol.names();
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        QuicServerConfig::try_from(config).map_err(|error| Error::General(error.to_string()))
    }

    /// The dialing side's configuration: it connects to the holder of exactly `expected`.
    pub(crate) fn dial(&self, protocol: Protocol, expected: PublicKey) -> Result<QuicClientConfig, Error> {
        let pins = Pins::new(&self.provider, [expected]);
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pins))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.key.clone())));
        config.alpn_protocols = protocol.names();
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        QuicClientConfig::try_from(config).map_err(|error| Error::General(error.to_string()))
    }
}

/// The name that QUIC and TLS ask for when dialing. It is neither sent nor compared with anything.
pub(crate) const SERVER_NAME: &str = "pbft";

/// The key that the other side of a connection proved in the handshake.
pub(crate) fn proven_key(connection: &Connection) -> Option<PublicKey> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let encoded = identity.first()?;
    let key = PublicKey::from_bytes(encoded.last_chunk()?).ok()?;
    (key.to_subject_public_key_info() == encoded.as_ref()).then_some(key)
}

/// The verifier of both sides: a set of keys, compared by their whole encoding.
#[derive(Debug)]
struct Pins {
    expected: HashSet<Vec<u8>>,
    provider: Arc<CryptoProvider>,
}

impl Pins {
    fn new(provider: &Arc<CryptoProvider>, expected: impl IntoIterator<Item = PublicKey>) -> Self {
        let expected = expected.into_iter().map(|key| key.to_subject_public_key_info()).collect();
        Self { expected, provider: provider.clone() }
    }

    fn check_key(&self, presented: &CertificateDer<'_>) -> Result<(), Error> {
        if self.expected.contains(presented.as_ref()) {
            Ok(())
        } else {
            // This variant becomes the alert `access_denied`, by which the other side knows the reason.
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signature.scheme != SignatureScheme::ED25519 {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(key.as_ref()),
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }
}

/// TLS 1.2 is not offered, so its half of the verifier has nothing to say but no.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
}

impl ServerCertVerifier for Pins {
    fn verify_server_cert(
        &self,
        presented: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check_key(presented).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Pins {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        presented: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check_key(presented).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
