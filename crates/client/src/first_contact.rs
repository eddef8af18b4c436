//! Making links and using them: the part of first contact that talks to relays.

use undertone_session::engine::{LinkPlan, MailboxPlan, RefillPlan};
use undertone_session::ids::ContactId;
use undertone_session::link::{Link, LinkKind};
use undertone_wire::client::{ClientError, Connection};
use undertone_wire::frame::{MailboxKind, MailboxLimits, OwnerOperation, PrekeyAnswer};
use undertone_wire::{Bounded, BoundedBytes, Day, ErrorCode, MailboxSecret, WriteCapabilityHash};

use crate::client::Shared;
use crate::error::Error;
use crate::network::{Failure, Role};
use crate::profile::ProfileEngine;

/// Makes a mailbox; repeating it is harmless.
async fn create_mailbox(
    connection: &Connection,
    secret: &MailboxSecret,
    token: &undertone_wire::AdmissionToken,
    capabilities: &[WriteCapabilityHash],
    limits: Option<MailboxLimits>,
) -> Result<(), ClientError> {
    let operation = OwnerOperation::CreateMailbox {
        key: secret.public(),
        token: token.duplicate(),
        kind: MailboxKind::Queue,
        limits,
        capabilities: Bounded::new(capabilities.to_vec()).ok_or(ClientError::TooLong)?,
    };
    connection.mailboxes(operation, &[secret]).await.map(drop)
}

fn bundle<const MAX: usize>(sealed: &[u8]) -> Result<BoundedBytes<MAX>, ClientError> {
    BoundedBytes::new(sealed.to_vec()).ok_or(ClientError::TooLong)
}

async fn fill_depot(connection: &Connection, plan: &LinkPlan) -> Result<(), ClientError> {
    let one_time: Result<Vec<_>, _> = plan.one_time.iter().map(|b| bundle(b)).collect();
    let operation = OwnerOperation::FillDepot {
        key: plan.depot_owner.public(),
        depot: plan.depot,
        token: plan.token.duplicate(),
        mode: plan.mode,
        one_time: Bounded::new(one_time?).ok_or(ClientError::TooLong)?,
        last_resort: plan.last_resort.as_deref().map(bundle).transpose()?,
        expires: plan.expires,
    };
    connection.depot(operation, &plan.depot_owner).await.map(drop)
}

impl Shared {
    /// Makes the mailbox of a plan.
    pub(crate) async fn make_mailbox(&self, plan: &MailboxPlan) -> Result<(), Failure> {
        let limits = self.network.limits;
        let make = |c: Connection| async move {
            create_mailbox(&c, &plan.secret, &plan.token, &plan.capabilities, limits).await
        };
        self.network.request(&plan.relay, Role::Owner, make).await?;
        // It has just been made: there is nothing that the store could have forgotten.
        self.network.checked.lock().await.insert(plan.secret.mailbox());
        Ok(())
    }

    /// Makes a link; see [`crate::Client::invite`].
    pub(crate) async fn invite(
        &self,
        kind: LinkKind,
        label: Option<String>,
    ) -> Result<(Link, Day), Error> {
        if self.network.is_offline() {
            return Err(Error::Offline);
        }
        let now = self.core.now();
        let prepare = move |e: &mut ProfileEngine| e.prepare_link(kind, label.as_deref(), now);
        let plan = self.core.change(prepare).await?;
        let number = plan.number;
        if let Err(error) = self.publish(&plan).await {
            self.core.change(move |e| e.discard_link(number)).await?;
            return Err(error);
        }
        let link = self.core.change(move |e| e.activate_link(number, now)).await?;
        self.network.checked.lock().await.insert(plan.mailbox.mailbox());
        self.resubscribe.notify_one();
        Ok((link, plan.expires))
    }

    pub(crate) async fn publish(&self, plan: &LinkPlan) -> Result<(), Error> {
        let limits = self.network.limits;
        let publish = |c: Connection| async move {
            create_mailbox(&c, &plan.mailbox, &plan.token, &plan.capabilities, limits).await?;
            // Repeating both is harmless; a bundle that is there already is not added again.
            fill_depot(&c, plan).await
        };
        Ok(self.network.request(&plan.relay, Role::Owner, publish).await?)
    }

