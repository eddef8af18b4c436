//! Sending: what is queued goes out contact by contact, in order; each envelope is sealed and
//! stored before it is transmitted, and repeated with the same bytes until it is answered.

use std::collections::HashSet;

use undertone_session::contact::ContactState;
use undertone_session::engine::{Delivery, Subscription};
use undertone_session::ids::ContactId;
use undertone_session::message::Hold;
use undertone_wire::client::{ClientError, Connection};
use undertone_wire::{ErrorCode, RelayAddress};

use crate::client::{Shared, SyncReport};
use crate::error::Error;
use crate::network::{Failure, Role};
use crate::receive::ClientOrLocal;
use crate::together::{Work, together};

/// Contacts to whom is delivered at a time: enough that some relays that do not answer hold up
/// nobody, few enough for a relay that many of them share.
const AT_A_TIME: usize = 16;

impl Shared {
    /// One pass over all that is to be sent, but for files that are yet to be stored at our relay.
    /// What concerns one contact does not stop the others: the first such error is given back in the
    /// end. What concerns their relays is none.
    pub(crate) async fn send_all(&self, report: &mut SyncReport) -> Result<(), Error> {
        let _one_at_a_time = self.sending.lock().await;
        let refused = self.make_mailboxes().await?;
        self.do_chores().await?;
        self.heal().await?;
        let delivered = self.deliver_all(report).await;
        report.queued = self.core.ask(|e| e.queued_messages()).await?;
        match (refused, delivered) {
            (_, Err(error)) if error.ends_the_pass() => Err(error),
            (Some(refused), _) => Err(refused),
            (None, delivered) => delivered,
        }
    }

    /// Stores files at our relay, and sends what waited for them. Deliveries to others go on
    /// meanwhile.
    pub(crate) async fn upload_all(&self, report: &mut SyncReport) -> Result<(), Error> {
        let _one_at_a_time = self.uploading.lock().await;
        let since = self.cancelled.now();
        let home = self.home();
        let (mut result, mut silent) = (Ok(()), HashSet::new());
        for upload in self.core.ask(|e| e.uploads()).await? {
            if silent.contains(&upload.relay) {
                continue;
            }
            match self.upload(&upload, since).await {
                Ok(()) => {}
                Err(error) if error.relay_is_away() && upload.relay != home => {
                    tracing::debug!(code = error.code(), "a relay used before does not answer");
                    silent.insert(upload.relay.clone());
                    continue;
                }
                Err(
                    error @ (Error::Closed
                    | Error::Offline
                    | Error::Superseded
                    | Error::Unreachable { .. }
                    | Error::RelayPinMismatch { .. }
                    | Error::RelayProtocol { .. }),
                ) => return Err(error),
                // Of this file alone, which can't be read, say: the others are stored all the same.
                Err(error) => {
                    tracing::warn!(code = error.code(), "a file can't be stored at the relay now");
                    result = result.and(Err(error));
                    continue;
                }
            }
            // What waited for the file, in its order.
            match self.send_all(report).await {
                Err(error) if error.ends_the_pass() => return Err(error),
                _ => {}
            }
        }
        result
    }

    /// Mailboxes for contacts that have just come. The relay may refuse one (the token's quota is
    /// used up, say): that contact waits, and the others do not. The first refusal is given back. A
    /// relay that is not this profile's any more may be gone for good: nobody else waits for it.
    async fn make_mailboxes(&self) -> Result<Option<Error>, Error> {
        let home = self.home();
        let (mut refused, mut silent) = (None, HashSet::new());
        for plan in self.core.ask(|e| e.pending_mailboxes()).await? {
            if silent.contains(&plan.relay) {
                continue;
            }
            if let Err(failure) = self.make_mailbox(&plan).await {
                let error = Error::from(failure);
                if error.ends_everything() || (plan.relay == home && !error.is_refusal()) {
                    return Err(error);
                }
                tracing::warn!(code = error.code(), "a relay does not make a contact's mailbox");
                if plan.relay == home {
                    refused.get_or_insert(error);
                } else if error.relay_is_away() {
                    silent.insert(plan.relay);
                }
                continue;
            }
            let mailbox = plan.secret.mailbox();
            let now = self.core.now();
            self.core.change(move |e| e.mailbox_created(&mailbox, now)).await?;
            self.resubscribe.notify_one();
        }
        Ok(refused)
    }

