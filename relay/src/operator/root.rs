//! Keeping the root key away from the relay.
//!
//! Whoever has the root key can be this relay. A machine that is on the network needs only a leaf
//! key, whose certificate ends: the root key can be on another machine, which needs no network.
//!
//! 1. [`export`] with `remove` copies the root key to a file and leaves a leaf behind. (For a new
//!    relay: [`create`] elsewhere, then go on with 2.)
//! 2. On the relay's machine, [`request`] makes a new leaf key and a request: its public key, as PEM.
//! 3. Where the root key is, [`sign`] makes certificates for a request.
//! 4. On the relay's machine, [`install`] checks them and puts them into use with the next reload.

use core::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::BASE64;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SignatureAlgorithm};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use undertone_wire::RootFingerprint;

use super::identity::{
    DAY, LONGEST_LEAF, SPKI_PREFIX, certify, fingerprint, fingerprint_of, new_key, parse_leaf,
    parse_root, raw_public, valid_until,
};
use super::{Layout, private_directory, read_if_there, write_private};
use crate::store::StoreFailure;

/// How long a leaf is good if nothing else is wanted: time for a holiday between two signatures.
pub const DEFAULT_DAYS: u32 = 90;

/// Why something with the root key was not done. Nothing was changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum RootError {
    /// The relay's directory.
    Store(StoreFailure),
    /// A file that was named.
    File(PathBuf, std::io::Error),
    /// A sentence that says what is wrong, and what to do.
    Refused(String),
}

impl fmt::Display for RootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(failure) => failure.fmt(f),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Refused(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for RootError {}

impl From<StoreFailure> for RootError {
    fn from(failure: StoreFailure) -> Self {
        Self::Store(failure)
    }
}

type Result<T> = std::result::Result<T, RootError>;

fn refused<T>(sentence: &str) -> Result<T> {
    Err(RootError::Refused(sentence.to_owned()))
}

/// What a relay has of its root.
#[derive(Clone, Debug)]
pub struct Status {
    /// What clients pin; `None` if the relay never ran.
    pub fingerprint: Option<RootFingerprint>,
    /// Whether the root key is in the relay's directory.
    pub is_here: bool,
    /// When the installed leaf ends, in Unix time; `None` if there is none, or it has ended.
    pub leaf_ends: Option<u64>,
    /// Whether a certificate was asked for and not installed.
    pub is_waiting: bool,
}

/// Looks at what is there.
///
/// # Errors
/// [`RootError::Store`].
pub fn status(directory: &Path, now: u64) -> Result<Status> {
    let layout = Layout::new(directory);
    let root = read_root(&layout)?;
    let leaf = read_leaf(&layout)?;
    let fingerprint = match (&root, &leaf) {
        (Some(root), _) => Some(fingerprint(root)?),
        (None, Some((pinned, _))) => Some(*pinned),
        (None, None) => known(directory)?,
    };
    let leaf_ends = leaf.and_then(|(pinned, chain)| valid_until(&chain, pinned, now));
    let waiting = read_if_there(&layout.next_leaf())?.is_some();
    Ok(Status { fingerprint, is_here: root.is_some(), leaf_ends, is_waiting: waiting })
}

fn read_root(layout: &Layout) -> Result<Option<KeyPair>> {
    Ok(read_if_there(&layout.root_key())?.map(parse_root).transpose()?)
}

type Chain = Vec<CertificateDer<'static>>;

fn read_leaf(layout: &Layout) -> Result<Option<(RootFingerprint, Chain)>> {
    let Some(pem) = read_if_there(&layout.leaf())? else { return Ok(None) };
    let chain = parse_leaf(&pem)?.cert;
    let pinned = chain.get(1).and_then(fingerprint_of);
    Ok(Some((pinned.ok_or(StoreFailure::Damaged("leaf.pem"))?, chain)))
}

/// The fingerprint in the address that clients were told.
fn known(directory: &Path) -> Result<Option<RootFingerprint>> {
    Ok(crate::known_address(directory)?.map(|address| *address.root()))
}

/// Makes a root key in a file, for a relay that has never run.
///
/// # Errors
/// [`RootError`]; an existing file is left as it is.
pub fn create(file: &Path) -> Result<RootFingerprint> {
    let root = new_key()?;
    write_new(file, root.serialized_der())?;
    Ok(fingerprint(&root)?)
}

/// Copies the root key to a file. With `remove`, a leaf for so many days takes its place in the relay's
/// directory; the relay has to be started anew to forget the key.
///
/// # Errors
/// [`RootError`]; an existing file is left as it is.
pub fn export(
    directory: &Path,
    file: &Path,
    remove: Option<u32>,
    now: u64,
) -> Result<RootFingerprint> {
    let layout = Layout::new(directory);
    let Some(root) = read_root(&layout)? else {
        return refused("the root key is not in this relay's directory");
    };
    let lifetime = remove.map(lifetime).transpose()?;
    write_new(file, root.serialized_der())?;
    let copy = std::fs::read(file).map_err(|error| RootError::File(file.to_owned(), error))?;
    if copy != root.serialized_der() {
        return refused("the copy is not what was written; nothing was removed");
    }
    if let Some(lifetime) = lifetime {
        let key = new_key()?;
        let chain = certify(&root, &key, now, lifetime)?;
        write_private(&layout.leaf(), leaf_pem(&key, &chain).as_bytes())?;
        // Not before the leaf is durable: a relay without either does not start.
        std::fs::remove_file(layout.root_key()).map_err(StoreFailure::from)?;
        crate::store::sqlite::schema::sync_directory(directory)?;
    }
    Ok(fingerprint(&root)?)
}

/// Puts a root key back into the relay's directory, from which on the relay signs its own leaves.
///
/// # Errors
/// [`RootError`]; refused if it is another relay's.
pub fn import(directory: &Path, file: &Path, now: u64) -> Result<RootFingerprint> {
    let layout = Layout::new(directory);
    let root = root_from(file)?;
    let found = fingerprint(&root)?;
    match status(directory, now)?.fingerprint {
        Some(pinned) if pinned != found => {
            return refused("this is another relay's root key: no client would recognise this one");
        }
        _ => {}
    }
    private_directory(directory)?;
    write_private(&layout.root_key(), root.serialized_der())?;
    match std::fs::remove_file(layout.leaf()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(StoreFailure::from(error).into());
        }
        _ => {}
    }
    Ok(found)
}

