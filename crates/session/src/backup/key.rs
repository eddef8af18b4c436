//! The recovery key: 64 characters that a person writes down.
//!
//! Four lines of sixteen, each with a check of its own, so that an error of typing is told from the
//! key of another backup, and where it is.

use core::fmt;
use core::str::FromStr;

use undertone_core::BackupSecret;
use undertone_core::rand_core::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

/// The letters, by value (Crockford's base 32): no I, L, O or U.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Letters of a line.
const LINE: usize = 16;

/// Letters of a group, for the eye.
const GROUP: usize = 4;

/// Letters of the key.
const LENGTH: usize = LINE * BackupSecret::PARTS;

/// Bytes of a line: 8 of the secret, 2 of its check.
const LINE_BYTES: usize = 10;

/// What opens a person's backups. Shown once, kept by the person; wiped on drop.
///
/// ```
/// use undertone_session::backup::{RecoveryKey, RecoveryKeyError};
/// # use core::convert::Infallible;
/// # use undertone_core::rand_core::{TryCryptoRng, TryRng};
/// # struct Fixed;
/// # impl TryRng for Fixed {
/// #     type Error = Infallible;
/// #     fn try_next_u32(&mut self) -> Result<u32, Infallible> { Ok(7) }
/// #     fn try_next_u64(&mut self) -> Result<u64, Infallible> { Ok(7) }
/// #     fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> { out.fill(7); Ok(()) }
/// # }
/// # impl TryCryptoRng for Fixed {}
/// # let mut rng = Fixed; // in a program: the system's generator
///
/// let key = RecoveryKey::generate(&mut rng);
/// let typed = key.to_text().to_lowercase().replace('-', " ");
/// assert_eq!(typed.parse::<RecoveryKey>()?.to_text(), key.to_text());
/// let wrong = typed.replacen('0', "1", 1);
/// assert_eq!(wrong.parse::<RecoveryKey>().unwrap_err(), RecoveryKeyError::Typo { lines: vec![1] });
/// # Ok::<(), RecoveryKeyError>(())
/// ```
pub struct RecoveryKey(BackupSecret);

/// Why a text is no recovery key.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RecoveryKeyError {
    /// R-1401: it has a character that no recovery key has.
    Letter {
        /// The character.
        found: char,
    },
    /// R-1401: it has more or fewer than 64 characters.
    Length {
        /// How many it has, without spaces and hyphens.
        found: usize,
    },
    /// R-1402: there is an error of typing in these lines (of sixteen characters, from 1).
    Typo {
        /// Which lines.
        lines: Vec<u8>,
    },
}

impl RecoveryKeyError {
    /// The rule of `protocol-spec/14-backup.md` that was broken.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Letter { .. } | Self::Length { .. } => "R-1401",
            Self::Typo { .. } => "R-1402",
        }
    }
}

impl fmt::Display for RecoveryKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Letter { found } => write!(
                f,
                "a recovery key has no character {found:?}: it has digits and letters, and of \
                 those no U"
            ),
            Self::Length { found } => {
                write!(f, "the recovery key has {LENGTH} characters, and {found} were given")
            }
            Self::Typo { lines } => {
                let numbers: Vec<_> = lines.iter().map(u8::to_string).collect();
                let many = if numbers.len() == 1 { "line" } else { "lines" };
                write!(
                    f,
                    "there is an error of typing in {many} {} of the recovery key ({LINE} \
                     characters each)",
                    numbers.join(", ")
                )
            }
        }
    }
}

impl core::error::Error for RecoveryKeyError {}

impl RecoveryKey {
    /// A new one.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(BackupSecret::generate(rng))
    }

    /// Its four lines, for a person to write down.
    #[must_use]
    pub fn lines(&self) -> [Zeroizing<String>; BackupSecret::PARTS] {
        [0, 1, 2, 3].map(|part| self.line(part))
    }

    fn line(&self, part: u8) -> Zeroizing<String> {
        let start = usize::from(part).saturating_mul(LINE_BYTES - 2);
        let bytes = self.0.as_bytes().iter().skip(start).take(LINE_BYTES - 2);
        let check = self.0.check(part).unwrap_or_default();
        let mut bits = bytes.chain(&check).fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        let mut line = Zeroizing::new(String::with_capacity(LINE.saturating_add(LINE / GROUP)));
        for at in 0..LINE {
            if at > 0 && at % GROUP == 0 {
                line.push('-');
            }
            let shift = u32::try_from((LINE - 1).saturating_sub(at).saturating_mul(5)).unwrap_or(0);
            let value = usize::try_from(bits >> shift & 31).unwrap_or(0);
            line.push(char::from(LETTERS.get(value).copied().unwrap_or(b'0')));
        }
        bits.zeroize();
        line
    }

    /// All of it on one line, in groups of four with hyphens. As secret as the key.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let lines = self.lines();
        Zeroizing::new(lines.each_ref().map(|line| line.as_str()).join("-"))
    }

    pub(crate) const fn secret(&self) -> &BackupSecret {
        &self.0
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(..)")
    }
}

impl FromStr for RecoveryKey {
    type Err = RecoveryKeyError;

