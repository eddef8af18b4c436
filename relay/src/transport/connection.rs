//! One connection: its control stream, its blob streams, its pushes.
//!
//! Four tasks serve the control stream. The reader decodes and verifies requests and submits them
//! to the store, in order; the responder waits for the store's answers; the pump fetches envelopes
//! for subscriptions; the writer sends what the two produce. The queues between them are bounded,
//! so that whoever sends faster than it reads waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::sync::{Semaphore, watch};
use undertone_wire::codec;
use undertone_wire::frame::{ClientFrame, Push, Request, Response, ServerFrame, StreamKind};
use undertone_wire::limits::{LENGTH_PREFIX, MAX_ENVELOPE, MAX_MESSAGE};
use undertone_wire::padding::server_padding;
use undertone_wire::transport::{
    Carrier, Channel, Goodbye, MessageError, Reader, Writer, read_bounded_message, read_stream_kind,
};
use undertone_wire::{BoundedBytes, Exporter, Incarnation, MailboxId, Seq};

use super::blobs::{self, BlobDirectory};
use super::pace::{self, NotWritten};
use super::queue::{Receiver, Sender, queue};
use super::requests::{BEGINNING, Context, Work, handle};
use super::tap::Tap;
use crate::clock::Clock;
use crate::limits::{Admission, Held, Share};
use crate::mailboxes::{ConnectionId, Hub, Next, Subscriber};
use crate::metrics::Counter;
use crate::store::{Queued, ReadThread, StoreHandle};
use crate::tickets::Tickets;

/// Requests of a connection that wait for the store.
const PIPELINE: usize = 256;

/// What the requests of a connection that wait for the store may weigh together, see
/// `weight` beside [`handle`]: at most 1 MiB of requests, and answers of about that size. A client
/// that does not read its replies is read no further.
pub(super) const PIPELINE_WEIGHT: usize = 1024;

/// Messages of a connection that wait to be written: at most 2 MiB of the largest envelopes.
const OUTGOING: usize = 32;

/// How long a client has, when the relay stops, to take the last of what was written for it: some
/// round trips.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// Bytes that are read together: the beginning of a message, from which on it is read in one go. Every
/// idle connection has it.
const READ_BUFFER: usize = 64;

/// What stands around an envelope in its push, at most, and what rounding takes.
const MAX_AROUND: usize = 1024;

/// What a push takes at most.
const LARGEST_PUSH: usize = MAX_ENVELOPE + MAX_AROUND;

/// Bytes collected before they are written together. Only a connection that writes has them.
const WRITE_BATCH: usize = 16 * 1024;

/// What every connection needs.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) store: StoreHandle,
    pub(crate) reader: ReadThread,
    pub(crate) hub: Arc<Hub>,
    pub(crate) incarnation: Incarnation,
    pub(crate) blobs: BlobDirectory,
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tap: Tap,
}

/// Serves a connection until it is closed or the relay stops.
pub(crate) async fn serve(
    id: ConnectionId,
    channel: Arc<dyn Channel>,
    admission: Arc<Admission>,
    services: Services,
    mut stopped: watch::Receiver<bool>,
) {
    let Ok(exporter) = channel.exporter() else {
        channel.close(Goodbye::ProtocolError);
        return;
    };
    let subscriber = Arc::new(Subscriber::new(id, admission.outgoing().ready()));
    let connection = Arc::new(Connection {
        services,
        exporter,
        subscriber: subscriber.clone(),
        channel: channel.clone(),
        room: admission.outgoing().messages(),
        admission,
        transfers: Mutex::default(),
        has_control: AtomicBool::new(false),
        padded: AtomicBool::new(false),
        stopped: stopped.clone(),
    });
    let hub = connection.services.hub.clone();
    let _leave = Leave { hub, subscriber };
    let mut streams = tokio::task::JoinSet::new();
    let mut look = connection.admission.look();
    // The rules may have changed while it was being made.
    look.mark_changed();
    loop {
        let stream = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => None,
            Some(_) = streams.join_next() => continue,
            Ok(()) = look.changed() => {
                let admission = &connection.admission;
                if admission.is_denied(channel.peer()) || admission.is_in_the_way() {
                    channel.close(Goodbye::Busy);
                }
                continue;
            }
            stream = channel.accept() => stream.ok(),
        };
        let Some((writer, reader)) = stream else { break };
        streams.spawn(stream_of(connection.clone(), writer, reader));
    }
    let stopping = *stopped.borrow();
    drain(&channel, streams, stopping).await;
}

