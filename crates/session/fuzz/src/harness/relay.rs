//! What a relay does, as far as engines notice, and what a driver does with its answers. Every function
//! ends where the process of the person is killed.

use std::collections::BTreeMap;

use undertone_session::engine::{
    AddPlan, ChoreRequest, Delivery, DeliveryId, EngineError, FloorVerdict,
};
use undertone_session::ids::{ContactId, UnixMillis};
use undertone_session::link::{Link, LinkKind};
use undertone_session::message::Hold;
use undertone_wire::frame::{FillMode, MailboxLimits, MailboxState};
use undertone_wire::{DepotId, Floor, Incarnation, MailboxId, Seq, WriteCapabilityHash};

use super::people::{NOW, Person};

pub const INCARNATION: Incarnation = Incarnation::from_bytes([3; 16]);

/// What was delivered into a mailbox, all of it: what is acknowledged is not pushed again.
#[derive(Clone, Default)]
pub struct Mailbox {
    pub queue: Vec<Vec<u8>>,
    pub acknowledged: u64,
}

/// One-time bundles and the last resort.
type Depot = (Vec<Vec<u8>>, Option<Vec<u8>>);

#[derive(Clone, Default)]
pub struct Relay {
    pub mailboxes: BTreeMap<MailboxId, Mailbox>,
    capabilities: BTreeMap<WriteCapabilityHash, MailboxId>,
    depots: BTreeMap<DepotId, Depot>,
}

/// How many answers get lost: each so manieth, counted over all; 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Loss(pub u8);

impl Loss {
    fn of(self, n: usize) -> bool {
        self.0 != 0 && n % usize::from(self.0) == usize::from(self.0) - 1
    }
}

impl Relay {
    fn make(&mut self, mailbox: MailboxId, capabilities: &[WriteCapabilityHash]) {
        self.mailboxes.entry(mailbox).or_default();
        for hash in capabilities {
            self.capabilities.insert(*hash, mailbox);
        }
    }

    fn state(&self, mailbox: &MailboxId) -> Option<MailboxState> {
        let mailbox = self.mailboxes.get(mailbox)?;
        Some(MailboxState {
            incarnation: INCARNATION,
            acknowledged: Floor::new(mailbox.acknowledged),
            expired: Floor::NONE,
            head: Floor::new(mailbox.queue.len() as u64),
            bytes: 0,
            limits: MailboxLimits { envelopes: 1, bytes: 1 },
        })
    }

    /// True if the relay knows the capability. What is repeated while it is not acknowledged is there
    /// once.
    fn deliver(&mut self, delivery: &Delivery) -> bool {
        let Some(mailbox) = self.capabilities.get(&delivery.capability.hash()).copied() else {
            return false;
        };
        let queue = &mut self.mailboxes.get_mut(&mailbox).unwrap().queue;
        if !queue.contains(&delivery.envelope) {
            queue.push(delivery.envelope.clone());
        }
        true
    }

    fn delete_mailbox(&mut self, mailbox: MailboxId) {
        self.mailboxes.remove(&mailbox);
        self.capabilities.retain(|_, of| *of != mailbox);
    }

    fn fetch(&mut self, depot: &DepotId) -> Option<Vec<u8>> {
        let (one_time, last_resort) = self.depots.get_mut(depot)?;
        if one_time.is_empty() {
            return last_resort.clone();
        }
        Some(one_time.remove(0))
    }

    /// Compares all floors, as a driver does before anything else.
    pub fn check(&self, person: &mut Person) -> Result<bool, EngineError> {
        let mut sound = true;
        for one in person.subscriptions()? {
            let mailbox = one.secret.mailbox();
            let state = self.state(&mailbox);
            sound &= person.check_floor(&mailbox, state.as_ref())? == FloorVerdict::Sound;
        }
        Ok(sound)
    }

    /// Chores, moves, reset links, refills, resets.
    pub fn care(&mut self, person: &mut Person, now: UnixMillis) -> Result<(), EngineError> {
        for chore in person.chores()? {
            match &chore.what {
                ChoreRequest::DeleteMailbox(secret) => self.delete_mailbox(secret.mailbox()),
                ChoreRequest::DeleteDepot(_, depot) => drop(self.depots.remove(depot)),
                ChoreRequest::Revoke(_, hash) => drop(self.capabilities.remove(hash)),
            }
            person.chore_done(chore.number)?;
        }
        person.begin_moves(now)?;
        self.make_pending(person)?;
        for old in person.retired_mailboxes(now)? {
            let mailbox = old.secret.mailbox();
            let state = self.state(&mailbox);
            person.close_mailbox(&mailbox, state.as_ref(), now)?;
        }
        for contact in person.due_reset_links()? {
            let plan = person.prepare_reset_link(contact, now)?;
            self.make(plan.mailbox.mailbox(), &plan.capabilities);
            self.depots.insert(plan.depot, (plan.one_time, plan.last_resort));
            person.activate_link(plan.number, now)?;
        }
        for due in person.due_refills(now)? {
            let left = self.depots.get(&due.depot).map_or(0, |depot| depot.0.len());
            let plan = person.prepare_refill(due.number, left, now)?;
            self.make(plan.mailbox.mailbox(), &plan.capabilities);
            let depot = self.depots.entry(plan.depot).or_default();
            if plan.mode == FillMode::Replace {
                *depot = Depot::default();
            }
            depot.0.extend(plan.one_time);
            depot.1 = plan.last_resort.or(depot.1.take());
            person.refilled(due.number)?;
        }
        for plan in person.due_resets(now)? {
            match self.fetch(&plan.fetch.depot()) {
                Some(sealed) => drop(person.finish_reset(plan.contact, &sealed, now)?),
                None => person.reset_refused(plan.contact)?,
            }
        }
        Ok(())
    }

