//! Family `files`.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Files, about};
use crate::ops;
use crate::stream::Stream;
use crate::value::{hex, unhex};

const FAMILY: &str = "files";
const KEY: [u8; 32] = [1; 32];

fn content(length: u64) -> Value {
    if length == 0 { json!("") } else { json!({ "stream": hex(&[9; 32]), "length": length }) }
}

pub(super) fn make(files: &mut Files) {
    lengths(files);
    whole(files);
    refused(files);
    chunks(files);
    attachments(files);
}

fn lengths(files: &mut Files) {
    let spec = &["08 §2", "08 §3"];
    let largest = 1u64 << 47;
    for length in [
        0,
        1,
        1_023,
        1_024,
        1_025,
        1_088,
        1_089,
        2_047,
        2_048,
        2_049,
        65_535,
        65_536,
        65_537,
        70_000,
        131_072,
        1_048_576,
        1_048_577,
        5_000_000_000,
        (1 << 40) + 1,
        largest - 1,
        largest,
    ] {
        let name = format!("padded-length-{length}");
        let says = "The padded length of a content, and the length of its blob.";
        files.valid(
            &about(FAMILY, &name, spec, says),
            "padded-length",
            json!({ "length": length }),
        );
    }
    for length in [largest + 1, u64::MAX] {
        let name = format!("padded-length-{length}");
        let says = "Longer than a file may be.";
        let input = json!({ "length": length });
        files.refused(&about(FAMILY, &name, spec, says), "R-801", "make", "padded-length", input);
    }
}

fn whole(files: &mut Files) {
    let spec = &["08 §3"];
    for (name, length, says) in [
        ("empty", 0, "A content of no byte: one chunk of padding."),
        ("one-byte", 1, "A content of one byte."),
        ("floor", 1_024, "A content that is as long as the least padded length."),
        ("one-chunk", 65_536, "Exactly one chunk."),
        ("one-chunk-and-a-byte", 65_537, "A second chunk with one byte of content."),
        ("many-chunks", 200_000, "Four chunks, the last of them short."),
        ("chunks-exactly", 131_072, "Exactly two chunks."),
        ("a-chunk-of-padding", 262_145, "The padding goes into a further chunk."),
    ] {
        let input = json!({ "file_key": hex(&KEY), "length": length, "content": content(length) });
        let seal = format!("seal-{name}");
        files.valid(&about(FAMILY, &seal, spec, says), "file-seal", input);
        let blob = json!({ "file_key": hex(&KEY), "content": content(length), "edits": [] });
        let input = json!({ "file_key": hex(&KEY), "length": length, "blob": blob });
        let open = format!("open-{name}");
        files.valid(&about(FAMILY, &open, spec, says), "file-open", input);
    }
    for (name, length, given, says) in [
        ("seal-longer-than-said", 1_000, 1_001, "The content is longer than was said."),
        ("seal-shorter-than-said", 1_000, 999, "The content is shorter than was said."),
        ("seal-longer-by-a-chunk", 65_536, 131_072, "The content has a chunk more than was said."),
        ("seal-shorter-by-a-chunk", 131_072, 65_536, "The content has a chunk less than was said."),
    ] {
        let input = json!({ "file_key": hex(&KEY), "length": length, "content": content(given) });
        files.refused(&about(FAMILY, name, &["08 §4"], says), "R-807", "make", "file-seal", input);
    }
    let input = json!({ "file_key": hex(&KEY), "length": (1u64 << 47) + 1, "content": "" });
    let says = "Longer than a file may be.";
    files.refused(
        &about(FAMILY, "seal-too-long", &["08 §4"], says),
        "R-801",
        "make",
        "file-seal",
        input,
    );
}

