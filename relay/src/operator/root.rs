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
//!
//! A root key can be replaced by another one, see `succession`: by [`rotate`] where it is in the
//! relay's directory, else by [`hand_over`] where it is, whose certificates are installed as well.
//! [`retire`] ends the oldest one that addresses may still name.

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
use super::succession::{self, Succession};
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
    /// Root keys before this one, the latest first: addresses that name them are good as well.
    pub former: Vec<RootFingerprint>,
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
    let is_waiting = read_if_there(&layout.next_leaf())?.is_some();
    let former = Succession::read(&layout)?.0;
    let former = former.iter().filter_map(succession::Former::fingerprint);
    // What is being given up is former only when the next one has taken its place.
    let former = former.filter(|former| Some(*former) != fingerprint).collect();
    Ok(Status { fingerprint, is_here: root.is_some(), leaf_ends, is_waiting, former })
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
    let mut chain = match chain {
        Ok(chain) if chain.len() >= 2 => chain,
        _ => return refused(NOT_CERTIFICATES),
    };
    // Behind leaf and root may stand what the root before signed for this one.
    let Some(Succession(handed)) = Succession::from_certificates(chain.split_off(2)) else {
        return refused(NOT_CERTIFICATES);
    };
    let found = chain.get(1).and_then(fingerprint_of);
    let status = status(directory, now)?;
    let pinned = status.fingerprint.or(found);
    let mut succession = Succession::read(&layout)?;
    for former in handed.into_iter().rev() {
        let known = succession.0.iter().any(|one| one.own == former.own);
        if !known {
            let Some(longer) = succession.with(former) else { return refused(TOO_MANY) };
            succession = longer;
        }
    }
    // Everybody who came so far must still be let in, and whoever gets the new address.
    let mut whole = chain.clone();
    if let Some(found) = found {
        whole.extend(succession.behind(found));
    }
    let accepts = |pinned| valid_until(&whole, pinned, now);
    let follows = pinned.is_none_or(|pinned| found == Some(pinned) || accepts(pinned).is_some());
    if found.is_none() || !follows {
        return refused(
            "this was signed by another root key: no client would recognise the relay. If that key takes the place of the old one, add what `undertone-relay root hand-over` printed",
        );
    }
    let file = leaf_pem(&key, &chain);
    if parse_leaf(file.as_bytes()).is_err() {
        return refused(
            "this was signed for another request; `undertone-relay root request` shows the one that waits",
        );
    }
    let ends = found.into_iter().chain(pinned).chain(status.former).map(accepts);
    let Some(ends) = ends.collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().min())
    else {
        return refused(
            "clients would refuse these certificates now: they have ended, or a clock is wrong",
        );
    };
    // First: of no use until the leaf is another one, and no harm.
    write_succession(&layout, &succession)?;
    write_private(&layout.leaf(), file.as_bytes())?;
    std::fs::remove_file(layout.next_leaf()).map_err(StoreFailure::from)?;
    Ok(ends)
}

const NOT_CERTIFICATES: &str =
    "this is not what `undertone-relay root sign` and `root hand-over` write: certificates";

const TOO_MANY: &str = "clients follow no more than three root keys back; end the oldest with `undertone-relay root retire`";

fn write_succession(layout: &Layout, succession: &Succession) -> Result<()> {
    if !succession.0.is_empty() {
        write_private(&layout.roots(), succession_pem(succession).as_bytes())?;
    }
    Ok(())
}

fn succession_pem(succession: &Succession) -> String {
    let all = succession.0.iter().flat_map(|former| [&former.handover, &former.own]);
    all.map(|certificate| pem("CERTIFICATE", certificate)).collect()
}

/// Where root keys are kept: lets one take the place of another. Makes the new one, unless its file is
/// there, and gives what the old one signed for it, as PEM, to be installed with the new one's first
/// certificates; and what people can compare: the old and the new fingerprint.
///
/// # Errors
/// [`RootError`].
pub fn hand_over(old: &Path, new: &Path) -> Result<(RootFingerprint, RootFingerprint, String)> {
    let old = root_from(old)?;
    if !new.try_exists().map_err(|error| RootError::File(new.to_owned(), error))? {
        create(new)?;
    }
    let new = root_from(new)?;
    let (from, to) = (fingerprint(&old)?, fingerprint(&new)?);
    if from == to {
        return refused("these are one and the same key");
    }
    let succession = Succession(vec![succession::hand_over(&old, &new)?]);
    Ok((from, to, succession_pem(&succession)))
}

