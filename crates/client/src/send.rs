//! Sending: what is queued goes out contact by contact, in order; each envelope is sealed and
//! stored before it is transmitted, and repeated with the same bytes until it is answered.

use undertone_session::contact::ContactState;
use undertone_session::engine::Delivery;
use undertone_session::ids::ContactId;
use undertone_session::message::Hold;
use undertone_wire::ErrorCode;
use undertone_wire::client::{ClientError, Connection};

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
    /// Only what concerns our own relay is an error.
    pub(crate) async fn send_all(&self, report: &mut SyncReport) -> Result<(), Error> {
        let _one_at_a_time = self.sending.lock().await;
        let refused = self.make_mailboxes().await?;
        self.do_chores().await?;
        self.heal().await?;
        self.deliver_all(report).await?;
        report.queued = self.core.ask(|e| e.queued_messages()).await?;
        refused.map_or(Ok(()), Err)
    }

    /// Stores files at our relay, and sends what waited for them. Deliveries to others go on
    /// meanwhile.
    pub(crate) async fn upload_all(&self, report: &mut SyncReport) -> Result<(), Error> {
        let _one_at_a_time = self.uploading.lock().await;
        let since = self.cancelled.now();
        for upload in self.core.ask(|e| e.uploads()).await? {
            self.upload(&upload, since).await?;
            // What waited for the file, in its order.
            match self.send_all(report).await {
                Err(error) if !error.is_refusal() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Mailboxes for contacts that have just come. The relay may refuse one (the token's quota is
    /// used up, say): that contact waits, and the others do not. The first refusal is given back.
    async fn make_mailboxes(&self) -> Result<Option<Error>, Error> {
        let mut refused = None;
        for plan in self.core.ask(|e| e.pending_mailboxes()).await? {
            if let Err(failure) = self.make_mailbox(&plan).await {
                let error = Error::from(failure);
                if !error.is_refusal() {
                    return Err(error);
                }
                tracing::warn!(code = error.code(), "the relay refuses a contact's mailbox");
                refused.get_or_insert(error);
                continue;
            }
            let mailbox = plan.secret.mailbox();
            let now = self.core.now();
            self.core.change(move |e| e.mailbox_created(&mailbox, now)).await?;
            self.resubscribe.notify_one();
        }
        Ok(refused)
    }

    /// Delivers what waits, for many contacts at a time: one whose relay does not answer holds up
    /// nobody else. For each contact in order.
    async fn deliver_all(&self, report: &mut SyncReport) -> Result<(), Error> {
        let contacts = self.core.ask(|e| e.contacts_to_send_to()).await?;
        let work = contacts
            .into_iter()
            .map(|contact| -> Work<'_, Result<u64, Error>> { Box::pin(self.deliver_to(contact)) });
        let mut result = Ok(());
        for delivered in together(AT_A_TIME, work.collect()).await {
            match delivered {
                Ok(accepted) => report.accepted = report.accepted.saturating_add(accepted),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// Delivers what waits for a contact. Returns how many messages were accepted.
    async fn deliver_to(&self, contact: ContactId) -> Result<u64, Error> {
        let mut accepted = 0_u64;
        self.check_contact(contact).await?;
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

    /// Before anything is sealed for a contact: is the store as new as the relay remembers?
    pub(crate) async fn check_contact(&self, contact: ContactId) -> Result<(), Error> {
        let Some(mailbox) = self.core.ask(move |e| e.mailbox_of(contact)).await? else {
            return Ok(());
        };
        if self.network.checked.lock().await.contains(&mailbox.secret.mailbox()) {
            return Ok(());
        }
        let relay = mailbox.relay.clone();
        let connection = self.network.connection(&relay, Role::Owner).await?;
        let result = self.check_floors(&connection, &[mailbox]).await;
        if let Err(ClientOrLocal::Client(ClientError::Closed | ClientError::Timeout)) = result {
            self.network.forget(&relay, Role::Owner).await;
        }
        result.map_err(|error| error.at(&relay))
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