/// Serves one stream, of whichever kind it turns out to be. A QUIC stream is known of when a later
/// one speaks, so that its first byte may be long in coming: nobody else waits for it.
async fn stream_of(connection: Arc<Connection>, writer: Writer, mut reader: Reader) {
    let mut stopped = connection.stopped.clone();
    let kind = tokio::select! {
        biased;
        _ = stopped.wait_for(|stop| *stop) => return,
        kind = read_stream_kind(&mut reader) => kind,
    };
    match kind {
        Ok(Some(StreamKind::Blob)) => {
            // Apart, so that a control stream does not take the room that a blob needs.
            if Box::pin(blobs::serve(connection.clone(), stopped, writer, reader)).await {
                connection.channel.close(Goodbye::Busy);
            }
        }
        // R-1105: one control stream.
        Ok(Some(StreamKind::Control)) if !connection.has_control.swap(true, Ordering::Relaxed) => {
            control(connection, writer, reader).await;
        }
        // R-1104
        Ok(_) => connection.channel.close(Goodbye::ProtocolError),
        // It ended without a byte.
        Err(_) => {}
    }
}

/// When the relay stops: lets the streams end, and the client close. Otherwise the connection is
/// gone and so are its streams.
async fn drain(channel: &Arc<dyn Channel>, mut streams: tokio::task::JoinSet<()>, stopping: bool) {
    if stopping {
        while streams.join_next().await.is_some() {}
        // Over QUIC the client has everything when its streams have ended. Over TCP what it has not
        // read would be lost with the connection, so that it closes first.
        if channel.carrier() != Carrier::Quic {
            let _ = tokio::time::timeout(LINGER, channel.closed()).await;
        }
        channel.close(Goodbye::ShuttingDown);
    } else {
        streams.shutdown().await;
    }
}

/// Ends the subscriptions with the connection, however that ends.
struct Leave {
    hub: Arc<Hub>,
    subscriber: Arc<Subscriber>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.hub.leave(&self.subscriber);
    }
}

pub(super) struct Connection {
    pub(super) services: Services,
    exporter: Exporter,
    subscriber: Arc<Subscriber>,
    pub(super) channel: Arc<dyn Channel>,
    pub(super) admission: Arc<Admission>,
    /// Blobs that are being transferred on it.
    transfers: Mutex<u32>,
    /// Its share of what waits to be written.
    room: Arc<Share>,
    /// Whether there was a control stream.
    has_control: AtomicBool,
    /// Whether the client pads, and so the relay does.
    padded: AtomicBool,
    stopped: watch::Receiver<bool>,
}

/// A transfer of a blob on a connection, whose windows are wide until the last one ends.
pub(super) struct Wide<'a>(&'a Connection);

impl Drop for Wide<'_> {
    fn drop(&mut self) {
        let mut transfers = self.0.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        *transfers = transfers.saturating_sub(1);
        if *transfers == 0 {
            self.0.channel.widen(false);
        }
    }
}

impl Connection {
    /// A transfer begins, which has been admitted.
    pub(super) fn widen(&self) -> Wide<'_> {
        let mut transfers = self.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        *transfers = transfers.saturating_add(1);
        self.channel.widen(true);
        drop(transfers);
        Wide(self)
    }

    /// The push of an envelope; `None` is one that is damaged.
    fn envelope(&self, mailbox: MailboxId, seq: Seq, envelope: Option<Vec<u8>>) -> Push {
        let (incarnation, metrics) = (self.services.incarnation, self.admission.metrics());
        match envelope.and_then(BoundedBytes::new) {
            Some(envelope) => {
                metrics.count(Counter::Pushed);
                Push::Envelope { mailbox, incarnation, seq, envelope }
            }
            None => {
                metrics.count(Counter::Damaged);
                Push::Damaged { mailbox, incarnation, seq }
            }
        }
    }
}

/// A message that waits to be written, and the room that it takes.
struct Message(Vec<u8>, Held);

