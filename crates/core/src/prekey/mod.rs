//! Prekey bundles: what a link leads to
//! (`protocol-spec/03-prekeys.md`).

mod bundle;
mod error;
mod secret;
#[cfg(test)]
pub(crate) mod tests;

pub use bundle::{Bundle, BundleDigest, BundleId, BundleKind, CheckedBundle};
pub use error::BundleError;
pub use secret::{PrekeySecret, generate_prekey};
