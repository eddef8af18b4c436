//! The header: one fixed size, sealed, bound to the session.

use crate::codec::Reader;
use crate::primitives::aead::{self, NONCE, TAG};
use crate::primitives::dh::DhPublic;

use super::error::OpenError;
use super::keys::{ReceivingHeaderKey, SendingHeaderKey};
use super::pq::EpochTag;
use super::session::SessionId;

/// Bytes of a header: ratchet key 32, previous chain length 4, number 4,
/// epoch 4, epoch tag 8, flags 1.
pub(crate) const HEADER: usize = 32 + 4 + 4 + 4 + 8 + 1;
/// Bytes of a sealed header.
pub(crate) const SEALED_HEADER: usize = HEADER + TAG;

/// What a sender says of a message. All but the number are constants of a
/// chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) key: [u8; DhPublic::LEN],
    pub(crate) previous: u32,
    pub(crate) number: u32,
    pub(crate) epoch: u32,
    pub(crate) tag: EpochTag,
}

/// A sealed header and the nonce that was drawn for it.
#[derive(Clone, Copy)]
pub(crate) struct SealedHeader<'a> {
    pub(crate) nonce: &'a [u8; NONCE],
    pub(crate) bytes: &'a [u8; SEALED_HEADER],
}

impl Header {
    pub(crate) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let previous = self.previous.to_be_bytes();
        let number = self.number.to_be_bytes();
        let epoch = self.epoch.to_be_bytes();
        let fields = [&self.key[..], &previous, &number, &epoch, self.tag.as_bytes()];
        let mut rest = &mut bytes[..];
        for field in fields {
            put(&mut rest, field);
        }
        // The flags stay zero: none is defined.
        bytes
    }
}

/// Seals a header's bytes.
pub(crate) fn seal(
    header: &[u8; HEADER],
    key: &SendingHeaderKey,
    id: &SessionId,
    nonce: &[u8; NONCE],
) -> [u8; SEALED_HEADER] {
    let mut sealed = [0; SEALED_HEADER];
    let (plain, tag) = sealed.split_at_mut(HEADER);
    plain.copy_from_slice(header);
    tag.copy_from_slice(&aead::seal(key.expose(), nonce, id.as_bytes(), plain));
    sealed
}

/// Copies a field to the front of `rest` and moves on.
fn put(rest: &mut &mut [u8], field: &[u8]) {
    if let Some((head, tail)) = core::mem::take(rest).split_at_mut_checked(field.len()) {
        head.copy_from_slice(field);
        *rest = tail;
    }
}

impl<'a> SealedHeader<'a> {
    /// The tag: what is remembered of a header to recognise it.
    pub(crate) fn tag(&self) -> &'a [u8; TAG] {
        let (_, tag) = self.bytes.split_at(HEADER);
        tag.first_chunk().unwrap_or(&[0; TAG])
    }

    /// Opens with one header key; `None` where it is not this one.
    pub(crate) fn open(
        &self,
        key: &ReceivingHeaderKey,
        id: &SessionId,
    ) -> Option<Result<Header, OpenError>> {
        let mut plain = [0; HEADER];
        let (body, _) = self.bytes.split_at(HEADER);
        plain.copy_from_slice(body);
        aead::open(key.expose(), self.nonce, id.as_bytes(), &mut plain, self.tag()).ok()?;
        Some(read(&plain))
    }
}

fn read(plain: &[u8; HEADER]) -> Result<Header, OpenError> {
    let mut reader = Reader::new(plain);
    let header = Header {
        key: *reader.array()?,
        previous: reader.u32()?,
        number: reader.u32()?,
        epoch: reader.u32()?,
        tag: EpochTag::from_bytes(*reader.array()?),
    };
    // unknown flags may change what a message means.
    if reader.u8()? == 0 { Ok(header) } else { Err(OpenError::HeaderFlags) }
}
