//! The double ratchet with header encryption, and the post-quantum ratchet
//! inside it (`protocol-spec/05-double-ratchet.md`, `06-pq-ratchet.md`).
//!
//! | file | concept |
//! |---|---|
//! | `keys` | root, chain, message, body and header keys |
//! | `header` | the fixed header and its seal |
//! | `core` | both halves of the ratchet: what a step changes |
//! | `old`, `recent`, `skipped` | what is remembered of the past |
//! | `pq` | the post-quantum ratchet and its pieces |
//! | `body` | content, pieces and padding |
//! | `seal`, `open` | one message out, one message in |
//! | `state` | the stored form |
//! | `secrets` | a list of what is secret, for searches |

mod body;
mod core;
mod double;
mod error;
mod header;
mod keys;
mod old;
mod open;
mod pq;
mod recent;
mod seal;
mod secrets;
mod session;
#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]
mod simulation;
mod skipped;
mod state;
#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "a test may panic")]
mod tests;

pub use error::{OpenError, RollbackSign, SealError, StateError};
pub use open::PendingOpen;
pub use seal::PendingSeal;
pub use secrets::NamedSecret;
pub use session::{Role, Session, SessionId};
pub use state::StateView;

pub(crate) use header::SEALED_HEADER;
