//! What the fuzz targets of the wire run.

#[cfg(feature = "relay")]
#[path = "harness/relay.rs"]
pub mod relay;
#[path = "harness/wire.rs"]
pub mod wire;
