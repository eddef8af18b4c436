//! Links: what one person hands to another to be reachable (`protocol-spec/03-links.md`).

use core::fmt;
use core::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use undertone_wire::{AddressError, RelayAddress};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// What every link starts with. All that is secret stands after the `#`, which programs that
/// fetch addresses do not send anywhere.
pub const LINK_PREFIX: &str = "undertone://i/#";

/// The version of the payload that this software writes and reads.
pub const LINK_VERSION: u8 = 1;

/// The longest link that is looked at, in bytes of text. A link with the longest relay address
/// stays below this, and so does what a QR code of version 40 holds; anything longer is not a
/// link of ours, and is refused before it is decoded.
pub const MAX_LINK_TEXT: usize = 640;

/// Bytes of SHA-256 at the end of the payload. They find typing and copying errors; against
/// malice they do nothing, the handshake does.
const CHECKSUM: usize = 4;

/// version ‖ kind ‖ link secret ‖ account fingerprint, before the relay's address.
const FIXED: usize = 1 + 1 + 32 + 32;

/// How often a link may be used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LinkKind {
    /// For one person: one bundle, no last resort. A second use is reported as possible interception.
    SingleUse,
    /// For many people, for example on a web page. Every holder learns that it is its owner's.
    Reusable,
    /// Given inside a session, to start it anew after a loss of state.
    Reset,
}

impl LinkKind {
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Self::SingleUse => 1,
            Self::Reusable => 2,
            Self::Reset => 3,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::SingleUse),
            2 => Some(Self::Reusable),
            3 => Some(Self::Reset),
            _ => None,
        }
    }
}

/// Why a text is not a usable link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LinkError {
    /// it does not start with [`LINK_PREFIX`].
    NotALink,
    /// it starts well and ends too early: part of it was not copied.
    Truncated,
    /// it is complete but damaged, or was never a link.
    Malformed,
    /// made by a version of the protocol that this software does not know.
    UnsupportedVersion(u8),
    /// of a kind that this software does not know.
    UnsupportedKind(u8),
}

impl LinkError {
    /// The rule of `protocol-spec/03-links.md` that was broken.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotALink => "R-301",
            Self::Truncated => "R-302",
            Self::Malformed => "R-303",
            Self::UnsupportedVersion(_) => "R-304",
            Self::UnsupportedKind(_) => "R-305",
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotALink => write!(f, "this is not a link: a link starts with {LINK_PREFIX}"),
            Self::Truncated => {
                f.write_str("the end of the link is missing: copy all of it, up to its last letter")
            }
            Self::Malformed => {
                f.write_str("the link is damaged: ask for it again, or copy it again in full")
            }
            Self::UnsupportedVersion(version) => write!(
                f,
                "the link is of version {version}, which this program does not know: update it"
            ),
            Self::UnsupportedKind(kind) => {
                write!(f, "the link is of kind {kind}, which this program does not know: update it")
            }
        }
    }
}

impl core::error::Error for LinkError {}

/// A link, decoded. Whoever holds it can write to its owner once or more, by its kind;
/// its secret is wiped on drop and does not appear in `Debug`.
#[derive(PartialEq, Eq)]
pub struct Link {
    kind: LinkKind,
    secret: LinkSecretBytes,
    account: [u8; 32],
    relay: RelayAddress,
}

/// The link secret at rest: 32 bytes, wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
struct LinkSecretBytes([u8; 32]);

impl PartialEq for LinkSecretBytes {
    fn eq(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        bool::from(self.0.ct_eq(&other.0))
    }
}

impl Eq for LinkSecretBytes {}

impl Link {
    /// A link of its parts: the 32-byte link secret, the inviter's 32-byte account fingerprint,
    /// and the relay where the depot is.
    #[must_use]
    pub fn new(kind: LinkKind, secret: [u8; 32], account: [u8; 32], relay: RelayAddress) -> Self {
        Self { kind, secret: LinkSecretBytes(secret), account, relay }
    }

