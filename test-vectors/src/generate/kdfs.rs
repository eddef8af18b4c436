//! Family `kdf`: every equation that derives something.

use serde_json::{Value, json};

use super::{Files, about, put};
use crate::stream::Stream;
use crate::value::hex;

const FAMILY: &str = "kdf";

pub(super) fn make(files: &mut Files) {
    let mut make =
        |name: &str, op: &str, place: &str, text: &str, fixed: Value, drawn: &[(&str, usize)]| {
            let mut stream = Stream::named(&format!("kdf {name}"));
            let mut input = fixed;
            for (member, length) in drawn {
                put(&mut input, member, hex(&stream.take(*length)));
            }
            files.valid(&about(FAMILY, name, &[place], text), op, input);
        };
    make(
        "link-keys",
        "link-keys",
        "03-prekeys §1",
        "What comes from a link secret.",
        json!({}),
        &[("link_secret", 32)],
    );
    let example = json!({ "link_secret": "9df764a92c8768b0163e7b6430418e7a8e227925afb8ee74024b0a9f76a8e390" });
    make(
        "link-keys-example",
        "link-keys",
        "03-prekeys §1",
        "The example of the specification.",
        example,
        &[],
    );
    let large = |seed: u8, length: u32| json!({ "stream": hex(&[seed; 32]), "length": length });
    for (name, identity) in [("transcript-short", 784), ("transcript-long", 2416)] {
        let parts = json!({
            "bundle": large(1, 4068),
            "ciphertext": large(2, 1568),
            "identity": large(3, identity),
        });
        make(
            name,
            "transcript",
            "04 §1",
            "The running hash of a handshake.",
            parts,
            &[("ephemeral", 32)],
        );
    }
    let inputs = [
        ("link_psk", 32),
        ("ss", 32),
        ("dh_ephemeral_prekey", 32),
        ("dh_ephemeral_identity", 32),
        ("dh_identity_prekey", 32),
        ("t3", 32),
        ("t4", 32),
    ];
    make(
        "handshake-keys",
        "handshake-keys",
        "04 §3",
        "The key schedule of a handshake.",
        json!({}),
        &inputs,
    );
    make(
        "plain-step",
        "plain-step",
        "05 §3",
        "A half-step without a new epoch.",
        json!({}),
        &[("root", 32), ("exchange", 32)],
    );
    let inputs = [("root", 32), ("exchange", 32), ("ss", 32), ("h_ek", 32), ("h_ct", 32)];
    for (name, epoch) in
        [("epoch-step-1", 1u32), ("epoch-step-258", 258), ("epoch-step-last", u32::MAX)]
    {
        make(
            name,
            "epoch-step",
            "05 §3",
            "A half-step that begins an epoch.",
            json!({ "epoch": epoch }),
            &inputs,
        );
    }
    for (name, count) in [("chain-1", 1), ("chain-5", 5)] {
        make(
            name,
            "chain",
            "05 §4",
            "Message keys of a chain, in order.",
            json!({ "count": count }),
            &[("chain_key", 32)],
        );
    }
    let body = json!({ "body": large(4, 927) });
    make(
        "nonce",
        "nonce",
        "05 §4",
        "The nonce of an envelope depends on what is sent too.",
        body,
        &[("message_key", 32), ("random", 12), ("header", 53)],
    );
    make(
        "body-key",
        "body-key",
        "05 §4",
        "The key of a body depends on the envelope's nonce.",
        json!({}),
        &[("message_key", 32), ("nonce", 12)],
    );
    let numbers = json!({ "previous": 7, "epoch": 3 });
    make(
        "chain-constants",
        "chain-constants",
        "05 §7",
        "What the headers of a chain have in common.",
        numbers,
        &[("key", 32), ("tag", 8)],
    );
    make(
        "kem-hashes",
        "kem-hashes",
        "06 §2",
        "Hashes and object tags of a key and a ciphertext.",
        json!({}),
        &[("ek", 1184), ("ciphertext", 1088)],
    );
    make(
        "first-epoch-tag",
        "first-epoch-tag",
        "06 §2",
        "The tag of epoch 0 depends on the session.",
        json!({}),
        &[("session_id", 32)],
    );
    make(
        "epoch-tag",
        "epoch-tag",
        "06 §2",
        "The tag of a later epoch.",
        json!({ "epoch": 4 }),
        &[("h_ek", 32), ("h_ct", 32)],
    );
    make(
        "file-keys",
        "file-keys",
        "08 §1",
        "What comes from a file key.",
        json!({}),
        &[("file_key", 32)],
    );
    let example = json!({ "file_key": hex(&[1; 32]) });
    make(
        "file-keys-example",
        "file-keys",
        "08 §1",
        "The example of the specification.",
        example,
        &[],
    );
}
