//! A connection to a relay: pipelined requests, pushes, blobs.
//!
//! A [`Connection`] is a cheap handle that can be cloned and used from many tasks. Each
//! [`Connection::connect`] has a socket of its own: subscribe on one connection and deliver on
//! another, so that the relay can't tell from the connection that both are the same person.

mod blob;
mod error;
mod reach;
mod tasks;
mod ticket;

use core::time::Duration;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::address::RelayAddress;
use crate::bytes::{Bounded, BoundedBytes};
use crate::codec;
use crate::frame::{
    Acknowledgement, ClientFrame, DepotState, MailboxState, OwnerOperation, PrekeyAnswer, Push,
    Request, Response, SignedRequest,
};
use crate::ids::{
    BlobDeleteCapability, BlobId, Exporter, FetchCapability, RequestId, TakeId, WriteCapability,
};
use crate::limits::{MAX_CREDIT, MAX_MESSAGE};
use crate::owner::OwnerSecret;
use crate::transport::{Carrier, Channel, Goodbye};

pub use blob::{BlobDownload, BlobUpload};
pub use error::ClientError;
use tasks::{Outgoing, Pending};
pub use ticket::{Subscription, Ticket};

/// Requests that wait to be written; more make [`Connection::request`] wait.
const QUEUED_REQUESTS: usize = 256;

/// Room for pushes that nobody has taken yet: what credit allows, and some that end subscriptions.
/// When it is full the connection waits, replies included: whoever subscribes must take pushes.
const QUEUED_PUSHES: usize = MAX_CREDIT as usize + 64;

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// Local address to connect from; the system's choice if absent.
    pub bind: Option<IpAddr>,
    /// How long connecting and each request may take.
    pub timeout: Duration,
    /// What to try.
    pub carriers: Carriers,
    /// Whether requests and answers are filled up to whole records (see [`crate::padding`]), so that
    /// an observer learns less from their sizes.
    pub padding: bool,
}

/// Over what to connect.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Carriers {
    /// Both, QUIC with a head start: right for a network of which nothing is known.
    #[default]
    QuicFirst,
    /// Both, TCP with a head start: for a network where [`Connection::carrier`] said TCP before.
    TcpFirst,
    /// QUIC alone.
    QuicOnly,
    /// TLS on TCP alone.
    TcpOnly,
}

impl Default for Options {
    /// Any local address, 15 seconds, QUIC first, padding.
    fn default() -> Self {
        Self {
            bind: None,
            timeout: Duration::from_secs(15),
            carriers: Carriers::default(),
            padding: true,
        }
    }
}

/// A connection to a relay; all clones are the same connection, which closes with the last one.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    channel: Arc<dyn Channel>,
    exporter: Exporter,
    timeout: Duration,
    next_id: AtomicU64,
    pending: Arc<Pending>,
    outgoing: mpsc::Sender<Outgoing>,
    pushes: Mutex<Option<mpsc::Receiver<Push>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.channel.close(Goodbye::Done);
    }
}

impl core::fmt::Debug for Connection {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Connection({} open requests)", self.shared.pending.len())
    }
}

impl Connection {
    /// Resolves the host and connects to the first of its addresses that answers, over QUIC or,
    /// where that is blocked, over TLS on TCP.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`], [`ClientError::PinMismatch`], [`ClientError::Certificate`],
    /// [`ClientError::Timeout`], [`ClientError::Protocol`].
    pub async fn connect(relay: &RelayAddress, options: &Options) -> Result<Self, ClientError> {
        let channel = reach::reach(relay, options).await?;
        Self::over(channel, options).await
    }

