//! The two tasks of a connection: one writes requests, one reads replies and pushes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncWriteExt as _, BufReader, BufWriter};
use tokio::sync::{mpsc, oneshot};

use super::ClientError;
use crate::codec;
use crate::frame::{Push, Response, ServerFrame, StreamKind};
use crate::ids::RequestId;
use crate::limits::MAX_MESSAGE;
use crate::padding::client_padding;
use crate::transport::{Channel, Goodbye, Reader, Writer, read_bounded_message};

/// An encoded message.
pub(super) type Outgoing = Vec<u8>;

type Answer = oneshot::Sender<Result<Response, ClientError>>;

/// Bytes collected before they go out together: a few packets.
const WRITE_BUFFER: usize = 64 * 1024;

/// Requests that wait for a reply.
#[derive(Default)]
pub(super) struct Pending {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<RequestId, Answer>,
    closed: Option<ClientError>,
}

/// Forgets a request when its caller stops waiting.
pub(super) struct Waiting<'a> {
    pending: &'a Pending,
    id: RequestId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pending.lock().waiting.remove(&self.id);
    }
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; if it did, the map would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    pub(super) fn insert(&self, id: RequestId, answer: Answer) -> Result<Waiting<'_>, ClientError> {
        let mut state = self.lock();
        if let Some(error) = state.closed {
            return Err(error);
        }
        state.waiting.insert(id, answer);
        Ok(Waiting { pending: self, id })
    }

    pub(super) fn why_closed(&self) -> ClientError {
        self.lock().closed.unwrap_or(ClientError::Closed)
    }

    /// Ends all waiting requests; later ones end at once. The first reason holds.
    pub(super) fn close(&self, error: ClientError) {
        let mut state = self.lock();
        let reason = *state.closed.get_or_insert(error);
        for (_, answer) in state.waiting.drain() {
            let _ = answer.send(Err(reason));
        }
    }

    fn answer(&self, id: RequestId, result: Result<Response, ClientError>) {
        // A reply without a request is one that the caller stopped waiting for.
        if let Some(answer) = self.lock().waiting.remove(&id) {
            let _ = answer.send(result);
        }
    }
}

/// Writes what is queued; flushes when the queue is empty, so that pipelined requests share packets.
pub(super) async fn write(writer: Writer, mut queue: mpsc::Receiver<Outgoing>, padded: bool) {
    let mut writer = BufWriter::with_capacity(WRITE_BUFFER, writer);
    // The relay learns of the stream with the first request.
    if writer.write_u8(StreamKind::Control.byte()).await.is_err() {
        return;
    }
    let mut written: usize = 1;
    while let Some(message) = queue.recv().await {
        let mut next = Some(message);
        while let Some(message) = next {
            written = written.saturating_add(message.len());
            if writer.write_all(&message).await.is_err() {
                return;
            }
            next = queue.try_recv().ok();
        }
        if padded && writer.write_all(&client_padding(written)).await.is_err() {
            return;
        }
        written = 0;
        if writer.flush().await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

/// Reads frames until the stream ends, then ends all waiting requests with the reason.
pub(super) async fn read(
    reader: Reader,
    channel: Arc<dyn Channel>,
    pending: Arc<Pending>,
    pushes: mpsc::Sender<Push>,
) {
    let mut reader = BufReader::with_capacity(WRITE_BUFFER, reader);
    let reason = loop {
        let message = read_bounded_message(&mut reader, MAX_MESSAGE, ServerFrame::bound).await;
        let message = match message {
            Ok(Some(message)) => message,
            // The relay never ends the stream alone, so the connection is gone or going.
            Ok(None) | Err(crate::transport::MessageError::Broken) => {
                channel.close(Goodbye::Done);
                break channel.closed().await.into();
            }
            Err(_) => break protocol_error(&*channel),
        };
        match codec::decode::<ServerFrame>(&message) {
            Ok(ServerFrame::Reply { id, result }) => {
                pending.answer(id, result.map_err(ClientError::Refused));
            }
            Ok(ServerFrame::Push(push)) => {
                // Nobody wants pushes if the receiver is gone; replies still matter.
                let _ = pushes.send(push).await;
            }
            Ok(ServerFrame::Padding(_)) => {}
            Err(_) => break protocol_error(&*channel),
        }
    };
    pending.close(reason);
}

fn protocol_error(channel: &dyn Channel) -> ClientError {
    channel.close(Goodbye::ProtocolError);
    ClientError::Protocol
}
