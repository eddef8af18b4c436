//! The relay's root key, and the short-lived leaf certificates that it signs.
//!
//! `root.key` holds the Ed25519 root key as PKCS #8 (RFC 5958) in DER. It is all that makes this
//! relay this relay: back it up. Certificates are made anew from it at every start.
//!
//! A root key that is kept elsewhere leaves `leaf.pem` here instead: the leaf's private key, its
//! certificate and the root's, as the module `root` installs them.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ED25519, PublicKeyData, date_time_ymd};
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
    UnixTime,
};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use undertone_wire::RootFingerprint;
use undertone_wire::transport::{LEAF_NAME, client_tls, root_fingerprint};

use super::succession::{Succession, name, root_parameters};
use super::{Layout, read_if_there, write_private};
use crate::store::{StoreFailure, random};

/// A stolen leaf key is of use for so long at most. Leaves are renewed every day.
const LEAF_LIFETIME: Duration = Duration::from_secs(14 * DAY);

/// Clients whose clocks are behind accept a leaf made just now.
const LEAF_BACKDATING: Duration = Duration::from_secs(2 * DAY);

/// The longest that a leaf whose root is elsewhere may be good: a stolen leaf key is of use for so
/// long.
pub(super) const LONGEST_LEAF: Duration = Duration::from_secs(398 * DAY);

/// Days before the end of such a leaf from which on the log says so.
const WARN_DAYS: u64 = 14;

pub(super) const DAY: u64 = 86_400;

/// What stands before the 32 bytes of an Ed25519 key in a `SubjectPublicKeyInfo` (RFC 8410 §4).
pub(super) const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A relay's long-term identity.
pub(crate) struct Identity {
    root: Root,
    fingerprint: RootFingerprint,
    transport: [u8; 32],
    layout: Layout,
}

/// Where the root key is.
enum Root {
    Here(Box<KeyPair>),
    Elsewhere,
}

/// What QUIC needs beside certificates.
pub(crate) struct ConnectionKeys {
    /// Makes the tokens of stateless resets.
    pub(crate) reset: hmac::Key,
    /// Marks connection ids as this relay's, so that junk is dropped without an answer.
    pub(crate) ids: hmac::Key,
}

fn damaged<E>(_: E) -> StoreFailure {
    StoreFailure::Damaged("root.key")
}

fn bad_leaf<E>(_: E) -> StoreFailure {
    StoreFailure::Damaged("leaf.pem")
}

/// A root key from its file's bytes.
pub(super) fn parse_root(der: Vec<u8>) -> Result<KeyPair, StoreFailure> {
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(der), &PKCS_ED25519)
        .map_err(damaged)
}

/// A fresh Ed25519 key.
pub(super) fn new_key() -> Result<KeyPair, StoreFailure> {
    KeyPair::generate_for(&PKCS_ED25519).map_err(|_| StoreFailure::Random)
}

/// What clients pin of a root key.
pub(super) fn fingerprint(root: &KeyPair) -> Result<RootFingerprint, StoreFailure> {
    let public = <[u8; 32]>::try_from(root.public_key_raw()).map_err(damaged)?;
    Ok(root_fingerprint(&public))
}

/// What a certificate of a root key hashes to; `None` if its key is not Ed25519.
pub(super) fn fingerprint_of(root: &CertificateDer<'_>) -> Option<RootFingerprint> {
    let mut store = rustls::RootCertStore::empty();
    store.add(root.clone().into_owned()).ok()?;
    let info = store.roots.first()?.subject_public_key_info.to_vec();
    // Without the outer header here.
    let key = info.strip_prefix(SPKI_PREFIX.get(2..)?)?;
    Some(root_fingerprint(key.try_into().ok()?))
}

/// Certificates for a leaf's public key: leaf first, then the root's.
pub(super) fn certify(
    root: &KeyPair,
    leaf: &impl PublicKeyData,
    unix_seconds: u64,
    lifetime: Duration,
) -> Result<Vec<CertificateDer<'static>>, StoreFailure> {
    let own = root_parameters().self_signed(root).map_err(damaged)?;
    let mut parameters = CertificateParams::new(vec![LEAF_NAME.to_owned()]).map_err(damaged)?;
    parameters.distinguished_name = name("undertone relay");
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(unix_seconds);
    parameters.not_before = now - LEAF_BACKDATING;
    parameters.not_after = now + lifetime;
    let issuer = Issuer::new(root_parameters(), root);
    let certificate = parameters.signed_by(leaf, &issuer).map_err(damaged)?;
    Ok(vec![certificate.der().clone(), own.der().clone()])
}

/// Whether a client that pins that root accepts these certificates at a time.
fn is_valid(chain: &[CertificateDer<'_>], root: RootFingerprint, unix_seconds: u64) -> bool {
    let ([leaf, rest @ ..], Ok((_, verifier))) = (chain, client_tls(root)) else { return false };
    let Ok(name) = ServerName::try_from(LEAF_NAME) else { return false };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(unix_seconds));
    verifier.verify_server_cert(leaf, rest, &name, &[], now).is_ok()
}

