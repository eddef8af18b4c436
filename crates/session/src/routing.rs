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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use proptest::prelude::*;
    use undertone_wire::RootFingerprint;

    use super::*;

    #[test]
    fn routes_survive_the_round_trip_and_no_cut_is_one() {
        let longest = format!("{}x", "x.".repeat(126));
        for host in ["relay.example.org", "::1", &longest] {
            let relay = RelayAddress::new(host, 1, RootFingerprint::from_bytes([7; 32])).unwrap();
            let routing =
                Routing { relay: relay.clone(), capability: WriteCapability::from_bytes([8; 32]) };
            let bytes = routing.to_bytes();
            assert!(bytes.len() <= 320);
            let read = Routing::from_bytes(&bytes).unwrap();
            assert_eq!(read.relay, relay);
            assert_eq!(read.capability, routing.capability);
            for end in 0..bytes.len() {
                assert!(Routing::from_bytes(&bytes[..end]).is_none());
            }
            assert!(Routing::from_bytes(&[&bytes[..], &[0]].concat()).is_none());
        }
    }

    proptest! {
        #[test]
        fn junk_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Some(routing) = Routing::from_bytes(&bytes) {
                prop_assert_eq!(&*routing.to_bytes(), &bytes);
            }
        }
    }
}
