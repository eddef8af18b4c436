//! The Undertone relay: stores and forwards what it cannot read, for people it does not know.
//!
//! [`Relay::start`] runs a relay inside a program (demonstrations, tests); `undertone-relay run`
//! is that with a command line. The wire protocol is `undertone-wire`'s; this crate has neither
//! the handshake nor the ratchet, so it could not decrypt if it wanted to.
//!
//! - [`store`]: what is kept, behind a trait; [`store::sqlite`] is the default;
//! - `mailboxes`: who is subscribed, in memory; [`tickets`]: how clients come back;
//! - `transport`: connections, requests, blobs;
//! - [`admission`]: tokens; [`operator`]: identity and inspection.
#![forbid(unsafe_code)]

pub mod admission;
pub mod clock;
mod config;
pub mod limits;
#[cfg(not(fuzzing))]
mod mailboxes;
#[cfg(fuzzing)]
pub mod mailboxes;
pub mod metrics;
pub mod operator;
mod relay;
pub mod settings;
pub mod store;
pub mod tickets;
mod transport;

pub use config::{Config, DEFAULT_PORT};
pub use relay::{Relay, RunningRelay, StartError, known_address};
pub use transport::{Direction, FrameTap};
