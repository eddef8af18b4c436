//! Into a backup, page by page, while the profile is in use.
//!
//! First, in one transaction, all that is small: account, contacts, links. Then what is not known to
//! have arrived, then the history, as far as it went at the beginning. What changes meanwhile is in
//! the backup as it was or as it is; what the pages contradict each other in, restoring sorts out.

use undertone_core::DeviceList;
use undertone_core::rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{is_kept, read};
use crate::backup::{
    AccountRecord, ContactRecord, ErasedRecord, Kind, LeftoverRecord, LeftoverWhat, LinkRecord,
    MessageRecord, PendingRecord, ReactionRecord, Record, RelayRecord,
};
use crate::engine::contacts::{all_contacts, for_each};
use crate::engine::links::{depot_of, link_secret};
use crate::engine::mailboxes::FORMER_RELAYS;
use crate::engine::rows::{
    ChoreKind, ChoreRow, ContactRow, FormerRelay, LinkKindRow, LinkRow, LinkState, MailboxRow,
    MessageRow, OutRow, OutState, ProfileRow, Secret, SentRow, corrupt, decode, key1, load, must,
    number, peek_number,
};
use crate::engine::{Engine, EngineError, PROFILE};
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::link::LinkKind;
use crate::store::{Order, Store, StoreError, Table, Transaction};

/// Rows of one page: short transactions, so that the profile can be used meanwhile.
const PAGE: usize = 256;

/// How far an export is.
#[derive(Debug)]
pub struct Export {
    at: At,
    /// Messages from this place on are not in it.
    bound: u64,
    /// Contacts from this number on are not in it.
    contacts: u64,
    /// The last place that is in it.
    done: u64,
}

#[derive(Debug)]
enum At {
    Beginning,
    /// Behind this key.
    Outbox(Option<Vec<u8>>),
    Unacknowledged(Option<Vec<u8>>),
    Messages,
    End,
}

impl Export {
    /// From the beginning.
    #[must_use]
    pub const fn begin() -> Self {
        Self { at: At::Beginning, bound: 0, contacts: 0, done: 0 }
    }

    /// How far it is, of how much: places of the history.
    #[must_use]
    pub const fn progress(&self) -> (u64, u64) {
        (self.done, self.bound.saturating_sub(1))
    }

    /// Without what has come since the beginning: the first page does not know of it.
    fn known(&self, kinds: Vec<Kind>) -> Vec<Kind> {
        let there = |kind: &Kind| match kind {
            Kind::Pending(one) => {
                one.contact.get() < self.contacts && one.message.is_none_or(|m| m < self.bound)
            }
            Kind::Message(one) => one.contact.get() < self.contacts && one.place < self.bound,
            _ => true,
        };
        kinds.into_iter().filter(there).collect()
    }
}

impl Default for Export {
    fn default() -> Self {
        Self::begin()
    }
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// The next page of a backup; `None` when there is no more.
    ///
    /// # Errors
    /// Those of the store.
    pub fn export(
        &mut self,
        export: &mut Export,
        now: UnixMillis,
    ) -> Result<Option<Vec<Record>>, EngineError> {
        let kinds = match &export.at {
            At::Beginning => {
                let device = self.me.keys().to_bytes();
                let (kinds, bounds) = self.store.transaction(|tx| beginning(tx, &device, now))?;
                (export.bound, export.contacts) = bounds;
                export.at = At::Outbox(None);
                kinds
            }
            At::Outbox(from) => {
                let from = from.as_deref();
                let page = self.store.transaction(|tx| page(tx, Table::Outbox, from, waiting))?;
                export.at = page.next.map_or(At::Unacknowledged(None), |key| At::Outbox(Some(key)));
                export.known(page.kinds)
            }
            At::Unacknowledged(from) => {
                let from = from.as_deref();
                let page =
                    self.store.transaction(|tx| page(tx, Table::Unacknowledged, from, sent))?;
                export.at = page.next.map_or(At::Messages, |key| At::Unacknowledged(Some(key)));
                export.known(page.kinds)
            }
            At::Messages => {
                let from = key1(export.done);
                let page =
                    self.store.transaction(|tx| page(tx, Table::Messages, Some(&from), message))?;
                match page.next {
                    Some(key) => export.done = number(&key, "a message's place")?,
                    None => {
                        export.done = export.bound.saturating_sub(1);
                        export.at = At::End;
                    }
                }
                if export.done >= export.bound {
                    export.at = At::End;
                }
                export.known(page.kinds)
            }
            At::End => return Ok(None),
        };
        Ok(Some(kinds.into_iter().map(Record).collect()))
    }
}

struct Page {
    kinds: Vec<Kind>,
    /// The last key, if there may be more behind it.
    next: Option<Vec<u8>>,
}

