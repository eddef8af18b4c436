//! The kinds of content and the layout of each payload.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::codec::{ContentError, Reader, Writer};
use super::{MAX_CUSTOM, MAX_FILE_NAME, MAX_IDS, MAX_MEDIA_TYPE, MAX_NAME, MAX_REACTION, MAX_TEXT};
use crate::ids::MessageId;

/// The longest relay address in its binary form, and the longest route: what core's handshake
/// has room for.
pub(crate) const MAX_ROUTE: usize = 320;

/// The longest payload of a link: 72 bytes and a relay's address.
pub(crate) const MAX_LINK_PAYLOAD: usize = 72 + 288;

/// Sessions that one notice can name: more than are ever kept with an account's devices.
pub(crate) const MAX_NAMED_SESSIONS: usize = 32;

/// Key numbers of the kinds on the wire.
mod kind {
    pub(super) const TEXT: u32 = 1;
    pub(super) const ATTACHMENT: u32 = 2;
    pub(super) const DELIVERY_ACK: u32 = 3;
    pub(super) const READ_RECEIPT: u32 = 4;
    pub(super) const REACTION: u32 = 5;
    pub(super) const EDIT: u32 = 6;
    pub(super) const DELETE: u32 = 7;
    pub(super) const TYPING: u32 = 8;
    pub(super) const PROFILE: u32 = 9;
    pub(super) const DISAPPEARING: u32 = 10;
    pub(super) const MAILBOX_MOVE: u32 = 11;
    pub(super) const DEVICE_LIST: u32 = 12;
    pub(super) const CUSTOM: u32 = 13;
    pub(super) const RESET_LINK: u32 = 14;
    pub(super) const RESET_NOTICE: u32 = 15;
}

/// The key of a file, 32 bytes: wiped on drop, and not shown.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct BlobKeyBytes([u8; 32]);

impl BlobKeyBytes {
    /// A key from its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for BlobKeyBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for BlobKeyBytes {}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Route {}

impl fmt::Debug for BlobKeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlobKeyBytes(..)")
    }
}

/// A file at a relay, and everything that is needed to fetch and open it.
#[derive(PartialEq, Eq, Debug)]
pub struct Attachment {
    /// What the sender calls the file. Hostile: it must not be used as a path.
    pub name: String,
    /// What the sender says it is (RFC 6838), or empty.
    pub media_type: String,
    /// Bytes of content before encryption.
    pub size: u64,
    /// The file's key.
    pub key: BlobKeyBytes,
    /// The first 32 bytes of the blob: they commit to the key.
    pub commitment: [u8; 32],
    /// SHA-256 of the whole blob.
    pub sha256: [u8; 32],
    /// The relay that stores the blob, in its binary form.
    pub relay: Vec<u8>,
    /// The blob's random id there.
    pub blob: [u8; 32],
    /// The capability that reads it.
    pub read: BlobKeyBytes,
    /// A text beside the file, or empty.
    pub caption: String,
}

/// Where to write to: a relay's address and a write capability, as opaque bytes
/// (the layout is that of `routing` in `protocol-spec/03-links.md`).
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Route(pub(crate) Vec<u8>);

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Route(..)")
    }
}

impl Route {
    /// A route from its bytes; they are looked into where it is used.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A reaction to a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reaction {
    /// The message it is about.
    pub target: MessageId,
    /// The emoji.
    pub emoji: String,
    /// True if an earlier reaction is taken back.
    pub removed: bool,
}

