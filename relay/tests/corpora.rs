//! Replays the committed corpora of tickets and configurations through the very functions that the
//! fuzz targets in `crates/wire/fuzz/` run.
//!
//! `cargo test -p undertone-relay --test corpora -- --ignored` writes the seeds that are missing.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

#[path = "../../crates/wire/fuzz/src/harness/relay.rs"]
mod harness;

use std::fs;
use std::path::{Path, PathBuf};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/wire/fuzz/corpus").join(target)
}

#[test]
fn every_input_of_every_corpus_keeps_the_promises() {
    for (target, run) in harness::TARGETS {
        let mut paths: Vec<_> =
            fs::read_dir(corpus(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "no corpus for {target}");
        for path in paths {
            run(&fs::read(path).unwrap());
        }
    }
}

#[test]
#[ignore = "writes the seeds"]
fn write_seeds() {
    let write = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(corpus(target)).unwrap();
        fs::write(corpus(target).join(name), bytes).unwrap();
    };
    // Version, expiry, session key, mailboxes.
    for mailboxes in [0, 1, 3] {
        let expiry = 1_728_000_100_u64.to_be_bytes();
        let content = [&[1], expiry.as_slice(), &[7; 32], &vec![8; 32 * mailboxes]].concat();
        write("tickets", &format!("content-{mailboxes}"), &content);
    }
    let sealed = [&20_000_u32.to_be_bytes(), [3_u8; 80].as_slice()].concat();
    write("tickets", "sealed", &sealed);
    write("configuration", "empty", b"");
    write("configuration", "example", undertone_relay::settings::example().as_bytes());
    let some = b"listen = \"[::1]:4433\"\nhost = \"relay.example\"\nretention_days = 7\n[limits]\nconnections = 100\n";
    write("configuration", "some", some);
    write("configuration", "unknown", b"colour = \"blue\"\n[limits]\nconnections = -1\n");
}
