//! Envelopes that begin with a handshake over one of our links.

use undertone_core::bounds::MAX_HEADER_TRIALS;
use undertone_core::rand_core::CryptoRng;
use undertone_core::{
    AccountKey, BundleId, Day, Greeting, HandshakeError, PendingAccept, PrekeySecret, SessionId,
};
use undertone_wire::MailboxId;
use zeroize::Zeroizing;

use super::super::EngineError;
use super::super::contacts::{contact_of, load_contact, save_contact};
use super::super::events::emit;
use super::super::first_contact::{
    Peer, add_contact, add_session, greet, known_record, save_session,
};
use super::super::handle::Effect;
use super::super::healing::{self, cause_from_byte};
use super::super::links::{link_secret, load_link};
use super::super::mailboxes::{new_mailbox, tell_mailbox};
use super::super::people::room_for_strangers;
use super::super::rows::{
    LinkKindRow, LinkRow, LinkState, MailboxRow, PrekeyRow, Purpose, ReplayRow, Secret, SessionRef,
    SessionRow, corrupt, key1, key2, load, must, save,
};
use super::{Inbox, Outcome};
use crate::contact::AccountId;
use crate::content::{Body, Content};
use crate::event::EventKind;
use crate::ids::ContactId;
use crate::routing::Routing;
use crate::store::{StoreError, Table, Transaction};

impl<R: CryptoRng> Inbox<'_, R> {
    /// Opens an envelope as one that begins with a handshake over this link.
    pub(super) fn open_greeting(
        &mut self,
        tx: &mut dyn Transaction,
        mailbox: &MailboxId,
        number: u64,
        envelope: &[u8],
    ) -> Result<Outcome, EngineError> {
        let link = load_link(tx, number)?;
        match Greeting::open(&link_secret(&link)?.hello_key(), envelope) {
            Ok(greeting) => self.greeted(tx, mailbox, (number, &link), greeting),
            Err(HandshakeError::NotSealedForThisLink) => Ok(Outcome::Foreign),
            Err(_) => Ok(Outcome::Dropped),
        }
    }

    /// A handshake of one of our links stands before the envelope.
    fn greeted(
        &mut self,
        tx: &mut dyn Transaction,
        mailbox: &MailboxId,
        (number, link): (u64, &LinkRow),
        greeting: Greeting<'_>,
    ) -> Result<Outcome, EngineError> {
        let key = prekey_key(number, greeting.bundle_id());
        let Some(mut prekey) = load::<PrekeyRow>(tx, Table::Prekeys, &key)? else {
            // A bundle of ours that expired long ago: nothing can be made of it.
            return Ok(Outcome::Dropped);
        };
        let digest = undertone_core::BundleDigest::from_bytes(prekey.digest);
        let id = greeting.session_id(&digest);
        if let Some(session) = load::<SessionRow>(tx, Table::Sessions, id.as_bytes())? {
            // R-1310
            if load_contact(tx, ContactId::new(session.contact))?.blocked {
                return Ok(Outcome::Dropped);
            }
            let mut trials = MAX_HEADER_TRIALS;
            let outcome = self.open_in(tx, id.as_bytes(), greeting.envelope(), &mut trials)?;
            if matches!(outcome, Outcome::Opened(_)) {
                self.retry_parked(tx, mailbox, id.as_bytes())?;
            }
            return Ok(outcome);
        }
        let accepted = tx.get(Table::Replay, id.as_bytes())?.is_some();
        if accepted {
            return Ok(Outcome::Dropped);
        }
        // R-1309: those of a link that was withdrawn are gone.
        let Some(secret) = prekey.secret.take() else {
            used_again(tx, link, &key, prekey)?;
            return Ok(Outcome::Dropped);
        };
        let secret = PrekeySecret::from_bytes(secret.bytes()).map_err(|_| corrupt("a prekey"))?;
        let link_secret = link_secret(link)?;
        let replayed = |_: &SessionId| accepted;
        let Ok(introduction) =
            greeting.accept(self.me, &secret, &link_secret, self.today, replayed)
        else {
            return Ok(Outcome::Dropped);
        };
        let known = contact_of(tx, &introduction.account())?;
        let record = known_record(tx, known)?;
        let Ok(pending) = introduction.open(record.as_ref(), self.today) else {
            return Ok(Outcome::Dropped);
        };
        // whoever has the link could name a route that is none, and nothing could ever be
        // sent to them.
        if Routing::from_bytes(pending.reply().as_bytes()).is_none() {
            return Ok(Outcome::Dropped);
        }
        match self.admit(tx, link, known, &pending)? {
            Admission::Welcome => {}
            Admission::Never => return Ok(Outcome::Dropped),
            Admission::Later => return Ok(Outcome::Later),
        }
        let came_by = prekey.capability.map(|hash| (link.mailbox, hash));
        let one_time = secret.kind() == undertone_core::BundleKind::OneTime;
        let message = self.accept(tx, link, known, pending, came_by.filter(|_| one_time))?;
        // The prekey of a one-time bundle goes in the transaction that accepts its session.
        if one_time {
            save(tx, Table::Prekeys, &key, &prekey)?;
        }
        let until = Day::new(prekey.expiry).plus(undertone_core::bounds::RETENTION_DAYS);
        save(tx, Table::Replay, id.as_bytes(), &ReplayRow { until: until.get() })?;
        self.retry_parked(tx, mailbox, id.as_bytes())?;
        Ok(Outcome::Opened(message))
    }

    /// Takes up a session that somebody started over a link of ours.
    fn accept(
        &mut self,
        tx: &mut dyn Transaction,
        link: &LinkRow,
        known: Option<ContactId>,
        pending: PendingAccept,
        came_by: Option<([u8; 32], [u8; 32])>,
    ) -> Result<Effect, EngineError> {
        // A label names the one person that a single-use link was made for.
        let name = (link.kind == LinkKindRow::SingleUse).then(|| link.label.clone());
        let mut peer = Peer {
            list: pending.peer().clone(),
            account: *pending.peer().account().as_bytes(),
            device: pending.peer_device().to_bytes().to_vec(),
            route: Some(Secret::new(pending.reply().as_bytes())),
            name: name.flatten(),
            by_them: true,
            came_by,
        };
        let contact = match known {
            Some(contact) => contact,
            None => self.welcome(tx, &mut peer)?,
        };
        let content = Zeroizing::new(pending.content().to_vec());
        let id: SessionId = pending.session_id();
        let session = pending.commit(|_| Ok::<(), EngineError>(()))?;
        save_session(tx, contact, &session)?;
        let id = *id.as_bytes();
        let session = SessionRef::new(id, None);
        let notice = match Content::decode(&content) {
            Ok(Content { body: Body::ResetNotice { cause, .. }, .. }) => Some(cause),
            _ => None,
        };
        let reset = notice.is_some() || link.kind == LinkKindRow::Reset;
        if known.is_some() && reset {
            let cause = cause_from_byte(notice.unwrap_or_default());
            healing::accept(tx, self.rng, contact, (peer, session), cause, self.now)?;
        } else {
            add_session(tx, contact, peer, session)?;
            // Before anything else, so that whoever has read a reply of ours writes to where no
            // other contact does.
            tell_mailbox(tx, self.rng, contact, self.now)?;
        }
        if known.is_none() {
            greet(tx, self.rng, contact, self.name, self.now, None)?;
        }
        self.handle(tx, contact, &content)
    }

    /// Whether somebody whose handshake opened is let in over this link.
    fn admit(
        &mut self,
        tx: &mut dyn Transaction,
        link: &LinkRow,
        known: Option<ContactId>,
        pending: &PendingAccept,
    ) -> Result<Admission, EngineError> {
        // R-1304: not over any link.
        if let Some(known) = known
            && load_contact(tx, known)?.blocked
        {
            return Ok(Admission::Never);
        }
        if link.kind == LinkKindRow::Reset {
            let holder = link.contact.map(ContactId::new);
            return match holder {
                Some(holder) if known == Some(holder) => Ok(Admission::Welcome),
                // Who is a contact of their own is not taken for another.
                Some(_) if known.is_some() => Ok(Admission::Never),
                // R-1303: somebody else has what only they were given.
                Some(holder) => offered(tx, holder, pending.peer().account().as_bytes()),
                None => Ok(Admission::Never),
            };
        }
        if known.is_none() && !room_for_strangers(tx, self.today.get())? {
            return Ok(Admission::Later);
        }
        Ok(Admission::Welcome)
    }

    /// A new contact gets a mailbox of its own.
    fn welcome(
        &mut self,
        tx: &mut dyn Transaction,
        peer: &mut Peer,
    ) -> Result<ContactId, EngineError> {
        let (mailbox, _) = new_mailbox(tx, self.rng, self.relay, Purpose::Adding)?;
        let contact = add_contact(tx, peer, mailbox)?;
        let mut row: MailboxRow = must(tx, Table::Mailboxes, &mailbox)?;
        row.purpose = Purpose::Contact(contact.get());
        save(tx, Table::Mailboxes, &mailbox, &row)?;
        Ok(contact)
    }
}

