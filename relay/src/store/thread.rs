//! The store's threads: one writes with group commit, one reads envelopes.

use std::fs::File;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use undertone_wire::{Day, ErrorCode, MailboxId, Seq};

use super::{Answer, Command, Outcome, Policy, Queued, Reader, Removed, Store, StoreFailure};
use crate::clock::Clock;

/// Commands in one commit. More would delay the first of them without making the disk faster.
const BATCH: usize = 256;

/// Jobs that wait for the writer; more make their connections wait, not the memory grow.
const QUEUED_JOBS: usize = 1024;

/// Whom the writer tells, on its thread, after each commit.
pub(crate) struct Told {
    /// Of each envelope that is new, with its mailbox and position.
    pub(crate) delivered: Box<dyn Fn(MailboxId, Seq, Vec<u8>) + Send>,
    /// How many commands it had, and how long it took.
    pub(crate) committed: Box<dyn Fn(usize, Duration) + Send>,
    /// That an operator's command has erased something.
    pub(crate) erased: Box<dyn Fn() + Send>,
    /// How many deliveries were refused because of a capability's share of a mailbox.
    pub(crate) shares: Box<dyn Fn(u64) + Send>,
}

enum Job {
    Run(Vec<Command>, oneshot::Sender<Vec<Answer>>),
    Expire(u32, oneshot::Sender<Removed>),
    Shrink(oneshot::Sender<bool>),
    Policy(Policy),
    /// Something beside the database can't be stored: end as if the database had failed.
    Fail(StoreFailure),
    /// Close the store behind what was queued before.
    Close,
}

/// The store ended after it got a command and before it answered: whether that was carried out is
/// not known, so that nothing may be answered about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unanswered;

/// Sends commands to the writer. Cheap to clone.
#[derive(Clone)]
pub(crate) struct StoreHandle {
    jobs: mpsc::Sender<Job>,
}

impl StoreHandle {
    /// Queues commands, which will be executed together and after what was queued before. The
    /// receiver fails if the store does.
    pub(crate) async fn submit(
        &self,
        commands: Vec<Command>,
    ) -> Result<oneshot::Receiver<Vec<Answer>>, ErrorCode> {
        let (answer, receiver) = oneshot::channel();
        let job = Job::Run(commands, answer);
        self.jobs.send(job).await.map_err(|_| ErrorCode::ShuttingDown)?;
        Ok(receiver)
    }

    /// Executes one command.
    pub(crate) async fn run(&self, command: Command) -> Result<Answer, Unanswered> {
        let answers = match self.submit(vec![command]).await {
            Ok(answers) => answers.await.map_err(|_| Unanswered)?,
            Err(code) => return Ok(Err(code)),
        };
        answers.into_iter().next().ok_or(Unanswered)
    }

    /// What the operator decides, for what is asked from now on.
    pub(crate) async fn set_policy(&self, policy: Policy) {
        // If the store has ended there is nothing that it could hold for.
        let _ = self.jobs.send(Job::Policy(policy)).await;
    }

    /// Ends the store, and with it the relay's service.
    pub(crate) async fn fail(&self, failure: StoreFailure) {
        // If the store has ended already there is nothing to end.
        let _ = self.jobs.send(Job::Fail(failure)).await;
    }

    /// Removes what has expired, after so many hours; `None` if the store has ended.
    pub(crate) async fn expire(&self, observed_hours: u32) -> Option<Removed> {
        let (answer, receiver) = oneshot::channel();
        self.jobs.send(Job::Expire(observed_hours, answer)).await.ok()?;
        receiver.await.ok()
    }

    /// Gives room back, a part of it, between two batches; whether there is more, and `None` if the
    /// store has ended.
    pub(crate) async fn shrink(&self) -> Option<bool> {
        let (answer, receiver) = oneshot::channel();
        self.jobs.send(Job::Shrink(answer)).await.ok()?;
        receiver.await.ok()
    }
}

/// How the writer ended; `None` while it runs.
pub(crate) type Ended = watch::Receiver<Option<Result<(), Arc<StoreFailure>>>>;

/// The writer.
pub(crate) struct StoreThread {
    thread: JoinHandle<()>,
    stop: watch::Sender<bool>,
    jobs: mpsc::WeakSender<Job>,
    pub(crate) ended: Ended,
}

