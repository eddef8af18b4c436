//! The one thread that owns store and cryptography. Everything else asks it.
//!
//! Calls run in the order in which they are made, each to its end: what a call changed is on the
//! disk before its answer is given, even if the asker has gone away meanwhile.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::{oneshot, watch};
use undertone_session::engine::EngineError;
use undertone_session::ids::UnixMillis;

use crate::clock::Clock;
use crate::error::Error;
use crate::profile::{Profile, ProfileEngine};

type Job = Box<dyn FnOnce(&mut ProfileEngine) + Send>;

/// A handle to the thread.
#[derive(Clone)]
pub(crate) struct Core {
    shared: Arc<Shared>,
}

struct Shared {
    /// Gone once the client is closed.
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Counts changes, so that what waits for one looks again.
    changes: watch::Sender<u64>,
    clock: Arc<dyn Clock>,
}

impl Core {
    /// Starts the thread.
    pub(crate) fn start(profile: Profile, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let (jobs, work) = channel();
        let thread = thread::Builder::new()
            .name("undertone-store".to_owned())
            .spawn(move || run(profile, &work))
            .map_err(|e| Error::Internal { reason: format!("the system gives no thread: {e}") })?;
        Ok(Self {
            shared: Arc::new(Shared {
                jobs: Mutex::new(Some(jobs)),
                thread: Mutex::new(Some(thread)),
                changes: watch::Sender::new(0),
                clock,
            }),
        })
    }

    /// The time now.
    pub(crate) fn now(&self) -> UnixMillis {
        self.shared.clock.now()
    }

    /// Asks something.
    pub(crate) async fn ask<T, F>(&self, question: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut ProfileEngine) -> Result<T, EngineError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |engine| {
            // Nobody may be waiting any more; the work is done all the same.
            let _ = answer.send(question(engine));
        });
        {
            let jobs = self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            let jobs = jobs.as_ref().ok_or(Error::Closed)?;
            jobs.send(job).map_err(|_| Error::Closed)?;
        }
        Ok(answered.await.map_err(|_| Error::Closed)??)
    }

    /// Changes something, and wakes what waits for changes.
    pub(crate) async fn change<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut ProfileEngine) -> Result<T, EngineError> + Send + 'static,
    {
        let result = self.ask(work).await;
        self.changed();
        result
    }

    /// Asks something about messages. Those whose time has come are erased first, which is a change
    /// that others are told of.
    pub(crate) async fn read<T, F>(&self, question: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut ProfileEngine) -> Result<T, EngineError> + Send + 'static,
    {
        let now = self.now();
        if self.ask(move |e| e.erase_due(now)).await? > 0 {
            self.changed();
        }
        self.ask(question).await
    }

    fn changed(&self) {
        self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Told of every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Whether the client has been closed.
    pub(crate) fn is_closed(&self) -> bool {
        let jobs = self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.is_none()
    }

    /// Takes no more questions, answers those that were asked, and closes the store.
    pub(crate) async fn close(&self) {
        drop(self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.changed();
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Joined, not only told that it is done: what OpenSSL keeps for a thread is freed when
            // the thread ends, and a process that exits at that moment frees it a second time.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn run(profile: Profile, work: &Receiver<Job>) {
    let Profile { dir: _, mut engine, lock } = profile;
    while let Ok(job) = work.recv() {
        job(&mut engine);
    }
    if let Err(error) = engine.into_store().close() {
        tracing::warn!(%error, "the store was not closed cleanly; it is whole all the same");
    }
    drop(lock);
}