/// What a message says.
#[derive(PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Body {
    /// Kind 1: a text.
    Text(String),
    /// Kind 2: a file at a relay.
    Attachment(Box<Attachment>),
    /// Kind 3: these messages were received and stored.
    DeliveryAck(Vec<MessageId>),
    /// Kind 4: these messages were shown to the person.
    ReadReceipt(Vec<MessageId>),
    /// Kind 5: a reaction.
    Reaction(Reaction),
    /// Kind 6: another text for a message sent before.
    Edit {
        /// The message.
        target: MessageId,
        /// Its text from now on.
        text: String,
    },
    /// Kind 7: the sender takes a message back.
    Delete(MessageId),
    /// Kind 8: the sender is writing (true) or has stopped.
    Typing(bool),
    /// Kind 9: how the sender calls themselves.
    Profile {
        /// The name.
        name: String,
    },
    /// Kind 10: messages are to disappear this many seconds after reading; 0 turns it off.
    Disappearing {
        /// Seconds.
        seconds: u32,
    },
    /// Kind 11: write here from now on.
    MailboxMove(Route),
    /// Kind 12: the sender's signed device list.
    DeviceList(Vec<u8>),
    /// Kind 13: for programs that build on this one.
    Custom {
        /// The program's name for what this is.
        name: String,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// Kind 14: the payload of the link over which the receiver, and nobody else, may start the
    /// session anew.
    ResetLink(Route),
    /// Kind 15: this session takes the place of the others, or others have taken its place.
    ResetNotice {
        /// Why (`protocol-spec/13-session.md`); 0 where it answers a reset, 4 in a session that
        /// others have replaced.
        cause: u8,
        /// Those others, in a session that they have replaced.
        sessions: Vec<[u8; 32]>,
    },
    /// Any other kind: kept as it came.
    Unknown {
        /// The kind's number.
        kind: u32,
        /// Its bytes.
        payload: Vec<u8>,
    },
}