    /// Speaks the protocol over any channel.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn over(channel: Arc<dyn Channel>, options: &Options) -> Result<Self, ClientError> {
        let exporter = channel.exporter()?;
        let (writer, reader) = channel.open().await?;
        let (outgoing, to_write) = mpsc::channel(QUEUED_REQUESTS);
        let (to_push, pushes) = mpsc::channel(QUEUED_PUSHES);
        let pending = Arc::new(Pending::default());
        tokio::spawn(tasks::write(writer, to_write, options.padding));
        tokio::spawn(tasks::read(reader, channel.clone(), pending.clone(), to_push));
        Ok(Self {
            shared: Arc::new(Shared {
                channel,
                exporter,
                timeout: options.timeout,
                next_id: AtomicU64::new(1),
                pending,
                outgoing,
                pushes: Mutex::new(Some(pushes)),
            }),
        })
    }

    /// What carries this connection: remember it for the network that the client is in, and give
    /// it as [`Options::carriers`] the next time.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        self.shared.channel.carrier()
    }

    fn next_id(&self) -> RequestId {
        // 2^64 requests do not happen on one connection.
        RequestId::new(self.shared.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Sends a request and waits for its reply. Requests of many tasks share the connection;
    /// requests that one task awaits together (or starts in order) are sent in that order.
    ///
    /// After [`ClientError::Timeout`] or [`ClientError::Closed`] it is unknown whether the relay
    /// carried the request out: repeat it with the same bytes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn request(&self, request: Request) -> Result<Response, ClientError> {
        self.exchange(ClientFrame { id: self.next_id(), request }).await
    }

    /// Signs an owner's operation for this connection and sends it. `secrets` belong to
    /// [`OwnerOperation::keys`], in order.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Signing`] if the secrets do not fit.
    pub async fn owner(
        &self,
        operation: OwnerOperation,
        secrets: &[&dyn OwnerSecret],
    ) -> Result<Response, ClientError> {
        let id = self.next_id();
        let signed = SignedRequest::sign(id, operation, &self.shared.exporter, secrets)
            .map_err(|_| ClientError::Signing)?;
        self.exchange(ClientFrame { id, request: Request::Owner(signed) }).await
    }

    async fn exchange(&self, frame: ClientFrame) -> Result<Response, ClientError> {
        let message =
            codec::encode_message(&frame, MAX_MESSAGE).map_err(|_| ClientError::TooLong)?;
        let (answer, reply) = oneshot::channel();
        let waiting = self.shared.pending.insert(frame.id, answer)?;
        let exchange = async {
            if self.shared.outgoing.send(message).await.is_err() {
                return Err(self.shared.pending.why_closed());
            }
            reply.await.unwrap_or_else(|_| Err(self.shared.pending.why_closed()))
        };
        let result = tokio::time::timeout(self.shared.timeout, exchange).await;
        drop(waiting);
        result.unwrap_or(Err(ClientError::Timeout))
    }

    /// Delivers an envelope. Repeat with the same bytes until it is answered.
    ///
    /// # Errors
    /// [`ClientError`]; refused as unknown, mailbox full, bad size.
    pub async fn deliver(
        &self,
        capability: &WriteCapability,
        envelope: Vec<u8>,
    ) -> Result<(), ClientError> {
        let envelope = BoundedBytes::new(envelope).ok_or(ClientError::TooLong)?;
        done(self.request(Request::Deliver { capability: capability.duplicate(), envelope }).await?)
    }

    /// Takes a prekey bundle; repeat with the same take id until it is answered.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn take_prekey(
        &self,
        fetch: &FetchCapability,
        take: TakeId,
    ) -> Result<PrekeyAnswer, ClientError> {
        match self.request(Request::TakePrekey { fetch: fetch.duplicate(), take }).await? {
            Response::Prekey(answer) => Ok(answer),
            _ => Err(ClientError::Protocol),
        }
    }

    /// Acknowledges what has been stored, on the connection that subscribes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn acknowledge(&self, floors: Vec<Acknowledgement>) -> Result<(), ClientError> {
        let floors = Bounded::new(floors).ok_or(ClientError::TooLong)?;
        done(self.request(Request::Acknowledge(floors)).await?)
    }

    /// An owner's operation that is answered by mailbox states: create, subscribe, status.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn mailboxes(
        &self,
        operation: OwnerOperation,
        secrets: &[&dyn OwnerSecret],
    ) -> Result<Vec<Option<MailboxState>>, ClientError> {
        match self.owner(operation, secrets).await? {
            Response::Mailboxes(states) if states.as_slice().len() == secrets.len() => {
                Ok(states.into_vec())
            }
            _ => Err(ClientError::Protocol),
        }
    }

    /// An owner's operation that is answered by a depot's state: fill, status.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn depot(
        &self,
        operation: OwnerOperation,
        secret: &dyn OwnerSecret,
    ) -> Result<DepotState, ClientError> {
        match self.owner(operation, &[secret]).await? {
            Response::Depot(state) => Ok(state),
            _ => Err(ClientError::Protocol),
        }
    }

    /// Deletes a blob.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete_blob(
        &self,
        blob: BlobId,
        capability: &BlobDeleteCapability,
    ) -> Result<(), ClientError> {
        let capability = capability.duplicate();
        done(self.request(Request::DeleteBlob { blob, capability }).await?)
    }

    /// The pushes of this connection; only the first call gets them.
    #[must_use]
    pub fn pushes(&self) -> Option<Pushes> {
        let mut pushes = self.shared.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        pushes.take().map(|receiver| Pushes { receiver })
    }

    /// Closes the connection. Open requests end with [`ClientError::Closed`].
    pub fn close(&self) {
        self.shared.pending.close(ClientError::Closed);
        self.shared.channel.close(Goodbye::Done);
    }

    /// Waits until the connection is closed and says why.
    pub async fn closed(&self) -> ClientError {
        self.shared.channel.closed().await.into()
    }
}

fn done(response: Response) -> Result<(), ClientError> {
    match response {
        Response::Done => Ok(()),
        _ => Err(ClientError::Protocol),
    }
}

/// What comes by itself on a connection that subscribes.
#[derive(Debug)]
pub struct Pushes {
    receiver: mpsc::Receiver<Push>,
}

impl Pushes {
    /// The next push; `None` when the connection is closed. Safe to cancel.
    pub async fn next(&mut self) -> Option<Push> {
        self.receiver.recv().await
    }

    /// A push that is there already.
    pub fn try_next(&mut self) -> Option<Push> {
        self.receiver.try_recv().ok()
    }
}
