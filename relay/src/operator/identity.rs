//! The relay's root key, and the short-lived leaf certificates that it signs.
//!
//! `root.key` holds the Ed25519 root key as PKCS #8 (RFC 5958) in DER. It is all that makes this
//! relay this relay: back it up. Certificates are made anew from it at every start.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use undertone_wire::RootFingerprint;
use undertone_wire::transport::{LEAF_NAME, root_fingerprint};

use super::{Layout, read_if_there, write_private};
use crate::store::StoreFailure;

/// A stolen leaf key is of use for so long at most. Leaves are renewed every day.
const LEAF_LIFETIME: Duration = Duration::from_secs(14 * DAY);

/// Clients whose clocks are behind accept a leaf made just now.
const LEAF_BACKDATING: Duration = Duration::from_secs(2 * DAY);

const DAY: u64 = 86_400;

/// A relay's long-term identity.
pub(crate) struct Identity {
    root: KeyPair,
    fingerprint: RootFingerprint,
}

/// What QUIC needs beside certificates.
pub(crate) struct ConnectionKeys {
    /// Makes the tokens of stateless resets.
    pub(crate) reset: hmac::Key,
    /// Marks connection ids as this relay's, so that junk is dropped without an answer.
    pub(crate) ids: u64,
}

fn damaged<E>(_: E) -> StoreFailure {
    StoreFailure::Damaged("root.key")
}

impl Identity {
    /// Reads the root key, or makes one on the first run.
    pub(crate) fn open(layout: &Layout) -> Result<Self, StoreFailure> {
        let path = layout.root_key();
        let root = match read_if_there(&path)? {
            Some(der) => {
                KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der), &PKCS_ED25519)
                    .map_err(damaged)?
            }
            None => Self::create(&path)?,
        };
        let public = <[u8; 32]>::try_from(root.public_key_raw()).map_err(damaged)?;
        Ok(Self { root, fingerprint: root_fingerprint(&public) })
    }

    fn create(path: &Path) -> Result<KeyPair, StoreFailure> {
        let root = KeyPair::generate_for(&PKCS_ED25519).map_err(|_| StoreFailure::Random)?;
        write_private(path, root.serialized_der())?;
        Ok(root)
    }

    /// What clients pin.
    pub(crate) const fn fingerprint(&self) -> RootFingerprint {
        self.fingerprint
    }

    /// Keys for the transport that are the same after a restart: a client that was connected
    /// learns within one round trip that its connection is gone (RFC 9000, section 10.3), and does
    /// not wait for a timeout.
    pub(crate) fn connection_keys(&self) -> ConnectionKeys {
        let root = hmac::Key::new(hmac::HMAC_SHA256, self.root.serialized_der());
        let reset = hmac::sign(&root, b"undertone/1 stateless reset");
        let ids = hmac::sign(&root, b"undertone/1 connection ids");
        let ids = ids.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        ConnectionKeys { reset: hmac::Key::new(hmac::HMAC_SHA256, reset.as_ref()), ids }
    }

    /// A fresh leaf key with its certificate, and the root's certificate behind it.
    pub(crate) fn leaf(&self, unix_seconds: u64) -> Result<Certified, StoreFailure> {
        let root = root_parameters().self_signed(&self.root).map_err(damaged)?;
        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(|_| StoreFailure::Random)?;
        let mut leaf = CertificateParams::new(vec![LEAF_NAME.to_owned()]).map_err(damaged)?;
        leaf.distinguished_name = name("undertone relay");
        let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(unix_seconds);
        leaf.not_before = now - LEAF_BACKDATING;
        leaf.not_after = now + LEAF_LIFETIME;
        let issuer = Issuer::new(root_parameters(), &self.root);
        let certificate = leaf.signed_by(&key, &issuer).map_err(damaged)?;
        let chain: Vec<CertificateDer<'static>> =
            vec![certificate.der().clone(), root.der().clone()];
        let private = PrivatePkcs8KeyDer::from(key.serialize_der());
        let signer = any_eddsa_type(&private).map_err(damaged)?;
        Ok(Certified {
            key: Arc::new(CertifiedKey::new(chain, signer)),
            begins: unix_seconds.saturating_sub(LEAF_BACKDATING.as_secs()),
            ends: unix_seconds.saturating_add(LEAF_LIFETIME.as_secs()),
        })
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn root_parameters() -> CertificateParams {
    let mut root = CertificateParams::default();
    root.distinguished_name = name("undertone relay root");
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    root
}

/// A leaf key with its certificates, and how long they are good.
#[derive(Clone, Debug)]
pub(crate) struct Certified {
    key: Arc<CertifiedKey>,
    /// From when on, in Unix time; a leaf of our own is dated back behind the time it was made.
    begins: u64,
    ends: u64,
}

/// The leaf that is in use; can be changed while the relay runs. Connections that there are go on
/// with the one they began with.
#[derive(Debug)]
pub(crate) struct Leaf(RwLock<Certified>);

impl Leaf {
    pub(crate) fn new(leaf: Certified) -> Self {
        Self(RwLock::new(leaf))
    }

    fn current(&self) -> Certified {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change(&self, leaf: Certified) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = leaf;
    }

    /// When it ends, in Unix time.
    pub(crate) fn ends(&self) -> u64 {
        self.current().ends
    }

    /// Whether another one should take its place: it was made more than a day ago, or, since the
    /// machine's clock was set, it seems to be from the future.
    pub(crate) fn is_old(&self, now: u64) -> bool {
        let Certified { begins, ends, .. } = self.current();
        now < begins || now.saturating_add(LEAF_LIFETIME.as_secs()) > ends.saturating_add(DAY)
    }
}

impl ResolvesServerCert for Leaf {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().key)
    }
}
