//! From requests to the store's commands, and from its answers to replies.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use undertone_wire::frame::{
    Acknowledgement, ClientFrame, MailboxState, OwnerOperation, Request, Response, ServerFrame,
    SignedRequest, is_bundle_size, is_credit, is_envelope_size,
};
use undertone_wire::limits::{MAX_RETENTION_DAYS, TICKET_SECONDS};
use undertone_wire::owner::has_duplicates;
use undertone_wire::ticket::SignedResume;
use undertone_wire::{
    AdmissionToken, BlobId, Bounded, Day, ErrorCode, Exporter, Floor, MailboxId, ReadKey,
    RequestId, SessionKey, WriteCapabilityHash,
};

use super::blobs::BlobDirectory;
use super::connection::PIPELINE_WEIGHT;
use crate::admission::OPEN_TOKEN;
use crate::clock::Clock;
use crate::limits::Admission;
use crate::mailboxes::{Hub, Mark, Proof, Subscriber};
use crate::metrics::Counter;
use crate::store::{Answer, Command, DepotFill, Outcome, StoreHandle, Unanswered};
use crate::tickets::Tickets;

/// Signatures that are verified between two other things; more go to a thread of their own, so that
/// one client's many mailboxes do not delay the others.
const VERIFY_INLINE: usize = 4;

/// What requests need.
pub(super) struct Context {
    pub(super) store: StoreHandle,
    pub(super) hub: Arc<Hub>,
    pub(super) blobs: BlobDirectory,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) subscriber: Arc<Subscriber>,
    pub(super) admission: Arc<Admission>,
    pub(super) exporter: Exporter,
    pub(super) tickets: Arc<Tickets>,
    /// Permits for what requests weigh: see [`weight`].
    pub(super) room: Arc<Semaphore>,
    /// Subscriptions that were asked for and have not begun: a permit is taken for each.
    pub(super) beginning: Arc<Semaphore>,
}

/// Subscriptions that a connection may have asked for before the first of them begins: as many as
/// requests may wait.
pub(super) const BEGINNING: u32 = 256;

/// What a request of so many commands and bytes weighs until its reply is written: one for each
/// answer that will be kept for it, and one for each KiB that the store keeps of it until then. At
/// most as much as there is room for: the largest tickets have more mailboxes, and wait until nothing
/// else does.
fn weight(commands: usize, bytes: usize) -> u32 {
    let most = u32::try_from(PIPELINE_WEIGHT).unwrap_or(u32::MAX);
    u32::try_from(commands.saturating_add(bytes / 1024)).unwrap_or(u32::MAX).clamp(1, most)
}

/// A request under way.
pub(super) struct Work {
    id: RequestId,
    state: Result<(oneshot::Receiver<Vec<Answer>>, Shape), ErrorCode>,
    /// Its weight, returned with the reply.
    _room: Option<OwnedSemaphorePermit>,
}

/// How the store's answers become a reply.
enum Shape {
    /// All must be done.
    Done,
    /// As `Done`; then it counts for the capability.
    Delivered(WriteCapabilityHash),
    /// As `Done`; then credit is freed.
    Acknowledged(Vec<(MailboxId, Floor)>),
    /// As `Done`; then the subscriber is told.
    Deleted(MailboxId),
    /// As `Done`; then the file goes.
    BlobDeleted(BlobId),
    /// One mailbox, or the refusal.
    Created,
    /// For each mailbox its state, or nothing if it is unknown.
    States,
    /// As `States`; then the known ones are subscribed to.
    Subscribed(Vec<(MailboxId, Mark)>, u32, Proof, Beginning),
    /// A ticket, if all of them were subscribed to with their keys by then.
    Ticket(SessionKey, Vec<MailboxId>),
    Prekey,
    Depot,
}

/// What follows once the reply is on its way.
pub(super) enum After {
    Nothing,
    Subscribe(Vec<(MailboxId, MailboxState, Mark)>, u32, Proof, Beginning),
}

/// A subscription that has not begun: until this is dropped.
pub(super) type Beginning = Option<OwnedSemaphorePermit>;