fn refused(files: &mut Files) {
    let spec = &["08 §4"];
    let mut refuse = |name: &str,
                      rule: &str,
                      stage: &str,
                      length: u64,
                      claimed: u64,
                      edits: Value,
                      says: &str| {
        let blob = json!({ "file_key": hex(&KEY), "content": content(length), "edits": edits });
        let input = json!({ "file_key": hex(&KEY), "length": claimed, "blob": blob });
        files.refused(&about(FAMILY, name, spec, says), rule, stage, "file-open", input);
    };
    let end = 32 + 65_552 + 2_064;
    refuse(
        "open-commitment-altered",
        "R-802",
        "unseal",
        10,
        10,
        json!([{ "xor": "01", "at": 31 }]),
        "The commitment is changed.",
    );
    refuse(
        "open-length-too-large",
        "R-801",
        "make",
        10,
        (1 << 47) + 1,
        json!([]),
        "The message says a length that no file has.",
    );
    refuse(
        "open-commitment-before-length",
        "R-802",
        "unseal",
        10,
        (1 << 47) + 1,
        json!([{ "xor": "01", "at": 0 }]),
        "The commitment is looked at before the length.",
    );
    refuse(
        "open-altered",
        "R-804",
        "unseal",
        10,
        10,
        json!([{ "xor": "80", "at": 100 }]),
        "A bit of the only chunk is changed.",
    );
    refuse(
        "open-tag-altered",
        "R-804",
        "unseal",
        65_537,
        65_537,
        json!([{ "xor": "01", "at": end - 1 }]),
        "A bit of the last tag is changed.",
    );
    refuse(
        "open-second-chunk-altered",
        "R-804",
        "unseal",
        200_000,
        200_000,
        json!([{ "xor": "01", "at": 70_000 }]),
        "A bit of the second chunk is changed.",
    );
    refuse(
        "open-cut-by-a-byte",
        "R-803",
        "read",
        65_537,
        65_537,
        json!([{ "cut": end - 1 }]),
        "The last byte is missing.",
    );
    refuse(
        "open-cut-at-a-chunk",
        "R-803",
        "read",
        200_000,
        200_000,
        json!([{ "cut": 32 + 2 * 65_552 }]),
        "The blob ends behind a chunk.",
    );
    refuse(
        "open-cut-behind-the-commitment",
        "R-803",
        "read",
        10,
        10,
        json!([{ "cut": 32 }]),
        "Only the commitment is left.",
    );
    refuse(
        "open-byte-behind",
        "R-803",
        "read",
        10,
        10,
        json!([{ "append": "00" }]),
        "A byte stands behind the last chunk.",
    );
    refuse(
        "open-reordered",
        "R-804",
        "unseal",
        200_000,
        200_000,
        json!([{ "swap": [0, 1] }]),
        "Two chunks have changed places.",
    );
    // 131,072 bytes are two whole chunks; of a file of 65,536 the first would be the last.
    refuse(
        "open-claimed-to-end-earlier",
        "R-804",
        "unseal",
        131_072,
        65_536,
        json!([{ "cut": 32 + 65_552 }]),
        "The blob is cut at a chunk, and the length says so: the last-flag does not fit.",
    );
    refuse(
        "open-claimed-to-go-on",
        "R-804",
        "unseal",
        65_536,
        131_072,
        json!([{ "append": { "repeat": "00", "count": 65_552 } }]),
        "The length says that there is another chunk: the last-flag does not fit.",
    );
    refuse(
        "open-padding-not-zero",
        "R-805",
        "read",
        1_000,
        990,
        json!([]),
        "The length says that the content ends earlier: what follows is not zero.",
    );
    refuse(
        "open-padding-not-zero-in-the-last-chunk",
        "R-805",
        "read",
        67_000,
        66_900,
        json!([]),
        "As before, in the second chunk.",
    );
    let blob = json!({ "file_key": hex(&[2; 32]), "content": content(10), "edits": [] });
    let input = json!({ "file_key": hex(&KEY), "length": 10, "blob": blob });
    let says = "The blob was made with another key.";
    files.refused(
        &about(FAMILY, "open-wrong-key", spec, says),
        "R-802",
        "unseal",
        "file-open",
        input,
    );
}

/// Blobs that were fetched for a message.
fn attachments(files: &mut Files) {
    let spec = &["09 §3", "09 §8"];
    let seal = json!({ "file_key": hex(&KEY), "length": 1500, "content": content(1500) });
    let blob = ops::run("file-seal", &seal).unwrap();
    let blob = unhex(blob["blob"].as_str().unwrap()).unwrap();
    let input = |blob: &[u8], sha256: &[u8], commitment: &[u8]| {
        json!({
            "file_key": hex(&KEY),
            "length": 1500,
            "sha256": hex(sha256),
            "commitment": hex(commitment),
            "blob": hex(blob),
        })
    };
    let (sum, first) = (Sha256::digest(&blob), &blob[..32]);
    let says = "The blob that the message describes.";
    files.valid(
        &about(FAMILY, "attachment", spec, says),
        "attachment-open",
        input(&blob, &sum, first),
    );
    let mut altered = blob.clone();
    altered[600] ^= 1;
    let mut forged = blob.clone();
    forged[0] ^= 1;
    let forged_sum = Sha256::digest(&forged);
    for (name, rule, stage, says, input) in [
        (
            "altered",
            "R-907",
            "compare",
            "One bit of a chunk is another: the hash is compared before a chunk is opened.",
            input(&altered, &sum, first),
        ),
        (
            "other-hash",
            "R-907",
            "compare",
            "Every chunk would open; the message names another hash.",
            input(&blob, &forged_sum, first),
        ),
        (
            "other-commitment",
            "R-907",
            "compare",
            "The message names another commitment than the blob begins with.",
            input(&blob, &sum, &forged[..32]),
        ),
        (
            "forged",
            "R-802",
            "unseal",
            "Message and blob agree, and the commitment is not to the key.",
            input(&forged, &forged_sum, &forged[..32]),
        ),
    ] {
        let name = format!("attachment-{name}");
        files.refused(&about(FAMILY, &name, spec, says), rule, stage, "attachment-open", input);
    }
}

fn chunks(files: &mut Files) {
    let spec = &["08 §3", "08 §4"];
    let seal = json!({ "file_key": hex(&KEY), "length": 67_000, "content": content(67_000) });
    let blob = ops::run("file-seal", &seal).unwrap();
    let blob = unhex(blob["blob"].as_str().unwrap()).unwrap();
    let last = &blob[32 + 65_552..];
    let input = |index: u32, chunk: &[u8]| {
        json!({
            "file_key": hex(&KEY),
            "length": 67_000,
            "commitment": hex(&blob[..32]),
            "index": index,
            "chunk": hex(chunk),
        })
    };
    let says = "A chunk is opened by itself.";
    files.valid(&about(FAMILY, "chunk-last", spec, says), "chunk-open", input(1, last));
    for (name, rule, stage, says, input) in [
        ("chunk-index-at-the-end", "R-806", "read", "There are two chunks.", input(2, last)),
        (
            "chunk-index-largest",
            "R-806",
            "read",
            "The largest index that there is.",
            input(u32::MAX, last),
        ),
        (
            "chunk-of-another-length",
            "R-803",
            "read",
            "The last chunk's bytes as the first.",
            input(0, last),
        ),
        ("chunk-empty", "R-803", "read", "A chunk of no byte.", input(1, &[])),
    ] {
        files.refused(&about(FAMILY, name, spec, says), rule, stage, "chunk-open", input);
    }
    let mut stream = Stream::named("files chunk");
    let says = "Bytes that nobody sealed.";
    let input = input(1, &stream.take(last.len()));
    files.refused(&about(FAMILY, "chunk-junk", spec, says), "R-804", "unseal", "chunk-open", input);
}