/// When clients begin to refuse these certificates; `None` if they do so now. Found by asking the
/// client's own verifier, which is what counts.
pub(super) fn valid_until(
    chain: &[CertificateDer<'_>],
    root: RootFingerprint,
    now: u64,
) -> Option<u64> {
    if !is_valid(chain, root, now) {
        return None;
    }
    let (mut good, mut bad) = (now, now.saturating_add(LONGEST_LEAF.as_secs()));
    while bad.saturating_sub(good) > 1 {
        let middle = good.midpoint(bad);
        *(if is_valid(chain, root, middle) { &mut good } else { &mut bad }) = middle;
    }
    Some(bad)
}

/// A leaf key and its certificates from `leaf.pem`.
pub(super) fn parse_leaf(pem: &[u8]) -> Result<CertifiedKey, StoreFailure> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(bad_leaf)?;
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(bad_leaf)?;
    let PrivateKeyDer::Pkcs8(key) = key else { return Err(StoreFailure::Damaged("leaf.pem")) };
    let certified = CertifiedKey::new(chain, any_eddsa_type(&key).map_err(bad_leaf)?);
    certified.keys_match().map_err(bad_leaf)?;
    Ok(certified)
}

/// The 32 bytes of an Ed25519 key in a `SubjectPublicKeyInfo`.
pub(super) fn raw_public(info: &SubjectPublicKeyInfoDer<'_>) -> Option<[u8; 32]> {
    info.strip_prefix(SPKI_PREFIX.as_slice())?.try_into().ok()
}

impl Identity {
    /// Reads the root key, or makes one on the first run.
    pub(crate) fn open(layout: &Layout) -> Result<Self, StoreFailure> {
        let transport = transport_secret(layout)?;
        let layout = layout.clone();
        if let Some(der) = read_if_there(&layout.root_key())? {
            let root = parse_root(der)?;
            let fingerprint = fingerprint(&root)?;
            return Ok(Self { root: Root::Here(Box::new(root)), fingerprint, transport, layout });
        }
        if let Some(pem) = read_if_there(&layout.leaf())? {
            let leaf = parse_leaf(&pem)?;
            let fingerprint = leaf.cert.get(1).and_then(fingerprint_of);
            let fingerprint = fingerprint.ok_or(StoreFailure::Damaged("leaf.pem"))?;
            return Ok(Self { root: Root::Elsewhere, fingerprint, transport, layout });
        }
        let root = Self::create(&layout.root_key())?;
        let fingerprint = fingerprint(&root)?;
        Ok(Self { root: Root::Here(Box::new(root)), fingerprint, transport, layout })
    }

    fn create(path: &Path) -> Result<KeyPair, StoreFailure> {
        let root = new_key()?;
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
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &self.transport);
        let reset = hmac::sign(&secret, b"undertone/1 stateless reset");
        let ids = hmac::sign(&secret, b"undertone/1 connection ids");
        let key = |tag: hmac::Tag| hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref());
        ConnectionKeys { reset: key(reset), ids: key(ids) }
    }

    /// A leaf key with its certificate, and the root's certificates behind it: a fresh one, or, if
    /// the root key is elsewhere, the one that was installed last. Then those of the roots before.
    pub(crate) fn leaf(&self, unix_seconds: u64) -> Result<Certified, StoreFailure> {
        let succession = Succession::read(&self.layout)?;
        match &self.root {
            Root::Here(root) => {
                let key = new_key()?;
                let mut chain = certify(root, &key, unix_seconds, LEAF_LIFETIME)?;
                chain.extend(succession.behind(self.fingerprint));
                let private = PrivatePkcs8KeyDer::from(key.serialize_der());
                let signer = any_eddsa_type(&private).map_err(damaged)?;
                Ok(Certified {
                    key: Arc::new(CertifiedKey::new(chain, signer)),
                    begins: unix_seconds.saturating_sub(LEAF_BACKDATING.as_secs()),
                    ends: unix_seconds.saturating_add(LEAF_LIFETIME.as_secs()),
                })
            }
            Root::Elsewhere => {
                let pem = read_if_there(&self.layout.leaf())?;
                let pem = pem.ok_or(StoreFailure::Damaged("leaf.pem is missing"))?;
                let mut key = parse_leaf(&pem)?;
                // It may be another root's than when the relay was started.
                let root = key.cert.get(1).and_then(fingerprint_of);
                let root = root.ok_or(StoreFailure::Damaged("leaf.pem"))?;
                key.cert.extend(succession.behind(root));
                let ends = valid_until(&key.cert, self.fingerprint, unix_seconds).unwrap_or(0);
                warn_of_end(ends, unix_seconds);
                Ok(Certified { key: Arc::new(key), begins: 0, ends })
            }
        }
    }
}

/// Says in the log that somebody has to bring a new leaf.
fn warn_of_end(ends: u64, now: u64) {
    let days = ends.saturating_sub(now) / DAY;
    if ends == 0 {
        tracing::error!("clients refuse the certificate, it has ended; see `undertone-relay root`");
    } else if days < WARN_DAYS {
        tracing::warn!(days, "the certificate ends soon; see `undertone-relay root`");
    }
}

/// Made at the first start. If it is lost, clients that are connected learn of the next restart
/// later.
fn transport_secret(layout: &Layout) -> Result<[u8; 32], StoreFailure> {
    let path = layout.transport_key();
    if let Some(secret) = read_if_there(&path)? {
        return secret.try_into().map_err(|_| StoreFailure::Damaged("transport.key"));
    }
    let secret = random()?;
    write_private(&path, &secret)?;
    Ok(secret)
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
