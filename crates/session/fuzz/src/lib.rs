//! What the fuzz targets of the session layer run.

mod harness;

pub use harness::{backups, content, links, operations, rows};
