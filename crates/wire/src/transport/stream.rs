//! A channel over connections that carry one stream each: TCP.
//!
//! The first stream is the connection itself; each further one that a client opens is a connection
//! of its own. The other end sees channels with one stream.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use super::{BoxFuture, Carrier, Channel, Goodbye, Lost, Reader, Writer};
use crate::ids::Exporter;

/// Opens one more connection to the same peer.
pub(super) type Dial =
    Box<dyn Fn() -> BoxFuture<'static, Result<StreamChannel, Lost>> + Send + Sync>;

/// A connection that carries one stream.
pub struct StreamChannel {
    carrier: Carrier,
    peer: SocketAddr,
    exporter: Exporter,
    first: Mutex<Option<(Writer, Reader)>>,
    fate: Arc<Fate>,
    dial: Option<Dial>,
}

impl core::fmt::Debug for StreamChannel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "StreamChannel({:?})", self.carrier)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one of these locks is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StreamChannel {
    /// Over a connection whose peer is authenticated. It has one stream.
    pub(super) fn new<S>(
        carrier: Carrier,
        peer: SocketAddr,
        exporter: Exporter,
        connection: S,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let fate = Arc::new(Fate { lost: watch::Sender::new(None), wakers: Mutex::default() });
        let (reader, writer) = tokio::io::split(connection);
        let reader: Reader = Box::new(Half { half: reader, side: Side::Read, fate: fate.clone() });
        let writer: Writer = Box::new(Half { half: writer, side: Side::Write, fate: fate.clone() });
        Self {
            carrier,
            peer,
            exporter,
            first: Mutex::new(Some((writer, reader))),
            fate,
            dial: None,
        }
    }

    /// Has further streams, each over a connection that `dial` makes.
    pub(super) fn dial_with(&mut self, dial: Dial) {
        self.dial = Some(dial);
    }

    fn take(&self) -> Option<(Writer, Reader)> {
        lock(&self.first).take()
    }
}

impl Channel for StreamChannel {
    fn open(&self) -> BoxFuture<'_, Result<(Writer, Reader), Lost>> {
        Box::pin(async {
            if let Some(lost) = self.fate.lost() {
                return Err(lost);
            }
            if let Some(halves) = self.take() {
                return Ok(halves);
            }
            let further = self.dial.as_ref().ok_or(Lost::Protocol)?().await?;
            further.take().ok_or(Lost::Protocol)
        })
    }

    fn accept(&self) -> BoxFuture<'_, Result<(Writer, Reader), Lost>> {
        Box::pin(async {
            match self.take() {
                Some(halves) => Ok(halves),
                None => Err(self.closed().await),
            }
        })
    }

    fn exporter(&self) -> Result<Exporter, Lost> {
        Ok(self.exporter.duplicate())
    }

    fn carrier(&self) -> Carrier {
        self.carrier
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn close(&self, _: Goodbye) {
        self.fate.lose(Lost::Closed);
        // The halves close the connection when they are dropped; these nobody has.
        drop(self.take());
    }

    fn closed(&self) -> BoxFuture<'_, Lost> {
        Box::pin(async {
            let mut lost = self.fate.lost.subscribe();
            let lost = lost.wait_for(Option::is_some).await;
            lost.ok().and_then(|lost| *lost).unwrap_or(Lost::Closed)
        })
    }
}

/// Whether the connection is no more, and who has to hear of it.
struct Fate {
    lost: watch::Sender<Option<Lost>>,
    wakers: Mutex<Wakers>,
}

#[derive(Default)]
struct Wakers {
    reader: Waiting,
    writer: Waiting,
}

#[derive(Default)]
struct Waiting {
    waker: Option<Waker>,
    gone: bool,
}

#[derive(Clone, Copy)]
enum Side {
    Read,
    Write,
}

impl Wakers {
    fn side(&mut self, side: Side) -> &mut Waiting {
        match side {
            Side::Read => &mut self.reader,
            Side::Write => &mut self.writer,
        }
    }
}

impl Fate {
    fn lost(&self) -> Option<Lost> {
        *self.lost.borrow()
    }

    /// The first reason holds.
    fn lose(&self, reason: Lost) {
        self.lost.send_if_modified(|lost| lost.replace(lost.unwrap_or(reason)).is_none());
        let mut wakers = lock(&self.wakers);
        for waker in [Side::Read, Side::Write].map(|side| wakers.side(side).waker.take()) {
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// An error if the connection is lost; otherwise whoever asks is woken when it is.
    fn check(&self, side: Side, context: &Context<'_>) -> io::Result<()> {
        let mut wakers = lock(&self.wakers);
        let waiting = wakers.side(side);
        if !waiting.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            waiting.waker = Some(context.waker().clone());
        }
        // Behind the waker: what is lost in between wakes it.
        match self.lost() {
            Some(_) => Err(io::ErrorKind::ConnectionAborted.into()),
            None => Ok(()),
        }
    }

    fn note<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &result {
            let timed_out = error.kind() == io::ErrorKind::TimedOut;
            self.lose(if timed_out { Lost::TimedOut } else { Lost::Closed });
        }
        result
    }
}

/// One half of the stream. With both halves the connection goes.
struct Half<H> {
    half: H,
    side: Side,
    fate: Arc<Fate>,
}

impl<H> Drop for Half<H> {
    fn drop(&mut self) {
        let mut wakers = lock(&self.fate.wakers);
        *wakers.side(self.side) = Waiting { waker: None, gone: true };
        let over = wakers.reader.gone && wakers.writer.gone;
        drop(wakers);
        if over {
            self.fate.lose(Lost::Closed);
        }
    }
}

impl<H: AsyncRead + Unpin> AsyncRead for Half<H> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.fate.check(this.side, context)?;
        let result = Pin::new(&mut this.half).poll_read(context, buffer);
        this.fate.note(result)
    }
}

impl<H: AsyncWrite + Unpin> AsyncWrite for Half<H> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.fate.check(this.side, context)?;
        let result = Pin::new(&mut this.half).poll_write(context, bytes);
        this.fate.note(result)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.fate.check(this.side, context)?;
        let result = Pin::new(&mut this.half).poll_flush(context);
        this.fate.note(result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.fate.check(this.side, context)?;
        let result = Pin::new(&mut this.half).poll_shutdown(context);
        this.fate.note(result)
    }
}
