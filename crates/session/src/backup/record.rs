//! What a backup consists of, and its layout (`protocol-spec/14-backup.md`, section 3).

use core::fmt;

use zeroize::Zeroizing;

use super::{BackupError, MAX_RECORD, RECORD_HEAD};
use crate::content::codec::{Reader, Writer};
use crate::content::{
    ContentError, MAX_CUSTOM, MAX_FILE_NAME, MAX_MEDIA_TYPE, MAX_NAME, MAX_REACTION, MAX_TEXT,
};
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::link::LinkKind;
use crate::message::{Direction, FileInfo, MessageKind, MessageState};

const ACCOUNT: u8 = 1;
const RELAY: u8 = 2;
const CONTACT: u8 = 3;
const LINK: u8 = 4;
const LEFTOVER: u8 = 5;
const ERASED: u8 = 6;
const PENDING: u8 = 7;
const MESSAGE: u8 = 8;
/// The record behind the last one: how many there are.
pub(super) const END: u8 = 255;

/// The longest device list (02 §4).
const MAX_LIST: usize = 2_048;

/// The longest binary address of a relay (03-links §1).
const MAX_ADDRESS: usize = 288;

/// The longest payload of a link (03-links §1).
const MAX_LINK: usize = 360;

/// The longest sentence that says why a message failed.
const MAX_REASON: usize = 1024;

/// The longest content (07).
const MAX_CONTENT: usize = undertone_core::bounds::MAX_CONTENT;

/// A record of a backup. What is in it comes from [`crate::engine::Engine::export`] and goes to
/// [`crate::engine::Restorer::put`].
pub struct Record(pub(crate) Kind);

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({})", self.0.number())
    }
}

/// What a record is about.
pub(crate) enum Kind {
    Account(Box<AccountRecord>),
    Relay(RelayRecord),
    Contact(Box<ContactRecord>),
    Link(LinkRecord),
    Leftover(LeftoverRecord),
    Erased(ErasedRecord),
    Pending(PendingRecord),
    Message(Box<MessageRecord>),
}

/// A secret of a record.
pub(crate) type Bytes32 = Zeroizing<[u8; 32]>;

/// Whose backup it is.
pub(crate) struct AccountRecord {
    pub(crate) secret: Bytes32,
    /// The list as it was, and which of its devices made the backup: that one is replaced.
    pub(crate) list: Vec<u8>,
    pub(crate) device: u8,
    pub(crate) name: String,
    pub(crate) relay: Vec<u8>,
    pub(crate) token: Bytes32,
    /// The numbers that are given next.
    pub(crate) next_contact: u64,
    pub(crate) next_message: u64,
    pub(crate) next_link: u64,
    pub(crate) made: UnixMillis,
}

/// A relay that was used before.
pub(crate) struct RelayRecord {
    pub(crate) relay: Vec<u8>,
    pub(crate) token: Bytes32,
}

pub(crate) struct ContactRecord {
    pub(crate) id: ContactId,
    pub(crate) account: [u8; 32],
    pub(crate) verified: bool,
    pub(crate) blocked: bool,
    pub(crate) name_is_ours: bool,
    pub(crate) name: String,
    pub(crate) profile_name: Option<String>,
    /// What is known of their device list; empty if nothing is.
    pub(crate) list_record: Vec<u8>,
    /// The payload of the reset link that they gave.
    pub(crate) reset_theirs: Option<Zeroizing<Vec<u8>>>,
    /// The number of the one that they were given.
    pub(crate) reset_ours: Option<u64>,
    /// Seconds after which new messages disappear, and what the word of that claims as its time.
    pub(crate) timer: u32,
    pub(crate) timer_at: u64,
}

/// A link that goes on: whoever holds it reaches the new device.
pub(crate) struct LinkRecord {
    pub(crate) number: u64,
    pub(crate) kind: LinkKind,
    pub(crate) label: Option<String>,
    pub(crate) secret: Bytes32,
    pub(crate) depot_seed: Bytes32,
    pub(crate) relay: Vec<u8>,
    pub(crate) contact: Option<u64>,
}

/// Something at a relay that is of no use any more.
pub(crate) struct LeftoverRecord {
    pub(crate) relay: Vec<u8>,
    pub(crate) what: LeftoverWhat,
}

pub(crate) enum LeftoverWhat {
    Mailbox { seed: Bytes32 },
    Depot { seed: Bytes32, depot: [u8; 32] },
}