impl StoreThread {
    /// Starts the writer. What is `held` is held until the store is closed.
    pub(crate) fn start(
        store: Box<dyn Store>,
        clock: Arc<dyn Clock>,
        told: Told,
        held: Option<Arc<File>>,
    ) -> Result<(Self, StoreHandle), StoreFailure> {
        let (jobs, queue) = mpsc::channel(QUEUED_JOBS);
        let (stop, stopped) = watch::channel(false);
        let (report, ended) = watch::channel(None);
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || {
            let result = write(store, &*clock, &told, queue, &stopped);
            drop(held);
            // Whoever waits for an answer has lost its sender by now.
            let _ = report.send(Some(result.map_err(Arc::new)));
        })?;
        let weak = jobs.downgrade();
        Ok((Self { thread, stop, jobs: weak, ended }, StoreHandle { jobs }))
    }

    /// Ends the writer at once and drops the store as a killed process would. What was answered
    /// is durable.
    pub(crate) async fn kill(self) {
        let _ = self.stop.send(true);
        self.end().await;
    }

    /// Executes what is queued, closes the store, and waits for that.
    pub(crate) async fn close(self) {
        self.end().await;
    }

    async fn end(self) {
        if let Some(jobs) = self.jobs.upgrade() {
            let _ = jobs.send(Job::Close).await;
        }
        let thread = self.thread;
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}

fn write(
    mut store: Box<dyn Store>,
    clock: &dyn Clock,
    told: &Told,
    mut queue: mpsc::Receiver<Job>,
    stopped: &watch::Receiver<bool>,
) -> Result<(), StoreFailure> {
    let mut closing = false;
    while !closing && let Some(first) = queue.blocking_recv() {
        if *stopped.borrow() {
            return Ok(());
        }
        let mut jobs = vec![first];
        while count(&jobs) < BATCH
            && let Ok(job) = queue.try_recv()
        {
            jobs.push(job);
        }
        closing = jobs.iter().any(|job| matches!(job, Job::Close));
        commit(&mut *store, clock.today(), told, jobs)?;
    }
    if *stopped.borrow() { Ok(()) } else { store.close() }
}

fn count(jobs: &[Job]) -> usize {
    jobs.iter()
        .map(|job| match job {
            Job::Run(commands, _) => commands.len(),
            Job::Expire(..) | Job::Shrink(_) | Job::Policy(_) | Job::Fail(_) | Job::Close => 0,
        })
        .sum()
}

/// Executes the jobs in one commit and then, not before, answers them (R-1202). If the commit fails,
/// nobody is answered, now or later (R-1203).
fn commit(
    store: &mut dyn Store,
    today: Day,
    told: &Told,
    jobs: Vec<Job>,
) -> Result<(), StoreFailure> {
    let mut batch = Vec::new();
    let mut waiting = Vec::new();
    let (mut expiring, mut shrinking) = (Vec::new(), Vec::new());
    for job in jobs {
        match job {
            Job::Run(mut commands, answer) => {
                waiting.push((commands.len(), answer));
                batch.append(&mut commands);
            }
            Job::Expire(hours, answer) => expiring.push((hours, answer)),
            Job::Shrink(answer) => shrinking.push(answer),
            Job::Policy(policy) => store.set_policy(&policy),
            Job::Fail(failure) => return Err(failure),
            Job::Close => {}
        }
    }
    let begun = Instant::now();
    let answers = store.commit(today, &batch)?;
    (told.committed)(batch.len(), begun.elapsed());
    for (command, answer) in batch.into_iter().zip(&answers) {
        if let Ok(Outcome::Delivered { mailbox, new: Some(seq) }) = answer
            && let Command::Deliver { envelope, .. } = command
        {
            (told.delivered)(*mailbox, *seq, envelope);
        }
    }
    if store.erased_elsewhere() {
        (told.erased)();
    }
    let reached = store.shares_reached();
    if reached > 0 {
        (told.shares)(reached);
    }
    let mut answers = answers.into_iter();
    for (count, waiting) in waiting {
        // Nobody waits any more if the connection is gone.
        let _ = waiting.send(answers.by_ref().take(count).collect());
    }
    for (hours, answer) in expiring {
        let _ = answer.send(store.expire(today, hours)?);
    }
    for answer in shrinking {
        let _ = answer.send(store.shrink()?);
    }
    Ok(())
}

