//! Where a relay is and how it is recognised.
//!
//! Text: `ut-relay:HOST:PORT:KEY` with KEY the unpadded base64url (RFC 4648 §5) of
//! `root fingerprint (32) ‖ check (4)`. A join address carries an admission token besides:
//! `ut-join:HOST:PORT:KEY` with `root fingerprint (32) ‖ token (32) ‖ check (4)`. IPv6 hosts stand
//! in brackets. `check` is the first 4 bytes of
//! `SHA-256("undertone/1 address" ‖ everything before KEY ‖ the bytes before check)`, so that
//! a mistyped or cut address is noticed before anything is sent anywhere.
//!
//! Binary (in links and reply capabilities):
//! `host length (1) ‖ host ‖ port (2, big-endian) ‖ root fingerprint (32)`.

use core::fmt;
use core::str::FromStr;
use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use crate::ids::{AdmissionToken, RootFingerprint, labelled_hash};
use crate::limits::MAX_HOST;

const RELAY_PREFIX: &str = "ut-relay:";
const JOIN_PREFIX: &str = "ut-join:";
const CHECK_LABEL: &str = "undertone/1 address";
/// 32 bits: a mistyped address passes once in four billion times; it is no protection against
/// an attacker, who can make a valid address anyway.
const CHECK: usize = 4;
const PORT: usize = 2;

/// Why an address was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AddressError {
    /// Does not begin like an address of this kind.
    NotAnAddress,
    /// A join address where a relay address belongs: it holds a secret that does not belong here.
    HoldsToken,
    /// A relay address where a join address belongs: the token is missing.
    LacksToken,
    /// The end is missing.
    Truncated,
    /// The host is not a lower-case DNS name or an IP address.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// The key part is not base64url of the right length.
    Key,
    /// The check does not fit: something was mistyped or is missing.
    Check,
    /// There is something behind the address.
    TrailingBytes,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAnAddress => "this is not a relay's address; it begins with ut-relay: or ut-join:",
            Self::HoldsToken => "this is a join address, which holds a secret; give the relay's address (ut-relay:) here",
            Self::LacksToken => "this relay address has no admission token; ask the operator for a join address (ut-join:)",
            Self::Truncated => "the relay's address is incomplete; copy it again to its end",
            Self::Host => "the host in the relay's address is not a DNS name or an IP address",
            Self::Port => "the port in the relay's address is not a number from 1 to 65535",
            Self::Key => "the key in the relay's address is malformed; copy the address again",
            Self::Check => "the relay's address is mistyped or incomplete; copy it again",
            Self::TrailingBytes => "there is something behind the relay's address",
        })
    }
}

impl std::error::Error for AddressError {}

/// Where a relay is, and the fingerprint of the root key that it must prove.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayAddress {
    host: String,
    port: u16,
    root: RootFingerprint,
}

impl RelayAddress {
    /// Length of the longest binary form, in bytes.
    pub const MAX_BYTES: usize = 1 + MAX_HOST + PORT + RootFingerprint::LEN;

    /// Checks the parts. The host is a DNS name (made lower-case) or an IP address (made canonical;
    /// brackets around IPv6 are accepted).
    ///
    /// # Errors
    /// [`AddressError::Host`], [`AddressError::Port`] for port 0.
    pub fn new(host: &str, port: u16, root: RootFingerprint) -> Result<Self, AddressError> {
        if port == 0 {
            return Err(AddressError::Port);
        }
        Ok(Self { host: canonical_host(host)?, port, root })
    }

    /// The host: a DNS name, or an IP address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The UDP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What the relay's root certificate must hash to.
    #[must_use]
    pub const fn root(&self) -> &RootFingerprint {
        &self.root
    }

    /// Host and port as programs take them, an IPv6 host in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The binary form, at most [`Self::MAX_BYTES`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // The host was checked to be at most MAX_HOST bytes, so its length fits one byte.
        let length = u8::try_from(self.host.len()).unwrap_or(u8::MAX);
        [&[length], self.host.as_bytes(), &self.port.to_be_bytes(), self.root.as_bytes().as_slice()]
            .concat()
    }

    /// Reads the binary form, which must end where the bytes end.
    ///
    /// # Errors
    /// [`AddressError`]; the host must be in its canonical form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AddressError> {
        match Self::take_from_bytes(bytes)? {
            (address, []) => Ok(address),
            _ => Err(AddressError::TrailingBytes),
        }
    }

    /// Reads the binary form at the beginning of the bytes and returns the rest (R-1130, R-1131).
    ///
    /// # Errors
    /// As [`Self::from_bytes`], except for what follows.
    pub fn take_from_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), AddressError> {
        let (&length, rest) = bytes.split_first().ok_or(AddressError::Truncated)?;
        let (host, rest) =
            rest.split_at_checked(usize::from(length)).ok_or(AddressError::Truncated)?;
        let (port, rest) = rest.split_first_chunk::<PORT>().ok_or(AddressError::Truncated)?;
        let (root, rest) =
            rest.split_first_chunk::<{ RootFingerprint::LEN }>().ok_or(AddressError::Truncated)?;
        let host = core::str::from_utf8(host).map_err(|_| AddressError::Host)?;
        let address =
            Self::new(host, u16::from_be_bytes(*port), RootFingerprint::from_bytes(*root))?;
        // One address, one spelling: what is signed or compared must not have two.
        if address.host != host {
            return Err(AddressError::Host);
        }
        Ok((address, rest))
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let front = format!("{RELAY_PREFIX}{}:", self.authority());
        let key = with_check(&front, self.root.as_bytes());
        write!(f, "{front}{}", BASE64URL_NOPAD.encode(&key))
    }
}