    /// Reads a key as a person types it: in capitals or not, O for 0 and I or L for 1, with spaces,
    /// hyphens and line breaks anywhere.
    fn from_str(text: &str) -> Result<Self, RecoveryKeyError> {
        let mut values = Zeroizing::new(Vec::with_capacity(LENGTH));
        let mut found = 0_usize;
        for letter in text.chars().filter(|c| !c.is_whitespace() && !is_dash(*c)) {
            let value = value_of(letter).ok_or(RecoveryKeyError::Letter { found: letter })?;
            found = found.saturating_add(1);
            if values.len() < LENGTH {
                values.push(value);
            }
        }
        if found != LENGTH {
            return Err(RecoveryKeyError::Length { found });
        }
        let mut secret = Zeroizing::new([0; BackupSecret::LEN]);
        let mut checks = Vec::with_capacity(BackupSecret::PARTS);
        for (line, part) in values.chunks(LINE).zip(secret.chunks_mut(LINE_BYTES - 2)) {
            let bits = line.iter().fold(0_u128, |bits, value| bits << 5 | u128::from(*value));
            let bytes = Zeroizing::new((bits << 48).to_be_bytes());
            for (to, from) in part.iter_mut().zip(bytes.iter()) {
                *to = *from;
            }
            checks.push(bytes.iter().skip(LINE_BYTES - 2).take(2).copied().collect::<Vec<_>>());
        }
        let key = Self(BackupSecret::from_bytes(&secret));
        let wrong = |(part, check): (u8, &Vec<u8>)| {
            let fits = key.0.check(part).is_some_and(|right| right.as_slice() == check);
            (!fits).then(|| part.saturating_add(1))
        };
        let lines: Vec<u8> = (0_u8..).zip(&checks).filter_map(wrong).collect();
        if lines.is_empty() { Ok(key) } else { Err(RecoveryKeyError::Typo { lines }) }
    }
}

fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

fn value_of(letter: char) -> Option<u8> {
    let letter = match letter.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let at = LETTERS.iter().position(|known| char::from(*known) == letter)?;
    u8::try_from(at).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;

    fn key(bytes: [u8; 32]) -> RecoveryKey {
        RecoveryKey(BackupSecret::from_bytes(&bytes))
    }

    #[test]
    fn a_key_is_read_as_people_type_it() {
        let key = key([0; 32]);
        let lines = key.lines();
        assert!(lines.iter().all(|line| line.len() == 19 && line.starts_with("0000-0000-0000-")));
        let text = key.to_text();
        assert_eq!(text.len(), 79);
        for typed in [
            text.to_string(),
            text.to_lowercase(),
            text.replace('-', ""),
            text.replace('-', " \u{2013} "),
            text.replace('0', "O").replace('1', "l"),
            lines.map(|line| line.to_string()).join("\n"),
        ] {
            let read: RecoveryKey = typed.parse().unwrap();
            assert_eq!(read.to_text(), text, "{typed}");
        }
    }

    /// `protocol-spec/14-backup.md`, section 1.
    #[test]
    fn the_example_of_the_specification() {
        let expected = [
            "0W3G-E1R7-0W3G-E50N",
            "0W3G-E1R7-0W3G-EQWG",
            "0W3G-E1R7-0W3G-F9FM",
            "0W3G-E1R7-0W3G-ED7A",
        ];
        assert_eq!(key([7; 32]).lines().each_ref().map(|line| line.as_str()), expected);
    }

    #[test]
    fn r_1401_other_letters_and_lengths() {
        let text = key([7; 32]).to_text();
        let refused = |text: &str| text.parse::<RecoveryKey>().unwrap_err();
        assert_eq!(refused(&text.replacen('1', "U", 1)), RecoveryKeyError::Letter { found: 'U' });
        assert_eq!(refused(""), RecoveryKeyError::Length { found: 0 });
        assert_eq!(refused(&text[..78]), RecoveryKeyError::Length { found: 63 });
        let longer = text.repeat(1000);
        assert_eq!(refused(&longer), RecoveryKeyError::Length { found: 64_000 });
        assert_eq!(refused(&longer).code(), "R-1401");
    }

    #[test]
    fn r_1402_an_error_of_typing_is_found_with_its_line() {
        let text = key([7; 32]).to_text();
        let groups: Vec<&str> = text.split('-').collect();
        for line in 0..4 {
            let mut typed: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
            // Two neighbours that were exchanged.
            let group = &mut typed[line * 4];
            assert_ne!(group[0..1], group[1..2]);
            *group = format!("{}{}{}", &group[1..2], &group[0..1], &group[2..]);
            let error = typed.join("-").parse::<RecoveryKey>().unwrap_err();
            assert_eq!(error.code(), "R-1402");
            let lines = vec![u8::try_from(line + 1).unwrap()];
            assert_eq!(error, RecoveryKeyError::Typo { lines });
        }
        // Two lines that were exchanged.
        let lines = key([7; 32]).lines();
        let swapped = [&lines[0], &lines[2], &lines[1], &lines[3]].map(|line| line.as_str());
        let error = swapped.join("\n").parse::<RecoveryKey>().unwrap_err();
        assert_eq!(error, RecoveryKeyError::Typo { lines: vec![2, 3] });
    }

    proptest! {
        #[test]
        fn every_key_survives_and_no_text_panics(bytes: [u8; 32], junk in ".{0,90}") {
            let text = key(bytes).to_text();
            let read: RecoveryKey = text.parse().unwrap();
            prop_assert_eq!(read.0.as_bytes(), &bytes);
            let _ = junk.parse::<RecoveryKey>();
        }
    }
}