impl Body {
    /// The kind's number on the wire.
    #[must_use]
    pub const fn kind(&self) -> u32 {
        match self {
            Self::Text(_) => kind::TEXT,
            Self::Attachment(_) => kind::ATTACHMENT,
            Self::DeliveryAck(_) => kind::DELIVERY_ACK,
            Self::ReadReceipt(_) => kind::READ_RECEIPT,
            Self::Reaction(_) => kind::REACTION,
            Self::Edit { .. } => kind::EDIT,
            Self::Delete(_) => kind::DELETE,
            Self::Typing(_) => kind::TYPING,
            Self::Profile { .. } => kind::PROFILE,
            Self::Disappearing { .. } => kind::DISAPPEARING,
            Self::MailboxMove(_) => kind::MAILBOX_MOVE,
            Self::DeviceList(_) => kind::DEVICE_LIST,
            Self::Custom { .. } => kind::CUSTOM,
            Self::ResetLink(_) => kind::RESET_LINK,
            Self::ResetNotice { .. } => kind::RESET_NOTICE,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// Whether the receiver acknowledges it: all but acknowledgements (they would answer each
    /// other for ever) and what is worthless a moment later.
    #[must_use]
    pub const fn is_acknowledged(&self) -> bool {
        !matches!(
            self,
            Self::DeliveryAck(_)
                | Self::ReadReceipt(_)
                | Self::Typing(_)
                | Self::ResetNotice { .. }
        )
    }

    pub(super) fn encode(&self, w: &mut Writer) -> Result<(), ContentError> {
        match self {
            Self::Text(text) => w.string(text.as_bytes(), MAX_TEXT),
            Self::Attachment(attachment) => attachment.encode(w),
            Self::DeliveryAck(ids) | Self::ReadReceipt(ids) => encode_ids(ids, w),
            Self::Reaction(reaction) => {
                w.bytes(reaction.target.as_bytes());
                w.u8(u8::from(reaction.removed));
                w.string(reaction.emoji.as_bytes(), MAX_REACTION)
            }
            Self::Edit { target, text } => {
                w.bytes(target.as_bytes());
                w.string(text.as_bytes(), MAX_TEXT)
            }
            Self::Delete(target) => {
                w.bytes(target.as_bytes());
                Ok(())
            }
            Self::Typing(active) => {
                w.u8(u8::from(*active));
                Ok(())
            }
            Self::Profile { name } => w.string(name.as_bytes(), MAX_NAME),
            Self::Disappearing { seconds } => {
                w.u32(*seconds);
                Ok(())
            }
            Self::MailboxMove(route) => w.string(&route.0, MAX_ROUTE),
            Self::DeviceList(list) => w.string(list, MAX_CUSTOM),
            Self::Custom { name, payload } => {
                w.string(name.as_bytes(), MAX_NAME)?;
                w.string(payload, MAX_CUSTOM)
            }
            Self::ResetLink(link) => w.string(&link.0, MAX_LINK_PAYLOAD),
            Self::ResetNotice { cause, sessions } => {
                if sessions.len() > MAX_NAMED_SESSIONS {
                    return Err(ContentError::TooLong);
                }
                w.u8(*cause);
                for session in sessions {
                    w.bytes(session);
                }
                Ok(())
            }
            Self::Unknown { payload, .. } => {
                if payload.len() > MAX_CUSTOM {
                    return Err(ContentError::TooLong);
                }
                w.bytes(payload);
                Ok(())
            }
        }
    }

    pub(super) fn decode(number: u32, r: &mut Reader<'_>) -> Result<Self, ContentError> {
        Ok(match number {
            kind::TEXT => Self::Text(r.text(MAX_TEXT)?),
            kind::ATTACHMENT => Self::Attachment(Box::new(Attachment::decode(r)?)),
            kind::DELIVERY_ACK => Self::DeliveryAck(decode_ids(r)?),
            kind::READ_RECEIPT => Self::ReadReceipt(decode_ids(r)?),
            kind::REACTION => Self::Reaction(Reaction {
                target: MessageId::from_bytes(r.array()?),
                removed: boolean(r)?,
                emoji: r.text(MAX_REACTION)?,
            }),
            kind::EDIT => {
                Self::Edit { target: MessageId::from_bytes(r.array()?), text: r.text(MAX_TEXT)? }
            }
            kind::DELETE => Self::Delete(MessageId::from_bytes(r.array()?)),
            kind::TYPING => Self::Typing(boolean(r)?),
            kind::PROFILE => Self::Profile { name: r.text(MAX_NAME)? },
            kind::DISAPPEARING => Self::Disappearing { seconds: r.u32()? },
            kind::MAILBOX_MOVE => Self::MailboxMove(Route(r.string(MAX_ROUTE)?.to_vec())),
            kind::DEVICE_LIST => Self::DeviceList(r.string(MAX_CUSTOM)?.to_vec()),
            kind::CUSTOM => {
                Self::Custom { name: r.text(MAX_NAME)?, payload: r.string(MAX_CUSTOM)?.to_vec() }
            }
            kind::RESET_LINK => Self::ResetLink(Route(r.string(MAX_LINK_PAYLOAD)?.to_vec())),
            kind::RESET_NOTICE => {
                Self::ResetNotice { cause: r.u8()?, sessions: decode_sessions(r)? }
            }
            kind => Self::Unknown { kind, payload: r.rest(MAX_CUSTOM)?.to_vec() },
        })
    }
}

impl Attachment {
    fn encode(&self, w: &mut Writer) -> Result<(), ContentError> {
        w.bytes(&self.blob);
        w.bytes(self.read.as_bytes());
        w.bytes(self.key.as_bytes());
        w.bytes(&self.commitment);
        w.bytes(&self.sha256);
        w.u64(self.size);
        w.string(&self.relay, MAX_ROUTE)?;
        w.string(self.name.as_bytes(), MAX_FILE_NAME)?;
        w.string(self.media_type.as_bytes(), MAX_MEDIA_TYPE)?;
        w.string(self.caption.as_bytes(), MAX_TEXT)
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, ContentError> {
        Ok(Self {
            blob: r.array()?,
            read: BlobKeyBytes(r.array()?),
            key: BlobKeyBytes(r.array()?),
            commitment: r.array()?,
            sha256: r.array()?,
            size: r.u64()?,
            relay: r.string(MAX_ROUTE)?.to_vec(),
            name: r.text(MAX_FILE_NAME)?,
            media_type: r.text(MAX_MEDIA_TYPE)?,
            caption: r.text(MAX_TEXT)?,
        })
    }
}

/// a flag is 0 or 1.
fn boolean(r: &mut Reader<'_>) -> Result<bool, ContentError> {
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ContentError::Value),
    }
}

fn encode_ids(ids: &[MessageId], w: &mut Writer) -> Result<(), ContentError> {
    if ids.len() > MAX_IDS {
        return Err(ContentError::TooLong);
    }
    for id in ids {
        w.bytes(id.as_bytes());
    }
    Ok(())
}

/// Session ids to the end of the content.
fn decode_sessions(r: &mut Reader<'_>) -> Result<Vec<[u8; 32]>, ContentError> {
    let mut ids = Vec::new();
    while !r.is_empty() {
        if ids.len() == MAX_NAMED_SESSIONS {
            return Err(ContentError::TooLong);
        }
        ids.push(r.array()?);
    }
    Ok(ids)
}

/// Ids to the end of the content; how many follows from its length.
fn decode_ids(r: &mut Reader<'_>) -> Result<Vec<MessageId>, ContentError> {
    let mut ids = Vec::new();
    while !r.is_empty() {
        if ids.len() == MAX_IDS {
            return Err(ContentError::TooLong);
        }
        ids.push(MessageId::from_bytes(r.array()?));
    }
    Ok(ids)
}