    /// A second copy, where two owners are needed. Written out instead of `Clone`, so that each
    /// copy of the secret is a decision that can be found.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::new(self.kind, self.secret.0, self.account, self.relay.clone())
    }

    /// How often it may be used.
    #[must_use]
    pub const fn kind(&self) -> LinkKind {
        self.kind
    }

    /// The 32-byte link secret: everything else about the first contact derives from it.
    #[must_use]
    pub const fn secret(&self) -> &[u8; 32] {
        &self.secret.0
    }

    /// Fingerprint of the account that made the link, 32 bytes.
    #[must_use]
    pub const fn account(&self) -> &[u8; 32] {
        &self.account
    }

    /// Whether it is a link of the account with this fingerprint: nobody uses a link of their own
    /// and a contact's reset link is that contact's (R-1302).
    #[must_use]
    pub fn is_of(&self, account: &[u8; 32]) -> bool {
        self.account == *account
    }

    /// The relay that holds the link's depot and first-contact mailbox.
    #[must_use]
    pub const fn relay(&self) -> &RelayAddress {
        &self.relay
    }

    /// The payload: version ‖ kind ‖ secret ‖ account fingerprint ‖ relay address ‖ checksum.
    pub(crate) fn payload(&self) -> Zeroizing<Vec<u8>> {
        let relay = self.relay.to_bytes();
        let mut out = Zeroizing::new(Vec::with_capacity(FIXED + relay.len() + CHECKSUM));
        out.push(LINK_VERSION);
        out.push(self.kind.to_byte());
        out.extend_from_slice(&self.secret.0);
        out.extend_from_slice(&self.account);
        out.extend_from_slice(&relay);
        let sum = checksum(&out);
        out.extend_from_slice(&sum);
        out
    }

    /// The link as text: [`LINK_PREFIX`] and the payload in base64url without padding.
    ///
    /// The text is as secret as the link.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::from(LINK_PREFIX));
        BASE64URL_NOPAD.encode_append(&self.payload(), &mut text);
        text
    }

    /// Reads the reset link that a contact gave, whose account has this fingerprint.
    ///
    /// # Errors
    /// The number of the rule that is broken: those of [`LinkError`], R-1301 if it is of another kind,
    /// which would let us start what is no reset, R-1302 if it leads to somebody else.
    pub fn from_contact(payload: &[u8], account: &[u8; 32]) -> Result<Self, &'static str> {
        let link = Self::from_payload(payload).map_err(|error| error.code())?;
        match link.kind {
            LinkKind::Reset if link.is_of(account) => Ok(link),
            LinkKind::Reset => Err("R-1302"),
            _ => Err("R-1301"),
        }
    }

    pub(crate) fn from_payload(payload: &[u8]) -> Result<Self, LinkError> {
        let (&version, rest) = payload.split_first().ok_or(LinkError::Truncated)?;
        if version != LINK_VERSION {
            return Err(LinkError::UnsupportedVersion(version));
        }
        let (&kind, rest) = rest.split_first().ok_or(LinkError::Truncated)?;
        let (secret, rest) = rest.split_first_chunk::<32>().ok_or(LinkError::Truncated)?;
        let (account, rest) = rest.split_first_chunk::<32>().ok_or(LinkError::Truncated)?;
        let relay = RelayAddress::take_from_bytes(rest);
        let (relay, sum) = match relay {
            Ok(read) => read,
            Err(AddressError::Truncated) => return Err(LinkError::Truncated),
            Err(_) => return Err(LinkError::Malformed),
        };
        if sum.len() < CHECKSUM {
            return Err(LinkError::Truncated);
        }
        let covered =
            payload.get(..payload.len().saturating_sub(sum.len())).ok_or(LinkError::Malformed)?;
        if sum != checksum(covered) {
            return Err(LinkError::Malformed);
        }
        // The kind is judged behind the checksum, so that a typing error is not called "update".
        let kind = LinkKind::from_byte(kind).ok_or(LinkError::UnsupportedKind(kind))?;
        Ok(Self::new(kind, *secret, *account, relay))
    }
}

impl FromStr for Link {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        if text.len() > MAX_LINK_TEXT {
            return Err(LinkError::Malformed);
        }
        let Some(encoded) = text.strip_prefix(LINK_PREFIX) else {
            return Err(if !text.is_empty() && LINK_PREFIX.starts_with(text) {
                LinkError::Truncated
            } else {
                LinkError::NotALink
            });
        };
        Self::from_payload(&decode(encoded)?)
    }
}