/// Whether somebody is let in.
enum Admission {
    Welcome,
    /// When the person has decided, or on another day.
    Later,
    Never,
}

/// A one-time bundle was used by somebody else, too. Told once for each bundle: who has the link can
/// do it at will.
fn used_again(
    tx: &mut dyn Transaction,
    link: &LinkRow,
    key: &[u8],
    mut prekey: PrekeyRow,
) -> Result<(), StoreError> {
    // Over a link that was withdrawn nobody is let in, and that is no sign of anything.
    if prekey.reused || link.state == LinkState::Revoked {
        return Ok(());
    }
    prekey.reused = true;
    save(tx, Table::Prekeys, key, &prekey)?;
    emit(tx, EventKind::LinkUsedTwice { label: link.label.clone() })
}

/// Another account calls over the reset link that only this contact holds: a changed account key is
/// for the person to accept. Told once for each account.
fn offered(
    tx: &mut dyn Transaction,
    holder: ContactId,
    account: &[u8; 32],
) -> Result<Admission, EngineError> {
    let mut row = match load_contact(tx, holder) {
        Ok(row) if !row.blocked => row,
        Ok(_) | Err(EngineError::UnknownContact) => return Ok(Admission::Never),
        Err(error) => return Err(error),
    };
    if row.offered_account != Some(*account) {
        row.offered_account = Some(*account);
        save_contact(tx, holder, &row)?;
        let key = AccountKey::from_bytes(account).map_err(|_| corrupt("an account key"))?;
        let account = AccountId::from_bytes(*key.fingerprint().as_bytes());
        emit(tx, EventKind::KeyChanged { contact: holder, account })?;
    }
    Ok(Admission::Later)
}

fn prekey_key(link: u64, bundle: BundleId) -> Vec<u8> {
    key2(&key1(link), bundle.as_bytes())
}
