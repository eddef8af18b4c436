//! Rows of the store and their keys. Values are postcard; keys are big-endian, so that the order
//! of keys is the order of numbers.

use core::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::event::ResetCause;
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::link::LinkKind;
use crate::message::{Direction, Hold, MessageKind, MessageState};
use crate::store::{StoreError, Table, Transaction};

/// Secret bytes in a row: wiped on drop, not shown.
pub(super) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as an array of the length that the row's layout says.
    pub(super) fn array<const N: usize>(
        &self,
        what: &str,
    ) -> Result<Zeroizing<[u8; N]>, StoreError> {
        self.0.as_slice().try_into().map(Zeroizing::new).map_err(|_| corrupt(what))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(|bytes| Self(Zeroizing::new(bytes)))
    }
}

/// This profile: `Meta["profile"]`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct ProfileRow {
    pub(super) name: String,
    pub(super) account_secret: Secret,
    pub(super) device_secret: Secret,
    pub(super) device_list: Vec<u8>,
    /// The relay's address, binary.
    pub(super) relay: Vec<u8>,
    pub(super) token: Secret,
}

/// A contact: `Contacts[contact]`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct ContactRow {
    pub(super) name: String,
    /// True once the person here chose the name; a profile does not change it then.
    pub(super) name_is_ours: bool,
    pub(super) profile_name: Option<String>,
    pub(super) account: [u8; 32],
    pub(super) list_record: Vec<u8>,
    pub(super) verified: bool,
    pub(super) blocked: bool,
    pub(super) healing: HealingRow,
    /// They have written into the mailbox below.
    pub(super) moved: bool,
    /// The mailbox here that is theirs to write into. Without a row while they are blocked.
    pub(super) mailbox: [u8; 32],
    /// Their devices; one in this version.
    pub(super) devices: Vec<DeviceRow>,
    /// The reset link that they hold: its number here.
    pub(super) reset_ours: Option<u64>,
    /// The reset link that they gave us: its payload (`protocol-spec/03-links.md`).
    pub(super) reset_theirs: Option<Secret>,
    /// The take of a reset that has begun.
    pub(super) reset_take: Option<[u8; 16]>,
    /// The capability of the one-time bundle over which they came: its mailbox and its hash.
    pub(super) came_by: Option<([u8; 32], [u8; 32])>,
    /// Another account that calls over the reset link that only they hold, until the person here
    /// has decided.
    pub(super) offered_account: Option<[u8; 32]>,
    /// Seconds after which new messages disappear; 0 if they stay.
    pub(super) timer: u32,
    /// What the newest word about the timer claims as its time: only later ones count.
    pub(super) timer_at: u64,
}

/// How it stands with the sessions of a contact.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HealingRow {
    /// They can go on.
    Sound,
    /// They have to start anew, and that has not begun.
    Due {
        cause: ResetCause,
        /// The person was told that it can't begin.
        stalled: bool,
    },
    /// A new one was started on this day and has no answer yet.
    Started { cause: ResetCause, day: u32 },
}

impl HealingRow {
    pub(super) const fn due(cause: ResetCause) -> Self {
        Self::Due { cause, stalled: false }
    }
}

/// A device of a contact.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct DeviceRow {
    pub(super) keys: Vec<u8>,
    /// Where to write in sessions that they have, newest first. Never a link's mailbox: envelopes
    /// go there with their handshake or not at all.
    pub(super) routes: Vec<Secret>,
    pub(super) sessions: Vec<SessionRef>,
    /// The session in which a message of theirs was opened last.
    pub(super) spoken: Option<[u8; 32]>,
}

/// A session with a device.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct SessionRef {
    pub(super) id: [u8; 32],
    /// We know that the other side has it: it wrote to us in it.
    pub(super) peer_has: bool,
    /// Where the session is started: the first-contact mailbox that its bundle named. `None` in
    /// one that the other side started.
    pub(super) first_contact: Option<Secret>,
    /// The day from which nothing is sent in it any more, because another has taken its place;
    /// what still comes in it is opened.
    pub(super) retired: Option<u32>,
    /// Since then the contact has written in it, and was told which sessions have taken its place.
    pub(super) told: bool,
}

