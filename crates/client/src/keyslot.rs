//! The key slot: the store's random key, wrapped by a passphrase or by a key of the system's.
//!
//! ```text
//! keyslot = "UTKEYSLT" (8) ‖ version 1 (1) ‖ method (1) ‖ memory KiB (4) ‖ passes (4) ‖ lanes (4)
//!         ‖ salt (16) ‖ nonce (12) ‖ AES-256-GCM of the store key (32 + 16)
//! ```
//!
//! Method 1 is Argon2id (RFC 9106) over the passphrase, method 2 a 32-byte key that is used as it
//! is. Everything before the sealed key is its associated data. Integers are big-endian.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use crate::builder::Secret;
use crate::error::Error;

const MAGIC: &[u8; 8] = b"UTKEYSLT";
const VERSION: u8 = 1;
const PASSPHRASE: u8 = 1;
const KEY: u8 = 2;
const SALT: usize = 16;
const NONCE: usize = 12;
const SEALED: usize = 32 + 16;
const HEADER: usize = 8 + 1 + 1 + 4 + 4 + 4 + SALT + NONCE;
const LEN: usize = HEADER + SEALED;

/// RFC 9106, section 4, second recommended option, in one lane: 64 MiB, three passes. Under half a
/// second on a phone of today, and 64 MiB for each guess.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// The costliest parameters that are carried out: a damaged slot must not take all memory.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 32;
const MAX_LANES: u32 = 16;

/// The store's key, wiped on drop.
pub(crate) type StoreKey = Zeroizing<[u8; 32]>;

fn unreadable(reason: &str) -> Error {
    Error::KeyslotUnreadable { reason: reason.to_owned() }
}

fn failed(error: &io::Error) -> Error {
    Error::StoreFailed { reason: error.to_string() }
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::StoreFailed {
        reason: format!("the system gives no random numbers: {e}"),
    })?;
    Ok(bytes)
}

/// Makes a random store key and the slot that wraps it.
pub(crate) fn create(secret: &Secret) -> Result<(StoreKey, Vec<u8>), Error> {
    let key = Zeroizing::new(random::<32>()?);
    let mut slot = Vec::with_capacity(LEN);
    slot.extend_from_slice(MAGIC);
    slot.push(VERSION);
    let (method, costs) = match secret {
        Secret::Passphrase(_) => (PASSPHRASE, [MEMORY_KIB, PASSES, LANES]),
        Secret::Key(_) => (KEY, [0; 3]),
    };
    slot.push(method);
    for cost in costs {
        slot.extend_from_slice(&cost.to_be_bytes());
    }
    let salt = random::<SALT>()?;
    slot.extend_from_slice(&salt);
    let nonce = random::<NONCE>()?;
    slot.extend_from_slice(&nonce);
    let wrapping = wrapping_key(secret, costs, &salt)?;
    let sealed = cipher(&wrapping)
        .encrypt(&Nonce::from(nonce), Payload { msg: key.as_slice(), aad: &slot })
        .map_err(|_| unreadable("it can't be sealed"))?;
    slot.extend_from_slice(&sealed);
    Ok((key, slot))
}

/// Unwraps the store key.
pub(crate) fn open(slot: &[u8], secret: &Secret) -> Result<StoreKey, Error> {
    if slot.len() != LEN {
        return Err(unreadable("its length is wrong"));
    }
    let (header, sealed) = slot.split_at_checked(HEADER).ok_or_else(|| unreadable("it is cut"))?;
    let mut rest = header.strip_prefix(MAGIC).ok_or_else(|| unreadable("it is no key slot"))?;
    let [version, method] = take::<2>(&mut rest)?;
    if version != VERSION {
        return Err(unreadable("it is of a newer version: update the program"));
    }
    let mut costs = [0; 3];
    for cost in &mut costs {
        *cost = u32::from_be_bytes(take::<4>(&mut rest)?);
    }
    let salt = take::<SALT>(&mut rest)?;
    let nonce = take::<NONCE>(&mut rest)?;
    match (method, secret) {
        (PASSPHRASE, Secret::Passphrase(_)) => {
            let [memory, passes, lanes] = costs;
            if memory > MAX_MEMORY_KIB || passes > MAX_PASSES || lanes > MAX_LANES {
                return Err(unreadable("its costs are beyond all reason"));
            }
        }
        (KEY, Secret::Key(_)) => {}
        // A passphrase where a key belongs, or the other way round.
        (PASSPHRASE | KEY, _) => return Err(Error::WrongPassphrase),
        _ => return Err(unreadable("its method is not known: update the program")),
    }
    let wrapping = wrapping_key(secret, costs, &salt)?;
    let key = cipher(&wrapping)
        .decrypt(&Nonce::from(nonce), Payload { msg: sealed, aad: header })
        .map(Zeroizing::new)
        .map_err(|_| Error::WrongPassphrase)?;
    let key: [u8; 32] = key.as_slice().try_into().map_err(|_| unreadable("it is cut"))?;
    Ok(Zeroizing::new(key))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Error> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or_else(|| unreadable("it is cut"))?;
    *rest = tail;
    Ok(*head)
}

