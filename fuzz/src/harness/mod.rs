//! One function for each fuzz target: it takes any bytes and panics where a
//! promise of the core is broken.
//!
//! Compiled with `--cfg undertone_insecure`, the same functions run on a core
//! without encryption, where altered messages get behind the seals.
#![allow(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a harness panics to report"
)]

mod edit;
mod file;
mod fixture;
mod handshake;
mod identity;
mod input;
mod ratchet;
mod resign;
pub mod seeds;
mod state;

pub use file::file;
pub use handshake::{bundle, greeting, prekey_state};
pub use identity::{device_list, records};
pub use ratchet::ratchet_ops;
pub use state::session_state;

/// Whether the core was compiled without encryption.
pub const INSECURE: bool = cfg!(undertone_insecure);

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const TARGETS: [(&str, Target); 8] = [
    ("device_list", device_list),
    ("records", records),
    ("session_state", session_state),
    ("prekey_state", prekey_state),
    ("bundle", bundle),
    ("greeting", greeting),
    ("file", file),
    ("ratchet_ops", ratchet_ops),
];