/// An incoming message that was erased: it is not shown again if it comes again.
pub(crate) struct ErasedRecord {
    pub(crate) contact: ContactId,
    pub(crate) id: MessageId,
    pub(crate) day: u32,
}

/// A message of the history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MessageRecord {
    pub(crate) place: u64,
    pub(crate) contact: ContactId,
    pub(crate) id: MessageId,
    pub(crate) sent_at: UnixMillis,
    pub(crate) direction: Direction,
    pub(crate) state: MessageState,
    pub(crate) kind: MessageKind,
    /// What the newest edit claims as its time; 0 if there was none.
    pub(crate) edited_at: u64,
    pub(crate) timer: u32,
    /// When it disappears; absent as long as its clock does not run.
    pub(crate) erase_at: Option<u64>,
    pub(crate) reactions: Vec<ReactionRecord>,
}

/// The newest reaction of one side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ReactionRecord {
    pub(crate) by: Direction,
    /// What it claims as its time.
    pub(crate) at: u64,
    /// Empty if it was taken back.
    pub(crate) emoji: String,
}

/// What is not known to have arrived.
pub(crate) struct PendingRecord {
    pub(crate) contact: ContactId,
    pub(crate) place: u64,
    pub(crate) message: Option<u64>,
    /// It may have been transmitted.
    pub(crate) sent: bool,
    /// When, if so.
    pub(crate) day: u32,
    pub(crate) content: Zeroizing<Vec<u8>>,
}

impl Kind {
    const fn number(&self) -> u8 {
        match self {
            Self::Account(_) => ACCOUNT,
            Self::Relay(_) => RELAY,
            Self::Contact(_) => CONTACT,
            Self::Link(_) => LINK,
            Self::Leftover(_) => LEFTOVER,
            Self::Erased(_) => ERASED,
            Self::Pending(_) => PENDING,
            Self::Message(_) => MESSAGE,
        }
    }

    fn encode(&self, w: &mut Writer) -> Result<(), ContentError> {
        match self {
            Self::Account(one) => one.encode(w),
            Self::Relay(one) => one.encode(w),
            Self::Contact(one) => one.encode(w),
            Self::Link(one) => one.encode(w),
            Self::Leftover(one) => one.encode(w),
            Self::Erased(one) => {
                one.encode(w);
                Ok(())
            }
            Self::Pending(one) => one.encode(w),
            Self::Message(one) => one.encode(w),
        }
    }
}

/// Type, length, body.
fn frame(kind: u8, body: &[u8]) -> Result<Zeroizing<Vec<u8>>, BackupError> {
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_RECORD);
    let length = length.ok_or(BackupError::Malformed { what: "a record is too long" })?;
    let mut framed = Zeroizing::new(Vec::with_capacity(RECORD_HEAD.saturating_add(body.len())));
    framed.push(kind);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(body);
    Ok(framed)
}

/// The record that ends a backup of this many.
pub(super) fn frame_end(records: u64) -> Vec<u8> {
    [&[END, 0, 0, 0, 8][..], &records.to_be_bytes()].concat()
}

/// Type and length from the head of a record; R-1410 for those that can't be.
pub(super) fn head_of(head: &[u8]) -> Result<(u8, usize), BackupError> {
    let [kind, a, b, c, d] = *head else {
        return Err(BackupError::Malformed { what: "a record ends early" });
    };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    match kind {
        ACCOUNT..=MESSAGE | END if length <= MAX_RECORD => Ok((kind, length)),
        ACCOUNT..=MESSAGE | END => Err(BackupError::Malformed { what: "a record is too long" }),
        _ => Err(BackupError::Malformed { what: "a record is of no known type" }),
    }
}

impl Record {
    /// Whether it is a contact.
    #[must_use]
    pub const fn is_contact(&self) -> bool {
        matches!(self.0, Kind::Contact(_))
    }

    /// Whether it is a message of the history.
    #[must_use]
    pub const fn is_message(&self) -> bool {
        matches!(self.0, Kind::Message(_))
    }

    /// When the backup was made, if this is the record that says so.
    #[must_use]
    pub fn made(&self) -> Option<UnixMillis> {
        match &self.0 {
            Kind::Account(account) => Some(account.made),
            _ => None,
        }
    }

