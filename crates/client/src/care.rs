//! What keeps conversations whole besides sending and receiving: sessions that start anew, reset
//! links, mailboxes that move, and what relays are yet to be asked.

use std::collections::HashSet;

use undertone_session::engine::{Chore, ChoreRequest, ResetPlan};
use undertone_session::ids::ContactId;
use undertone_wire::client::{ClientError, Connection};
use undertone_wire::frame::{OwnerOperation, PrekeyAnswer};
use undertone_wire::{Bounded, ErrorCode};

use crate::client::Shared;
use crate::error::Error;
use crate::network::{Failure, Role};
use crate::profile::ProfileEngine;

impl Shared {
    /// Starts sessions anew where that is due. What one contact's relay or bundle brings about is that
    /// contact's alone, and is tried again with the next pass: nobody can hold up others so.
    pub(crate) async fn heal(&self) -> Result<(), Error> {
        let now = self.core.now();
        let due = self.core.ask(move |e| e.due_resets(now)).await?;
        for plan in due {
            match self.reset(plan).await {
                Ok(()) => {}
                Err(error) if error.ends_everything() => return Err(error),
                Err(error) => {
                    tracing::debug!(code = error.code(), "a session can't be started anew now");
                }
            }
        }
        Ok(())
    }

    async fn reset(&self, plan: ResetPlan) -> Result<(), Error> {
        let ResetPlan { contact, relay, fetch, take } = plan;
        let fetch = &fetch;
        let request = |c: Connection| async move { c.take_prekey(fetch, take).await };
        let sealed = match self.network.request(&relay, Role::Sender, request).await {
            Ok(PrekeyAnswer::OneTime(sealed) | PrekeyAnswer::LastResort(sealed)) => sealed,
            Ok(PrekeyAnswer::UsedUp)
            | Err(Failure::Relay(_, ClientError::Refused(ErrorCode::Unknown))) => {
                return self.core.change(move |e| e.reset_refused(contact)).await;
            }
            Err(failure) => return Err(failure.into()),
        };
        let now = self.core.now();
        let finish = move |e: &mut ProfileEngine| e.finish_reset(contact, sealed.as_slice(), now);
        match self.core.change(finish).await {
            Ok(_) => Ok(()),
            // What lies there is of no use: the same take would give the same again. (A fault on
            // this side would use up all of the contact's bundles.)
            Err(error @ Error::LinkForged { .. }) => {
                self.core.change(move |e| e.reset_refused(contact)).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Daily work at our own relays: reset links for contacts who have none, moves of mailboxes, and
    /// the end of those that were replaced. Only what concerns our own relay is an error.
    pub(crate) async fn tend(&self) -> Result<(), Error> {
        let now = self.core.now();
        self.core.change(move |e| e.begin_moves(now)).await?;
        self.core.change(move |e| e.admit_strangers(now)).await?;
        for contact in self.core.ask(|e| e.due_reset_links()).await? {
            self.give_reset_link(contact).await?;
        }
        self.close_retired().await
    }

    async fn give_reset_link(&self, contact: ContactId) -> Result<(), Error> {
        let now = self.core.now();
        let plan = self.core.change(move |e| e.prepare_reset_link(contact, now)).await?;
        let number = plan.number;
        if let Err(error) = self.publish(&plan).await {
            self.core.change(move |e| e.discard_link(number)).await?;
            if error.is_refusal() {
                tracing::warn!(code = error.code(), "the relay refuses a reset link");
                return Ok(());
            }
            return Err(error);
        }
        self.network.checked.lock().await.insert(plan.mailbox.mailbox());
        match self.core.change(move |e| e.activate_link(number, now)).await {
            Ok(_) => {}
            // The contact was deleted or blocked meanwhile.
            Err(Error::LinkUnknown) => {
                self.core.change(move |e| e.discard_link(number)).await?;
            }
            Err(error) => return Err(error),
        }
        self.outgoing.notify_one();
        self.resubscribe.notify_one();
        Ok(())
    }

    /// Mailboxes that others have replaced go as soon as nothing is in them.
    async fn close_retired(&self) -> Result<(), Error> {
        let now = self.core.now();
        let mut silent = HashSet::new();
        for old in self.core.ask(move |e| e.retired_mailboxes(now)).await? {
            let (secret, mailbox) = (&old.secret, old.secret.mailbox());
            if silent.contains(&old.relay) {
                self.core.change(move |e| e.abandon_mailbox(&mailbox, now)).await?;
                continue;
            }
            let status = |c: Connection| async move {
                let keys = Bounded::new(vec![secret.public()]).ok_or(ClientError::TooLong)?;
                c.mailboxes(OwnerOperation::Status { keys }, &[secret]).await
            };
            let state = match self.network.request(&old.relay, Role::Owner, status).await {
                Ok(states) => states.into_iter().next().flatten(),
                Err(Failure::Local(error @ (Error::Offline | Error::Closed))) => return Err(error),
                Err(failure) => {
                    let error = Error::from(failure);
                    tracing::debug!(code = error.code(), "a relay used before does not answer");
                    if error.relay_is_away() && old.relay != self.home() {
                        silent.insert(old.relay);
                        self.core.change(move |e| e.abandon_mailbox(&mailbox, now)).await?;
                    }
                    continue;
                }
            };
            self.core.change(move |e| e.close_mailbox(&mailbox, state.as_ref(), now)).await?;
        }
        Ok(())
    }

    /// Asks relays what they are yet to be asked. One that does not answer is asked again with the
    /// next pass.
    pub(crate) async fn do_chores(&self) -> Result<(), Error> {
        let mut silent = HashSet::new();
        for chore in self.core.ask(|e| e.chores()).await? {
            if silent.contains(&chore.relay) {
                continue;
            }
            let number = chore.number;
            match self.do_chore(&chore).await {
                Ok(_)
                | Err(Failure::Relay(
                    _,
                    ClientError::Refused(ErrorCode::Unknown | ErrorCode::Unsupported),
                )) => self.core.change(move |e| e.chore_done(number)).await?,
                Err(Failure::Local(error @ (Error::Offline | Error::Closed))) => return Err(error),
                Err(failure) => {
                    let error = Error::from(failure);
                    tracing::debug!(code = error.code(), "a relay is asked again later");
                    if error.relay_is_away() {
                        silent.insert(chore.relay);
                    }
                }
            }
        }
        Ok(())
    }

    async fn do_chore(&self, chore: &Chore) -> Result<undertone_wire::frame::Response, Failure> {
        let what = &chore.what;
        let ask = |c: Connection| async move {
            match what {
                ChoreRequest::DeleteMailbox(secret) => {
                    let key = secret.public();
                    c.owner(OwnerOperation::DeleteMailbox { key }, &[secret]).await
                }
                ChoreRequest::DeleteDepot(secret, depot) => {
                    let operation =
                        OwnerOperation::DeleteDepot { key: secret.public(), depot: *depot };
                    c.owner(operation, &[secret]).await
                }
                ChoreRequest::Revoke(secret, hash) => {
                    let capabilities = Bounded::new(vec![*hash]).ok_or(ClientError::TooLong)?;
                    let key = secret.public();
                    let operation = OwnerOperation::RevokeCapabilities { key, capabilities };
                    c.owner(operation, &[secret]).await
                }
            }
        };
        self.network.request(&chore.relay, Role::Owner, ask).await
    }
}