    /// Delivers what waits, for many contacts at a time: one whose relay does not answer, or of whom
    /// something here can't be read, holds up nobody else. For each contact in order.
    async fn deliver_all(&self, report: &mut SyncReport) -> Result<(), Error> {
        let contacts = self.core.ask(|e| e.contacts_to_send_to()).await?;
        let work = contacts
            .into_iter()
            .map(|contact| -> Work<'_, Result<u64, Error>> { Box::pin(self.deliver_to(contact)) });
        let ends = |result: &Result<(), Error>| result.as_ref().is_err_and(Error::ends_the_pass);
        let mut result: Result<(), Error> = Ok(());
        for delivered in together(AT_A_TIME, work.collect()).await {
            match delivered {
                Ok(accepted) => report.accepted = report.accepted.saturating_add(accepted),
                // Deleted meanwhile.
                Err(Error::UnknownContact { .. }) => {}
                // The first is what the caller hears of, unless another ends more than that contact.
                Err(error) if result.is_ok() => result = Err(error),
                Err(error) if error.ends_the_pass() && !ends(&result) => result = Err(error),
                Err(_) => {}
            }
        }
        result
    }

    /// Delivers what waits for a contact. Returns how many messages were accepted.
    async fn deliver_to(&self, contact: ContactId) -> Result<u64, Error> {
        let mut accepted = 0_u64;
        if !self.check_contact(contact).await? {
            return Ok(0);
        }
        if self.core.ask(move |e| e.contact(contact)).await?.state == ContactState::RolledBack {
            self.core.change(move |e| e.hold(contact, Hold::StoreRolledBack)).await?;
        }
        while let Some(delivery) = self.core.change(move |e| e.next_delivery(contact)).await? {
            let history = delivery.is_message;
            match self.deliver(delivery).await? {
                Delivered::Accepted => {
                    accepted = accepted.saturating_add(u64::from(history));
                }
                Delivered::Readdressed => {}
                Delivered::Held => break,
            }
        }
        Ok(accepted)
    }

    /// Before anything is sealed for a contact: is the store as new as the relay remembers? False if
    /// that can't be learnt now, since their mailbox is at a relay that was used before and is away:
    /// then nothing goes to this contact until they have another.
    pub(crate) async fn check_contact(&self, contact: ContactId) -> Result<bool, Error> {
        let Some(mailbox) = self.core.ask(move |e| e.mailbox_of(contact)).await? else {
            return Ok(true);
        };
        if self.network.checked.lock().await.contains(&mailbox.secret.mailbox()) {
            return Ok(true);
        }
        let relay = mailbox.relay.clone();
        match self.check_at(&relay, mailbox).await {
            Ok(()) => Ok(true),
            Err(error) if error.ends_everything() || relay == self.home() => Err(error),
            Err(error) => {
                tracing::debug!(code = error.code(), "a relay used before does not answer");
                Ok(false)
            }
        }
    }

    async fn check_at(&self, relay: &RelayAddress, mailbox: Subscription) -> Result<(), Error> {
        let connection = self.network.connection(relay, Role::Owner).await?;
        let result = self.check_floors(&connection, &[mailbox]).await;
        if let Err(ClientOrLocal::Client(ClientError::Closed | ClientError::Timeout)) = result {
            self.network.forget(relay, Role::Owner).await;
        }
        result.map_err(|error| error.at(relay))
    }

    async fn deliver(&self, delivery: Delivery) -> Result<Delivered, Error> {
        let Delivery { id, contact: _, relay, capability, envelope, is_message: _ } = delivery;
        let (capability, envelope) = (&capability, &envelope);
        let deliver = |c: Connection| async move { c.deliver(capability, envelope.clone()).await };
        let hold = match self.network.request(&relay, Role::Sender, deliver).await {
            Ok(()) => {
                let now = self.core.now();
                self.core.change(move |e| e.accepted(id, now)).await?;
                return Ok(Delivered::Accepted);
            }
            Err(failure) => hold(failure)?,
        };
        let again = self.core.change(move |e| e.refused(id, hold)).await?;
        Ok(if again { Delivered::Readdressed } else { Delivered::Held })
    }
}

/// What became of a delivery.
enum Delivered {
    /// The contact's relay has it on its disk.
    Accepted,
    /// It goes to another address.
    Readdressed,
    /// Nothing goes out to this contact now.
    Held,
}

/// Why a contact gets nothing now. What is wrong on this side is an error instead.
fn hold(failure: Failure) -> Result<Hold, Error> {
    match failure {
        Failure::Local(Error::Unreachable { .. }) => Ok(Hold::RelayUnreachable),
        Failure::Local(Error::RelayPinMismatch { .. }) => Ok(Hold::RelayPinMismatch),
        Failure::Local(Error::RelayRefused { .. } | Error::RelayProtocol { .. }) => {
            Ok(Hold::RelayBusy)
        }
        Failure::Local(error) => Err(error),
        Failure::Relay(_, ClientError::Refused(ErrorCode::MailboxFull)) => Ok(Hold::MailboxFull),
        Failure::Relay(_, ClientError::Refused(ErrorCode::Unknown)) => Ok(Hold::AddressUnknown),
        Failure::Relay(
            _,
            ClientError::Unreachable
            | ClientError::Timeout
            | ClientError::Closed
            | ClientError::Refused(ErrorCode::ShuttingDown),
        ) => Ok(Hold::RelayUnreachable),
        Failure::Relay(_, ClientError::PinMismatch) => Ok(Hold::RelayPinMismatch),
        Failure::Relay(..) => Ok(Hold::RelayBusy),
    }
}