    pub(super) fn frame(&self) -> Result<Zeroizing<Vec<u8>>, BackupError> {
        let mut w = Writer::new();
        self.0.encode(&mut w).map_err(|_| LAYOUT)?;
        frame(self.0.number(), &w.finish())
    }

    #[cfg(test)]
    pub(crate) fn frame_for_tests(&self) -> Zeroizing<Vec<u8>> {
        self.frame().unwrap_or_default()
    }

    /// R-1410: exactly one record in these bytes.
    pub(super) fn decode(kind: u8, body: &[u8]) -> Result<Self, BackupError> {
        let mut r = Reader::new(body);
        let record = match kind {
            ACCOUNT => AccountRecord::decode(&mut r).map(|one| Kind::Account(Box::new(one))),
            RELAY => RelayRecord::decode(&mut r).map(Kind::Relay),
            CONTACT => ContactRecord::decode(&mut r).map(|one| Kind::Contact(Box::new(one))),
            LINK => LinkRecord::decode(&mut r).map(Kind::Link),
            LEFTOVER => LeftoverRecord::decode(&mut r).map(Kind::Leftover),
            ERASED => ErasedRecord::decode(&mut r).map(Kind::Erased),
            PENDING => PendingRecord::decode(&mut r).map(Kind::Pending),
            _ => MessageRecord::decode(&mut r).map(|one| Kind::Message(Box::new(one))),
        };
        let record = record.and_then(|record| r.end().map(|()| record));
        record.map(Self).map_err(|_| LAYOUT)
    }
}

const LAYOUT: BackupError = BackupError::Malformed { what: "a record breaks its layout" };

fn secret(r: &mut Reader<'_>) -> Result<Bytes32, ContentError> {
    r.array().map(Zeroizing::new)
}

/// A flag: 0 or 1.
fn flag(r: &mut Reader<'_>) -> Result<bool, ContentError> {
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ContentError::Value),
    }
}

/// Absent is empty.
fn optional(text: Option<&String>) -> &[u8] {
    text.map_or(&[], |text| text.as_bytes())
}

fn text_or_none(r: &mut Reader<'_>, max: usize) -> Result<Option<String>, ContentError> {
    Ok(Some(r.text(max)?).filter(|text| !text.is_empty()))
}

/// Numbers count from 1; 0 is none.
fn number_or_none(r: &mut Reader<'_>) -> Result<Option<u64>, ContentError> {
    Ok(Some(r.u64()?).filter(|number| *number != 0))
}

