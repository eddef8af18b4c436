//! What runs: one pass on demand, or tasks that stay connected.

use std::sync::Arc;
use std::sync::Mutex as StdMutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use undertone_session::engine::RECEIPT_DELAY_MILLIS;
use undertone_session::ids::UnixMillis;

use crate::client::{Shared, SyncReport};
use crate::connection::Asked;
use crate::error::Error;
use crate::network::Role;
use crate::profile::ProfileEngine;

/// First pause after a connection failed; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause: a relay that comes back is found within a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Longest pause where no message waits, but a reset, a mailbox to be made, a word to a contact or a
/// relay that is yet to be asked: what nobody looks at.
const LONGEST_PAUSE_ASIDE: Duration = Duration::from_secs(15 * 60);

/// How often the daily work is looked at: refilling depots, expiring.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);

/// How long to sleep at most until a message disappears: the clock may be set meanwhile.
const NAP: Duration = Duration::from_secs(60);

/// What a task of a started client does, again and again.
#[derive(Clone, Copy)]
enum Work {
    /// Delivering what is queued.
    Send,
    /// Storing files at our relay.
    Upload,
    /// Fetching files.
    Download,
}

/// What a pass has left to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// What somebody waits for.
    Much,
    /// What nobody looks at.
    Aside,
}

impl Left {
    const fn much_if(left: bool) -> Self {
        if left { Self::Much } else { Self::Nothing }
    }
}

/// The tasks of a started client.
#[derive(Default)]
pub(crate) struct Background {
    tasks: StdMutex<Vec<JoinHandle<()>>>,
    /// What the receiving task came to when it last tried to catch up with the relay; absent while
    /// it tries.
    pub(crate) caught_up: watch::Sender<Option<Result<(), Error>>>,
}