impl SessionRef {
    /// One that begins now: we start it, with what goes to this first-contact mailbox, or the other
    /// side has started it.
    pub(super) const fn new(id: [u8; 32], first_contact: Option<Secret>) -> Self {
        Self { id, peer_has: first_contact.is_none(), first_contact, retired: None, told: false }
    }
}

/// A ratchet: `Sessions[session id]`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct SessionRow {
    pub(super) contact: u64,
    pub(super) state: Secret,
    /// How often a post-quantum secret had been mixed in when a message was opened last.
    pub(super) epochs: u32,
    /// When that rose last, in milliseconds since 1970; 0 if it has not yet.
    pub(super) healed_at: u64,
}

#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkState {
    /// Its depot may not be at the relay yet.
    Preparing,
    /// It can be used.
    Active,
    /// It was withdrawn: nobody new comes over it. Its mailbox stays while contacts may use it.
    Revoked,
}

#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkKindRow {
    SingleUse,
    Reusable,
    Reset,
}

impl From<LinkKind> for LinkKindRow {
    fn from(kind: LinkKind) -> Self {
        match kind {
            LinkKind::SingleUse => Self::SingleUse,
            LinkKind::Reusable => Self::Reusable,
            LinkKind::Reset => Self::Reset,
        }
    }
}

/// A link of ours: `Links[number]`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct LinkRow {
    pub(super) kind: LinkKindRow,
    pub(super) label: Option<String>,
    pub(super) secret: Secret,
    pub(super) depot_seed: Secret,
    /// Its first-contact mailbox.
    pub(super) mailbox: [u8; 32],
    pub(super) state: LinkState,
    pub(super) expires: u32,
    /// The day on which its depot was last filled.
    pub(super) filled: u32,
    /// The one contact who holds it, if it is a reset link.
    pub(super) contact: Option<u64>,
    /// The depot may hold bundles whose private halves are lost: it is filled anew, not up.
    pub(super) stale: bool,
}

/// A prekey: `Prekeys[link ‖ bundle id]`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct PrekeyRow {
    /// Gone once a one-time bundle has been used.
    pub(super) secret: Option<Secret>,
    pub(super) digest: [u8; 32],
    pub(super) expiry: u32,
    /// Hash of the write capability that its bundle names.
    pub(super) capability: Option<[u8; 32]>,
    /// The person was told that somebody else used the bundle, too.
    pub(super) reused: bool,
}

/// An accepted transcript: `Replay[session id]`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct ReplayRow {
    /// The last day on which a repeat could be delivered.
    pub(super) until: u32,
}

#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The first-contact mailbox of a link.
    Link(u64),
    /// A contact's own.
    Contact(u64),
    /// Made for a contact that is being added.
    Adding,
}

/// A mailbox of ours: `Mailboxes[mailbox id]`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct MailboxRow {
    pub(super) seed: Secret,
    pub(super) relay: Vec<u8>,
    pub(super) purpose: Purpose,
    /// False until the relay has confirmed that it exists.
    pub(super) live: bool,
    /// The write capability given to the contact; link mailboxes have theirs in the bundles.
    pub(super) capability: Option<Secret>,
    pub(super) incarnation: Option<[u8; 16]>,
    /// Everything up to here is stored, or was seen and refused for good.
    pub(super) floor: u64,
    /// The day on which the contact gets another one.
    pub(super) move_on: u32,
    /// The day on which another one took its place.
    pub(super) retired: Option<u32>,
    /// Grows with each mailbox that is made; 0 for those of version 1.
    pub(super) number: u64,
}

#[derive(Serialize, Deserialize, Debug)]
pub(super) enum OutState {
    /// Waits for its file to be at the relay.
    Uploading,
    /// May be sealed.
    Ready,
    /// Sealed; these bytes and no others are transmitted.
    Sealed(SealedRow),
}