fn cipher(key: &[u8; 32]) -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key))
}

fn wrapping_key(secret: &Secret, costs: [u32; 3], salt: &[u8]) -> Result<StoreKey, Error> {
    match secret {
        Secret::Key(key) => Ok(Zeroizing::new(key.0)),
        Secret::Passphrase(passphrase) => {
            let [memory, passes, lanes] = costs;
            let params = Params::new(memory, passes, lanes, Some(32))
                .map_err(|_| unreadable("its costs make no sense"))?;
            let mut key = Zeroizing::new([0; 32]);
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
                .map_err(|_| unreadable("its passphrase can't be derived"))?;
            Ok(key)
        }
    }
}

/// Reads a slot; absent and unreadable are different errors.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(&e)),
    };
    let mut slot = Vec::with_capacity(LEN);
    // One byte more than a slot has, so that a longer file is noticed and not read.
    let most = u64::try_from(LEN).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut slot).map_err(|e| failed(&e))?;
    Ok(Some(slot))
}

/// Writes a slot to a new file, readable by its owner alone, and waits until it is on the disk.
pub(crate) fn write(path: &Path, slot: &[u8]) -> Result<(), Error> {
    let write = || -> io::Result<()> {
        let mut file = crate::profile::private_file().create_new(true).open(path)?;
        file.write_all(slot)?;
        file.sync_all()
    };
    write().map_err(|e| failed(&e))
}

/// Waits until the names in a directory are on the disk.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    // A directory can be opened and synced on Unix only; elsewhere renaming is enough.
    if cfg!(unix) {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| failed(&e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn the_right_secret_opens_and_no_other() {
        let (key, slot) = create(&Secret::passphrase("correct horse")).unwrap();
        assert_eq!(slot.len(), LEN);
        assert_eq!(open(&slot, &Secret::passphrase("correct horse")).unwrap(), key);
        for wrong in
            [Secret::passphrase("correct horsf"), Secret::passphrase(""), Secret::key([0; 32])]
        {
            assert_eq!(open(&slot, &wrong).unwrap_err().code(), "wrong-passphrase");
        }
        let (key, slot) = create(&Secret::key([7; 32])).unwrap();
        assert_eq!(open(&slot, &Secret::key([7; 32])).unwrap(), key);
        assert_eq!(open(&slot, &Secret::key([8; 32])).unwrap_err().code(), "wrong-passphrase");
    }

    #[test]
    fn damage_is_never_taken_for_a_key() {
        let (_, slot) = create(&Secret::key([7; 32])).unwrap();
        for at in 0..slot.len() {
            let mut damaged = slot.clone();
            damaged[at] ^= 1;
            assert!(open(&damaged, &Secret::key([7; 32])).is_err(), "byte {at}");
        }
        for end in 0..slot.len() {
            assert_eq!(
                open(&slot[..end], &Secret::key([7; 32])).unwrap_err().code(),
                "keyslot-unreadable"
            );
        }
    }

    #[test]
    fn unreasonable_costs_are_refused_before_they_are_paid() {
        let (_, mut slot) = create(&Secret::passphrase("x")).unwrap();
        slot[10..14].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(open(&slot, &Secret::passphrase("x")).unwrap_err().code(), "keyslot-unreadable");
    }
}
