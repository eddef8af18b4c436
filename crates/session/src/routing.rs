//! Where to write to: a relay's address and a write capability there.
//!
//! ```text
//! routing = relay address (binary form) ‖ write capability (32)
//! ```

use undertone_wire::{RelayAddress, WriteCapability};
use zeroize::Zeroizing;

use crate::content::Route;

/// A route, read.
pub struct Routing {
    /// The relay that holds the mailbox.
    pub relay: RelayAddress,
    /// What lets its holder write there.
    pub capability: WriteCapability,
}

impl Routing {
    /// The bytes that travel in handshakes, bundles and mailbox moves; at most 320.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(self.relay.to_bytes());
        out.extend_from_slice(self.capability.as_bytes());
        out
    }

    /// Reads a route; `None` (R-306) if the bytes are not exactly one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (relay, rest) = RelayAddress::take_from_bytes(bytes).ok()?;
        let capability = <[u8; 32]>::try_from(rest).ok()?;
        Some(Self { relay, capability: WriteCapability::from_bytes(capability) })
    }

    pub(crate) fn to_route(&self) -> Route {
        Route::from_bytes(&self.to_bytes())
    }
}
