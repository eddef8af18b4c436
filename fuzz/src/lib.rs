//! What the fuzz targets run. `crates/core/tests/corpora.rs` includes the
//! same files and replays the committed corpora with every `cargo test`.

#[path = "../../crates/core/tests/common/mod.rs"]
pub mod common;
pub mod harness;
