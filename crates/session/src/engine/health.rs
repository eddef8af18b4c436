//! How well the encryption works: counted here, kept here, told to nobody but the person.

use undertone_core::bounds::RETENTION_DAYS;
use undertone_core::rand_core::CryptoRng;

use super::contacts::{all_contacts, for_each, view};
use super::outbox::choose;
use super::rows::{ContactRow, SessionRow, load, save};
use super::{Engine, EngineError, day};
use crate::contact::ContactState;
use crate::ids::{ContactId, UnixMillis};
use crate::store::{Store, StoreError, Table, Transaction};

/// Where what came is counted, day by day.
const TRAFFIC: &[u8] = b"traffic";

/// Day, envelopes that opened, envelopes that nothing opened.
type Traffic = Vec<(u32, u64, u64)>;

/// How it stands with one conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConversationHealth {
    /// With whom.
    pub contact: ContactId,
    /// What they are called here.
    pub name: String,
    /// Whether the safety numbers were compared.
    pub verified: bool,
    /// How the conversation stands.
    pub state: ContactState,
    /// How often a fresh post-quantum secret has been mixed into the present session, beside the one
    /// that it began with.
    pub epochs: u32,
    /// When that was seen last, by this machine's clock; absent if it was not yet.
    pub healed_at: Option<UnixMillis>,
}

/// How well the encryption works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// Each conversation in which both sides have written; none of them with a blocked contact.
    pub conversations: Vec<ConversationHealth>,
    /// Envelopes that opened when they came, in the last 30 days.
    pub opened: u64,
    /// Envelopes that nothing opened when they came, in the last 30 days.
    pub unopenable: u64,
    /// Envelopes that nothing has opened yet and that are kept.
    pub parked: u64,
    /// Contacts who are not verified and not blocked.
    pub unverified: u64,
}

/// Counts an envelope that came.
pub(super) fn count(tx: &mut dyn Transaction, today: u32, opened: bool) -> Result<(), StoreError> {
    let mut traffic: Traffic = load(tx, Table::Meta, TRAFFIC)?.unwrap_or_default();
    traffic.retain(|(day, ..)| day.saturating_add(RETENTION_DAYS) > today && *day <= today);
    if traffic.last().is_none_or(|(day, ..)| *day != today) {
        traffic.push((today, 0, 0));
    }
    if let Some((_, good, bad)) = traffic.last_mut() {
        let counter = if opened { good } else { bad };
        *counter = counter.saturating_add(1);
    }
    save(tx, Table::Meta, TRAFFIC, &traffic)
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// How well the encryption works.
    ///
    /// # Errors
    /// Those of the store.
    pub fn health(&mut self, now: UnixMillis) -> Result<Health, EngineError> {
        let today = day(now).get();
        self.store.transaction(|tx| {
            let contacts = all_contacts(tx)?;
            let open = |row: &ContactRow| !row.blocked;
            let unverified = contacts.iter().filter(|(_, row)| open(row) && !row.verified).count();
            let mut conversations = Vec::new();
            for (contact, row) in contacts.iter().filter(|(_, row)| open(row)) {
                conversations.extend(conversation(tx, *contact, row)?);
            }
            let traffic: Traffic = load(tx, Table::Meta, TRAFFIC)?.unwrap_or_default();
            let recent =
                traffic.iter().filter(|(day, ..)| day.saturating_add(RETENTION_DAYS) > today);
            let (opened, unopenable) = recent.fold((0_u64, 0_u64), |(good, bad), (_, g, b)| {
                (good.saturating_add(*g), bad.saturating_add(*b))
            });
            let mut parked = 0_u64;
            for_each(tx, Table::Parked, &[], |_, _| {
                parked = parked.saturating_add(1);
                Ok(())
            })?;
            Ok(Health {
                conversations,
                opened,
                unopenable,
                parked,
                unverified: u64::try_from(unverified).unwrap_or(u64::MAX),
            })
        })
    }
}

/// A conversation in which both sides have written.
fn conversation(
    tx: &dyn Transaction,
    contact: ContactId,
    row: &ContactRow,
) -> Result<Option<ConversationHealth>, StoreError> {
    let session = row.devices.last().and_then(|device| choose(device, None));
    let Some(session) = session.filter(|session| session.peer_has) else { return Ok(None) };
    let session: SessionRow = super::rows::must(tx, Table::Sessions, &session.id)?;
    let seen = view(contact, row)?;
    Ok(Some(ConversationHealth {
        contact,
        name: seen.name,
        verified: seen.verified,
        state: seen.state,
        epochs: session.epochs,
        healed_at: (session.healed_at > 0).then(|| UnixMillis::new(session.healed_at)),
    }))
}