/// Replaces the root key in the relay's directory by a new one, which the old one signs for. Addresses
/// that name the old one stay good; those that the relay prints from its next start on name the new one.
/// The old key is written to the file `keep`, or is gone. Begun and broken off, it is finished by the next
/// call.
///
/// # Errors
/// [`RootError`]; an existing file is left as it is.
pub fn rotate(directory: &Path, keep: Option<&Path>) -> Result<(RootFingerprint, RootFingerprint)> {
    let layout = Layout::new(directory);
    let Some(old) = read_root(&layout)? else {
        return refused(
            "the root key is not in this relay's directory; where it is, run `undertone-relay root hand-over`",
        );
    };
    let from = fingerprint(&old)?;
    let succession = Succession::read(&layout)?;
    let begun = succession.0.first().and_then(succession::Former::fingerprint) == Some(from);
    let new = match read_if_there(&layout.next_root_key())? {
        Some(der) => parse_root(der)?,
        None if begun => return Err(StoreFailure::Damaged("root-next.key is missing").into()),
        None => {
            let new = new_key()?;
            write_private(&layout.next_root_key(), new.serialized_der())?;
            new
        }
    };
    if !begun {
        let former = succession::hand_over(&old, &new)?;
        let Some(succession) = succession.with(former) else { return refused(TOO_MANY) };
        // From here on addresses with the old root lead to the new one, whichever key is in use.
        write_succession(&layout, &succession)?;
    }
    if let Some(keep) = keep {
        // It is there already if this was broken off behind it.
        let kept = std::fs::read(keep).is_ok_and(|kept| kept == old.serialized_der());
        if !kept {
            write_new(keep, old.serialized_der())?;
        }
    }
    std::fs::rename(layout.next_root_key(), layout.root_key()).map_err(StoreFailure::from)?;
    crate::store::sqlite::schema::sync_directory(directory)?;
    Ok((from, fingerprint(&new)?))
}