    /// Uses a link; see [`crate::Client::add`].
    pub(crate) async fn add(&self, link: &Link, name: Option<String>) -> Result<ContactId, Error> {
        let (ours, wanted) = (link.duplicate(), name.clone());
        let begin = move |e: &mut ProfileEngine| e.begin_add(&ours, wanted.as_deref());
        let plan = self.core.change(begin).await?;
        // First the mailbox for the answers: a bundle that was taken can't be given back.
        self.make_mailbox(&plan.mailbox).await?;
        let fetch = &plan.fetch;
        let take = |c: Connection| async move { c.take_prekey(fetch, plan.take).await };
        let answer = self.network.request(&plan.relay, Role::Sender, take).await;
        let sealed = match answer {
            Ok(PrekeyAnswer::OneTime(sealed) | PrekeyAnswer::LastResort(sealed)) => sealed,
            Ok(PrekeyAnswer::UsedUp) => {
                self.abandon(link, &plan.mailbox).await?;
                return Err(Error::LinkUsedUp);
            }
            Err(Failure::Relay(_, ClientError::Refused(ErrorCode::Unknown))) => {
                self.abandon(link, &plan.mailbox).await?;
                return Err(Error::LinkUnknown);
            }
            Err(failure) => return Err(failure.into()),
        };
        let (ours, now) = (link.duplicate(), self.core.now());
        let finish = move |e: &mut ProfileEngine| {
            e.finish_add(&ours, name.as_deref(), sealed.as_slice(), now)
        };
        let contact = self.core.change(finish).await?;
        self.outgoing.notify_one();
        self.resubscribe.notify_one();
        Ok(contact)
    }

    /// The link is of no use: neither is the mailbox that was made for the answers.
    async fn abandon(&self, link: &Link, mailbox: &MailboxPlan) -> Result<(), Error> {
        let ours = link.duplicate();
        self.core.change(move |e| e.abandon_add(&ours)).await?;
        let delete = |c: Connection| async move {
            let operation = OwnerOperation::DeleteMailbox { key: mailbox.secret.public() };
            c.owner(operation, &[&mailbox.secret]).await
        };
        // If this fails, the relay removes it when nobody has subscribed for long.
        if self.network.request(&mailbox.relay, Role::Owner, delete).await.is_err() {
            tracing::debug!("an unused mailbox stays at the relay");
        }
        Ok(())
    }

    /// Fills the depots that are due. Only what concerns our own relay is an error: what was left at
    /// another is tried again.
    pub(crate) async fn refill(&self) -> Result<(), Error> {
        let now = self.core.now();
        let home = self.home();
        for due in self.core.ask(move |e| e.due_refills(now)).await? {
            match self.fill(&due).await {
                Err(error @ (Error::Offline | Error::Closed | Error::Superseded)) => {
                    return Err(error);
                }
                Err(error) if due.relay == home => return Err(error),
                Err(error) => tracing::debug!(code = error.code(), "a depot is not filled now"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    async fn fill(&self, due: &RefillPlan) -> Result<(), Error> {
        let now = self.core.now();
        let status = |c: Connection| async move {
            let operation =
                OwnerOperation::DepotStatus { key: due.depot_owner.public(), depot: due.depot };
            c.depot(operation, &due.depot_owner).await
        };
        let left = match self.network.request(&due.relay, Role::Owner, status).await {
            Ok(state) => usize::try_from(state.one_time).unwrap_or(usize::MAX),
            // A restored relay has no depots: fill anew.
            Err(Failure::Relay(_, ClientError::Refused(ErrorCode::Unknown))) => 0,
            Err(failure) => return Err(failure.into()),
        };
        let number = due.number;
        let prepare = move |e: &mut ProfileEngine| e.prepare_refill(number, left, now);
        let plan = self.core.change(prepare).await?;
        self.publish(&plan).await?;
        self.core.change(move |e| e.refilled(number)).await?;
        // Its mailbox may be a new one: that of a link whose relay had lost it, or of a profile that
        // was restored.
        self.resubscribe.notify_one();
        Ok(())
    }
}