/// Decodes base64url in the order of `protocol-spec/03-links.md`, section 3: what is missing is
/// told before what is left over.
fn decode(encoded: &str) -> Result<Zeroizing<Vec<u8>>, LinkError> {
    let letters = encoded.as_bytes();
    if letters.iter().any(|c| !c.is_ascii_alphanumeric() && !b"-_".contains(c)) {
        return Err(LinkError::Malformed);
    }
    if let Ok(payload) = BASE64URL_NOPAD.decode(letters) {
        return Ok(Zeroizing::new(payload));
    }
    // Surplus bits, or a letter alone: damage, unless the end is missing too.
    let payload = without_surplus(letters);
    match Link::from_payload(&payload) {
        Err(error @ (LinkError::Truncated | LinkError::UnsupportedVersion(_))) => Err(error),
        _ => Err(LinkError::Malformed),
    }
}

/// The whole bytes of a text whose last letter has bits too many.
fn without_surplus(letters: &[u8]) -> Zeroizing<Vec<u8>> {
    let alone = usize::from(letters.len() % 4 == 1);
    let kept = letters.get(..letters.len().saturating_sub(alone)).unwrap_or_default();
    let mut padded = Zeroizing::new(Vec::with_capacity(kept.len().saturating_add(3)));
    padded.extend_from_slice(kept);
    let whole = padded.len().saturating_mul(3) / 4;
    while padded.len() % 4 != 0 {
        padded.push(b'A');
    }
    let mut payload = Zeroizing::new(BASE64URL_NOPAD.decode(&padded).unwrap_or_default());
    payload.truncate(whole);
    payload
}

