//! The published vectors of Undertone (`test-vectors/README.md`): what makes
//! them, what checks them, and a party for live conversations over a pipe.
//!
//! What a file asks for is carried out by `undertone-core`, `undertone-session`
//! and `undertone-wire`. The values on the way are computed a second time from
//! primitives, along the text of the specification.
#![forbid(unsafe_code)]

pub mod check;
pub mod conversation;
mod fail;
pub mod files;
pub mod forge;
pub mod form;
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "what makes the files must stop where it is surprised"
)]
pub mod generate;
pub mod ops;
pub mod pipe;
pub mod prim;
pub mod random;
pub mod schema;
pub mod stream;
pub mod trace;
pub mod value;

pub use fail::{Fail, Outcome};

/// What every file names as its format.
pub const FORMAT: &str = "undertone-vectors/1";
