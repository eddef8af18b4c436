//! Links of ours: made here, filled at the relay, then handed out.

use undertone_core::bounds::{BUNDLE_LIFETIME_DAYS, ONE_TIME_BUNDLES};
use undertone_core::rand_core::CryptoRng;
use undertone_core::{
    BundleKind, LinkSecret, LocalDevice, Routing as CoreRouting, generate_prekey,
};
use undertone_wire::frame::FillMode;
use undertone_wire::{
    AdmissionToken, Day, DepotId, DepotSecret, FetchCapability, MailboxId, MailboxSecret,
    RelayAddress, WriteCapability, WriteCapabilityHash,
};

use super::contacts::{for_each, load_contact};
use super::reset_links::{RESET_BUNDLES, RESET_FILL_DAYS};
use super::rows::{
    ChoreKind, LinkKindRow, LinkRow, LinkState, MailboxRow, PrekeyRow, Purpose, Secret, corrupt,
    decode, key1, key2, load, must, next_number, number, save,
};
use super::{
    Engine, EngineError, check_name, chores, day, mailboxes, random, random_secret, reset_links,
};
use crate::ids::{ContactId, UnixMillis};
use crate::link::{Link, LinkKind};
use crate::routing::Routing;
use crate::store::{Store, StoreError, Table, Transaction};

/// What has to be at the relay before a link can be handed out. The answer goes to
/// [`Engine::activate_link`] or [`Engine::discard_link`].
pub struct LinkPlan {
    /// The link's number in this profile.
    pub number: u64,
    /// Where its depot and mailbox are made.
    pub relay: RelayAddress,
    /// What admits us there.
    pub token: AdmissionToken,
    /// The owner's key of the first-contact mailbox.
    pub mailbox: MailboxSecret,
    /// Hashes of its write capabilities, one for each bundle.
    pub capabilities: Vec<WriteCapabilityHash>,
    /// The owner's key of the depot.
    pub depot_owner: DepotSecret,
    /// The depot.
    pub depot: DepotId,
    /// Sealed one-time bundles.
    pub one_time: Vec<Vec<u8>>,
    /// The sealed last-resort bundle of a reusable link.
    pub last_resort: Option<Vec<u8>>,
    /// The last day on which the bundles are handed out.
    pub expires: Day,
    /// Whether the bundles go beside those that the depot has, or take their place.
    pub mode: FillMode,
}

/// A link of ours as a person sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkView {
    /// Its number in this profile.
    pub number: u64,
    /// How often it may be used.
    pub kind: LinkKind,
    /// What it was called when it was made.
    pub label: Option<String>,
    /// The last day on which its present bundles are handed out. Those of a reusable link are
    /// renewed daily.
    pub expires: Day,
    /// True if it was withdrawn.
    pub revoked: bool,
}

/// A depot that is due for its daily filling. First ask its state, then
/// [`Engine::prepare_refill`].
pub struct RefillPlan {
    /// The link's number.
    pub number: u64,
    /// Where.
    pub relay: RelayAddress,
    /// The owner's key of the depot.
    pub depot_owner: DepotSecret,
    /// The depot.
    pub depot: DepotId,
}

/// Bundles of one filling.
#[derive(Default)]
struct Batch {
    one_time: Vec<Vec<u8>>,
    last_resort: Option<Vec<u8>>,
    capabilities: Vec<WriteCapabilityHash>,
}

/// A link that bundles are made for.
struct Press<'a> {
    me: &'a LocalDevice,
    relay: &'a RelayAddress,
    secret: LinkSecret,
    number: u64,
    today: undertone_core::Day,
}

impl Press<'_> {
    /// Makes a bundle with a write capability of its own; its private half is in the store before
    /// the public one leaves.
    fn print(
        &self,
        tx: &mut dyn Transaction,
        rng: &mut impl CryptoRng,
        kind: BundleKind,
        batch: &mut Batch,
    ) -> Result<(), EngineError> {
        let routing = Routing {
            relay: self.relay.clone(),
            capability: WriteCapability::from_bytes(random(rng)),
        };
        let reply =
            CoreRouting::new(&routing.to_bytes()).map_err(|_| corrupt("the relay's address"))?;
        let (secret, bundle) = generate_prekey(kind, self.me, self.today, &reply, rng);
        let row = PrekeyRow {
            secret: Some(Secret::new(&secret.to_bytes())),
            digest: *secret.digest().as_bytes(),
            expiry: secret.expiry().get(),
            capability: Some(*routing.capability.hash().as_bytes()),
            reused: false,
        };
        let key = key2(&key1(self.number), secret.id().as_bytes());
        save(tx, Table::Prekeys, &key, &row)?;
        batch.capabilities.push(routing.capability.hash());
        let sealed = bundle.seal(&self.secret.card_key(), rng);
        match kind {
            BundleKind::OneTime => batch.one_time.push(sealed),
            BundleKind::LastResort => batch.last_resort = Some(sealed),
        }
        Ok(())
    }
}

