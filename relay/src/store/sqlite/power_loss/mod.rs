//! The power fails at any moment: what was answered is there, in order, once.
//!
//! A child process works on a store while a library that stands between it and the disk records what
//! it writes and syncs, together with what it answers. The record is then played back to many
//! moments, and what a disk may hold after each of them is opened and compared with the answers. The
//! same with the fsync left out must fail, which shows that the test can.
//!
//! `UNDERTONE_LONG=1` looks at every moment; `UNDERTONE_SEED` is where chance begins.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod blobs;
mod disk;
mod keys;
mod names;
mod workload;

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use disk::{Disk, Luck, Operation, Random};
use workload::Answered;

/// Compiles the library that stands between a process and its disk.
pub(crate) fn shim(directory: &Path) -> PathBuf {
    let (source, library) =
        (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/disk/shim.c"), directory.join("shim.so"));
    let compiled = Process::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .args([source, "-ldl", "-lpthread"])
        .status()
        .expect("building SQLite needs a C compiler, so there is one");
    assert!(compiled.success());
    library
}

/// Where many small files are written: in memory, if the machine has such a place.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn seed() -> u64 {
    std::env::var("UNDERTONE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

fn long() -> bool {
    std::env::var_os("UNDERTONE_LONG").is_some()
}

/// Runs a child, which is a test that is otherwise ignored, and returns what was asked of the disk.
fn recorded(directory: &Path, child: &str, without_fsync: bool) -> Vec<Operation> {
    let name = format!("store::sqlite::power_loss::{child}");
    let (root, log) = (directory.join("store"), directory.join("log"));
    std::fs::create_dir(&root).unwrap();
    let mut process = Process::new(std::env::current_exe().unwrap());
    process
        .args(["--exact", &name, "--ignored"])
        .env("LD_PRELOAD", shim(directory))
        .env("DISK_ROOT", &root)
        .env("DISK_LOG", &log)
        .env("UNDERTONE_TEST_CHILD", &root)
        .env("UNDERTONE_SEED", seed().to_string());
    if without_fsync {
        process.env("UNDERTONE_TEST_WITHOUT_FSYNC", "1");
    }
    let output = process.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    disk::parse(&std::fs::read(&log).unwrap())
}

#[test]
#[ignore = "the child of the other tests; alone it does nothing"]
fn the_child_that_works_on_a_store() {
    if let Some(root) = std::env::var_os("UNDERTONE_TEST_CHILD") {
        workload::run(Path::new(&root), seed());
    }
}

/// The moments to look at: after what was answered, since most is owed then, and others by chance.
fn moments(operations: &[Operation], random: &mut Random) -> Vec<usize> {
    let is_answer = |operation: &Operation| matches!(operation, Operation::Note(line) if line.starts_with("ok"));
    let chance = |random: &mut Random, one_in| long() || random.below(one_in) == 0;
    (0..operations.len())
        .filter(|at| {
            let one_in = if is_answer(&operations[*at]) { 8 } else { operations.len() / 40 };
            chance(random, one_in)
        })
        .collect()
}

/// What is wrong after a power failure, for each state that was opened; how many were.
fn faults(operations: &[Operation]) -> (usize, Vec<String>) {
    let mut random = Random(seed());
    let moments = moments(operations, &mut random);
    let (mut disk, mut answered) = (Disk::default(), Answered::default());
    let (mut states, mut faults, mut next) = (0, Vec::new(), moments.iter().peekable());
    for (at, operation) in operations.iter().enumerate() {
        disk.perform(operation);
        if let Operation::Note(line) = operation {
            answered.note(line);
        }
        if next.next_if_eq(&&at).is_none() {
            continue;
        }
        let chances = if long() { 6 } else { 1 };
        let some = (0..chances).map(|n| Luck::Some(random.0.wrapping_add(n)));
        for luck in [Luck::Nothing, Luck::Everything].into_iter().chain(some) {
            let directory = scratch();
            disk.fail(luck, directory.path());
            states += 1;
            if let Err(fault) = answered.check(directory.path()) {
                faults.push(format!("after operation {at}, {luck:?}: {fault}"));
            }
        }
        random.below(2);
    }
    (states, faults)
}

/// R-1202
#[test]
fn what_was_answered_survives_a_power_failure_at_any_moment() {
    let directory = scratch();
    let operations = recorded(directory.path(), "the_child_that_works_on_a_store", false);
    let synced = operations.iter().filter(|o| matches!(o, Operation::Sync { .. })).count();
    assert!(synced > 50, "{synced} syncs are no work to speak of");
    let (states, faults) = faults(&operations);
    assert!(
        faults.is_empty(),
        "{} of {states} states: {:#?}",
        faults.len(),
        &faults[..faults.len().min(5)]
    );
    assert!(states > 100, "{states} states are few");
    println!("{states} states after {} operations", operations.len());
}

#[test]
fn with_the_fsync_left_out_the_same_test_fails() {
    let directory = scratch();
    let operations = recorded(directory.path(), "the_child_that_works_on_a_store", true);
    let (states, faults) = faults(&operations);
    assert!(!faults.is_empty(), "{states} states without an fsync, and nothing was lost");
}