async fn control(connection: Arc<Connection>, writer: Writer, reader: Reader) {
    let (work, to_answer) = queue(PIPELINE);
    let (messages, to_write) = queue(OUTGOING);
    let context = Arc::new(Context {
        store: connection.services.store.clone(),
        hub: connection.services.hub.clone(),
        blobs: connection.services.blobs.clone(),
        clock: connection.services.clock.clone(),
        subscriber: connection.subscriber.clone(),
        admission: connection.admission.clone(),
        exporter: connection.exporter.duplicate(),
        tickets: connection.services.tickets.clone(),
        room: Arc::new(Semaphore::new(PIPELINE_WEIGHT)),
        beginning: Arc::new(Semaphore::new(usize::try_from(BEGINNING).unwrap_or(PIPELINE))),
    });
    let pump = tokio::spawn(pump(connection.clone(), messages.clone()));
    let _pump = AbortOnDrop(pump.abort_handle());
    // Each apart: an idle connection keeps all of them, and what is moved into a larger future takes
    // its room in both.
    let respond = Box::pin(respond(connection.clone(), context.clone(), to_answer, messages));
    let read = Box::pin(read_requests(&connection, &context, reader, work));
    let write = Box::pin(write_messages(&connection, writer, to_write));
    // When the reader ends, the responder finishes what it has; the pump is stopped by then, so
    // the writer sees the end of its queue and finishes the stream.
    let answer = async {
        tokio::join!(read, respond);
        pump.abort();
    };
    tokio::join!(answer, write);
}

/// Ends a task with the one that needs it.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read_requests(
    connection: &Connection,
    context: &Context,
    reader: Reader,
    work: Sender<Box<Work>>,
) {
    let mut reader = BufReader::with_capacity(READ_BUFFER, reader);
    let mut stopped = connection.stopped.clone();
    loop {
        let message = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            message = read_bounded_message(&mut reader, MAX_MESSAGE, ClientFrame::bound) => message,
        };
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) | Err(MessageError::Broken) => return,
            Err(_) => return connection.channel.close(Goodbye::ProtocolError),
        };
        connection.services.tap.received(&message);
        let Ok(frame) = codec::decode::<ClientFrame>(&message) else {
            return connection.channel.close(Goodbye::ProtocolError);
        };
        if let Request::Padding(_) = frame.request {
            connection.padded.store(true, Ordering::Relaxed);
            continue;
        }
        if wait_for_turn(&connection.admission, &mut stopped).await.is_none() {
            return;
        }
        // Apart, so that nobody takes the room for a request who is idle.
        let handled = Box::pin(handle(context, frame, message.len()));
        let Some(handled) = handled.await else { return };
        if work.send(Box::new(handled)).await.is_err() {
            return;
        }
    }
}

/// Waits until the connection's rate allows another request; `None` if the relay stops meanwhile.
pub(super) async fn wait_for_turn(
    admission: &Admission,
    stopped: &mut watch::Receiver<bool>,
) -> Option<()> {
    loop {
        let wait = admission.request();
        if wait.is_zero() {
            return Some(());
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopped.wait_for(|stop| *stop) => return None,
        }
    }
}

async fn respond(
    connection: Arc<Connection>,
    context: Arc<Context>,
    mut queue: Receiver<Box<Work>>,
    messages: Sender<Message>,
) {
    while let Some(work) = queue.recv().await {
        // Apart, as in `read_requests`.
        let finished = Box::pin(work.finish(&context)).await;
        let Ok((frame, after)) = finished else {
            return connection.channel.close(Goodbye::ShuttingDown);
        };
        let guessing = match &frame {
            ServerFrame::Reply { result: Err(code), .. } => context.admission.refused(*code),
            // As much as to say "unknown".
            ServerFrame::Reply { result: Ok(Response::Mailboxes(states)), .. } => {
                states.as_slice().iter().all(Option::is_none) && context.admission.guessed()
            }
            _ => false,
        };
        let Ok(message) = codec::encode_message(&frame, MAX_MESSAGE) else { return };
        let Some(held) = connection.room.take(message.len()).await else { return };
        if messages.send(Message(message, held)).await.is_err() {
            return;
        }
        if guessing {
            return connection.channel.close(Goodbye::Busy);
        }
        // Subscriptions begin behind their answer.
        after.run(&context);
    }
}