impl After {
    pub(super) fn run(self, context: &Context) {
        if let Self::Subscribe(mailboxes, credit, proof, _beginning) = self {
            context.subscriber.set_credit(credit);
            context.hub.subscribe(&context.subscriber, &mailboxes, proof);
            // Denied since it was looked for, and not seen by the reload.
            for (mailbox, _, _) in &mailboxes {
                if context.admission.mailbox_id(*mailbox) != *mailbox {
                    context.hub.deleted(*mailbox);
                }
            }
            context.admission.subscribed(context.subscriber.subscriptions());
        }
    }
}

/// Checks a request and submits it to the store. Returns when it stands in the store's queue, so
/// that requests of one connection keep their order. `bytes` is the length of the frame.
pub(super) async fn handle(context: &Context, frame: ClientFrame, bytes: usize) -> Option<Work> {
    let id = frame.id;
    let (commands, shape) = match plan(context, id, frame.request).await {
        Ok(plan) => plan,
        Err(code) => return Some(Work { id, state: Err(code), _room: None }),
    };
    // Waits until earlier requests are answered; never closed.
    let weight = weight(commands.len(), bytes);
    let room = context.room.clone().acquire_many_owned(weight).await.ok()?;
    let state = context.store.submit(commands).await.map(|answers| (answers, shape));
    Some(Work { id, state, _room: Some(room) })
}

async fn plan(
    context: &Context,
    id: RequestId,
    request: Request,
) -> Result<(Vec<Command>, Shape), ErrorCode> {
    let admission = &context.admission;
    match request {
        Request::Owner(signed) => {
            // Each costs a check, whether it is good or not.
            admission.is_as_much_as(signed.signatures.as_slice().len());
            owner(context, verify(context, id, signed).await?).await
        }
        Request::Deliver { capability, envelope } => {
            admission.metrics().count(Counter::RequestDeliver);
            let capability = admission.capability(capability.hash());
            admission.may_deliver(capability)?;
            let envelope = envelope.into_vec();
            // R-1110
            if !is_envelope_size(envelope.len()) {
                return Err(ErrorCode::BadSize);
            }
            one(Command::Deliver { capability, envelope }, Shape::Delivered(capability))
        }
        Request::TakePrekey { fetch, take } => {
            admission.metrics().count(Counter::RequestTake);
            let depot = admission.depot(fetch.depot());
            one(Command::TakePrekey(depot, take), Shape::Prekey)
        }
        Request::Acknowledge(acks) => {
            admission.metrics().count(Counter::RequestAcknowledge);
            acknowledge(context, acks.into_vec()).await
        }
        Request::DeleteBlob { blob, capability } => {
            admission.metrics().count(Counter::RequestBlobDelete);
            one(Command::DeleteBlob(blob, capability.hash()), Shape::BlobDeleted(blob))
        }
        Request::Ticket { session, mailboxes } => {
            admission.metrics().count(Counter::RequestTicket);
            let mailboxes = mailboxes.into_vec();
            // R-1116
            if mailboxes.is_empty() || has_duplicates(&mailboxes) {
                return Err(ErrorCode::Malformed);
            }
            Ok((Vec::new(), Shape::Ticket(session, mailboxes)))
        }
        Request::Resume(signed) => {
            admission.metrics().count(Counter::RequestResume);
            resume(context, id, &signed).await
        }
        // Padding is passed over before.
        Request::Padding(_) => Err(ErrorCode::Malformed),
    }
}

/// One signature and one opening, however many mailboxes.
async fn resume(
    context: &Context,
    id: RequestId,
    signed: &SignedResume,
) -> Result<(Vec<Command>, Shape), ErrorCode> {
    let now = context.clock.unix_seconds();
    let (credit, mailboxes) = signed.verify(id, &context.exporter, |ticket| {
        let opened = context.tickets.open_ticket(now, ticket)?;
        Ok((opened.session, opened.mailboxes))
    })?;
    // Each is looked up.
    context.admission.is_as_much_as(mailboxes.len());
    let mailboxes = mailboxes.into_iter().map(|id| context.admission.mailbox_id(id)).collect();
    subscribe(context, mailboxes, credit, Proof::Ticket).await
}

