//! Where an answer goes: bytes that the core carries and does not read.

use alloc::vec::Vec;

use crate::bounds::MAX_ROUTING;

/// A reply route: a relay's address and a write capability in an encoding of
/// the session layer's. At most [`MAX_ROUTING`] bytes.
///
/// It holds a capability, so it is wiped on drop and not printed.
pub struct Routing(zeroize::Zeroizing<Vec<u8>>);

impl Routing {
    /// Takes the bytes of a route.
    ///
    /// # Errors
    /// [`RoutingTooLong`] above [`MAX_ROUTING`] bytes (rule R-110).
    pub fn new(bytes: &[u8]) -> Result<Self, RoutingTooLong> {
        if bytes.len() > MAX_ROUTING {
            return Err(RoutingTooLong);
        }
        Ok(Self(zeroize::Zeroizing::new(bytes.to_vec())))
    }

    /// A copy for a structure that outlives the original.
    pub(crate) fn clone_of(other: &Self) -> Self {
        Self(other.0.clone())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Routing {
    fn eq(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(&self.0[..], &other.0[..]).into()
    }
}

impl Eq for Routing {}

impl core::fmt::Debug for Routing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Routing({} secret bytes)", self.0.len())
    }
}

/// A reply route exceeds [`MAX_ROUTING`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutingTooLong;

impl RoutingTooLong {
    /// The rule's number.
    pub const fn code(self) -> &'static str {
        "R-110"
    }
}

impl core::fmt::Display for RoutingTooLong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "a reply route may have at most {MAX_ROUTING} bytes (R-110)")
    }
}

impl core::error::Error for RoutingTooLong {}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A route of any length, past the check.
    pub(crate) fn unchecked(len: usize) -> Routing {
        Routing(zeroize::Zeroizing::new(alloc::vec![7; len]))
    }

    #[test]
    fn r_110_a_route_over_the_bound() {
        let bytes = [7; MAX_ROUTING + 1];
        assert_eq!(Routing::new(&bytes[1..]).map(|route| route.as_bytes().len()), Ok(MAX_ROUTING));
        assert!(Routing::new(&[]).is_ok());
        let refused = Routing::new(&bytes);
        assert_eq!(refused.as_ref().err(), Some(&RoutingTooLong));
        assert_eq!(refused.map_err(RoutingTooLong::code).err(), Some("R-110"));
    }
}