impl fmt::Debug for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayAddress({self})")
    }
}

impl FromStr for RelayAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.starts_with(JOIN_PREFIX) {
            return Err(AddressError::HoldsToken);
        }
        let (host, port, key) = split(text, RELAY_PREFIX)?;
        let key = open_key::<{ RootFingerprint::LEN }>(text, key)?;
        Self::new(host, port, RootFingerprint::from_bytes(*key))
    }
}

/// What admits a person to a relay: its address and an admission token, in one string.
///
/// Its text form is a secret; `Debug` shows the relay only.
pub struct JoinAddress {
    relay: RelayAddress,
    token: AdmissionToken,
}

/// Root fingerprint and token.
const JOIN_KEY: usize = RootFingerprint::LEN + AdmissionToken::LEN;

impl JoinAddress {
    /// From its parts.
    #[must_use]
    pub const fn new(relay: RelayAddress, token: AdmissionToken) -> Self {
        Self { relay, token }
    }

    /// The relay.
    #[must_use]
    pub const fn relay(&self) -> &RelayAddress {
        &self.relay
    }

    /// The token.
    #[must_use]
    pub const fn token(&self) -> &AdmissionToken {
        &self.token
    }

    /// Both parts.
    #[must_use]
    pub fn into_parts(self) -> (RelayAddress, AdmissionToken) {
        (self.relay, self.token)
    }

    /// The text form: a secret, made only where it is wanted (there is no `Display`).
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let front = format!("{JOIN_PREFIX}{}:", self.relay.authority());
        let parts = Zeroizing::new([*self.relay.root.as_bytes(), *self.token.as_bytes()].concat());
        let key = with_check(&front, &parts);
        Zeroizing::new(front + &Zeroizing::new(BASE64URL_NOPAD.encode(&key)))
    }
}

impl fmt::Debug for JoinAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { relay, token: _ } = self;
        write!(f, "JoinAddress({}, ..)", relay.authority())
    }
}

impl FromStr for JoinAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.starts_with(RELAY_PREFIX) {
            return Err(AddressError::LacksToken);
        }
        let (host, port, key) = split(text, JOIN_PREFIX)?;
        let key = open_key::<JOIN_KEY>(text, key)?;
        let (root, token) =
            key.split_first_chunk::<{ RootFingerprint::LEN }>().ok_or(AddressError::Key)?;
        let token = <[u8; 32]>::try_from(token).map_err(|_| AddressError::Key)?;
        Ok(Self {
            relay: RelayAddress::new(host, port, RootFingerprint::from_bytes(*root))?,
            token: AdmissionToken::from_bytes(token),
        })
    }
}

/// Longest text that is looked at: no valid address is longer.
const MAX_TEXT: usize = 512;

/// Host, port (R-1130) and key part of an address's text.
fn split<'a>(text: &'a str, prefix: &str) -> Result<(&'a str, u16, &'a str), AddressError> {
    if text.len() > MAX_TEXT {
        return Err(AddressError::NotAnAddress);
    }
    let rest = text.strip_prefix(prefix).ok_or(AddressError::NotAnAddress)?;
    let (host, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").ok_or(AddressError::Truncated)?,
        None => rest.split_once(':').ok_or(AddressError::Truncated)?,
    };
    let (port, key) = rest.split_once(':').ok_or(AddressError::Truncated)?;
    let number: u16 = port.parse().map_err(|_| AddressError::Port)?;
    if number == 0 || number.to_string() != port {
        return Err(AddressError::Port);
    }
    Ok((host, number, key))
}

fn with_check(front: &str, bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let hash = labelled_hash(CHECK_LABEL, &[front.as_bytes(), bytes]);
    let mut key = Zeroizing::new(Vec::with_capacity(bytes.len().saturating_add(CHECK)));
    key.extend_from_slice(bytes);
    key.extend(hash.iter().take(CHECK));
    key
}