async fn subscribe(
    context: &Context,
    mailboxes: Vec<MailboxId>,
    credit: u32,
    proof: Proof,
) -> Result<(Vec<Command>, Shape), ErrorCode> {
    // R-1115
    if !is_credit(credit) {
        return Err(ErrorCode::LimitReached);
    }
    context.admission.may_subscribe(context.subscriber.subscriptions(), mailboxes.len())?;
    let commands = mailboxes.iter().copied().map(Command::Visit).collect();
    // Before the store looks.
    let marked = mailboxes.into_iter().map(|id| (id, context.hub.mark(id))).collect();
    // Never closed.
    let beginning = context.beginning.clone().acquire_owned().await.ok();
    Ok((commands, Shape::Subscribed(marked, credit, proof, beginning)))
}

/// The ticket, and how long it is good.
fn ticket(context: &Context, session: SessionKey, mailboxes: &[MailboxId]) -> Reply {
    // R-1119
    if !context.subscriber.proved_all(mailboxes) {
        return Err(ErrorCode::NotSubscribed);
    }
    let ticket = context.tickets.issue(context.clock.unix_seconds(), session, mailboxes)?;
    let ticket = undertone_wire::BoundedBytes::new(ticket).ok_or(ErrorCode::Internal)?;
    Ok(Response::Ticket { ticket, seconds: TICKET_SECONDS })
}

async fn verify(
    context: &Context,
    id: RequestId,
    signed: SignedRequest,
) -> Result<OwnerOperation, ErrorCode> {
    if signed.signatures.as_slice().len() <= VERIFY_INLINE {
        return signed.verify(id, &context.exporter);
    }
    let exporter = context.exporter.duplicate();
    tokio::task::spawn_blocking(move || signed.verify(id, &exporter))
        .await
        .unwrap_or(Err(ErrorCode::Internal))
}

async fn acknowledge(
    context: &Context,
    acks: Vec<Acknowledgement>,
) -> Result<(Vec<Command>, Shape), ErrorCode> {
    let misses = || acks.iter().any(|ack| !context.subscriber.has(ack.mailbox));
    if misses() {
        // Requests take effect in the order in which they were sent: one that was sent before may begin
        // what is missing. Whoever answers those does not wait for this.
        let _ = context.beginning.acquire_many(BEGINNING).await;
    }
    if misses() {
        return Err(ErrorCode::NotSubscribed);
    }
    let floors = acks.iter().map(|ack| (ack.mailbox, ack.floor)).collect();
    Ok((acks.into_iter().map(Command::Acknowledge).collect(), Shape::Acknowledged(floors)))
}

fn ids(context: &Context, keys: &[ReadKey]) -> Vec<MailboxId> {
    keys.iter().map(|key| context.admission.mailbox(*key)).collect()
}

fn one(command: Command, shape: Shape) -> Result<(Vec<Command>, Shape), ErrorCode> {
    Ok((vec![command], shape))
}

/// What a token's holder is known by in the store. Who shows none is counted for the network, unless it
/// exists already: `exists` asks for that. If the store has ended, it says so to whoever asks it next.
pub(super) async fn verifier(
    admission: &Admission,
    (store, clock): (&StoreHandle, &dyn Clock),
    token: &AdmissionToken,
    exists: Command,
) -> Result<[u8; 32], ErrorCode> {
    if *token.as_bytes() == OPEN_TOKEN {
        let is_there = matches!(store.run(exists).await, Ok(Ok(_)));
        if !is_there {
            admission.may_make_without_token(clock.today())?;
        }
    }
    Ok(token.verifier())
}

