//! What the initiator says of itself, encrypted: device list and reply route.

use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::HandshakeError;
use crate::bounds::{IDENTITY_BLOCK_LONG, IDENTITY_BLOCK_SHORT};
use crate::codec::{Reader, is_zero, put_short};
use crate::identity::{DeviceKeys, DeviceList, LocalDevice};
use crate::routing::Routing;

/// An initiator's identity as it was read: every signature in the list is
/// verified, but that the initiator holds the keys is not yet shown.
pub(crate) struct Claimed {
    pub(crate) list: DeviceList,
    pub(crate) device: DeviceKeys,
    pub(crate) reply: Routing,
}

/// Device index 1, list (length 2), route (length 2), zeros up to one of two
/// sizes, so that the size says nothing about a person.
pub(crate) fn write(
    me: &LocalDevice,
    reply: &Routing,
) -> Result<Zeroizing<Vec<u8>>, HandshakeError> {
    let mut block = Zeroizing::new(Vec::with_capacity(IDENTITY_BLOCK_LONG));
    block.push(me.index());
    put_short(&mut block, me.list().as_bytes());
    put_short(&mut block, reply.as_bytes());
    let size = [IDENTITY_BLOCK_SHORT, IDENTITY_BLOCK_LONG]
        .into_iter()
        .find(|size| block.len() <= *size)
        .ok_or(HandshakeError::TooLong)?;
    block.resize(size, 0);
    Ok(block)
}

pub(crate) fn read(block: &[u8]) -> Result<Claimed, HandshakeError> {
    let mut reader = Reader::new(block);
    let index = usize::from(reader.u8()?);
    let list_len = usize::from(reader.u16()?);
    let list = DeviceList::parse(reader.take(list_len)?)?;
    let reply_len = usize::from(reader.u16()?);
    let reply = Routing::new(reader.take(reply_len)?).map_err(|_| HandshakeError::Unreadable)?;
    if !is_zero(reader.rest()) {
        return Err(HandshakeError::Unreadable);
    }
    let device = list.devices().get(index).ok_or(HandshakeError::Unreadable)?.keys();
    Ok(Claimed { list, device, reply })
}
