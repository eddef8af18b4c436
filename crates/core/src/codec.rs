//! Reading and writing the hand-specified layouts. Numbers are big-endian.

use alloc::vec::Vec;

/// The input ended early, or went on too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Reads from a slice, never beyond it, and never allocates.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Unreadable> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(Unreadable)?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Unreadable> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(Unreadable)?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Unreadable> {
        self.array::<1>().map(|[byte]| *byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Unreadable> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Unreadable> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// A flag: one byte, 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, Unreadable> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Unreadable),
        }
    }

    /// What is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Demands that nothing is left.
    pub(crate) fn finish(self) -> Result<(), Unreadable> {
        if self.0.is_empty() { Ok(()) } else { Err(Unreadable) }
    }
}

/// Appends a slice behind its length in two bytes.
///
/// Every caller bounds the slice far below 65,536 bytes; a longer one would
/// be cut, so it is left out instead, which no reader accepts.
pub(crate) fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    match u16::try_from(bytes.len()) {
        Ok(len) => {
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(bytes);
        }
        Err(_) => debug_assert!(false, "bounded by the caller"),
    }
}

/// Whether every byte is zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |seen, byte| seen | byte) == 0
}