/// Decodes the key part of `text` and verifies the check over all that stands before it (R-1131).
fn open_key<const N: usize>(text: &str, key: &str) -> Result<Zeroizing<[u8; N]>, AddressError> {
    let expected = BASE64URL_NOPAD.encode_len(N.saturating_add(CHECK));
    if key.len() < expected {
        return Err(AddressError::Truncated);
    }
    if key.len() > expected {
        return Err(AddressError::TrailingBytes);
    }
    let bytes = BASE64URL_NOPAD
        .decode(key.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| AddressError::Key)?;
    let front = text.strip_suffix(key).ok_or(AddressError::Key)?;
    let content = bytes.first_chunk::<N>().ok_or(AddressError::Key)?;
    if *with_check(front, content) != *bytes {
        return Err(AddressError::Check);
    }
    Ok(Zeroizing::new(*content))
}

/// The one spelling of a host.
fn canonical_host(host: &str) -> Result<String, AddressError> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<Ipv6Addr>() {
        return Ok(ip.to_string());
    }
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok(ip.to_string());
    }
    if is_dns_name(host) { Ok(host.to_ascii_lowercase()) } else { Err(AddressError::Host) }
}

/// Letters, digits, hyphens and underscores in labels of 1 to 63 bytes, the last not all digits
/// (else it would be a malformed IPv4 address).
fn is_dns_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last_is_number =
        host.rsplit('.').next().is_none_or(|last| last.bytes().all(|b| b.is_ascii_digit()));
    (1..=MAX_HOST).contains(&host.len()) && host.split('.').all(label) && !last_is_number
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn relay(host: &str) -> RelayAddress {
        RelayAddress::new(host, 4433, RootFingerprint::from_bytes([7; 32])).unwrap()
    }

    fn join() -> JoinAddress {
        JoinAddress::new(relay("relay.example.org"), AdmissionToken::from_bytes([9; 32]))
    }

    #[test]
    fn text_and_bytes_round_trip() {
        for host in
            ["relay.example.org", "127.0.0.1", "::1", "a", "x.".repeat(126).trim_end_matches('.')]
        {
            let address = relay(host);
            assert_eq!(address.to_string().parse::<RelayAddress>().unwrap(), address);
            assert_eq!(RelayAddress::from_bytes(&address.to_bytes()).unwrap(), address);
            assert!(address.to_bytes().len() <= RelayAddress::MAX_BYTES);
        }
        let text = join().to_text();
        let back: JoinAddress = text.parse().unwrap();
        assert_eq!(back.relay(), join().relay());
        assert_eq!(back.token(), join().token());
        assert!(!format!("{back:?}").contains("CQkJ"), "the token stays out of Debug");
    }

    /// R-1131
    #[test]
    fn every_truncation_is_refused() {
        let text = relay("::1").to_string();
        for end in 0..text.len() {
            assert!(text[..end].parse::<RelayAddress>().is_err(), "{}", &text[..end]);
        }
        assert_eq!(text[..text.len() - 1].parse::<RelayAddress>(), Err(AddressError::Truncated));
        let bytes = relay("::1").to_bytes();
        for end in 0..bytes.len() {
            assert_eq!(RelayAddress::from_bytes(&bytes[..end]), Err(AddressError::Truncated));
        }
        let text = join().to_text();
        for end in 0..text.len() {
            assert!(text[..end].parse::<JoinAddress>().is_err());
        }
    }

    /// R-1131
    #[test]
    fn every_changed_character_is_refused() {
        let text = relay("relay.example.org").to_string();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'2' { b'3' } else { b'2' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(changed.parse::<RelayAddress>().is_err(), "{changed}");
        }
    }

    #[test]
    fn the_kinds_are_told_apart() {
        assert_eq!(join().to_text().parse::<RelayAddress>(), Err(AddressError::HoldsToken));
        assert_eq!(
            relay("a").to_string().parse::<JoinAddress>().unwrap_err(),
            AddressError::LacksToken
        );
        assert_eq!("http://a".parse::<RelayAddress>(), Err(AddressError::NotAnAddress));
    }

    /// R-1130
    #[test]
    fn hosts_have_one_spelling() {
        assert_eq!(relay("Relay.Example").host(), "relay.example");
        assert_eq!(relay("[0:0::1]").host(), "::1");
        for bad in ["", "a..b", "-a", "a b", "1.2.3", "256.1.1.1", "ä", "a:b", &"a".repeat(64)] {
            assert!(
                RelayAddress::new(bad, 1, RootFingerprint::from_bytes([0; 32])).is_err(),
                "{bad}"
            );
        }
        let mut bytes = relay("abc").to_bytes();
        bytes[1] = b'A';
        assert_eq!(RelayAddress::from_bytes(&bytes), Err(AddressError::Host));
    }
}
