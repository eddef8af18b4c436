//! The thread that reads the UDP socket.
//!
//! When everybody comes back at once there are handshakes to compute for seconds, and reading would be
//! one task among hundreds that compute, with 50 us at a time: what the system keeps for the socket
//! overflows. A lost packet is dear then. Who has waited for its turn takes the wait for the time that
//! packets are under way (RFC 9002, section 6.2), and sends again after a multiple of it: 10 to 30 s.
//! So reading has a thread of its own, and the system's scheduler sees to it that it gets its turn.

use std::fmt;
use std::future::Future;
use std::io::Result;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs quinn: its endpoint on a thread of its own, its connections where the relay runs.
pub(crate) struct Reading {
    /// The thread's reactor, which knows the socket.
    reactor: Handle,
    /// Takes what the thread does until its end.
    work: Mutex<Option<oneshot::Sender<Task>>>,
}

impl Reading {
    /// The thread ends with what it is given, or with this.
    pub(crate) fn start() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let reactor = runtime.handle().clone();
        let (give, take) = oneshot::channel::<Task>();
        let read = async {
            if let Ok(task) = take.await {
                task.await;
            }
        };
        let thread = std::thread::Builder::new().name("udp".into());
        thread.spawn(move || runtime.block_on(read))?;
        Ok(Self { reactor, work: Mutex::new(Some(give)) })
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reading")
    }
}

impl Runtime for Reading {
    fn new_timer(&self, then: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(then)
    }

    /// The first is the endpoint, which is made before any connection is.
    fn spawn(&self, task: Task) {
        let first = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        match first {
            // Fails only if the thread has ended, which it does not before it was given something.
            Some(work) => drop(work.send(task)),
            None => TokioRuntime.spawn(task),
        }
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> Result<Arc<dyn AsyncUdpSocket>> {
        let _reactor = self.reactor.enter();
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The thread that a task runs on.
    async fn thread_of(reading: &Reading) -> std::thread::ThreadId {
        let (tell, told) = oneshot::channel();
        reading.spawn(Box::pin(async {
            tokio::task::yield_now().await;
            tell.send(std::thread::current().id()).unwrap();
        }));
        told.await.unwrap()
    }

    #[tokio::test]
    async fn the_endpoint_has_a_thread_of_its_own_and_connections_run_with_the_relay() {
        let reading = Reading::start().unwrap();
        let here = std::thread::current().id();
        assert_ne!(thread_of(&reading).await, here);
        assert_eq!(thread_of(&reading).await, here);
    }
}