fn page(
    tx: &mut dyn Transaction,
    table: Table,
    from: Option<&[u8]>,
    read: impl Fn(&[u8], &[u8]) -> Result<Option<Kind>, StoreError>,
) -> Result<Page, EngineError> {
    let rows = tx.scan(table, &[], from, Order::Ascending, PAGE)?;
    let full = rows.len() == PAGE;
    let mut page = Page { kinds: Vec::new(), next: None };
    for row in rows {
        page.kinds.extend(read(&row.key, &row.value)?);
        if full {
            page.next = Some(row.key);
        }
    }
    Ok(page)
}

fn beginning(
    tx: &mut dyn Transaction,
    device: &[u8; 64],
    now: UnixMillis,
) -> Result<(Vec<Kind>, (u64, u64)), EngineError> {
    let account = account(tx, device, now)?;
    let bounds = (account.next_message, account.next_contact);
    let mut kinds = vec![Kind::Account(Box::new(account))];
    for former in load::<Vec<FormerRelay>>(tx, Table::Meta, FORMER_RELAYS)?.unwrap_or_default() {
        let token = former.token.array("an admission token")?;
        kinds.push(Kind::Relay(RelayRecord { relay: former.relay, token }));
    }
    let links = all_links(tx)?;
    let kept = |number: u64| links.iter().any(|(one, row)| *one == number && goes_on(row));
    for (id, row) in all_contacts(tx)? {
        let reset_ours = row.reset_ours.filter(|number| kept(*number));
        kinds.push(Kind::Contact(Box::new(contact(id, row, reset_ours))));
    }
    for (number, row) in &links {
        if goes_on(row) {
            kinds.push(Kind::Link(link(tx, *number, row)?));
        }
    }
    leftovers(tx, &links, &mut kinds)?;
    for_each(tx, Table::Gone, &[], |key, value| {
        kinds.push(Kind::Erased(erased(key, value)?));
        Ok(())
    })?;
    Ok((kinds, bounds))
}

fn account(
    tx: &dyn Transaction,
    device: &[u8; 64],
    now: UnixMillis,
) -> Result<AccountRecord, EngineError> {
    let row: ProfileRow = must(tx, Table::Meta, PROFILE)?;
    let list = DeviceList::parse(&row.device_list).map_err(|_| corrupt("the device list"))?;
    let at = list.devices().iter().position(|one| one.keys().to_bytes() == *device);
    let at = at.and_then(|at| u8::try_from(at).ok()).ok_or_else(|| corrupt("the device list"))?;
    Ok(AccountRecord {
        secret: row.account_secret.array("the account key")?,
        list: row.device_list,
        device: at,
        name: row.name,
        relay: row.relay,
        token: row.token.array("an admission token")?,
        next_contact: peek_number(tx, "contact")?,
        next_message: peek_number(tx, "message")?,
        next_link: peek_number(tx, "link")?,
        made: now,
    })
}

fn contact(id: ContactId, row: ContactRow, reset_ours: Option<u64>) -> ContactRecord {
    ContactRecord {
        id,
        account: row.account,
        verified: row.verified,
        blocked: row.blocked,
        name_is_ours: row.name_is_ours,
        name: row.name,
        profile_name: row.profile_name,
        list_record: row.list_record,
        reset_theirs: row.reset_theirs.map(|link| Zeroizing::new(link.bytes().to_vec())),
        reset_ours,
        timer: row.timer,
        timer_at: row.timer_at,
    }
}

fn erased(key: &[u8], value: &[u8]) -> Result<ErasedRecord, StoreError> {
    let (contact, id) = key.split_first_chunk::<8>().ok_or_else(|| corrupt("a message id"))?;
    let id = id.try_into().map_err(|_| corrupt("a message id"))?;
    Ok(ErasedRecord {
        contact: ContactId::new(u64::from_be_bytes(*contact)),
        id: MessageId::from_bytes(id),
        day: decode(Table::Gone, value)?,
    })
}

fn all_links(tx: &dyn Transaction) -> Result<Vec<(u64, LinkRow)>, StoreError> {
    let mut links = Vec::new();
    for_each(tx, Table::Links, &[], |key, value| {
        links.push((number(key, "a link's number")?, decode(Table::Links, value)?));
        Ok(())
    })?;
    Ok(links)
}

/// Links that are filled up stay in use. A single-use link ends with the one bundle that it has: it
/// is not known whether somebody has used it since.
fn goes_on(row: &LinkRow) -> bool {
    row.state == LinkState::Active && row.kind != LinkKindRow::SingleUse
}