    fn make_pending(&mut self, person: &mut Person) -> Result<(), EngineError> {
        for plan in person.pending_mailboxes()? {
            self.make(plan.secret.mailbox(), &plan.capabilities);
            person.mailbox_created(&plan.secret.mailbox(), NOW)?;
        }
        Ok(())
    }

    /// At most `limit` deliveries to one contact; true if there were any.
    pub fn send(
        &mut self,
        from: &mut Person,
        contact: ContactId,
        limit: usize,
        loss: Loss,
    ) -> Result<bool, EngineError> {
        let mut any = false;
        for n in 0..limit {
            let Some(delivery) = from.next_delivery(contact)? else { return Ok(any) };
            any = true;
            if !self.deliver(&delivery) {
                if !from.refused(delivery.id, Hold::AddressUnknown)? {
                    return Ok(any);
                }
            } else if loss.of(n) {
                // The relay has it, and its answer is lost.
                return Ok(any);
            } else {
                from.accepted(delivery.id, NOW)?;
            }
        }
        Ok(any)
    }

    /// The next delivery to a contact, of which the sender has no answer yet.
    pub fn launch(
        &mut self,
        from: &mut Person,
        contact: ContactId,
    ) -> Result<Option<DeliveryId>, EngineError> {
        let Some(delivery) = from.next_delivery(contact)? else { return Ok(None) };
        Ok(self.deliver(&delivery).then_some(delivery.id))
    }

    /// At most `limit` envelopes of one of the mailboxes that have some, those of the earliest phase
    /// first; true if there were any.
    pub fn push(
        &mut self,
        to: &mut Person,
        which: usize,
        limit: usize,
        loss: Loss,
    ) -> Result<bool, EngineError> {
        let mut waiting: Vec<(u32, MailboxId)> =
            to.subscriptions()?.iter().map(|one| (one.phase, one.secret.mailbox())).collect();
        waiting.retain(|(_, id)| {
            self.mailboxes.get(id).is_some_and(|m| m.queue.len() as u64 > m.acknowledged)
        });
        let Some(phase) = waiting.iter().map(|(phase, _)| *phase).min() else { return Ok(false) };
        waiting.retain(|(of, _)| *of == phase);
        let id = waiting[which % waiting.len()].1;
        let mailbox = &self.mailboxes[&id];
        let from = mailbox.acknowledged as usize;
        let envelopes: Vec<_> = mailbox.queue.iter().skip(from).take(limit).cloned().collect();
        for (at, envelope) in envelopes.iter().enumerate() {
            let seq = Seq::new((from + at) as u64 + 1);
            let received = to.receive(&id, INCARNATION, seq, envelope, NOW)?;
            if let (Some(received), false) = (received, loss.of(at)) {
                let mailbox = self.mailboxes.get_mut(&id).unwrap();
                mailbox.acknowledged = received.acknowledgement.floor.get();
            }
        }
        Ok(true)
    }

    /// Puts something into a mailbox that this person listens to.
    pub fn inject(
        &mut self,
        to: &mut Person,
        which: usize,
        make: impl FnOnce(&Mailbox) -> Option<Vec<u8>>,
    ) -> Result<(), EngineError> {
        let all = to.subscriptions()?;
        let ids: Vec<MailboxId> = all
            .iter()
            .map(|one| one.secret.mailbox())
            .filter(|id| self.mailboxes.contains_key(id))
            .collect();
        let Some(id) = ids.get(which % ids.len().max(1)) else { return Ok(()) };
        let mailbox = self.mailboxes.get_mut(id).unwrap();
        if let Some(envelope) = make(mailbox) {
            mailbox.queue.push(envelope);
        }
        Ok(())
    }

    pub fn invite(&mut self, person: &mut Person, kind: LinkKind) -> Link {
        let plan = person.prepare_link(kind, None, NOW).unwrap();
        self.make(plan.mailbox.mailbox(), &plan.capabilities);
        self.depots.insert(plan.depot, (plan.one_time, plan.last_resort));
        person.activate_link(plan.number, NOW).unwrap()
    }

    /// Two who know each other meet once more, over a new link: `guest` begins a session that takes the
    /// place of the others. Both may be killed in the midst of it.
    pub fn meet_again(
        &mut self,
        inviter: &mut Person,
        guest: &mut Person,
    ) -> (Result<(), EngineError>, Result<(), EngineError>) {
        let invited = (|| {
            let plan = inviter.prepare_link(LinkKind::SingleUse, None, NOW)?;
            self.make(plan.mailbox.mailbox(), &plan.capabilities);
            self.depots.insert(plan.depot, (plan.one_time, plan.last_resort));
            inviter.activate_link(plan.number, NOW)
        })();
        let link = match invited {
            Ok(link) => link,
            Err(error) => return (Err(error), Ok(())),
        };
        let added = (|| {
            let plan = guest.begin_add(&link, None)?;
            self.make(plan.mailbox.secret.mailbox(), &plan.mailbox.capabilities);
            let sealed = self.fetch(&plan.fetch.depot()).unwrap();
            guest.finish_add(&link, None, &sealed, NOW).map(drop)
        })();
        (Ok(()), added)
    }

    pub fn add(&mut self, person: &mut Person, link: &Link) -> ContactId {
        let plan: AddPlan = person.begin_add(link, None).unwrap();
        self.make(plan.mailbox.secret.mailbox(), &plan.mailbox.capabilities);
        let sealed = self.fetch(&plan.fetch.depot()).unwrap();
        person.finish_add(link, None, &sealed, NOW).unwrap()
    }
}
