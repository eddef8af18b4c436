//! Reset links: for each contact one of ours, given to them inside the session, and one of theirs.

use undertone_core::rand_core::CryptoRng;

use super::contacts::{all_contacts, load_contact, save_contact};
use super::events::emit;
use super::links::{LinkPlan, load_link};
use super::mailboxes;
use super::outbox::enqueue_control;
use super::rows::{ContactRow, LinkKindRow, LinkRow, LinkState, MailboxRow, Secret, load, must};
use super::{Engine, EngineError, random};
use crate::contact::AccountId;
use crate::content::{Body, Content, Route};
use crate::event::EventKind;
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::link::{Link, LinkKind};
use crate::store::{Store, StoreError, Table, Transaction};

/// One-time bundles behind a reset link. One person holds it and resets are rare: two of them in a
/// week are already a sign that something is wrong, and the last resort serves beyond that.
pub(super) const RESET_BUNDLES: usize = 2;

/// Days after which the depot of a reset link is filled: well before its bundles expire, and not
/// on demand. Each filling is 4 to 12 KiB for each contact.
pub(super) const RESET_FILL_DAYS: u32 = 7;

/// The reset link that a contact holds, as it is written into contents; `None` if there is none
/// that is ready.
pub(super) fn given_to(
    tx: &dyn Transaction,
    row: &ContactRow,
) -> Result<Option<Route>, EngineError> {
    let Some(number) = row.reset_ours else { return Ok(None) };
    let link: Option<LinkRow> = load(tx, Table::Links, &super::rows::key1(number))?;
    let Some(link) = link.filter(|link| link.state == LinkState::Active) else { return Ok(None) };
    Ok(Some(Route::from_bytes(&payload(tx, &link)?)))
}

/// Its payload. The account is filled in by the caller's own list, which all links share.
fn payload(
    tx: &dyn Transaction,
    link: &LinkRow,
) -> Result<zeroize::Zeroizing<Vec<u8>>, EngineError> {
    let mailbox: MailboxRow = must(tx, Table::Mailboxes, &link.mailbox)?;
    let profile: super::rows::ProfileRow = must(tx, Table::Meta, super::PROFILE)?;
    let list = undertone_core::DeviceList::parse(&profile.device_list)
        .map_err(|_| super::rows::corrupt("the device list"))?;
    let account = *list.account().fingerprint().as_bytes();
    let relay = mailboxes::relay_of(&mailbox)?;
    Ok(Link::new(LinkKind::Reset, *link.secret.array("a link")?, account, relay).payload())
}

/// A contact gave us a reset link of theirs; the newest counts.
pub(super) fn received(
    tx: &mut dyn Transaction,
    contact: ContactId,
    payload: &[u8],
) -> Result<(), EngineError> {
    let mut row = load_contact(tx, contact)?;
    // R-1301, R-1302 and those of links.
    if let Err(code) = Link::from_contact(payload, &account_of(&row)?) {
        let code = code.to_owned();
        return Ok(emit(tx, EventKind::ContentRefused { contact, code })?);
    }
    row.reset_theirs = Some(Secret::new(payload));
    Ok(save_contact(tx, contact, &row)?)
}

fn account_of(row: &ContactRow) -> Result<[u8; 32], StoreError> {
    let account = undertone_core::AccountKey::from_bytes(&row.account)
        .map_err(|_| super::rows::corrupt("an account key"))?;
    Ok(*AccountId::from_bytes(*account.fingerprint().as_bytes()).as_bytes())
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Contacts who are to be given a reset link: those with whom a session is confirmed and who
    /// have none, or one at a relay that this profile has left. For each
    /// [`Engine::prepare_reset_link`], then [`Engine::activate_link`] or [`Engine::discard_link`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn due_reset_links(&mut self) -> Result<Vec<ContactId>, EngineError> {
        let home = self.relay.clone();
        self.store.transaction(|tx| {
            let mut due = Vec::new();
            for (contact, row) in all_contacts(tx)? {
                let confirmed = row.sessions().any(|session| session.peer_has);
                if !confirmed || row.blocked {
                    continue;
                }
                let has = match row.reset_ours {
                    None => false,
                    Some(number) => match load_link(tx, number) {
                        Ok(link) => {
                            let mailbox: MailboxRow = must(tx, Table::Mailboxes, &link.mailbox)?;
                            mailboxes::relay_of(&mailbox)? == home
                        }
                        Err(EngineError::UnknownLink) => false,
                        Err(error) => return Err(error),
                    },
                };
                if !has {
                    due.push(contact);
                }
            }
            Ok(due)
        })
    }

    /// Makes the reset link of a contact, not yet to be given to them.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`].
    pub fn prepare_reset_link(
        &mut self,
        contact: ContactId,
        now: UnixMillis,
    ) -> Result<LinkPlan, EngineError> {
        self.make_link(LinkKind::Reset, None, Some(contact), now)
    }
}

/// The relay has all that belongs to a reset link: the contact is given it. False if the contact
/// is not there any more, or blocked.
pub(super) fn give(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    number: u64,
    link: &LinkRow,
    now: UnixMillis,
) -> Result<bool, EngineError> {
    let (LinkKindRow::Reset, Some(contact)) = (link.kind, link.contact) else { return Ok(true) };
    let contact = ContactId::new(contact);
    let mut row = match load_contact(tx, contact) {
        Ok(row) if !row.blocked => row,
        Ok(_) | Err(EngineError::UnknownContact) => return Ok(false),
        Err(error) => return Err(error),
    };
    row.reset_ours = Some(number);
    save_contact(tx, contact, &row)?;
    let content = Content {
        id: MessageId::from_bytes(random(rng)),
        sent_at: now,
        body: Body::ResetLink(Route::from_bytes(&payload(tx, link)?)),
    };
    enqueue_control(tx, contact, &content, None)?;
    Ok(true)
}