fn link(tx: &dyn Transaction, number: u64, row: &LinkRow) -> Result<LinkRecord, EngineError> {
    let mailbox: MailboxRow = must(tx, Table::Mailboxes, &row.mailbox)?;
    Ok(LinkRecord {
        number,
        kind: match row.kind {
            LinkKindRow::SingleUse => LinkKind::SingleUse,
            LinkKindRow::Reusable => LinkKind::Reusable,
            LinkKindRow::Reset => LinkKind::Reset,
        },
        label: row.label.clone(),
        secret: row.secret.array("a link")?,
        depot_seed: row.depot_seed.array("a depot's key")?,
        relay: mailbox.relay,
        contact: row.contact,
    })
}

/// What the new device takes away at relays: mailboxes that only the old one could read from, depots
/// of links that end, and what was to be taken away already.
fn leftovers(
    tx: &dyn Transaction,
    links: &[(u64, LinkRow)],
    kinds: &mut Vec<Kind>,
) -> Result<(), EngineError> {
    for (_, row) in links.iter().filter(|(_, row)| !goes_on(row)) {
        // One that was withdrawn has a chore of its own, if the relay is yet to hear of it.
        let mailbox: Option<MailboxRow> = load(tx, Table::Mailboxes, &row.mailbox)?;
        if let (Some(mailbox), false) = (mailbox, row.state == LinkState::Revoked) {
            let depot = *depot_of(&link_secret(row)?).as_bytes();
            let seed = row.depot_seed.array("a depot's key")?;
            let what = LeftoverWhat::Depot { seed, depot };
            kinds.push(Kind::Leftover(LeftoverRecord { relay: mailbox.relay, what }));
        }
    }
    for_each(tx, Table::Mailboxes, &[], |_, value| {
        let row: MailboxRow = decode(Table::Mailboxes, value)?;
        let what = LeftoverWhat::Mailbox { seed: row.seed.array("a mailbox's key")? };
        kinds.push(Kind::Leftover(LeftoverRecord { relay: row.relay, what }));
        Ok(())
    })?;
    for_each(tx, Table::Chores, &[], |_, value| {
        let row: ChoreRow = decode(Table::Chores, value)?;
        let what = match row.what {
            ChoreKind::DeleteMailbox { seed } => {
                LeftoverWhat::Mailbox { seed: seed.array("a mailbox's key")? }
            }
            ChoreKind::DeleteDepot { seed, depot } => {
                LeftoverWhat::Depot { seed: seed.array("a depot's key")?, depot }
            }
            // The mailbox goes with all its capabilities.
            ChoreKind::RevokeCapability { .. } => return Ok(()),
        };
        kinds.push(Kind::Leftover(LeftoverRecord { relay: row.relay, what }));
        Ok(())
    })?;
    Ok(())
}

/// What is in the outbox. A file that is not at the relay yet can't be sent from a backup.
fn waiting(key: &[u8], value: &[u8]) -> Result<Option<Kind>, StoreError> {
    let row: OutRow = decode(Table::Outbox, value)?;
    let place = number(key, "a place in the outbox")?;
    match row.state {
        OutState::Uploading => Ok(None),
        OutState::Ready => pending(key, place, row.message, &row.content, None),
        OutState::Sealed(_) => pending(key, place, row.message, &row.content, Some(u32::MAX)),
    }
}

fn sent(key: &[u8], value: &[u8]) -> Result<Option<Kind>, StoreError> {
    let row: SentRow = decode(Table::Unacknowledged, value)?;
    pending(key, row.place, row.message, &row.content, Some(row.day))
}

fn pending(
    key: &[u8],
    place: u64,
    message: Option<u64>,
    content: &Secret,
    sent_on: Option<u32>,
) -> Result<Option<Kind>, StoreError> {
    // Of a message that was erased nothing is kept but its envelope.
    if content.bytes().is_empty() || !is_kept(&read(content)?) {
        return Ok(None);
    }
    let contact = key.first_chunk::<8>().ok_or_else(|| corrupt("a place in the outbox"))?;
    Ok(Some(Kind::Pending(PendingRecord {
        contact: ContactId::new(u64::from_be_bytes(*contact)),
        place,
        message,
        sent: sent_on.is_some(),
        day: sent_on.unwrap_or(0),
        content: Zeroizing::new(content.bytes().to_vec()),
    })))
}

fn message(_: &[u8], value: &[u8]) -> Result<Option<Kind>, StoreError> {
    let row: MessageRow = decode(Table::Messages, value)?;
    let reaction = |one: crate::engine::rows::ReactionRow| ReactionRecord {
        by: one.by,
        at: one.at,
        emoji: one.emoji,
    };
    Ok(Some(Kind::Message(Box::new(MessageRecord {
        place: row.seq,
        contact: row.contact,
        id: row.id,
        sent_at: row.sent_at,
        direction: row.direction,
        state: row.state,
        kind: row.kind,
        edited_at: row.edited_at,
        timer: row.timer,
        erase_at: row.erase_at,
        reactions: row.reactions.into_iter().map(reaction).collect(),
    }))))
}
