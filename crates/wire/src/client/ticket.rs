//! Subscribing to many mailboxes, and coming back with a ticket.

use core::fmt;
use core::time::Duration;

use super::{ClientError, Connection};
use crate::bytes::{Bounded, BoundedBytes};
use crate::frame::{ClientFrame, MailboxState, OwnerOperation, Request, Response, SealedTicket};
use crate::ids::MailboxId;
use crate::limits::{
    MAX_MAILBOXES_PER_REQUEST, MAX_MAILBOXES_PER_TICKET, MAX_TICKET, TICKET_SECONDS,
};
use crate::owner::{MailboxSecret, OwnerSecret};
use crate::ticket::{ResumeRequest, SessionSecret, SignedResume};

/// A mailbox that was asked for, and its state; `None` if the relay does not know it.
pub type Subscription = (MailboxId, Option<MailboxState>);

/// Subscribes once more, on another connection, without the mailboxes' keys. Secret: whoever has it
/// can take and acknowledge what comes until it ends.
pub struct Ticket {
    session: SessionSecret,
    sealed: SealedTicket,
    mailboxes: Vec<MailboxId>,
    good_for: Duration,
}

impl Ticket {
    /// The mailboxes that it is for.
    #[must_use]
    pub fn mailboxes(&self) -> &[MailboxId] {
        &self.mailboxes
    }

    /// For how long the relay means to accept it, from when it was issued: at most a day.
    #[must_use]
    pub const fn good_for(&self) -> Duration {
        self.good_for
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session: _, sealed: _, mailboxes, good_for } = self;
        write!(f, "Ticket({} mailboxes, good for {good_for:?})", mailboxes.len())
    }
}

impl Connection {
    /// Subscribes to mailboxes with their keys, in as many requests as that takes. The answer has
    /// one entry for each, in order.
    ///
    /// # Errors
    /// [`ClientError`]; those of the mailboxes that came before the failure are subscribed to.
    pub async fn subscribe(
        &self,
        secrets: &[&MailboxSecret],
        credit: u32,
    ) -> Result<Vec<Subscription>, ClientError> {
        let mut states = Vec::new();
        for part in secrets.chunks(MAX_MAILBOXES_PER_REQUEST) {
            let keys = part.iter().map(|secret| secret.public()).collect();
            let keys = Bounded::new(keys).ok_or(ClientError::TooLong)?;
            let signers: Vec<&dyn OwnerSecret> =
                part.iter().map(|secret| *secret as &dyn OwnerSecret).collect();
            states.extend(
                self.mailboxes(OwnerOperation::Subscribe { keys, credit }, &signers).await?,
            );
        }
        Ok(secrets.iter().map(|secret| secret.mailbox()).zip(states).collect())
    }

    /// Asks for a ticket for mailboxes that were subscribed to on this connection with their keys:
    /// at most [`MAX_MAILBOXES_PER_TICKET`], each once. `session` must be fresh for each ticket.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::TooLong`] for too many mailboxes; refused as not subscribed.
    pub async fn ticket(
        &self,
        session: SessionSecret,
        mailboxes: Vec<MailboxId>,
    ) -> Result<Ticket, ClientError> {
        let request = Request::Ticket {
            session: session.public(),
            mailboxes: Bounded::<_, MAX_MAILBOXES_PER_TICKET>::new(mailboxes.clone())
                .ok_or(ClientError::TooLong)?,
        };
        match self.request(request).await? {
            Response::Ticket { ticket, seconds } => Ok(Ticket {
                session,
                sealed: BoundedBytes::<MAX_TICKET>::new(ticket.into_vec())
                    .ok_or(ClientError::Protocol)?,
                mailboxes,
                good_for: Duration::from_secs(seconds.min(TICKET_SECONDS).into()),
            }),
            _ => Err(ClientError::Protocol),
        }
    }

    /// Subscribes to the mailboxes of a ticket: one signature, however many they are. If it is
    /// refused as `ticket-refused`, subscribe with the keys.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn resume(
        &self,
        ticket: &Ticket,
        credit: u32,
    ) -> Result<Vec<Subscription>, ClientError> {
        let id = self.next_id();
        let request = ResumeRequest { id, credit, ticket: ticket.sealed.clone() };
        let signed = SignedResume::sign(&request, &self.shared.exporter, &ticket.session)
            .ok_or(ClientError::TooLong)?;
        match self.exchange(ClientFrame { id, request: Request::Resume(signed) }).await? {
            Response::Mailboxes(states) if states.as_slice().len() == ticket.mailboxes.len() => {
                Ok(ticket.mailboxes.iter().copied().zip(states.into_vec()).collect())
            }
            _ => Err(ClientError::Protocol),
        }
    }
}
