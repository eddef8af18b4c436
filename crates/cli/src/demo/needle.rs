//! What the relay must not know, and the forms in which it might.

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use zeroize::Zeroizing;

/// Shorter byte strings turn up by chance: six bytes do so once in 280 million million places.
pub(super) const SHORTEST: usize = 6;

/// Where the relay could know something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Place {
    /// Stored fields, unwrapped.
    Rows,
    /// Its directory, byte for byte.
    Files,
    /// What it logs.
    Log,
    /// What it reads and writes inside TLS.
    Frames,
}

impl Place {
    pub(super) const ALL: [Self; 4] = [Self::Rows, Self::Files, Self::Log, Self::Frames];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Files => "files",
            Self::Log => "log",
            Self::Frames => "frames",
        }
    }
}

/// What something is, which decides where it may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// A key, a link, a passphrase.
    Secret,
    /// A capability or token: presented to the relay in frames, and kept there as a hash.
    Capability,
    /// What names an account or a device.
    Identity,
    /// What somebody is called.
    Name,
    /// What somebody wrote, or a piece of a file.
    Plaintext,
    /// A client's network address.
    Address,
    /// Planted in one place, where it must be found.
    Canary(Place),
}

impl Class {
    /// All but canaries: a search that has nothing of one of them is no search.
    pub(super) const SOUGHT: [Self; 6] = [
        Self::Secret,
        Self::Capability,
        Self::Identity,
        Self::Name,
        Self::Plaintext,
        Self::Address,
    ];

    /// Whether it may be there.
    pub(super) fn allowed_in(self, place: Place) -> bool {
        match self {
            Self::Capability => place == Place::Frames,
            // A row or log line got there somehow: where else canaries show proves nothing.
            Self::Canary(_) => true,
            _ => false,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Capability => "capability",
            Self::Identity => "identity",
            Self::Name => "name",
            Self::Plaintext => "plaintext",
            Self::Address => "address",
            Self::Canary(_) => "canary",
        }
    }
}

/// Something to search for.
pub(super) struct Needle {
    pub(super) label: String,
    pub(super) class: Class,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Needle {
    pub(super) fn new(label: impl Into<String>, class: Class, bytes: impl Into<Vec<u8>>) -> Self {
        Self { label: label.into(), class, bytes: Zeroizing::new(bytes.into()) }
    }

    /// The byte strings that give it away.
    pub(super) fn patterns(&self) -> Vec<(&'static str, Zeroizing<Vec<u8>>)> {
        let raw = self.bytes.as_slice();
        let mut patterns = vec![
            ("raw", raw.to_vec()),
            ("hex", HEXLOWER.encode(raw).into_bytes()),
            ("hex", HEXUPPER.encode(raw).into_bytes()),
        ];
        for offset in 0..3 {
            patterns.push(("base64", base64(raw, offset, &BASE64_NOPAD)));
            patterns.push(("base64", base64(raw, offset, &BASE64URL_NOPAD)));
        }
        patterns.sort_unstable();
        patterns.dedup();
        patterns.into_iter().map(|(form, bytes)| (form, Zeroizing::new(bytes))).collect()
    }
}

/// The letters that the bytes have in base64 if `offset` bytes (modulo 3) stand before them,
/// without the letters that depend on what stands around.
fn base64(bytes: &[u8], offset: usize, encoding: &data_encoding::Encoding) -> Vec<u8> {
    let mut before = vec![0; offset];
    before.extend_from_slice(bytes);
    let letters = Zeroizing::new(encoding.encode(&before));
    // The first letter that holds bits of `bytes` alone, and the end of the last such one.
    let from = (offset * 8).div_ceil(6);
    let to = before.len() * 8 / 6;
    letters.as_bytes().get(from..to).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alignment_of_base64_is_found() {
        let needle = Needle::new("x", Class::Secret, *b"\xfb\xff\xbfsecret bytes\x00\x01");
        let patterns = needle.patterns();
        for before in 0..5_usize {
            for after in 0..4_usize {
                let mut text = vec![0xa5; before];
                text.extend_from_slice(&needle.bytes);
                text.extend(std::iter::repeat_n(0x5a, after));
                for encoded in [
                    BASE64_NOPAD.encode(&text),
                    BASE64URL_NOPAD.encode(&text),
                    HEXLOWER.encode(&text),
                    HEXUPPER.encode(&text),
                ] {
                    let found = patterns.iter().any(|(_, pattern)| {
                        encoded.as_bytes().windows(pattern.len()).any(|at| at == pattern.as_slice())
                    });
                    assert!(found, "{before} {after} {encoded}");
                }
            }
        }
    }

    #[test]
    fn no_pattern_of_the_shortest_needle_is_short() {
        let needle = Needle::new("x", Class::Name, *b"abcdef");
        assert_eq!(needle.bytes.len(), SHORTEST);
        assert!(needle.patterns().iter().all(|(_, pattern)| pattern.len() >= SHORTEST));
    }

    #[test]
    fn capabilities_travel_in_frames_and_nothing_else_does() {
        assert!(Class::Capability.allowed_in(Place::Frames));
        for place in [Place::Rows, Place::Files, Place::Log] {
            assert!(!Class::Capability.allowed_in(place));
        }
        for place in Place::ALL {
            for class in
                [Class::Secret, Class::Identity, Class::Name, Class::Plaintext, Class::Address]
            {
                assert!(!class.allowed_in(place));
            }
        }
    }
}