impl Background {
    pub(crate) fn is_running(&self) -> bool {
        !self.tasks.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Ends the tasks. What they were storing is stored; what they were sending goes on next time.
    pub(crate) async fn stop(&self) {
        let tasks: Vec<_> = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.drain(..).collect()
        };
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

/// A random number from `low` to `high`; the middle if the system gives none.
fn jitter(low: u64, high: u64) -> u64 {
    let mut bytes = [0; 8];
    let span = high.saturating_sub(low).saturating_add(1);
    match getrandom::fill(&mut bytes) {
        Ok(()) => low.saturating_add(u64::from_le_bytes(bytes).checked_rem(span).unwrap_or(0)),
        Err(_) => low.midpoint(high),
    }
}

/// A pause with a random part, so that many clients do not come back to a relay in the same moment.
fn drawn(pause: Duration) -> Duration {
    let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(jitter(millis / 2, millis))
}

/// From now until then.
fn until(now: UnixMillis, then: UnixMillis) -> Duration {
    Duration::from_millis(then.get().saturating_sub(now.get()))
}

impl Shared {
    /// One pass; see [`crate::Client::sync`].
    pub(crate) async fn sync(&self) -> Result<SyncReport, Error> {
        if self.network.is_offline() {
            return Err(Error::Offline);
        }
        self.network.check_superseded()?;
        let mut report = SyncReport::default();
        if self.background.is_running() {
            // The receiving task does it, and holds the connection.
            self.await_background().await?;
        } else {
            self.catch_up(&self.receiver, &mut report).await?;
        }
        // Only now: word that something arrived may have been waiting.
        self.housekeeping().await?;
        // While connected, they wait for their time like all others; a single pass ends before it.
        if self.background.is_running() {
            self.flush_due().await?
        } else {
            self.flush().await?
        };
        let sent = self.send_all(&mut report).await;
        // What can't be done for one contact or file does not stop the rest of the pass.
        let stops = |result: &Result<(), Error>| matches!(result, Err(e) if e.ends_the_pass());
        if stops(&sent) {
            return sent.map(|()| report);
        }
        let stored = self.upload_all(&mut report).await;
        if stops(&stored) && !matches!(stored, Err(Error::StoreFailed { .. })) {
            return stored.map(|()| report);
        }
        let fetched = self.download_all(&mut report).await;
        if stops(&fetched) && !matches!(fetched, Err(Error::StoreFailed { .. })) {
            return fetched.map(|()| report);
        }
        self.refill().await?;
        self.tend().await?;
        self.note_carriers().await?;
        sent.and(stored).and(fetched).map(|()| report)
    }

    /// Something may be waiting to go out, or to be fetched.
    pub(crate) fn wake_all(&self) {
        self.outgoing.notify_one();
        self.uploads.notify_one();
        self.downloads.notify_one();
    }

    async fn await_background(&self) -> Result<(), Error> {
        let mut caught_up = self.background.caught_up.subscribe();
        let mut changes = self.core.changes();
        loop {
            if let Some(result) = caught_up.borrow_and_update().clone() {
                return result;
            }
            tokio::select! {
                changed = caught_up.changed() => changed.map_err(|_| Error::Closed)?,
                _ = changes.changed() => if self.core.is_closed() { return Err(Error::Closed) },
            }
        }
    }

    /// Queues the acknowledgements whose time has come.
    async fn flush_due(&self) -> Result<bool, Error> {
        let now = self.core.now();
        self.core.change(move |e| e.flush_due(now)).await
    }

    /// How long until the next acknowledgements are due, if any are owed.
    async fn until_due(&self) -> Result<Option<Duration>, Error> {
        let now = self.core.now();
        let due = self.core.ask(move |e| e.acknowledgements_due(now)).await?;
        Ok(due.map(|due| until(now, due)))
    }

    /// Whether the client is started, and was connected when it last looked.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(*self.background.caught_up.borrow(), Some(Ok(())))
    }

    /// Queues the acknowledgements that are owed.
    async fn flush(&self) -> Result<bool, Error> {
        let now = self.core.now();
        self.core.change(move |e| e.flush_acknowledgements(now)).await
    }

    async fn housekeeping(&self) -> Result<(), Error> {
        let now = self.core.now();
        self.core.change(move |e| e.expire(now)).await?;
        let erased = self.erase().await;
        self.scrub_if_possible().await;
        erased
    }

    /// Starts the tasks; see [`crate::Client::start`].
    pub(crate) fn start(self: Arc<Self>) -> Result<(), Error> {
        if self.network.is_offline() {
            return Err(Error::Offline);
        }
        let mut tasks = self.background.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: whoever closes ends the tasks once more afterwards.
        if self.core.is_closed() {
            return Err(Error::Closed);
        }
        if tasks.is_empty() {
            self.connections.started();
            tasks.push(tokio::spawn(self.clone().keep_receiving()));
            for work in [Work::Send, Work::Upload, Work::Download] {
                tasks.push(tokio::spawn(self.clone().keep_working(work)));
            }
            tasks.push(tokio::spawn(self.clone().keep_erasing()));
            tasks.push(tokio::spawn(self.clone().keep_house()));
        }
        Ok(())
    }

    async fn keep_receiving(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.receive_until_lost().await {
                Err(Error::Closed) => {
                    self.connections.closed();
                    return;
                }
                Err(error @ Error::Superseded) => {
                    self.background.caught_up.send_replace(Some(Err(error)));
                    return;
                }
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    self.background.caught_up.send_replace(None);
                }
                Err(error) => {
                    tracing::debug!(code = error.code(), "not connected");
                    self.connections.failed_somewhere(&error);
                    self.background.caught_up.send_replace(Some(Err(error)));
                }
            }
            self.rest_and_tell(&mut pause).await;
        }
    }

    /// Pauses, and lets those who look know until when.
    async fn rest_and_tell(&self, pause: &mut Duration) {
        let wait = drawn(*pause);
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let until = self.core.now().get().saturating_add(millis);
        self.connections.wait_until(UnixMillis::new(until));
        self.rest(pause, wait, LONGEST_PAUSE).await;
    }

    /// Pauses; the next time twice as long.
    async fn rest(&self, pause: &mut Duration, wait: Duration, longest: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {
                *pause = pause.saturating_mul(2).min(longest);
            }
            () = self.hurry.notified() => *pause = FIRST_PAUSE,
        }
    }

    /// Keeps over what relays were reached, for the next time that the profile is opened.
    async fn note_carriers(&self) -> Result<(), Error> {
        let Some(relays) = self.network.over_tcp() else { return Ok(()) };
        self.core.ask(move |e| e.remember_relays_over_tcp(&relays)).await
    }

    /// Receives until the connection is gone.
    async fn receive_until_lost(&self) -> Result<(), Error> {
        let mut report = SyncReport::default();
        self.catch_up(&self.receiver, &mut report).await?;
        self.background.caught_up.send_replace(Some(Ok(())));
        // What waited while we were away goes out.
        self.note_carriers().await?;
        self.wake_all();
        let mut changes = self.core.changes();
        let mut again = Box::pin(self.reach_again(FIRST_PAUSE));
        loop {
            let due = self.until_due().await?;
            let flush = async {
                match due {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            // Only waiting may be cancelled by the others: a push that has been taken is processed
            // to its end, outside.
            tokio::select! {
                push = self.next_push(&self.receiver) => {
                    let Some(push) = push else {
                        return Ok(());
                    };
                    self.take_pushes(&self.receiver, push, &mut report).await?;
                    // A new contact needs a mailbox, a file wants to be fetched.
                    self.wake_all();
                }
                () = flush => {
                    if self.flush_due().await? {
                        self.wake_all();
                    }
                }
                // Something may be owed since: a message was marked as read.
                changed = changes.changed(), if due.is_none() => {
                    changed.map_err(|_| Error::Closed)?;
                }
                () = self.resubscribe.notified() => {
                    // First: on its way to a relay it holds that relay's place, which is needed here,
                    // and nothing polls it meanwhile.
                    again.set(self.reach_again(FIRST_PAUSE));
                    self.catch_up(&self.receiver, &mut report).await?;
                    self.wake_all();
                }
                // As if it had failed once more: it may answer, and refuse everything.
                pause = &mut again => {
                    self.catch_up(&self.receiver, &mut report).await?;
                    again.set(self.reach_again(pause));
                    self.wake_all();
                }
            }
        }
    }

    /// Ends when a relay that was used before, and failed, can be reached again; never if there is
    /// none. Aside, so that what comes from the others is not held up. Returns the pause before it is
    /// tried once more.
    async fn reach_again(&self, mut pause: Duration) -> Duration {
        loop {
            self.rest_and_tell(&mut pause).await;
            let missing = self.connections.missing();
            if missing.is_empty() {
                return std::future::pending().await;
            }
            for relay in missing {
                self.connections.connecting(&relay);
                match self.network.connection(&relay, Role::Owner).await {
                    Ok(_) => return pause,
                    Err(error) => self.connections.failed(&relay, &error),
                }
            }
        }
    }

    /// Sending, storing and fetching files each have a task, so that a file which takes long, or a
    /// relay which does not answer, holds up nothing else.
    async fn keep_working(self: Arc<Self>, work: Work) {
        let wake = match work {
            Work::Send => &self.outgoing,
            Work::Upload => &self.uploads,
            Work::Download => &self.downloads,
        };
        let (mut pause, mut aside) = (FIRST_PAUSE, false);
        loop {
            if matches!(work, Work::Download) {
                // As acknowledgements do: a file's sender chose the relay, and would learn there when
                // exactly the message came.
                let (least, most) = RECEIPT_DELAY_MILLIS;
                tokio::time::sleep(Duration::from_millis(jitter(least, most))).await;
            }
            let of = self.connections.asking();
            let passed = self.pass(work).await;
            match work {
                Work::Send => self.connections.answered(of, Asked::Mailboxes, &passed),
                Work::Upload => self.connections.answered(of, Asked::Storage, &passed),
                // At relays of others.
                Work::Download => {}
            }
            let left = match passed {
                Err(Error::Closed | Error::Superseded) => return,
                // What a contact's relay refused is tried again after a pause, too.
                Err(_) => Left::Much,
                Ok(left) => left,
            };
            let longest = match left {
                Left::Nothing => {
                    (pause, aside) = (FIRST_PAUSE, false);
                    wake.notified().await;
                    continue;
                }
                Left::Much => {
                    if std::mem::take(&mut aside) {
                        // What is left now is not what was waited for so patiently.
                        pause = FIRST_PAUSE;
                    }
                    LONGEST_PAUSE
                }
                Left::Aside => {
                    aside = true;
                    LONGEST_PAUSE_ASIDE
                }
            };
            pause = pause.min(longest);
            let wait = drawn(pause);
            tokio::select! {
                () = self.rest(&mut pause, wait, longest) => {}
                () = wake.notified() => {}
            }
        }
    }

    async fn pass(&self, work: Work) -> Result<Left, Error> {
        let mut report = SyncReport::default();
        match work {
            Work::Send => {
                self.send_all(&mut report).await?;
                if report.queued > 0 {
                    return Ok(Left::Much);
                }
                let now = self.core.now();
                let is_left = move |e: &mut ProfileEngine| {
                    Ok(!e.contacts_to_send_to()?.is_empty()
                        || !e.due_resets(now)?.is_empty()
                        || !e.pending_mailboxes()?.is_empty()
                        || !e.chores()?.is_empty())
                };
                let aside = self.core.ask(is_left).await?;
                Ok(if aside { Left::Aside } else { Left::Nothing })
            }
            Work::Upload => {
                self.upload_all(&mut report).await?;
                Ok(Left::much_if(!self.core.ask(|e| e.uploads()).await?.is_empty()))
            }
            Work::Download => {
                self.download_all(&mut report).await?;
                Ok(Left::much_if(report.files_waiting > 0))
            }
        }
    }

    /// Erases disappearing messages when their time comes, and what else was erased from the store's
    /// files.
    async fn keep_erasing(self: Arc<Self>) {
        let mut changes = self.core.changes();
        loop {
            let (now, pause) = (self.core.now(), self.scrub_pause());
            let next = move |e: &mut ProfileEngine| {
                Ok(e.next_erasure()?.into_iter().chain(e.next_scrub(now, pause)?).min())
            };
            let next = match self.core.ask(next).await {
                Ok(next) => next.map(|at| until(now, at)),
                Err(Error::Closed) => return,
                Err(_) => None,
            };
            let mut wait = next.unwrap_or(NAP).min(NAP);
            if wait.is_zero() {
                match self.erase_and_scrub().await {
                    Ok(()) => continue,
                    Err(Error::Closed) => return,
                    Err(error) => {
                        tracing::warn!(code = error.code(), "what is due can't be erased now");
                        wait = NAP;
                        // What the attempt itself has changed is no reason for another.
                        changes.borrow_and_update();
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn erase_and_scrub(&self) -> Result<(), Error> {
        // A file that can't be removed does not keep the store's pages as they were.
        let erased = self.erase().await;
        self.scrub().await.and(erased)
    }

    async fn keep_house(self: Arc<Self>) {
        loop {
            let pass = async {
                // What expires here may be waiting at the relay as delivered.
                let mut caught_up = self.background.caught_up.subscribe();
                let done = caught_up.wait_for(|state| matches!(state, Some(Ok(()))));
                drop(done.await.map_err(|_| Error::Closed)?);
                self.housekeeping().await?;
                self.refill().await?;
                self.tend().await
            };
            if let Err(Error::Closed | Error::Superseded) = pass.await {
                return;
            }
            tokio::time::sleep(HOUSEKEEPING).await;
        }
    }
}
