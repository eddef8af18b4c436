//! TLS 1.3 with X25519MLKEM768 only, authenticated by a pinned Ed25519 root.
//!
//! The relay sends a short-lived leaf and the self-signed root that signed it; behind them, for each
//! root key that it had before, what that key signed for its successor, and its own certificate. The
//! client checks, in this order (R-1120 to R-1124): there is such a number of certificates; the key of
//! one of the roots is Ed25519 and its `SubjectPublicKeyInfo` hashes to the pinned fingerprint; from that
//! root a chain of signatures leads to the leaf, which is valid now and bears the name [`LEAF_NAME`]; the
//! handshake is signed with the leaf's key. The name is the same for every relay: the pin tells them
//! apart, so nothing that an observer sees needs to.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ResolvesServerCert;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    ServerConfig, SignatureScheme,
};
use sha2::{Digest as _, Sha256};

use crate::ALPN;
use crate::ids::RootFingerprint;
use crate::limits::MAX_ROOTS;

/// The DNS name in every relay's leaf certificate. Reserved (RFC 2606), so that nobody can own it.
pub const LEAF_NAME: &str = "relay.undertone.invalid";

/// `SubjectPublicKeyInfo` of an Ed25519 key without the outer header: algorithm 1.3.101.112 and
/// a bit string of 32 bytes (RFC 8410 §4).
const ED25519_SPKI: [u8; 10] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// The outer header: a sequence of 42 bytes.
const SPKI_HEADER: [u8; 2] = [0x30, 0x2a];

/// aws-lc-rs with one key exchange and nothing to fall back to (R-1125).
#[must_use]
pub fn crypto_provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    }
}

/// SHA-256 of the DER `SubjectPublicKeyInfo` of an Ed25519 public key.
#[must_use]
pub fn root_fingerprint(ed25519_public: &[u8; 32]) -> RootFingerprint {
    let mut hash = Sha256::new();
    hash.update(SPKI_HEADER);
    hash.update(ED25519_SPKI);
    hash.update(ed25519_public);
    RootFingerprint::from_bytes(hash.finalize().into())
}

/// TLS for a client that expects the relay with this root; the flag tells of a mismatch, which
/// QUIC itself reports only as a failed handshake.
///
/// # Errors
/// [`rustls::Error`] if the provider lacks TLS 1.3, which does not happen.
pub fn client_tls(root: RootFingerprint) -> Result<(ClientConfig, Arc<PinnedRoot>), Error> {
    let provider = Arc::new(crypto_provider());
    let verifier = Arc::new(PinnedRoot::new(root, provider.clone()));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    // R-1126
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.enable_early_data = false;
    // A ticket would let the relay link two connections of one client.
    config.resumption = rustls::client::Resumption::disabled();
    Ok((config, verifier))
}

/// TLS for a relay. The resolver can change the leaf while the relay runs.
///
/// # Errors
/// As [`client_tls`].
pub fn server_tls(certificates: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(crypto_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

/// Verifies that a relay has the pinned root. Made for one connection.
pub struct PinnedRoot {
    expected: RootFingerprint,
    provider: Arc<CryptoProvider>,
    mismatch: AtomicBool,
    bad_certificate: AtomicBool,
}

impl PinnedRoot {
    fn new(expected: RootFingerprint, provider: Arc<CryptoProvider>) -> Self {
        Self {
            expected,
            provider,
            mismatch: AtomicBool::new(false),
            bad_certificate: AtomicBool::new(false),
        }
    }

    /// Whether the relay proved another root key.
    #[must_use]
    pub fn saw_mismatch(&self) -> bool {
        self.mismatch.load(Ordering::Acquire)
    }

    /// Whether the root key was right and the leaf was not.
    #[must_use]
    pub fn saw_bad_certificate(&self) -> bool {
        self.bad_certificate.load(Ordering::Acquire)
    }

    /// The pinned root as a trust anchor, and what leads from it to the root that signed the leaf:
    /// for each root that came after it, what its predecessor signed.
    fn pinned<'a, 'c>(
        &self,
        roots: &'a [CertificateDer<'c>],
    ) -> Result<(RootCertStore, &'a [CertificateDer<'c>]), Error> {
        // The root that signed the leaf, then pairs: handed over, and by whom.
        for (index, root) in roots.iter().enumerate().step_by(2) {
            let mut store = RootCertStore::empty();
            store.add(root.clone().into_owned())?;
            let anchor = store.roots.first();
            let key = anchor.and_then(|a| a.subject_public_key_info.strip_prefix(&ED25519_SPKI));
            let key = key.and_then(|key| <&[u8; 32]>::try_from(key).ok());
            if key.is_some_and(|key| root_fingerprint(key) == self.expected) {
                return Ok((store, roots.get(..index).unwrap_or_default()));
            }
        }
        self.mismatch.store(true, Ordering::Release);
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(AnotherRoot)))))
    }
}

/// Whether a relay may show so many certificates (R-1120): leaf and root, and two for each root before.
pub(super) const fn is_chain_length(certificates: usize) -> bool {
    certificates != 0 && certificates.is_multiple_of(2) && certificates <= 2 * MAX_ROOTS
}

#[derive(Debug)]
struct AnotherRoot;

impl fmt::Display for AnotherRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the relay's root key is not the pinned one")
    }
}

impl std::error::Error for AnotherRoot {}

impl fmt::Debug for PinnedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedRoot({})", self.expected)
    }
}

impl ServerCertVerifier for PinnedRoot {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // R-1120: the leaf's root, and two more for each root before it.
        if !is_chain_length(intermediates.len().saturating_add(1)) {
            self.bad_certificate.store(true, Ordering::Release);
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        // R-1121: the pin, before anything is believed.
        let (store, later) = self.pinned(intermediates).inspect_err(|_| {
            if !self.saw_mismatch() {
                self.bad_certificate.store(true, Ordering::Release);
            }
        })?;
        // Self-signed certificates of later roots lead nowhere: what counts is who handed over to them.
        let handed_over: Vec<_> = later.iter().skip(1).step_by(2).cloned().collect();
        // R-1122, R-1123: the signatures from the root to the leaf, its validity and its name.
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), self.provider.clone())
                .build()
                .map_err(|_| Error::General("no verifier for the pinned root".into()))?;
        verifier
            .verify_server_cert(end_entity, &handed_over, server_name, ocsp_response, now)
            .inspect_err(|_| self.bad_certificate.store(true, Ordering::Release))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".into()))
    }

    // R-1124: the peer has the leaf's key.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
            .inspect_err(|_| self.bad_certificate.store(true, Ordering::Release))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