fn checksum(payload: &[u8]) -> [u8; CHECKSUM] {
    let digest: [u8; 32] = Sha256::digest(payload).into();
    let [a, b, c, d, ..] = digest;
    [a, b, c, d]
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, secret: _, account: _, relay } = self;
        f.debug_struct("Link").field("kind", kind).field("relay", relay).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use proptest::prelude::*;
    use undertone_wire::RootFingerprint;

    use super::*;

    fn link(kind: LinkKind, host: &str) -> Link {
        let relay = RelayAddress::new(host, 4433, RootFingerprint::from_bytes([7; 32])).unwrap();
        Link::new(kind, [1; 32], [2; 32], relay)
    }

    /// A text with this payload and a checksum that fits.
    fn text_of(payload: &[u8]) -> String {
        let whole = [payload, &checksum(payload)].concat();
        format!("{LINK_PREFIX}{}", BASE64URL_NOPAD.encode(&whole))
    }

    fn payload_of(link: &Link) -> Vec<u8> {
        let payload = link.payload();
        payload[..payload.len() - CHECKSUM].to_vec()
    }

    #[test]
    fn r_303_what_is_left_over_is_damage_and_what_is_missing_is_told_first() {
        let whole = text_of(&payload_of(&link(LinkKind::SingleUse, "relay.example.org")));
        let (front, last) = whole.split_at(whole.len() - 1);
        assert_ne!(whole.len() % 4, LINK_PREFIX.len() % 4, "the last letter has surplus bits");
        // The next letter of the alphabet differs in the lowest bit alone.
        let surplus = char::from(last.as_bytes()[0] + 1);
        assert_eq!(format!("{front}{surplus}").parse::<Link>(), Err(LinkError::Malformed));
        for end in LINK_PREFIX.len() + 2..front.len() {
            let cut = &whole[..end];
            assert_eq!(format!("{cut}_").parse::<Link>(), Err(LinkError::Truncated), "{end}");
            // No letter of base64url, wherever it stands.
            assert_eq!(format!("{cut}=").parse::<Link>(), Err(LinkError::Malformed), "{end}");
        }
        for more in ["A", "AA", "AAA", "AAAA"] {
            assert_eq!(format!("{whole}{more}").parse::<Link>(), Err(LinkError::Malformed));
        }
    }

    #[test]
    fn links_survive_the_round_trip_and_stay_short() {
        for kind in [LinkKind::SingleUse, LinkKind::Reusable, LinkKind::Reset] {
            let link = link(kind, "relay.example.org");
            let text = link.to_text();
            assert!(text.len() <= 200, "{}", text.len());
            assert!(text.find("i/#").unwrap() + 3 == LINK_PREFIX.len());
            assert_eq!(text.parse::<Link>().unwrap(), link);
            assert_eq!(format!("  {}\n", *text).parse::<Link>().unwrap(), link);
        }
        let longest = format!("{}x", "x.".repeat(126));
        let text = link(LinkKind::Reusable, &longest).to_text();
        assert!(text.len() <= MAX_LINK_TEXT, "{}", text.len());
        text.parse::<Link>().unwrap();
    }

    #[test]
    fn the_layout_is_the_published_one() {
        let bytes = link(LinkKind::SingleUse, "ab").payload();
        let expected =
            [&[1, 1][..], &[1; 32], &[2; 32], &[2, b'a', b'b'], &4433_u16.to_be_bytes(), &[7; 32]]
                .concat();
        assert_eq!(&bytes[..bytes.len() - 4], expected);
    }

    #[test]
    fn the_example_of_the_specification_is_read_and_written() {
        let specification = include_str!("../../../protocol-spec/03-links.md");
        let text = link(LinkKind::SingleUse, "relay.example.org").to_text();
        let joined: String = specification.split_whitespace().collect();
        assert!(joined.contains(&*text), "{}", *text);
    }

    #[test]
    fn every_cut_is_called_a_cut() {
        let text = link(LinkKind::Reusable, "relay.example.org").to_text();
        for end in 1..text.len() {
            assert_eq!(text[..end].parse::<Link>(), Err(LinkError::Truncated), "{end}");
        }
    }

    #[test]
    fn every_wrong_letter_is_found() {
        let text = link(LinkKind::Reusable, "relay.example.org").to_text();
        for at in LINK_PREFIX.len()..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let wrong = String::from_utf8(bytes).unwrap();
            assert!(wrong.parse::<Link>().is_err(), "{at}");
        }
    }

    #[test]
    fn the_rules_are_told_apart() {
        let good = payload_of(&link(LinkKind::SingleUse, "relay.example.org"));
        let with = |at: usize, byte: u8| {
            let mut payload = good.clone();
            payload[at] = byte;
            text_of(&payload).parse::<Link>().unwrap_err()
        };
        assert_eq!("https://example.org".parse::<Link>(), Err(LinkError::NotALink));
        assert_eq!("".parse::<Link>(), Err(LinkError::NotALink));
        assert_eq!("undertone://i".parse::<Link>(), Err(LinkError::Truncated));
        assert_eq!(with(0, 9), LinkError::UnsupportedVersion(9));
        assert_eq!(with(1, 9), LinkError::UnsupportedKind(9));
        // A host that is none.
        assert_eq!(with(67, b' '), LinkError::Malformed);
        let mut long = good.clone();
        long.push(0);
        assert_eq!(text_of(&long).parse::<Link>(), Err(LinkError::Malformed));
        let text = text_of(&good);
        assert_eq!(format!("{text}!").parse::<Link>(), Err(LinkError::Malformed));
        assert_eq!(format!("{text}{text}").parse::<Link>(), Err(LinkError::Malformed));
        assert_eq!("x".repeat(10_000).parse::<Link>(), Err(LinkError::Malformed));
        let codes = [
            LinkError::NotALink,
            LinkError::Truncated,
            LinkError::Malformed,
            LinkError::UnsupportedVersion(2),
            LinkError::UnsupportedKind(9),
        ]
        .map(|error| error.code());
        assert_eq!(codes, ["R-301", "R-302", "R-303", "R-304", "R-305"]);
    }

    #[test]
    fn the_secret_does_not_print() {
        let shown = format!("{:?}", link(LinkKind::SingleUse, "relay.example.org"));
        assert!(!shown.contains("1, 1") && !shown.contains("AQEB"), "{shown}");
    }

    proptest! {
        #[test]
        fn junk_never_panics(text in ".{0,300}") {
            let _ = text.parse::<Link>();
        }

        #[test]
        fn what_is_read_is_written_back_alike(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = format!("{LINK_PREFIX}{}", BASE64URL_NOPAD.encode(&bytes));
            if let Ok(link) = text.parse::<Link>() {
                prop_assert_eq!(&*link.to_text(), &text);
            }
        }
    }
}
