//! Replays the committed corpora of `fuzz/` through the very functions that
//! the fuzz targets run.
//!
//! `cargo test -p undertone-core --test corpora -- --ignored` writes the
//! seeds that are missing. With `RUSTFLAGS="--cfg undertone_insecure"` the
//! same replay runs on a core without encryption.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::assertions_on_constants,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::panic,
    unreachable_pub,
    reason = "a test may panic"
)]

mod common;
#[path = "../../../fuzz/src/harness/mod.rs"]
mod harness;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// What a corpus may weigh, in bytes: seeds, not a heap.
const MAX_CORPUS: u64 = 32 * 1024;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

fn replay(target: &str) {
    let run = harness::TARGETS.iter().find(|(name, _)| *name == target).unwrap().1;
    let mut paths: Vec<_> =
        fs::read_dir(corpus(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no corpus for {target}");
    let mut weight = 0;
    for path in &paths {
        let input = fs::read(path).unwrap();
        weight += input.len() as u64;
        let result = catch_unwind(AssertUnwindSafe(|| run(&input)));
        assert!(result.is_ok(), "{} breaks a promise", path.display());
    }
    assert!(weight <= MAX_CORPUS, "{target}: {weight} bytes");
}

macro_rules! replayed {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target));
        })*

        #[test]
        fn every_target_is_replayed() {
            let names = [$(stringify!($target)),*];
            assert!(harness::TARGETS.iter().map(|(name, _)| *name).eq(names));
        }
    };
}

replayed! {
    device_list records session_state prekey_state bundle greeting file ratchet_ops
}

/// Inputs that must not be refused at once: the seeds do what their names say.
#[test]
fn seeds_run() {
    let seeds = harness::seeds::seeds();
    for (name, run) in harness::TARGETS {
        let mut count = 0;
        for (_, _, input) in seeds.iter().filter(|(target, _, _)| *target == name) {
            run(input);
            count += 1;
        }
        assert!(count > 0, "no seed for {name}");
    }
}

#[test]
#[ignore = "writes the seeds that are missing in fuzz/corpus"]
fn write_missing_seeds() {
    for (target, name, input) in harness::seeds::seeds() {
        let path = corpus(target).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !path.exists() {
            fs::write(path, input).unwrap();
        }
    }
}