pub(super) fn depot_of(secret: &LinkSecret) -> DepotId {
    FetchCapability::from_bytes(*secret.fetch_capability().as_bytes()).depot()
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Makes a link with all that belongs to it, not yet to be handed out.
    ///
    /// # Errors
    /// [`EngineError::NameInvalid`] for a label that can't be shown.
    pub fn prepare_link(
        &mut self,
        kind: LinkKind,
        label: Option<&str>,
        now: UnixMillis,
    ) -> Result<LinkPlan, EngineError> {
        let label = label.map(check_name).transpose()?;
        self.make_link(kind, label, None, now)
    }

    pub(super) fn make_link(
        &mut self,
        kind: LinkKind,
        label: Option<String>,
        contact: Option<ContactId>,
        now: UnixMillis,
    ) -> Result<LinkPlan, EngineError> {
        let today = day(now);
        let expiry = today.plus(BUNDLE_LIFETIME_DAYS);
        let (rng, me, relay) = (&mut self.rng, &self.me, &self.relay);
        let token = self.token.duplicate();
        self.store.transaction(|tx| {
            if let Some(contact) = contact {
                load_contact(tx, contact)?;
            }
            let number = next_number(tx, "link")?;
            let secret = LinkSecret::generate(rng);
            let (mailbox, _) = mailboxes::new_mailbox(tx, rng, relay, Purpose::Link(number))?;
            let depot_owner = DepotSecret::from_seed(&random_secret(rng));
            let depot = depot_of(&secret);
            let row = LinkRow {
                kind: kind.into(),
                label,
                secret: Secret::new(secret.as_bytes()),
                depot_seed: Secret::new(&*depot_owner.to_seed()),
                mailbox,
                state: LinkState::Preparing,
                expires: expiry.get(),
                filled: today.get(),
                contact: contact.map(ContactId::get),
                stale: false,
            };
            save(tx, Table::Links, &key1(number), &row)?;
            let press = Press { me, relay, secret, number, today };
            let mut batch = Batch::default();
            // One use, one bundle; the last resort would let a second person in.
            for _ in 0..bundles_of(kind.into()) {
                press.print(tx, rng, BundleKind::OneTime, &mut batch)?;
            }
            if kind != LinkKind::SingleUse {
                press.print(tx, rng, BundleKind::LastResort, &mut batch)?;
            }
            let mailbox: MailboxRow = must(tx, Table::Mailboxes, &mailbox)?;
            Ok(LinkPlan {
                number,
                relay: relay.clone(),
                token,
                mailbox: mailboxes::secret_of(&mailbox)?,
                capabilities: batch.capabilities,
                depot_owner,
                depot,
                one_time: batch.one_time,
                last_resort: batch.last_resort,
                expires: Day::new(expiry.get()),
                // Repeating it is harmless.
                mode: FillMode::Replace,
            })
        })
    }

    /// All that belongs to a link is at the relay: it may be handed out. A reset link goes to its
    /// contact by itself.
    ///
    /// # Errors
    /// [`EngineError::UnknownLink`], also if the contact of a reset link is gone meanwhile.
    pub fn activate_link(&mut self, number: u64, now: UnixMillis) -> Result<Link, EngineError> {
        let account = *self.me.account().fingerprint().as_bytes();
        let rng = &mut self.rng;
        self.store.transaction(|tx| {
            let mut row = load_link(tx, number)?;
            row.state = LinkState::Active;
            save(tx, Table::Links, &key1(number), &row)?;
            let mut mailbox: MailboxRow = must(tx, Table::Mailboxes, &row.mailbox)?;
            mailbox.live = true;
            save(tx, Table::Mailboxes, &row.mailbox, &mailbox)?;
            if !reset_links::give(tx, rng, number, &row, now)? {
                return Err(EngineError::UnknownLink);
            }
            let kind = match row.kind {
                LinkKindRow::SingleUse => LinkKind::SingleUse,
                LinkKindRow::Reusable => LinkKind::Reusable,
                LinkKindRow::Reset => LinkKind::Reset,
            };
            let relay = mailboxes::relay_of(&mailbox)?;
            Ok(Link::new(kind, *row.secret.array("a link")?, account, relay))
        })
    }

    /// The relay did not take it: the link was never handed out, and goes with its prekeys.
    ///
    /// # Errors
    /// Those of the store.
    pub fn discard_link(&mut self, number: u64) -> Result<(), EngineError> {
        self.store.transaction(|tx| {
            let row = load_link(tx, number)?;
            if row.state == LinkState::Preparing {
                remove_link(tx, number, &row)?;
            }
            Ok(())
        })
    }

    /// Depots that have not been filled today.
    ///
    /// # Errors
    /// Those of the store.
    pub fn due_refills(&mut self, now: UnixMillis) -> Result<Vec<RefillPlan>, EngineError> {
        let today = day(now).get();
        self.store.transaction(|tx| {
            let mut due = Vec::new();
            for_each(tx, Table::Links, &[], |key, value| {
                let row: LinkRow = decode(Table::Links, value)?;
                if row.state == LinkState::Active && is_due(&row, today) {
                    due.push((number(key, "a link's number")?, row));
                }
                Ok(())
            })?;
            let mut plans = Vec::new();
            for (number, row) in due {
                if !is_held(tx, number, &row)? {
                    continue;
                }
                let mailbox: MailboxRow = must(tx, Table::Mailboxes, &row.mailbox)?;
                plans.push(RefillPlan {
                    number,
                    relay: mailboxes::relay_of(&mailbox)?,
                    depot_owner: DepotSecret::from_seed(&*row.depot_seed.array("a depot's key")?),
                    depot: depot_of(&link_secret(&row)?),
                });
            }
            Ok(plans)
        })
    }

    /// Makes the bundles that a depot lacks, and a fresh last-resort bundle. The day counts as
    /// filled from here on, so that a lost answer does not fill twice; but a depot whose bundles may
    /// be lost is due until [`Engine::refilled`].
    ///
    /// # Errors
    /// [`EngineError::UnknownLink`].
    pub fn prepare_refill(
        &mut self,
        number: u64,
        left: usize,
        now: UnixMillis,
    ) -> Result<LinkPlan, EngineError> {
        let today = day(now);
        let expiry = today.plus(BUNDLE_LIFETIME_DAYS);
        let (rng, me, home) = (&mut self.rng, &self.me, (&self.relay, &self.token));
        self.store.transaction(|tx| {
            let mut row = load_link(tx, number)?;
            row.filled = today.get();
            row.expires = expiry.get();
            save(tx, Table::Links, &key1(number), &row)?;
            let mailbox: MailboxRow = must(tx, Table::Mailboxes, &row.mailbox)?;
            let relay = mailboxes::relay_of(&mailbox)?;
            let token = mailboxes::token_for(tx, home, &relay)?;
            let secret = link_secret(&row)?;
            let depot = depot_of(&secret);
            let press = Press { me, relay: &relay, secret, number, today };
            let mut batch = Batch::default();
            let left = if row.stale { 0 } else { left };
            for _ in left..bundles_of(row.kind) {
                press.print(tx, rng, BundleKind::OneTime, &mut batch)?;
            }
            press.print(tx, rng, BundleKind::LastResort, &mut batch)?;
            Ok(LinkPlan {
                number,
                token,
                mailbox: mailboxes::secret_of(&mailbox)?,
                capabilities: batch.capabilities,
                depot_owner: DepotSecret::from_seed(&*row.depot_seed.array("a depot's key")?),
                depot,
                one_time: batch.one_time,
                last_resort: batch.last_resort,
                expires: Day::new(expiry.get()),
                mode: if row.stale { FillMode::Replace } else { FillMode::Add },
                relay,
            })
        })
    }

    /// The relay has what a filling brought.
    ///
    /// # Errors
    /// [`EngineError::UnknownLink`].
    pub fn refilled(&mut self, number: u64) -> Result<(), EngineError> {
        self.store.transaction(|tx| {
            let mut row = load_link(tx, number)?;
            let mut mailbox: MailboxRow = must(tx, Table::Mailboxes, &row.mailbox)?;
            row.stale = false;
            mailbox.live = true;
            save(tx, Table::Links, &key1(number), &row)?;
            Ok(save(tx, Table::Mailboxes, &row.mailbox, &mailbox)?)
        })
    }

    /// The links that were handed out and can be used, or were withdrawn not long ago, in the order
    /// in which they were made. Reset links, which contacts hold, are not among them.
    ///
    /// # Errors
    /// Those of the store.
    pub fn links(&mut self) -> Result<Vec<LinkView>, EngineError> {
        self.store.transaction(|tx| {
            let mut links = Vec::new();
            for_each(tx, Table::Links, &[], |key, value| {
                let row: LinkRow = decode(Table::Links, value)?;
                let kind = match row.kind {
                    LinkKindRow::SingleUse => LinkKind::SingleUse,
                    LinkKindRow::Reusable => LinkKind::Reusable,
                    LinkKindRow::Reset => return Ok(()),
                };
                if row.state != LinkState::Preparing {
                    links.push(LinkView {
                        number: number(key, "a link's number")?,
                        kind,
                        label: row.label,
                        expires: Day::new(row.expires),
                        revoked: row.state == LinkState::Revoked,
                    });
                }
                Ok(())
            })?;
            Ok(links)
        })
    }

    /// Withdraws a link: from now on nobody new comes over it, whoever holds it, not even with a
    /// bundle that was taken before. Contacts who came over it stay. Its mailbox stays, too, until
    /// nothing more can arrive in it.
    ///
    /// # Errors
    /// [`EngineError::UnknownLink`].
    pub fn revoke_link(&mut self, number: u64, now: UnixMillis) -> Result<(), EngineError> {
        let today = day(now).get();
        self.store.transaction(|tx| {
            let row = load_link(tx, number)?;
            if row.kind == LinkKindRow::Reset || row.state == LinkState::Preparing {
                return Err(EngineError::UnknownLink);
            }
            withdraw(tx, number, row, today)
        })
    }

    /// Whether the link is one of our own account's.
    pub(super) fn is_own(&self, link: &Link) -> bool {
        link.is_of(self.me.account().fingerprint().as_bytes())
    }
}

