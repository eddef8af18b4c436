//! Address prefixes: how the operator names networks, and how the relay counts what comes from one.

use core::fmt;
use core::str::FromStr;
use std::net::IpAddr;

/// A network: an address, and how many of its leading bits count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    network: IpAddr,
    bits: u8,
}

/// An address as a number, and how many bits it has. An IPv4 address inside an IPv6 one is IPv4.
fn number(address: IpAddr) -> (u128, u8) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

/// The leading bits of an address.
fn leading((value, length): (u128, u8), bits: u8) -> u128 {
    value.checked_shr(u32::from(length.saturating_sub(bits))).unwrap_or(0)
}

impl Prefix {
    /// A network that the source names.
    pub(super) const fn new(network: IpAddr, bits: u8) -> Self {
        Self { network, bits }
    }

    /// Whether an address is in this network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ours, theirs) = (number(self.network), number(address));
        ours.1 == theirs.1 && leading(ours, self.bits) == leading(theirs, self.bits)
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is no network; write it as 192.0.2.0/24, 2001:db8::/32 or an address")
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| wrong())?;
        let network = network.to_canonical();
        let (value, length) = number(network);
        let bits = bits.map_or(Ok(length), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > length {
            return Err(wrong());
        }
        let host_bits = u32::from(length.saturating_sub(bits));
        if value.checked_shr(host_bits).unwrap_or(0).checked_shl(host_bits).unwrap_or(0) != value {
            return Err(format!(
                "{text:?} has bits behind its prefix; write the network's first address"
            ));
        }
        Ok(Self { network, bits })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

/// What the operator wrote, not where a client is: that is never shown.
impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bits of an IPv4 address that say from where somebody comes: the smallest network that is routed.
const BITS_V4: u8 = 24;

/// The same for IPv6: what providers give one customer.
const BITS_V6: u8 = 56;

/// The network that a client comes from, as far as the relay tells clients apart: /24 and /56. It
/// is kept in memory only and has no `Debug`, so that it ends up in no log.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Neighbourhood(u128);

impl Neighbourhood {
    /// Stands for all those that find no room of their own; none has these bits.
    pub(super) const CROWD: Self = Self(u128::MAX);

    pub(crate) fn of(address: IpAddr) -> Self {
        let number = number(address);
        let bits = if number.1 == 32 { BITS_V4 } else { BITS_V6 };
        // The two families can't meet: a mark stands above what an IPv6 prefix fills.
        let mark = u128::from(number.1 == 32) << BITS_V6;
        Self(leading(number, bits) | mark)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_contains_what_shares_its_bits() {
        assert!(prefix("192.0.2.0/24").contains(ip("192.0.2.255")));
        assert!(prefix("192.0.2.0/24").contains(ip("::ffff:192.0.2.1")), "IPv4 inside IPv6");
        assert!(!prefix("192.0.2.0/24").contains(ip("192.0.3.0")));
        assert!(prefix("2001:db8::/32").contains(ip("2001:db8:ffff::1")));
        assert!(!prefix("2001:db8::/32").contains(ip("2001:db9::1")));
        assert!(prefix("0.0.0.0/0").contains(ip("203.0.113.9")));
        assert!(!prefix("0.0.0.0/0").contains(ip("2001:db8::1")), "the other family");
        assert!(prefix("::/0").contains(ip("2001:db8::1")));
        assert!(prefix("203.0.113.9").contains(ip("203.0.113.9")));
        assert!(!prefix("203.0.113.9").contains(ip("203.0.113.8")));
        assert_eq!(prefix("2001:db8::/32").to_string(), "2001:db8::/32");
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for text in ["", "192.0.2.0/33", "192.0.2.1/24", "example.org", "::/129", "1.2.3.4/", "/8"]
        {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn neighbours_share_a_neighbourhood() {
        let of = |text| Neighbourhood::of(ip(text));
        assert!(of("192.0.2.1") == of("192.0.2.254"));
        assert!(of("192.0.2.1") == of("::ffff:192.0.2.9"));
        assert!(of("192.0.2.1") != of("192.0.3.1"));
        assert!(of("2001:db8:0:1::1") == of("2001:db8:0:ff::2"));
        assert!(of("2001:db8:0:1::1") != of("2001:db8:0:100::1"));
        assert!(of("2001:db8:0:1::1") != of("2001:db8:1:1::1"));
        assert!(of("0.0.0.0") != of("::"));
    }
}