/// A sealed envelope and where it goes.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct SealedRow {
    pub(super) envelope: Vec<u8>,
    /// The route it was sealed for: an envelope with a handshake is understood in that mailbox
    /// only.
    pub(super) route: Secret,
    /// A handshake stands in it.
    pub(super) greets: bool,
    /// The session that it was sealed in; unknown of what version 1 sealed.
    pub(super) session: Option<[u8; 32]>,
}

/// Something to be sent: `Outbox[contact ‖ place]`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct OutRow {
    pub(super) id: [u8; 16],
    /// Encoded content. Empty if the message was erased when it had been sealed: its bytes still go
    /// out, and it is never sealed anew.
    pub(super) content: Secret,
    pub(super) acknowledged_by_peer: bool,
    /// The session to seal in, where it has to be a certain one.
    pub(super) session: Option<[u8; 32]>,
    /// The message in the history, if it is one.
    pub(super) message: Option<u64>,
    pub(super) state: OutState,
    pub(super) hold: Option<Hold>,
}

/// Something that was accepted by the relay and not yet acknowledged:
/// `Unacknowledged[contact ‖ message id]`. Kept for resending after a reset.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct SentRow {
    pub(super) content: Secret,
    pub(super) message: Option<u64>,
    pub(super) day: u32,
    /// Where it stood in the outbox, so that what is sent again keeps its order.
    pub(super) place: u64,
    /// It would be sent again, if the person here agrees.
    pub(super) awaits_consent: bool,
}

/// An envelope that nothing opened: `Parked[mailbox ‖ place]`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct ParkedRow {
    pub(super) envelope: Vec<u8>,
    pub(super) day: u32,
}

/// A file on its way: `Transfers[place of the message]`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) enum TransferRow {
    Up {
        contact: u64,
        out: u64,
        blob: [u8; 32],
        read: Secret,
        delete: Secret,
        length: u64,
        sha256: [u8; 32],
        /// The retention that was asked for, fixed so that a resumed upload announces the same.
        expires: u32,
    },
    Down {
        contact: u64,
        /// Encoded content with the attachment.
        content: Secret,
        want: Want,
    },
}

/// Whether a file is to be fetched.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Nobody has looked yet.
    Undecided,
    /// It is small enough to be fetched without being asked for.
    Unasked,
    /// It waits to be asked for: it is too large, or too much was fetched that day. The person was
    /// told.
    Waiting,
    /// The person asked for it.
    Asked,
    /// The person does not want it, until they ask for it.
    Cancelled,
}

/// A use of somebody's link that has begun: `Takes[hash of the link]`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct TakeRow {
    pub(super) take: [u8; 16],
    pub(super) mailbox: [u8; 32],
}

/// A message: `Messages[place in the history]`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct MessageRow {
    pub(super) seq: u64,
    #[serde(with = "crate::codec::message_id")]
    pub(super) id: MessageId,
    #[serde(with = "crate::codec::contact_id")]
    pub(super) contact: ContactId,
    pub(super) direction: Direction,
    pub(super) kind: MessageKind,
    /// The sender's claim.
    #[serde(with = "crate::codec::unix_millis")]
    pub(super) sent_at: UnixMillis,
    pub(super) state: MessageState,
    pub(super) hold: Option<Hold>,
    /// What the newest edit claims as its time: only later ones are taken up. 0 if there was none.
    pub(super) edited_at: u64,
    /// At most one of each side.
    pub(super) reactions: Vec<ReactionRow>,
    /// The conversation's timer when the message was made or came, in seconds; 0 for none.
    pub(super) timer: u32,
    /// When it is erased, in milliseconds since 1970, once its clock runs.
    pub(super) erase_at: Option<u64>,
}

/// The newest reaction of one side.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct ReactionRow {
    pub(super) by: Direction,
    /// Empty if it was taken back: only its time counts then.
    pub(super) emoji: String,
    /// What it claims as its time.
    pub(super) at: u64,
}

/// Something that refers to a message that is not here: `Early[contact ‖ number]`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct EarlyRow {
    pub(super) target: [u8; 16],
    /// Encoded content.
    pub(super) content: Secret,
    pub(super) day: u32,
}