/// How many one-time bundles a depot is filled up to.
const fn bundles_of(kind: LinkKindRow) -> usize {
    match kind {
        // One use, one bundle; the last resort would let a second person in.
        LinkKindRow::SingleUse => 1,
        LinkKindRow::Reusable => ONE_TIME_BUNDLES,
        LinkKindRow::Reset => RESET_BUNDLES,
    }
}

fn is_due(row: &LinkRow, today: u32) -> bool {
    row.stale
        || match row.kind {
            LinkKindRow::SingleUse => false,
            LinkKindRow::Reusable => row.filled < today,
            LinkKindRow::Reset => row.filled.saturating_add(RESET_FILL_DAYS) <= today,
        }
}

/// Whether a link is still somebody's: a reset link that another has replaced is left to expire.
pub(super) fn is_held(
    tx: &dyn Transaction,
    number: u64,
    row: &LinkRow,
) -> Result<bool, EngineError> {
    let Some(contact) = row.contact else { return Ok(row.kind != LinkKindRow::Reset) };
    match load_contact(tx, ContactId::new(contact)) {
        Ok(contact) => Ok(contact.reset_ours == Some(number)),
        Err(EngineError::UnknownContact) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes a link back, with the private halves of all its bundles.
pub(super) fn withdraw(
    tx: &mut dyn Transaction,
    number: u64,
    mut row: LinkRow,
    today: u32,
) -> Result<(), EngineError> {
    let mut prekeys: Vec<(Vec<u8>, PrekeyRow)> = Vec::new();
    for_each(tx, Table::Prekeys, &key1(number), |key, value| {
        prekeys.push((key.to_vec(), decode(Table::Prekeys, value)?));
        Ok(())
    })?;
    for (key, mut prekey) in prekeys {
        prekey.secret = None;
        save(tx, Table::Prekeys, &key, &prekey)?;
    }
    let mailbox: MailboxRow = must(tx, Table::Mailboxes, &row.mailbox)?;
    let depot = *depot_of(&link_secret(&row)?).as_bytes();
    let seed = Secret::new(row.depot_seed.bytes());
    chores::note(tx, mailbox.relay, ChoreKind::DeleteDepot { seed, depot }, today)?;
    row.state = LinkState::Revoked;
    row.stale = false;
    Ok(save(tx, Table::Links, &key1(number), &row)?)
}

pub(super) fn load_link(tx: &dyn Transaction, number: u64) -> Result<LinkRow, EngineError> {
    load(tx, Table::Links, &key1(number))?.ok_or(EngineError::UnknownLink)
}

pub(super) fn link_secret(row: &LinkRow) -> Result<LinkSecret, StoreError> {
    Ok(LinkSecret::from_bytes(&*row.secret.array("a link")?))
}

pub(super) fn remove_link(
    tx: &mut dyn Transaction,
    number: u64,
    row: &LinkRow,
) -> Result<(), StoreError> {
    let mut prekeys = Vec::new();
    for_each(tx, Table::Prekeys, &key1(number), |key, _| {
        prekeys.push(key.to_vec());
        Ok(())
    })?;
    for key in prekeys {
        tx.delete(Table::Prekeys, &key)?;
    }
    tx.delete(Table::Mailboxes, MailboxId::from_bytes(row.mailbox).as_bytes())?;
    tx.delete(Table::Links, &key1(number))
}