async fn owner(
    context: &Context,
    operation: OwnerOperation,
) -> Result<(Vec<Command>, Shape), ErrorCode> {
    let admission = &context.admission;
    let at = (&context.store, &*context.clock);
    admission.metrics().count(match &operation {
        OwnerOperation::CreateMailbox { .. } => Counter::RequestCreate,
        OwnerOperation::Subscribe { .. } => Counter::RequestSubscribe,
        OwnerOperation::Status { .. } => Counter::RequestStatus,
        _ => Counter::RequestOwner,
    });
    match operation {
        OwnerOperation::CreateMailbox { key, token, kind, limits, capabilities } => {
            admission.check(|denied| denied.mailbox(key.mailbox()))?;
            let exists = Command::Status(key.mailbox());
            let token = verifier(admission, at, &token, exists).await?;
            let capabilities = capabilities.into_vec();
            one(Command::CreateMailbox { key, token, kind, limits, capabilities }, Shape::Created)
        }
        OwnerOperation::SetLimits { key, limits } => {
            one(Command::SetLimits(admission.mailbox(key), limits), Shape::Done)
        }
        OwnerOperation::AddCapabilities { key, capabilities } => {
            let id = admission.mailbox(key);
            one(Command::AddCapabilities(id, capabilities.into_vec()), Shape::Done)
        }
        OwnerOperation::RevokeCapabilities { key, capabilities } => {
            let id = admission.mailbox(key);
            one(Command::RevokeCapabilities(id, capabilities.into_vec()), Shape::Done)
        }
        OwnerOperation::Subscribe { keys, credit } => {
            subscribe(context, ids(context, keys.as_slice()), credit, Proof::Key).await
        }
        OwnerOperation::Status { keys } => {
            let commands = ids(context, keys.as_slice()).into_iter().map(Command::Status).collect();
            Ok((commands, Shape::States))
        }
        OwnerOperation::DeleteMailbox { key } => {
            let id = admission.mailbox(key);
            one(Command::DeleteMailbox(id), Shape::Deleted(id))
        }
        OwnerOperation::FillDepot { key, depot, token, mode, one_time, last_resort, expires } => {
            check_expiry(context, expires)?;
            let sealed: Vec<_> = one_time.into_vec().into_iter().map(|b| b.into_vec()).collect();
            let last_resort = last_resort.map(undertone_wire::BoundedBytes::into_vec);
            // R-1111
            if sealed.iter().chain(&last_resort).any(|bundle| !is_bundle_size(bundle.len())) {
                return Err(ErrorCode::BadSize);
            }
            // Nothing is made where nothing is: somebody else's depot is answered alike.
            if admission.depot(depot) != depot {
                return one(Command::DepotStatus(admission.depot(depot), key), Shape::Depot);
            }
            let fill = DepotFill {
                depot,
                owner: key,
                token: verifier(admission, at, &token, Command::DepotStatus(depot, key)).await?,
                mode,
                one_time: sealed,
                last_resort,
                expires,
            };
            one(Command::FillDepot(fill), Shape::Depot)
        }
        OwnerOperation::DepotStatus { key, depot } => {
            one(Command::DepotStatus(admission.depot(depot), key), Shape::Depot)
        }
        OwnerOperation::DeleteDepot { key, depot } => {
            one(Command::DeleteDepot(depot, key), Shape::Done)
        }
    }
}

/// Neither passed nor further ahead than anything is kept. A day of tolerance, since two clocks
/// need not be in the same day.
fn check_expiry(context: &Context, expires: Day) -> Result<(), ErrorCode> {
    let today = context.clock.today();
    let furthest = today.plus(MAX_RETENTION_DAYS).plus(1);
    if expires < today || expires > furthest { Err(ErrorCode::LimitReached) } else { Ok(()) }
}

impl Work {
    /// Waits for the store and makes the reply. [`Unanswered`] if the store failed: then there is
    /// none, since nobody knows whether anything was done, and the relay is about to stop.
    pub(super) async fn finish(
        self,
        context: &Context,
    ) -> Result<(ServerFrame, After), Unanswered> {
        let (result, after) = match self.state {
            Err(code) => (Err(code), After::Nothing),
            Ok((answers, shape)) => {
                let answers = answers.await.map_err(|_| Unanswered)?;
                shape.reply(context, answers).await
            }
        };
        Ok((ServerFrame::Reply { id: self.id, result }, after))
    }
}

type Reply = Result<Response, ErrorCode>;

