//! What the fuzz targets of the wire run.

#[path = "harness/relay.rs"]
pub mod relay;
#[path = "harness/wire.rs"]
pub mod wire;