/// Envelopes wanted from the reader.
struct Wanted {
    mailbox: MailboxId,
    position: Seq,
    count: usize,
    answer: oneshot::Sender<Vec<Queued>>,
}

/// Ends the writer if the thread that holds this panics.
struct Alarm(mpsc::WeakSender<Job>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(jobs) = self.0.upgrade()
        {
            // If the writer has ended there is nothing to end.
            let _ = jobs.blocking_send(Job::Fail(StoreFailure::Damaged("the reader panicked")));
        }
    }
}

/// Asks the reader. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ReadThread {
    wanted: mpsc::Sender<Wanted>,
}

impl ReadThread {
    /// Starts a reader; it ends with its last handle. If it panics, the writer ends as if the store
    /// had failed: a relay that can't hand out what it takes must not go on taking.
    pub(crate) fn start(
        mut reader: Box<dyn Reader>,
        writer: &StoreHandle,
    ) -> Result<Self, StoreFailure> {
        let (wanted, mut queue) = mpsc::channel::<Wanted>(QUEUED_JOBS);
        let alarm = Alarm(writer.jobs.downgrade());
        std::thread::Builder::new().name("store-read".into()).spawn(move || {
            let _alarm = alarm;
            while let Some(Wanted { mailbox, position, count, answer }) = queue.blocking_recv() {
                match reader.after(mailbox, position, count) {
                    Ok(found) => {
                        let _ = answer.send(found);
                    }
                    // Dropping the sender ends the subscription; the client comes again.
                    Err(failure) => tracing::error!(%failure, "reading from the store failed"),
                }
            }
        })?;
        Ok(Self { wanted })
    }

    /// At most `count` envelopes behind a position; `None` if the reader failed.
    pub(crate) async fn after(
        &self,
        mailbox: MailboxId,
        position: Seq,
        count: usize,
    ) -> Option<Vec<Queued>> {
        let (answer, receiver) = oneshot::channel();
        self.wanted.send(Wanted { mailbox, position, count, answer }).await.ok()?;
        receiver.await.ok()
    }
}