/// Makes a new leaf key, which stays in the relay's directory, and a request for it as PEM.
///
/// # Errors
/// [`RootError`].
pub fn request(directory: &Path) -> Result<String> {
    let layout = Layout::new(directory);
    private_directory(directory)?;
    let key = match read_if_there(&layout.next_leaf())? {
        // The same as long as it waits: a request that is under way stays good.
        Some(der) => parse_root(der)?,
        None => {
            let key = new_key()?;
            write_private(&layout.next_leaf(), key.serialized_der())?;
            key
        }
    };
    Ok(pem("PUBLIC KEY", &[SPKI_PREFIX.as_slice(), key.public_key_raw()].concat()))
}

/// A short name for a request, by which two people can tell that they mean the same.
///
/// # Errors
/// [`RootError::Refused`] if it is no request.
pub fn request_name(request: &str) -> Result<String> {
    let key = requested(request)?;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key.0);
    let bytes = hash.as_ref().get(..8).unwrap_or_default();
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A public key that came in a request.
struct Requested([u8; 32]);

impl PublicKeyData for Requested {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

fn requested(request: &str) -> Result<Requested> {
    let info = SubjectPublicKeyInfoDer::from_pem_slice(request.as_bytes()).ok();
    match info.and_then(|info| raw_public(&info)) {
        Some(key) => Ok(Requested(key)),
        None => refused("this is no request; make one with `undertone-relay root request`"),
    }
}

fn root_from(file: &Path) -> Result<KeyPair> {
    let der = std::fs::read(file).map_err(|error| RootError::File(file.to_owned(), error))?;
    parse_root(der).map_err(|_| RootError::Refused(format!("{} is no root key", file.display())))
}

fn lifetime(days: u32) -> Result<Duration> {
    let lifetime = Duration::from_secs(u64::from(days).saturating_mul(DAY));
    if lifetime.is_zero() || lifetime > LONGEST_LEAF {
        let most = LONGEST_LEAF.as_secs() / DAY;
        return refused(&format!("a certificate is good for 1 to {most} days"));
    }
    Ok(lifetime)
}

/// Signs a request with the root key in a file: certificates as PEM, and whose.
///
/// # Errors
/// [`RootError`].
pub fn sign(root: &Path, request: &str, days: u32, now: u64) -> Result<(RootFingerprint, String)> {
    let root = root_from(root)?;
    let chain = certify(&root, &requested(request)?, now, lifetime(days)?)?;
    Ok((fingerprint(&root)?, chain.iter().map(|c| pem("CERTIFICATE", c)).collect()))
}

/// Puts certificates into use that were signed for this relay's request; when they end, in Unix
/// time.
///
/// # Errors
/// [`RootError`]; refused if clients would refuse them.
pub fn install(directory: &Path, certificates: &str, now: u64) -> Result<u64> {
    let layout = Layout::new(directory);
    let Some(key) = read_if_there(&layout.next_leaf())? else {
        return refused("no certificate was asked for; begin with `undertone-relay root request`");
    };
    let key = parse_root(key)?;
    let chain: std::result::Result<Chain, _> =
        CertificateDer::pem_slice_iter(certificates.as_bytes()).collect();
    let Some(chain) = chain.ok().filter(|chain| chain.len() == 2) else {
        return refused("this is not what `undertone-relay root sign` writes: two certificates");
    };
    let found = chain.get(1).and_then(fingerprint_of);
    let pinned = status(directory, now)?.fingerprint.or(found);
    if found.is_none() || found != pinned {
        return refused("this was signed by another root key: no client would recognise the relay");
    }
    let file = leaf_pem(&key, &chain);
    if parse_leaf(file.as_bytes()).is_err() {
        return refused(
            "this was signed for another request; `undertone-relay root request` shows the one that waits",
        );
    }
    let Some(ends) = pinned.and_then(|pinned| valid_until(&chain, pinned, now)) else {
        return refused(
            "clients would refuse these certificates now: they have ended, or a clock is wrong",
        );
    };
    write_private(&layout.leaf(), file.as_bytes())?;
    std::fs::remove_file(layout.next_leaf()).map_err(StoreFailure::from)?;
    Ok(ends)
}

/// Makes a file that only its owner can read, unless there is one.
fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| RootError::File(path.to_owned(), error))
}