/// Something that a relay is to be asked, again and again until it has answered: `Chores[number]`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct ChoreRow {
    pub(super) relay: Vec<u8>,
    pub(super) what: ChoreKind,
    /// When it was noted.
    pub(super) day: u32,
}

#[derive(Serialize, Deserialize, Debug)]
pub(super) enum ChoreKind {
    DeleteMailbox { seed: Secret },
    DeleteDepot { seed: Secret, depot: [u8; 32] },
    RevokeCapability { seed: Secret, hash: [u8; 32] },
}

/// A relay that this profile used before: `Meta["former-relays"]`.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct FormerRelay {
    pub(super) relay: Vec<u8>,
    pub(super) token: Secret,
}

pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt { what: what.to_owned() }
}

/// Reads a row; absent is `None`, unreadable an error.
pub(super) fn load<T: DeserializeOwned>(
    tx: &dyn Transaction,
    table: Table,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    tx.get(table, key)?.map(|bytes| decode(table, &bytes)).transpose()
}

/// Reads a row that must be there.
pub(super) fn must<T: DeserializeOwned>(
    tx: &dyn Transaction,
    table: Table,
    key: &[u8],
) -> Result<T, StoreError> {
    load(tx, table, key)?.ok_or_else(|| StoreError::Corrupt {
        what: format!("a row of {table:?} that another row refers to is missing; it"),
    })
}

pub(super) fn decode<T: DeserializeOwned>(table: Table, bytes: &[u8]) -> Result<T, StoreError> {
    postcard::from_bytes(bytes)
        .map_err(|_| StoreError::Corrupt { what: format!("a row of {table:?}") })
}

pub(super) fn save<T: Serialize>(
    tx: &mut dyn Transaction,
    table: Table,
    key: &[u8],
    row: &T,
) -> Result<(), StoreError> {
    let bytes = postcard::to_allocvec(row).map(Zeroizing::new).map_err(|e| StoreError::Failed {
        reason: format!("a row of {table:?} can't be encoded: {e}"),
    })?;
    tx.put(table, key, &bytes)
}

/// The next number of a counter that starts at 1 and never gives one out twice.
pub(super) fn next_number(tx: &mut dyn Transaction, counter: &str) -> Result<u64, StoreError> {
    let key = format!("next-{counter}");
    let number: u64 = load(tx, Table::Meta, key.as_bytes())?.unwrap_or(1);
    let next = number.checked_add(1).ok_or_else(|| StoreError::Failed {
        reason: format!("the counter {counter} is exhausted"),
    })?;
    save(tx, Table::Meta, key.as_bytes(), &next)?;
    Ok(number)
}

/// The number that a counter gives next.
pub(super) fn peek_number(tx: &dyn Transaction, counter: &str) -> Result<u64, StoreError> {
    Ok(load(tx, Table::Meta, format!("next-{counter}").as_bytes())?.unwrap_or(1))
}

/// Lets a counter go on from a number.
pub(super) fn set_next_number(
    tx: &mut dyn Transaction,
    counter: &str,
    number: u64,
) -> Result<(), StoreError> {
    save(tx, Table::Meta, format!("next-{counter}").as_bytes(), &number)
}

pub(super) fn key1(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// `contact ‖ place`, `time ‖ place`, `link ‖ bundle id`, `contact ‖ message id`, `mailbox ‖ place`.
pub(super) fn key2(first: &[u8], second: &[u8]) -> Vec<u8> {
    [first, second].concat()
}

pub(super) fn number(bytes: &[u8], what: &str) -> Result<u64, StoreError> {
    bytes.last_chunk::<8>().map(|b| u64::from_be_bytes(*b)).ok_or_else(|| corrupt(what))
}

pub(super) fn outgoing_key(id: &MessageId) -> Vec<u8> {
    key2(&[0], id.as_bytes())
}

pub(super) fn incoming_key(id: &MessageId, contact: ContactId) -> Vec<u8> {
    [&[1][..], id.as_bytes(), &contact.get().to_be_bytes()].concat()
}