/// Ends the oldest root that addresses may still name: from the next reload on they are another relay's.
/// Gives its fingerprint; `None` if there is no former root.
///
/// # Errors
/// [`RootError`].
pub fn retire(directory: &Path) -> Result<Option<RootFingerprint>> {
    let layout = Layout::new(directory);
    let mut succession = Succession::read(&layout)?;
    let root = read_root(&layout)?.map(|root| fingerprint(&root)).transpose()?;
    let oldest = succession.0.last().and_then(succession::Former::fingerprint);
    if oldest.is_some() && oldest == root {
        return refused(
            "a new root key was begun and has not taken its place; run `undertone-relay root rotate` again",
        );
    }
    succession.0.pop();
    if succession.0.is_empty() {
        match std::fs::remove_file(layout.roots()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreFailure::from(error).into());
            }
            _ => crate::store::sqlite::schema::sync_directory(directory)?,
        }
    } else {
        write_succession(&layout, &succession)?;
    }
    Ok(oldest)
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
    write().map_err(|error| RootError::File(path.to_owned(), error))?;
    // Its name as well, before another copy is removed because of this one.
    Ok(super::sync_parent(path)?)
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
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
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
        assert!(text(install(relay.path(), &good[..400], NOW)).contains("root sign"));
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

    /// Four keys one after another, and what each signed for the next, the latest first.
    fn generations() -> (Vec<KeyPair>, Vec<succession::Former>) {
        let keys: Vec<_> = (0..4).map(|_| new_key().unwrap()).collect();
        let pairs = keys.windows(2).map(|pair| succession::hand_over(&pair[0], &pair[1]).unwrap());
        let mut formers: Vec<_> = pairs.collect();
        formers.reverse();
        (keys, formers)
    }

    /// Until when a client that pins a key accepts a leaf of the latest one with this behind it.
    fn accepted(pinned: &KeyPair, latest: &KeyPair, behind: &[CertificateDer<'static>]) -> bool {
        let leaf = new_key().unwrap();
        let mut chain = certify(latest, &leaf, NOW, Duration::from_secs(DAY)).unwrap();
        chain.extend(behind.iter().cloned());
        valid_until(&chain, fingerprint(pinned).unwrap(), NOW).is_some()
    }

    #[test]
    fn whoever_pins_a_former_root_follows_its_successors() {
        let (keys, formers) = generations();
        let behind = Succession(formers.clone()).behind(fingerprint(&keys[3]).unwrap());
        assert_eq!(behind.len(), 6);
        for pinned in &keys {
            assert!(accepted(pinned, &keys[3], &behind));
        }
        // A key that is being given up signs a last leaf: what it signed for the next one is left out.
        let shorter = Succession(formers.clone()).behind(fingerprint(&keys[2]).unwrap());
        assert_eq!(shorter, behind[2..]);
        for pinned in &keys[..3] {
            assert!(accepted(pinned, &keys[2], &shorter));
        }
        assert!(!accepted(&keys[3], &keys[2], &shorter));
        assert!(
            Succession(formers).with(succession::hand_over(&keys[3], &keys[0]).unwrap()).is_none()
        );
    }

    #[test]
    fn a_chain_with_a_fault_leads_nowhere() {
        let (keys, formers) = generations();
        let stranger = new_key().unwrap();
        let good = Succession(formers.clone()).behind(fingerprint(&keys[3]).unwrap());
        let (first, latest) = (&keys[0], &keys[3]);
        // R-1120: one missing; more than there may be.
        assert!(!accepted(first, latest, &good[..5]));
        let more = [good.as_slice(), &good[..2]].concat();
        assert!(!accepted(first, latest, &more) && !accepted(latest, latest, &more));
        // R-1121: nobody's root.
        assert!(!accepted(&stranger, latest, &good));
        // R-1122: a link is missing, another's, or for another key, which only those notice who need it.
        let missing = [&good[..2], &good[4..]].concat();
        assert!(!accepted(first, latest, &missing) && accepted(&keys[2], latest, &missing));
        for wrong in [
            succession::hand_over(&stranger, &keys[2]).unwrap().handover,
            succession::hand_over(&keys[1], &stranger).unwrap().handover,
            formers[1].own.clone(),
        ] {
            let mut chain = good.clone();
            chain[2] = wrong;
            assert!(!accepted(&keys[1], latest, &chain) && !accepted(first, latest, &chain));
            assert!(accepted(&keys[2], latest, &chain) && accepted(latest, latest, &chain));
        }
        // A leaf that is no successor's, behind certificates that are all good.
        assert!(!accepted(first, &stranger, &good));
        // What a former key did not sign it does not lead to: a leaf is none of its successors.
        let leaf = new_key().unwrap();
        let mut chain = certify(&keys[2], &leaf, NOW, Duration::from_secs(DAY)).unwrap();
        let below = new_key().unwrap();
        let mut issued = certify(&leaf, &below, NOW, Duration::from_secs(DAY)).unwrap();
        issued.push(chain.remove(0));
        issued.push(chain.remove(0));
        assert!(valid_until(&issued, fingerprint(&keys[2]).unwrap(), NOW).is_none());
    }

    #[test]
    fn a_rotation_that_was_broken_off_is_finished() {
        let (relay, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let layout = Layout::new(relay.path());
        let kept = elsewhere.path().join("old.key");
        let first = create(&layout.root_key()).unwrap();
        // Behind each step: the next key, what was signed for it, the copy of the old one.
        let next = new_key().unwrap();
        write_private(&layout.next_root_key(), next.serialized_der()).unwrap();
        let old = read_root(&layout).unwrap().unwrap();
        let begun = Succession(vec![succession::hand_over(&old, &next).unwrap()]);
        write_succession(&layout, &begun).unwrap();
        write_new(&kept, old.serialized_der()).unwrap();
        assert!(status(relay.path(), NOW).unwrap().former.is_empty(), "the old one is in use");
        assert!(text(retire(relay.path())).contains("root rotate"));
        let to = fingerprint(&next).unwrap();
        assert_eq!(rotate(relay.path(), Some(&kept)).unwrap(), (first, to));
        assert_eq!(std::fs::read(&kept).unwrap(), old.serialized_der());
        let known = status(relay.path(), NOW).unwrap();
        assert_eq!((known.fingerprint, known.former), (Some(to), vec![first]));
        // Two more, then no more; and the oldest goes.
        rotate(relay.path(), None).unwrap();
        rotate(relay.path(), None).unwrap();
        assert!(text(rotate(relay.path(), None)).contains("root retire"));
        assert!(text(rotate(relay.path(), Some(&kept))).contains("root retire"));
        assert_eq!(retire(relay.path()).unwrap(), Some(first));
        rotate(relay.path(), None).unwrap();
        assert_eq!(status(relay.path(), NOW).unwrap().former.len(), 3);
        for _ in 0..3 {
            assert!(retire(relay.path()).unwrap().is_some());
        }
        assert_eq!(retire(relay.path()).unwrap(), None);
        assert!(!layout.roots().exists());
        // A file that is something else is left as it is.
        let before = status(relay.path(), NOW).unwrap().fingerprint;
        assert!(text(rotate(relay.path(), Some(&kept))).contains("exists"));
        assert_eq!(status(relay.path(), NOW).unwrap().fingerprint, before);
    }

    #[test]
    fn a_root_key_that_is_elsewhere_hands_over() {
        let (relay, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (old, new) = (elsewhere.path().join("old"), elsewhere.path().join("new"));
        let first = create(&old).unwrap();
        let sign_for = |key: &Path| {
            let asked = request(relay.path()).unwrap();
            sign(key, &asked, 30, NOW).unwrap().1
        };
        install(relay.path(), &sign_for(&old), NOW).unwrap();
        assert!(text(rotate(relay.path(), None)).contains("hand-over"));
        let (from, to, handed) = hand_over(&old, &new).unwrap();
        assert!(from == first && to != first);
        assert_eq!(hand_over(&old, &new).unwrap().1, to, "the new key is made once");
        assert!(text(hand_over(&old, &old)).contains("same key"));
        // The new key's certificates alone are another relay's.
        let signed = sign_for(&new);
        assert!(text(install(relay.path(), &signed, NOW)).contains("hand-over"));
        let other = elsewhere.path().join("other");
        create(&other).unwrap();
        let foreign = hand_over(&other, &new).unwrap().2;
        assert!(
            text(install(relay.path(), &format!("{signed}{foreign}"), NOW)).contains("another")
        );
        install(relay.path(), &format!("{signed}{handed}"), NOW).unwrap();
        let known = status(relay.path(), NOW).unwrap();
        assert_eq!((known.fingerprint, known.former), (Some(to), vec![first]));
        // From then on the new key alone does.
        install(relay.path(), &sign_for(&new), NOW).unwrap();
        assert_eq!(status(relay.path(), NOW).unwrap().former, [first]);
    }
}