/// Writer and reader as tasks of a simulation, in its time: `pause` is how long the next commit, or
/// the next look, takes.
#[cfg(test)]
pub(crate) fn simulate(
    mut store: Box<dyn Store>,
    today: Day,
    told: Told,
    mut pause: impl FnMut() -> Duration + Send + 'static,
    mut look: impl FnMut() -> Duration + Send + 'static,
) -> Result<(StoreHandle, ReadThread), StoreFailure> {
    let mut reader = store.reader()?;
    let (jobs, mut queue) = mpsc::channel(QUEUED_JOBS);
    tokio::spawn(async move {
        while let Some(first) = queue.recv().await {
            tokio::time::sleep(pause()).await;
            let mut batch = vec![first];
            while let Ok(job) = queue.try_recv() {
                batch.push(job);
            }
            if commit(&mut *store, today, &told, batch).is_err() {
                return;
            }
        }
    });
    let (wanted, mut queue) = mpsc::channel::<Wanted>(QUEUED_JOBS);
    tokio::spawn(async move {
        while let Some(Wanted { mailbox, position, count, answer }) = queue.recv().await {
            tokio::time::sleep(look()).await;
            if let Ok(found) = reader.after(mailbox, position, count) {
                let _ = answer.send(found);
            }
        }
    });
    Ok((StoreHandle { jobs }, ReadThread { wanted }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn a_reader_that_panics_ends_the_writer() {
        struct Panicking;
        impl Reader for Panicking {
            fn after(
                &mut self,
                _: MailboxId,
                _: Seq,
                _: usize,
            ) -> Result<Vec<Queued>, StoreFailure> {
                panic!("the test's reader")
            }
        }
        let store = Box::new(Failing { commits: 9 });
        let (thread, handle) =
            StoreThread::start(store, Arc::new(SystemClock), silent(), None).unwrap();
        let reader = ReadThread::start(Box::new(Panicking), &handle).unwrap();
        assert!(reader.after(MailboxId::from_bytes([1; 32]), Seq::new(0), 1).await.is_none());
        let mut ended = thread.ended.clone();
        let ended = ended.wait_for(Option::is_some).await.unwrap().clone();
        assert!(matches!(ended, Some(Err(_))));
        thread.kill().await;
    }

    fn silent() -> Told {
        Told {
            delivered: Box::new(|_, _, _| {}),
            committed: Box::new(|_, _| {}),
            erased: Box::new(|| {}),
            shares: Box::new(|_| {}),
        }
    }

    /// Commits a few batches, then fails as a disk would.
    struct Failing {
        commits: usize,
    }

    impl Store for Failing {
        fn commit(&mut self, _: Day, batch: &[Command]) -> Result<Vec<Answer>, StoreFailure> {
            let left = self.commits.checked_sub(1);
            self.commits = left.ok_or(StoreFailure::Damaged("the test's disk"))?;
            Ok(batch.iter().map(|_| Ok(Outcome::Done)).collect())
        }
        fn reader(&self) -> Result<Box<dyn Reader>, StoreFailure> {
            Err(StoreFailure::Random)
        }
        fn expire(&mut self, _: Day, _: u32) -> Result<Removed, StoreFailure> {
            Ok(Removed::default())
        }
        fn set_policy(&mut self, _: &Policy) {}
        fn erased_elsewhere(&mut self) -> bool {
            false
        }
        fn shares_reached(&mut self) -> u64 {
            0
        }
        fn close(self: Box<Self>) -> Result<(), StoreFailure> {
            panic!("a store that failed is not used again")
        }
    }

    #[tokio::test]
    async fn a_failed_commit_answers_nobody_and_ends_the_writer() {
        let store = Box::new(Failing { commits: 1 });
        let (thread, handle) =
            StoreThread::start(store, Arc::new(SystemClock), silent(), None).unwrap();
        assert_eq!(handle.run(Command::Tokens).await, Ok(Ok(Outcome::Done)));
        assert_eq!(handle.run(Command::Tokens).await, Err(Unanswered));
        let mut ended = thread.ended.clone();
        let ended = ended.wait_for(Option::is_some).await.unwrap().clone();
        assert!(matches!(ended, Some(Err(_))));
        assert_eq!(handle.run(Command::Tokens).await, Ok(Err(ErrorCode::ShuttingDown)));
        thread.kill().await;
    }

    #[tokio::test]
    async fn what_is_queued_is_executed_before_the_store_is_closed() {
        struct Closing(Arc<std::sync::Mutex<Vec<usize>>>);
        impl Store for Closing {
            fn commit(&mut self, _: Day, batch: &[Command]) -> Result<Vec<Answer>, StoreFailure> {
                self.0.lock().unwrap().push(batch.len());
                Ok(batch.iter().map(|_| Ok(Outcome::Done)).collect())
            }
            fn reader(&self) -> Result<Box<dyn Reader>, StoreFailure> {
                Err(StoreFailure::Random)
            }
            fn expire(&mut self, _: Day, _: u32) -> Result<Removed, StoreFailure> {
                Ok(Removed::default())
            }
            fn set_policy(&mut self, _: &Policy) {}
            fn erased_elsewhere(&mut self) -> bool {
                false
            }
            fn shares_reached(&mut self) -> u64 {
                0
            }
            fn close(self: Box<Self>) -> Result<(), StoreFailure> {
                self.0.lock().unwrap().push(usize::MAX);
                Ok(())
            }
        }
        let log = Arc::new(std::sync::Mutex::new(Vec::new()));
        let store = Box::new(Closing(log.clone()));
        let (thread, handle) =
            StoreThread::start(store, Arc::new(SystemClock), silent(), None).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..600 {
            waiting.push(handle.submit(vec![Command::Tokens]).await.unwrap());
        }
        thread.close().await;
        for answer in waiting {
            assert_eq!(answer.await.unwrap().len(), 1);
        }
        let log = log.lock().unwrap();
        assert_eq!(log.last(), Some(&usize::MAX));
        assert_eq!(log.iter().filter(|n| **n != usize::MAX).sum::<usize>(), 600);
        assert!(log.iter().all(|n| *n <= BATCH || *n == usize::MAX), "batches are bounded");
    }
}