/// `leaf.pem`: private key, leaf, root.
fn leaf_pem(key: &KeyPair, chain: &[CertificateDer<'_>]) -> String {
    let mut text = pem("PRIVATE KEY", key.serialized_der());
    text.extend(chain.iter().map(|certificate| pem("CERTIFICATE", certificate)));
    text
}

/// Letters in a line of PEM (RFC 7468).
const PEM_LINE: usize = 64;

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = BASE64.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in encoded.as_bytes().chunks(PEM_LINE) {
        // Base64 is ASCII.
        text.push_str(core::str::from_utf8(line).unwrap_or_default());
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn text<T: fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_root_key_that_was_never_on_the_relay_signs_its_leaves() {
        let (relay, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = elsewhere.path().join("root.key");
        let pinned = create(&file).unwrap();
        assert!(text(create(&file)).contains("exists"), "a root key is never overwritten");
        let asked = request(relay.path()).unwrap();
        assert_eq!(asked, request(relay.path()).unwrap(), "a request that waits stays good");
        assert_eq!(request_name(&asked).unwrap().len(), 16);
        let (by, signed) = sign(&file, &asked, 30, NOW).unwrap();
        assert_eq!(by, pinned);
        assert_eq!(install(relay.path(), &signed, NOW).unwrap(), NOW + 30 * DAY + 1);
        let status = status(relay.path(), NOW).unwrap();
        assert!(!status.is_here && !status.is_waiting && status.fingerprint == Some(pinned));
        // Another root's certificates, an old request's, and ended ones are refused.
        let other = elsewhere.path().join("other.key");
        create(&other).unwrap();
        let asked = request(relay.path()).unwrap();
        let (_, foreign) = sign(&other, &asked, 30, NOW).unwrap();
        assert!(text(install(relay.path(), &foreign, NOW)).contains("another root key"));
        assert!(text(install(relay.path(), &signed, NOW)).contains("another request"));
        let (_, good) = sign(&file, &asked, 30, NOW).unwrap();
        assert!(text(install(relay.path(), &good, NOW + 31 * DAY)).contains("refuse"));
        assert!(text(install(relay.path(), &good[..400], NOW)).contains("two certificates"));
        assert!(text(sign(&file, &asked, 399, NOW)).contains("398 days"));
        assert!(text(sign(&file, "junk", 30, NOW)).contains("no request"));
        install(relay.path(), &good, NOW).unwrap();
        assert!(text(install(relay.path(), &good, NOW)).contains("no certificate was asked for"));
    }

    #[test]
    fn a_root_key_leaves_and_comes_back() {
        let (relay, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let layout = Layout::new(relay.path());
        let file = elsewhere.path().join("root.key");
        let pinned = create(&layout.root_key()).unwrap();
        assert_eq!(export(relay.path(), &file, Some(90), NOW).unwrap(), pinned);
        assert!(!layout.root_key().exists() && file.exists());
        let status = status(relay.path(), NOW).unwrap();
        assert_eq!(status.leaf_ends, Some(NOW + 90 * DAY + 1));
        assert!(text(export(relay.path(), &file, None, NOW)).contains("not in this relay's"));
        let other = elsewhere.path().join("other.key");
        create(&other).unwrap();
        assert!(text(import(relay.path(), &other, NOW)).contains("another relay's"));
        assert_eq!(import(relay.path(), &file, NOW).unwrap(), pinned);
        assert!(layout.root_key().exists() && !layout.leaf().exists());
    }
}