impl Shape {
    async fn reply(self, context: &Context, answers: Vec<Answer>) -> (Reply, After) {
        let reply = match self {
            Self::Done => all_done(&answers),
            Self::Delivered(capability) => {
                all_done(&answers).inspect(|_| context.admission.delivered(capability))
            }
            Self::Acknowledged(floors) => {
                for ((mailbox, floor), answer) in floors.into_iter().zip(&answers) {
                    if answer.is_ok() {
                        context.subscriber.acknowledged(mailbox, floor);
                    }
                }
                all_done(&answers)
            }
            Self::Deleted(mailbox) => all_done(&answers).inspect(|_| context.hub.deleted(mailbox)),
            Self::BlobDeleted(blob) => match all_done(&answers) {
                Ok(response) => context.blobs.remove(&context.store, blob).await.map(|()| response),
                refused => refused,
            },
            Self::Created => match answers.into_iter().next() {
                Some(Ok(Outcome::Mailbox(state))) => {
                    context.admission.vouch();
                    Ok(Response::Mailboxes(Bounded::one(Some(state))))
                }
                other => Err(unexpected(other)),
            },
            Self::States => states(&answers),
            Self::Ticket(session, mailboxes) => ticket(context, session, &mailboxes),
            Self::Subscribed(mailboxes, credit, proof, beginning) => {
                let looked = mailboxes.into_iter().zip(&answers);
                let known = looked.filter_map(|((id, mark), answer)| match answer {
                    Ok(Outcome::Mailbox(state)) => Some((id, *state, mark)),
                    _ => None,
                });
                let known: Vec<_> = known.collect();
                if !known.is_empty() {
                    context.admission.vouch();
                }
                return (states(&answers), After::Subscribe(known, credit, proof, beginning));
            }
            Self::Prekey => match answers.into_iter().next() {
                Some(Ok(Outcome::Prekey(prekey))) => {
                    context.admission.served();
                    prekey.try_into().map(Response::Prekey)
                }
                other => Err(unexpected(other)),
            },
            Self::Depot => match answers.into_iter().next() {
                Some(Ok(Outcome::Depot(state))) => Ok(Response::Depot(state)),
                other => Err(unexpected(other)),
            },
        };
        (reply, After::Nothing)
    }
}

/// The first refusal, if there is one.
fn all_done(answers: &[Answer]) -> Reply {
    answers.iter().try_for_each(|answer| answer.as_ref().map(|_| ()).map_err(|code| *code))?;
    Ok(Response::Done)
}

/// One entry for each mailbox. Unknown, revoked and deleted are alike: no entry.
fn states(answers: &[Answer]) -> Reply {
    let states = answers
        .iter()
        .map(|answer| match answer {
            Ok(Outcome::Mailbox(state)) => Ok(Some(*state)),
            Err(ErrorCode::Unknown) => Ok(None),
            Err(code) => Err(*code),
            Ok(_) => Err(ErrorCode::Internal),
        })
        .collect::<Result<_, _>>()?;
    Bounded::new(states).map(Response::Mailboxes).ok_or(ErrorCode::Internal)
}

fn unexpected(answer: Option<Answer>) -> ErrorCode {
    match answer {
        Some(Err(code)) => code,
        _ => ErrorCode::Internal,
    }
}

#[cfg(test)]
mod tests {
    use undertone_wire::limits::{
        MAX_MAILBOXES_PER_REQUEST, MAX_MAILBOXES_PER_TICKET, MAX_MESSAGE, MAX_TICKET,
    };

    use super::*;
    use crate::transport::connection::PIPELINE_WEIGHT;

    #[test]
    fn every_request_has_a_weight_and_the_heaviest_finds_room() {
        assert_eq!(weight(0, 0), 1);
        assert_eq!(weight(1, 65_600), 65);
        let heaviest = weight(MAX_MAILBOXES_PER_REQUEST, MAX_MESSAGE);
        assert_eq!(heaviest, 512);
        assert_eq!(weight(MAX_MAILBOXES_PER_TICKET, MAX_TICKET), 1024);
        assert!(usize::try_from(heaviest).is_ok_and(|heaviest| heaviest <= PIPELINE_WEIGHT));
    }
}
