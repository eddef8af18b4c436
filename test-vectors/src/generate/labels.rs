//! Family `labels`: a file for each.

use serde_json::{Value, json};

use super::{Files, about};
use crate::stream::Stream;
use crate::value::hex;

/// Name, text, how it is used, where.
const LABELS: [(&str, &str, Use, &str); 31] = [
    ("LABEL_ACCOUNT_FINGERPRINT", "account fingerprint", Use::Hash(&[32]), "02 §1"),
    ("LABEL_DEVICE_CERTIFICATE", "device certificate", Use::Sign(96), "02 §3"),
    ("LABEL_DEVICE_LIST", "device list", Use::Sign(171), "02 §4"),
    ("LABEL_DEVICE_LIST_HASH", "list hash", Use::Hash(&[235]), "02 §5"),
    ("LABEL_SAFETY_NUMBER", "safety number", Use::Hash(&[32, 32]), "02 §6"),
    ("LABEL_LINK_FETCH", "link fetch", Use::Expand(0, 32), "03-prekeys §1"),
    ("LABEL_LINK_CARD", "link card", Use::Expand(0, 32), "03-prekeys §1"),
    ("LABEL_LINK_HELLO", "link hello", Use::Expand(0, 32), "03-prekeys §1"),
    ("LABEL_LINK_PSK", "link psk", Use::Expand(0, 32), "03-prekeys §1"),
    ("LABEL_BUNDLE", "prekey bundle", Use::Sign(4004), "03-prekeys §2"),
    ("LABEL_CARD_SEAL", "card seal", Use::Seal(100), "03-prekeys §3"),
    ("LABEL_HELLO_SEAL", "hello seal", Use::Seal(100), "04 §5"),
    ("LABEL_TRANSCRIPT", "transcript", Use::Hash(&[32, 1, 4, 32]), "04 §1"),
    ("LABEL_IDENTITY_KEY", "identity key", Use::Expand(32, 32), "04 §3"),
    ("LABEL_HANDSHAKE_CHAIN", "handshake chain", Use::Expand(32, 32), "04 §3"),
    ("LABEL_SESSION_KEYS", "session keys", Use::Expand(32, 96), "04 §3"),
    ("LABEL_STEP", "step", Use::Expand(0, 96), "05 §3"),
    ("LABEL_EPOCH_STEP", "epoch step", Use::Expand(68, 96), "05 §3"),
    ("LABEL_CHAIN", "chain", Use::Expand(0, 64), "05 §4"),
    ("LABEL_BODY", "body", Use::Expand(12, 32), "05 §4"),
    ("LABEL_NONCE", "nonce", Use::Hash(&[53, 927]), "05 §4"),
    ("LABEL_CHAIN_CONSTANTS", "chain constants", Use::Hash(&[32, 4, 4, 8]), "05 §7"),
    ("LABEL_EPOCH_TAG", "epoch tag", Use::Hash(&[4, 32, 32]), "06 §2"),
    ("LABEL_KEM_KEY_HASH", "kem key", Use::Hash(&[1184]), "06 §2"),
    ("LABEL_KEM_CIPHERTEXT_HASH", "kem ciphertext", Use::Hash(&[32, 1088]), "06 §2"),
    ("LABEL_FILE_COMMITMENT", "file commitment", Use::Expand(0, 32), "08 §1"),
    ("LABEL_FILE_STREAM", "file stream", Use::Expand(0, 32), "08 §1"),
    ("LABEL_RECOVERY_CHECK", "recovery key check", Use::Hash(&[1, 8]), "14 §1"),
    ("LABEL_BACKUP_HEAD", "backup head", Use::Hash(&[74]), "14 §2"),
    ("LABEL_BACKUP_COMMITMENT", "backup commitment", Use::Expand(2, 32), "14 §2"),
    ("LABEL_BACKUP_CHUNKS", "backup chunks", Use::Expand(2, 32), "14 §2"),
];

#[derive(Clone, Copy)]
enum Use {
    /// Of parts of these lengths.
    Hash(&'static [usize]),
    /// Bytes of info behind the label, bytes of output.
    Expand(usize, usize),
    /// Bytes of message behind the label.
    Sign(usize),
    /// Bytes of plaintext.
    Seal(usize),
}

pub(super) fn make(files: &mut Files) {
    for (label, text, used, place) in LABELS {
        one(files, label, text, used, place);
        if label == "LABEL_SAFETY_NUMBER" {
            one(files, label, text, Use::Expand(0, 60), place);
        }
        if label == "LABEL_NONCE" {
            one(files, label, text, Use::Expand(44, 12), place);
        }
    }
}

fn one(files: &mut Files, label: &str, text: &str, used: Use, place: &str) {
    let mut stream = Stream::named(label);
    let mut bytes = |n| hex(&stream.take(n));
    let (op, mut input) = match used {
        Use::Hash(parts) => {
            let parts: Vec<Value> = parts.iter().map(|n| bytes(*n)).collect();
            ("label-hash", json!({ "parts": parts }))
        }
        Use::Expand(info, length) => {
            ("label-expand", json!({ "key": bytes(32), "info": bytes(info), "length": length }))
        }
        Use::Sign(length) => {
            let message = if length > 1000 {
                json!({ "stream": bytes(32), "length": length })
            } else {
                bytes(length)
            };
            ("label-sign", json!({ "secret": bytes(32), "message": message }))
        }
        Use::Seal(length) => {
            ("label-seal", json!({ "key": bytes(32), "nonce": bytes(12), "plain": bytes(length) }))
        }
    };
    super::put(&mut input, "label", json!(label));
    super::put(&mut input, "text", json!(format!("Undertone v1 {text}")));
    let file = format!("{}-{}", text.replace(' ', "-"), op.trim_start_matches("label-"));
    let about_text = format!("The label of {place}, in the form in which it is used there.");
    files.valid(&about("labels", &file, &["01 §3", place], &about_text), op, input);
}
