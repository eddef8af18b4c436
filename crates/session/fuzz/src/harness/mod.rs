//! What the fuzz targets of the session layer run: ordinary code, which `crates/session/tests/` includes
//! by path, so that every `cargo test` replays the committed corpora, and properties of random
//! operations are tested with the same driver.
//!
//! Each function panics where a promise is broken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    missing_docs,
    dead_code,
    reason = "a harness panics to report; not every user of it needs all of it"
)]

pub mod backups;
pub mod content;
pub mod links;
pub mod operations;
pub mod people;
pub mod relay;
pub mod rows;
pub mod world;

pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const TARGETS: [(&str, Target); 5] = [
    ("operations", operations::operations),
    ("rows", rows::rows),
    ("links", links::links),
    ("content", content::content),
    ("backups", backups::backups),
];