impl AccountRecord {
    fn encode(&self, w: &mut Writer) -> Result<(), ContentError> {
        w.bytes(&*self.secret);
        w.u8(self.device);
        w.string(&self.list, MAX_LIST)?;
        w.string(self.name.as_bytes(), MAX_NAME)?;
        w.string(&self.relay, MAX_ADDRESS)?;
        w.bytes(&*self.token);
        for number in [self.next_contact, self.next_message, self.next_link, self.made.get()] {
            w.u64(number);
        }
        Ok(())
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, ContentError> {
        let secret = secret(r)?;
        let device = r.u8()?;
        Ok(Self {
            secret,
            device,
            list: r.string(MAX_LIST)?.to_vec(),
            name: r.text(MAX_NAME)?,
            relay: r.string(MAX_ADDRESS)?.to_vec(),
            token: self::secret(r)?,
            next_contact: r.u64()?,
            next_message: r.u64()?,
            next_link: r.u64()?,
            made: UnixMillis::new(r.u64()?),
        })
    }
}

impl RelayRecord {
    fn encode(&self, w: &mut Writer) -> Result<(), ContentError> {
        w.string(&self.relay, MAX_ADDRESS)?;
        w.bytes(&*self.token);
        Ok(())
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, ContentError> {
        Ok(Self { relay: r.string(MAX_ADDRESS)?.to_vec(), token: secret(r)? })
    }
}

impl ContactRecord {
    fn encode(&self, w: &mut Writer) -> Result<(), ContentError> {
        w.u64(self.id.get());
        w.bytes(&self.account);
        for flag in [self.verified, self.blocked, self.name_is_ours] {
            w.u8(u8::from(flag));
        }
        w.string(self.name.as_bytes(), MAX_NAME)?;
        w.string(optional(self.profile_name.as_ref()), MAX_NAME)?;
        w.string(&self.list_record, undertone_core::ListRecord::LEN)?;
        w.string(self.reset_theirs.as_ref().map_or(&[], |link| link.as_slice()), MAX_LINK)?;
        w.u64(self.reset_ours.unwrap_or(0));
        w.u32(self.timer);
        w.u64(self.timer_at);
        Ok(())
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, ContentError> {
        Ok(Self {
            id: ContactId::new(r.u64()?),
            account: r.array()?,
            verified: flag(r)?,
            blocked: flag(r)?,
            name_is_ours: flag(r)?,
            name: r.text(MAX_NAME)?,
            profile_name: text_or_none(r, MAX_NAME)?,
            list_record: r.string(undertone_core::ListRecord::LEN)?.to_vec(),
            reset_theirs: Some(r.string(MAX_LINK)?)
                .filter(|link| !link.is_empty())
                .map(|link| Zeroizing::new(link.to_vec())),
            reset_ours: number_or_none(r)?,
            timer: r.u32()?,
            timer_at: r.u64()?,
        })
    }
}

impl LinkRecord {
    fn encode(&self, w: &mut Writer) -> Result<(), ContentError> {
        w.u64(self.number);
        w.u8(self.kind.to_byte());
        w.string(optional(self.label.as_ref()), MAX_NAME)?;
        w.bytes(&*self.secret);
        w.bytes(&*self.depot_seed);
        w.string(&self.relay, MAX_ADDRESS)?;
        w.u64(self.contact.unwrap_or(0));
        Ok(())
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, ContentError> {
        Ok(Self {
            number: r.u64()?,
            kind: LinkKind::from_byte(r.u8()?).ok_or(ContentError::Value)?,
            label: text_or_none(r, MAX_NAME)?,
            secret: secret(r)?,
            depot_seed: secret(r)?,
            relay: r.string(MAX_ADDRESS)?.to_vec(),
            contact: number_or_none(r)?,
        })
    }
}

impl LeftoverRecord {
    fn encode(&self, w: &mut Writer) -> Result<(), ContentError> {
        w.string(&self.relay, MAX_ADDRESS)?;
        match &self.what {
            LeftoverWhat::Mailbox { seed } => {
                w.u8(1);
                w.bytes(&**seed);
            }
            LeftoverWhat::Depot { seed, depot } => {
                w.u8(2);
                w.bytes(&**seed);
                w.bytes(depot);
            }
        }
        Ok(())
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, ContentError> {
        let relay = r.string(MAX_ADDRESS)?.to_vec();
        let what = match r.u8()? {
            1 => LeftoverWhat::Mailbox { seed: secret(r)? },
            2 => LeftoverWhat::Depot { seed: secret(r)?, depot: r.array()? },
            _ => return Err(ContentError::Value),
        };
        Ok(Self { relay, what })
    }
}

impl PendingRecord {
    fn encode(&self, w: &mut Writer) -> Result<(), ContentError> {
        w.u64(self.contact.get());
        w.u64(self.place);
        w.u64(self.message.unwrap_or(0));
        w.u8(u8::from(self.sent));
        w.u32(self.day);
        w.string(&self.content, MAX_CONTENT)
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, ContentError> {
        Ok(Self {
            contact: ContactId::new(r.u64()?),
            place: r.u64()?,
            message: number_or_none(r)?,
            sent: flag(r)?,
            day: r.u32()?,
            content: Zeroizing::new(r.string(MAX_CONTENT)?.to_vec()),
        })
    }
}

impl ErasedRecord {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.contact.get());
        w.bytes(self.id.as_bytes());
        w.u32(self.day);
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, ContentError> {
        Ok(Self {
            contact: ContactId::new(r.u64()?),
            id: MessageId::from_bytes(r.array()?),
            day: r.u32()?,
        })
    }
}

impl MessageRecord {
    fn encode(&self, w: &mut Writer) -> Result<(), ContentError> {
        w.u64(self.place);
        w.u64(self.contact.get());
        w.bytes(self.id.as_bytes());
        w.u64(self.sent_at.get());
        encode_direction(self.direction, w);
        encode_state(&self.state, w)?;
        encode_kind(&self.kind, w)?;
        w.u64(self.edited_at);
        w.u32(self.timer);
        w.u64(self.erase_at.unwrap_or(0));
        for reaction in &self.reactions {
            encode_direction(reaction.by, w);
            w.u64(reaction.at);
            w.string(reaction.emoji.as_bytes(), MAX_REACTION)?;
        }
        Ok(())
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, ContentError> {
        Ok(Self {
            place: r.u64()?,
            contact: ContactId::new(r.u64()?),
            id: MessageId::from_bytes(r.array()?),
            sent_at: UnixMillis::new(r.u64()?),
            direction: decode_direction(r)?,
            state: decode_state(r)?,
            kind: decode_kind(r)?,
            edited_at: r.u64()?,
            timer: r.u32()?,
            erase_at: number_or_none(r)?,
            reactions: decode_reactions(r)?,
        })
    }
}

/// To the end of the record: at most one of each side.
fn decode_reactions(r: &mut Reader<'_>) -> Result<Vec<ReactionRecord>, ContentError> {
    let mut reactions: Vec<ReactionRecord> = Vec::new();
    while !r.is_empty() {
        let by = decode_direction(r)?;
        if reactions.iter().any(|one| one.by == by) {
            return Err(ContentError::Value);
        }
        reactions.push(ReactionRecord { by, at: r.u64()?, emoji: r.text(MAX_REACTION)? });
    }
    Ok(reactions)
}

fn encode_direction(direction: Direction, w: &mut Writer) {
    w.u8(match direction {
        Direction::Incoming => 0,
        Direction::Outgoing => 1,
    });
}

fn decode_direction(r: &mut Reader<'_>) -> Result<Direction, ContentError> {
    Ok(if flag(r)? { Direction::Outgoing } else { Direction::Incoming })
}

fn encode_state(state: &MessageState, w: &mut Writer) -> Result<(), ContentError> {
    w.u8(match state {
        MessageState::Queued => 0,
        MessageState::Accepted => 1,
        MessageState::Delivered => 2,
        MessageState::Read => 3,
        MessageState::Expired => 4,
        MessageState::Failed { .. } => 5,
        MessageState::Received => 6,
    });
    match state {
        MessageState::Failed { reason } => w.string(reason.as_bytes(), MAX_REASON),
        _ => Ok(()),
    }
}

fn decode_state(r: &mut Reader<'_>) -> Result<MessageState, ContentError> {
    Ok(match r.u8()? {
        0 => MessageState::Queued,
        1 => MessageState::Accepted,
        2 => MessageState::Delivered,
        3 => MessageState::Read,
        4 => MessageState::Expired,
        5 => MessageState::Failed { reason: r.text(MAX_REASON)? },
        6 => MessageState::Received,
        _ => return Err(ContentError::Value),
    })
}

fn encode_kind(kind: &MessageKind, w: &mut Writer) -> Result<(), ContentError> {
    match kind {
        MessageKind::Text { text } => {
            w.u8(1);
            w.string(text.as_bytes(), MAX_TEXT)
        }
        // Where it lies on this machine says nothing on another.
        MessageKind::File(FileInfo { name, size, media_type, path: _, caption }) => {
            w.u8(2);
            w.string(name.as_bytes(), MAX_FILE_NAME)?;
            w.u64(*size);
            w.string(media_type.as_bytes(), MAX_MEDIA_TYPE)?;
            w.string(caption.as_bytes(), MAX_TEXT)
        }
        MessageKind::Custom { name, payload } => {
            w.u8(3);
            w.string(name.as_bytes(), MAX_NAME)?;
            w.string(payload, MAX_CUSTOM)
        }
        MessageKind::Unknown { kind, payload } => {
            w.u8(4);
            w.u32(*kind);
            w.string(payload, MAX_CUSTOM)
        }
        MessageKind::Deleted => {
            w.u8(5);
            Ok(())
        }
    }
}

fn decode_kind(r: &mut Reader<'_>) -> Result<MessageKind, ContentError> {
    Ok(match r.u8()? {
        1 => MessageKind::Text { text: r.text(MAX_TEXT)? },
        2 => MessageKind::File(FileInfo {
            name: r.text(MAX_FILE_NAME)?,
            size: r.u64()?,
            media_type: r.text(MAX_MEDIA_TYPE)?,
            path: None,
            caption: r.text(MAX_TEXT)?,
        }),
        3 => {
            MessageKind::Custom { name: r.text(MAX_NAME)?, payload: r.string(MAX_CUSTOM)?.to_vec() }
        }
        4 => MessageKind::Unknown { kind: r.u32()?, payload: r.string(MAX_CUSTOM)?.to_vec() },
        5 => MessageKind::Deleted,
        _ => return Err(ContentError::Value),
    })
}
