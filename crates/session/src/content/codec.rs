//! The few shapes that all payloads are made of: big-endian integers, varints, length-prefixed
//! byte strings. Decoding never allocates more than the input holds.

use core::fmt;

use zeroize::Zeroizing;

/// Why content could not be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ContentError {
    /// it ends before its layout does.
    Truncated,
    /// bytes are left over after its layout.
    Trailing,
    /// a varint is longer than it must be, or over 32 bits.
    Varint,
    /// a part is longer than its bound.
    TooLong,
    /// a text is not UTF-8.
    NotText,
    /// a part has a value that it can't have.
    Value,
}

impl ContentError {
    /// The rule of `protocol-spec/09-content.md` that was broken.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "R-901",
            Self::Trailing => "R-902",
            Self::Varint => "R-903",
            Self::TooLong => "R-904",
            Self::NotText => "R-905",
            Self::Value => "R-906",
        }
    }
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the message ends before its layout does",
            Self::Trailing => "the message has bytes after its end",
            Self::Varint => "a number in the message is not written in its shortest form",
            Self::TooLong => "a part of the message is longer than its bound",
            Self::NotText => "a text in the message is not UTF-8",
            Self::Value => "a part of the message has a value that it can't have",
        })
    }
}

impl core::error::Error for ContentError {}

/// Appends to a buffer that is wiped.
pub(crate) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(Zeroizing::new(Vec::new()))
    }

    pub(crate) fn finish(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    /// LEB128, shortest form.
    pub(crate) fn varint(&mut self, mut value: u32) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                return self.u8(low & 0x7f);
            }
            self.u8(low | 0x80);
        }
    }

    /// A varint length and that many bytes.
    pub(crate) fn string(&mut self, bytes: &[u8], max: usize) -> Result<(), ContentError> {
        if bytes.len() > max {
            return Err(ContentError::TooLong);
        }
        self.varint(u32::try_from(bytes.len()).map_err(|_| ContentError::TooLong)?);
        self.bytes(bytes);
        Ok(())
    }
}

/// Reads from the front of a slice.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn end(&self) -> Result<(), ContentError> {
        if self.0.is_empty() { Ok(()) } else { Err(ContentError::Trailing) }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], ContentError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(ContentError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ContentError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(ContentError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ContentError> {
        let [value] = self.array::<1>()?;
        Ok(value)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ContentError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ContentError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// LEB128, shortest form, at most 32 bits.
    pub(crate) fn varint(&mut self) -> Result<u32, ContentError> {
        let mut value: u64 = 0;
        for shift in [0u32, 7, 14, 21, 28] {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift != 0 {
                    return Err(ContentError::Varint);
                }
                return u32::try_from(value).map_err(|_| ContentError::Varint);
            }
        }
        Err(ContentError::Varint)
    }

    pub(crate) fn string(&mut self, max: usize) -> Result<&'a [u8], ContentError> {
        let length = usize::try_from(self.varint()?).map_err(|_| ContentError::TooLong)?;
        if length > max {
            return Err(ContentError::TooLong);
        }
        self.take(length)
    }

    pub(crate) fn text(&mut self, max: usize) -> Result<String, ContentError> {
        let bytes = self.string(max)?;
        core::str::from_utf8(bytes).map(String::from).map_err(|_| ContentError::NotText)
    }

    /// All that is left.
    pub(crate) fn rest(&mut self, max: usize) -> Result<&'a [u8], ContentError> {
        if self.0.len() > max {
            return Err(ContentError::TooLong);
        }
        Ok(core::mem::take(&mut self.0))
    }
}
