//! Signing again what was edited, so that fuzzing reaches what stands behind
//! a signature. Written from the specification, not from the core.

use ed25519_dalek::{Signer, SigningKey};

const KEY: usize = 32;
const SIGNATURE: usize = 64;
const DEVICE: usize = 64;

fn sign(seed: &[u8; 32], label: &[u8], message: &[&[u8]]) -> [u8; SIGNATURE] {
    let message = [label, &message.concat()].concat();
    SigningKey::from_bytes(seed).sign(&message).to_bytes()
}

/// Signs the certificates and the list anew, as far as the layout holds.
pub fn list(bytes: &mut [u8], account: &[u8; 32]) -> Option<()> {
    let key: [u8; KEY] = *bytes.first_chunk()?;
    let count = usize::from(*bytes.get(KEY + 8)?);
    let mut at = KEY + 9;
    for _ in 0..count {
        let keys = bytes.get(at..at + DEVICE)?.to_vec();
        let place = bytes.get_mut(at + DEVICE..at + DEVICE + SIGNATURE)?;
        place.copy_from_slice(&sign(account, b"Undertone v1 device certificate", &[&key, &keys]));
        at += DEVICE + SIGNATURE;
        let len: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
        at += 2 + usize::from(u16::from_be_bytes(len));
    }
    last(bytes, b"Undertone v1 device list", account)
}

/// Signs a whole bundle anew.
pub fn bundle(bytes: &mut [u8], device: &[u8; 32]) -> Option<()> {
    last(bytes, b"Undertone v1 prekey bundle", device)
}

/// The signature at the end, over everything before it.
fn last(bytes: &mut [u8], label: &[u8], seed: &[u8; 32]) -> Option<()> {
    let (signed, signature) = bytes.split_last_chunk_mut::<SIGNATURE>()?;
    *signature = sign(seed, label, &[signed]);
    Some(())
}