async fn pump(connection: Arc<Connection>, messages: Sender<Message>) {
    let subscriber = &connection.subscriber;
    loop {
        match subscriber.next().await {
            Next::Send(push) => {
                if send_push(&connection, &messages, push, None).await.is_none() {
                    return;
                }
            }
            Next::Ready(mailbox, seq, envelope, _held) => {
                let push = connection.envelope(mailbox, seq, Some(envelope));
                if send_push(&connection, &messages, push, None).await.is_none() {
                    return;
                }
            }
            Next::Fetch { mailbox, begun, position, count } => {
                // Before anything is fetched.
                let count = connection.room.fitting(LARGEST_PUSH).min(count);
                let bytes = count.saturating_mul(LARGEST_PUSH);
                let Some(mut held) = connection.room.take(bytes).await else { return };
                let Some(found) = connection.services.reader.after(mailbox, position, count).await
                else {
                    return connection.channel.close(Goodbye::Busy);
                };
                let bytes = |queued: &Queued| queued.envelope.as_ref().map_or(0, Vec::len);
                held.shrink(found.iter().map(|one| bytes(one).saturating_add(MAX_AROUND)).sum());
                let more = found.len() == count;
                let mut previous = position;
                for queued in found {
                    let seq = queued.seq;
                    if !subscriber.claim(mailbox, begun, previous, seq) {
                        break;
                    }
                    previous = seq;
                    let push = connection.envelope(mailbox, seq, queued.envelope);
                    if send_push(&connection, &messages, push, Some(&mut held)).await.is_none() {
                        return;
                    }
                }
                subscriber.fetched(mailbox, more);
            }
        }
    }
}

/// Queues a push, for which there is room in what is `held`, if anything is.
async fn send_push(
    connection: &Connection,
    messages: &Sender<Message>,
    push: Push,
    held: Option<&mut Held>,
) -> Option<()> {
    let message = codec::encode_message(&ServerFrame::Push(push), MAX_MESSAGE).ok()?;
    let room = match held {
        Some(held) => held.split(message.len())?,
        None => connection.room.take(message.len()).await?,
    };
    messages.send(Message(message, room)).await.ok()
}

/// Writes what is queued; flushes when the queue is empty, so that replies and pushes share packets.
async fn write_messages(connection: &Connection, mut writer: Writer, mut queue: Receiver<Message>) {
    let mut written: usize = 0;
    while let Some(message) = queue.recv().await {
        let (mut batch, mut held) = (Vec::new(), Vec::new());
        let mut next = Some(message);
        while let Some(Message(message, room)) = next {
            held.push(room);
            connection.services.tap.sent(message.get(LENGTH_PREFIX..).unwrap_or_default());
            batch.extend_from_slice(&message);
            next = if batch.len() < WRITE_BATCH { queue.try_recv() } else { None };
        }
        written = written.wrapping_add(batch.len());
        if connection.padded.load(Ordering::Relaxed) && queue.is_empty() {
            batch.extend_from_slice(&server_padding(written));
            written = 0;
        }
        match pace::write(&mut writer, &batch, connection.admission.patience()).await {
            Ok(()) => {}
            Err(NotWritten::Broken) => return,
            Err(NotWritten::Stalled) => {
                connection.admission.metrics().count(Counter::StalledConnections);
                return connection.channel.close(Goodbye::Busy);
            }
        }
    }
    // Whether it has it is known only if it still answers.
    let _ = tokio::time::timeout(LINGER, writer.shutdown()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a future takes that this makes.
    fn room<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    type Messages = Receiver<Message>;
    type Answers = Receiver<Box<Work>>;
    type Sink = Sender<Message>;

    #[test]
    fn what_an_idle_connection_holds_is_small() {
        let futures = [
            room(|(a, b, c, d, e)| serve(a, b, c, d, e)),
            room(|(a, b, c)| stream_of(a, b, c)),
            room(|(a, b)| pump(a, b)),
            room(|(a, b, c): (&'static Connection, Writer, Messages)| write_messages(a, b, c)),
            room(|(a, b, c, d): (_, _, Answers, Sink)| respond(a, b, c, d)),
            room(|(a, b, c, d): (&'static Connection, &'static Context, _, _)| {
                read_requests(a, b, c, d)
            }),
        ];
        println!("serve, stream_of, pump, write_messages, respond, read_requests: {futures:?}");
        assert!(futures.iter().sum::<usize>() <= 4096, "{futures:?}");
    }
}
