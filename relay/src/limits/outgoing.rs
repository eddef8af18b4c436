//! Bytes that wait to be written, in sum over all connections.
//!
//! What one connection may queue is bounded where it is queued; here is the bound of all of them.
//! Nobody's share is fixed: a connection may hold a part of what is left, so that those who do not
//! read leave room for those who do, and one that holds nothing can always have one thing more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Messages in queues, and what was fetched to become some: a tenth of the machine of 2 GiB for which
/// the defaults are made. A connection that reads holds a few KiB, and only while it is written to.
const MESSAGES: usize = 192 * 1024 * 1024;

/// Envelopes that came in and go out without being fetched. Apart, since who waits for room for a
/// message may hold some of them.
const READY: usize = 64 * 1024 * 1024;

/// What is counted by: 1 KiB.
const UNIT: usize = 1024;

/// A connection may hold the so-manieth part of what is left: 768 KiB where nobody else holds anything,
/// some 20 KiB beside a thousand that do not read. Two thousand of them leave less than a message; then
/// others wait until those are sent away.
const PART: usize = 256;

/// All of it.
pub(crate) struct Outgoing {
    messages: Arc<Semaphore>,
    ready: Arc<Semaphore>,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self::of(MESSAGES, READY)
    }
}

impl Outgoing {
    fn of(messages: usize, ready: usize) -> Self {
        let bytes = |bytes: usize| Arc::new(Semaphore::new(bytes / UNIT));
        Self { messages: bytes(messages), ready: bytes(ready) }
    }

    /// A connection's share of what there is for messages.
    pub(crate) fn messages(&self) -> Arc<Share> {
        Share::of(&self.messages)
    }

    /// A connection's share of what there is for envelopes that are ready.
    pub(crate) fn ready(&self) -> Arc<Share> {
        Share::of(&self.ready)
    }

    /// Bytes that are held.
    pub(crate) fn held(&self) -> u64 {
        let left = |of: &Semaphore| of.available_permits().saturating_mul(UNIT);
        let left = left(&self.messages).saturating_add(left(&self.ready));
        u64::try_from((MESSAGES + READY).saturating_sub(left)).unwrap_or(u64::MAX)
    }
}

/// What a connection holds of it.
#[derive(Debug)]
pub(crate) struct Share {
    all: Arc<Semaphore>,
    held: AtomicUsize,
    released: Notify,
}

/// Some bytes, until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    permit: OwnedSemaphorePermit,
    share: Arc<Share>,
}

impl Share {
    fn of(all: &Arc<Semaphore>) -> Arc<Self> {
        let (held, released) = (AtomicUsize::new(0), Notify::new());
        Arc::new(Self { all: all.clone(), held, released })
    }

    fn fits(&self, units: usize) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        held == 0 || held.saturating_add(units) <= self.all.available_permits() / PART
    }

    fn hold(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Held {
        self.held.fetch_add(permit.num_permits(), Ordering::Relaxed);
        Held { permit, share: self.clone() }
    }

    /// How many things of so many bytes may be held together now, at least one.
    pub(crate) fn fitting(&self, bytes: usize) -> usize {
        let part = (self.all.available_permits() / PART).saturating_mul(UNIT);
        part.checked_div(bytes).unwrap_or(1).max(1)
    }

    /// Waits until so many bytes may be held; `None` does not happen. Who waits holds nothing else, or
    /// what a client takes or is sent away for.
    pub(crate) async fn take(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let units = bytes.div_ceil(UNIT);
        loop {
            // Before looking: what is released in between is not missed.
            let released = self.released.notified();
            if self.fits(units) {
                break;
            }
            released.await;
        }
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        Some(self.hold(self.all.clone().acquire_many_owned(units).await.ok()?))
    }

    /// As [`Self::take`], if it need not wait.
    pub(crate) fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let units = bytes.div_ceil(UNIT);
        if !self.fits(units) {
            return None;
        }
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        Some(self.hold(self.all.clone().try_acquire_many_owned(units).ok()?))
    }
}

impl Held {
    /// So many of the bytes by themselves, or as many as are left.
    pub(crate) fn split(&mut self, bytes: usize) -> Option<Self> {
        let units = bytes.div_ceil(UNIT).min(self.permit.num_permits());
        let permit = self.permit.split(units)?;
        Some(Self { permit, share: self.share.clone() })
    }

    /// Gives back what is above so many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let more = self.permit.num_permits().saturating_sub(bytes.div_ceil(UNIT));
        drop(self.split(more.saturating_mul(UNIT)));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.share.held.fetch_sub(self.permit.num_permits(), Ordering::Relaxed);
        self.share.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KIB: usize = 1024;

    #[tokio::test]
    async fn who_reads_gets_through_beside_many_who_do_not() {
        let outgoing = Outgoing::of(16 * 1024 * KIB, KIB);
        let deaf: Vec<_> = (0..200).map(|_| outgoing.messages()).collect();
        let mut held = Vec::new();
        // Each takes all that it is given.
        for share in &deaf {
            while let Some(more) = share.try_take(KIB) {
                held.push(more);
            }
        }
        assert!(held.len() < 16 * 1024, "something is left");
        let honest = outgoing.messages();
        for _ in 0..1000 {
            let message = honest.take(64 * KIB).await.unwrap();
            drop(message);
        }
        // A deaf one waits for itself, not for the others.
        let waiting = deaf.first().unwrap().clone();
        let waiting = tokio::spawn(async move { waiting.take(KIB).await.is_some() });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        held.clear();
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn all_together_hold_no_more_than_there_is() {
        let outgoing = Outgoing::of(256 * KIB, KIB);
        let shares: Vec<_> = (0..10).map(|_| outgoing.messages()).collect();
        // Who holds nothing may have one thing, as long as there is anything.
        let held: Vec<_> = shares.iter().filter_map(|share| share.try_take(64 * KIB)).collect();
        assert_eq!(held.len(), 4);
        let last = shares.last().unwrap().clone();
        let waiting = tokio::spawn(async move { last.take(64 * KIB).await.is_some() });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        assert!(waiting.await.unwrap());
        assert_eq!(outgoing.messages.available_permits(), 256);
    }

    #[test]
    fn what_is_split_and_shrunk_comes_back_once() {
        let outgoing = Outgoing::of(256 * KIB, KIB);
        let share = outgoing.messages();
        let mut held = share.try_take(100 * KIB).unwrap();
        held.shrink(10 * KIB);
        let part = held.split(4 * KIB).unwrap();
        let rest = held.split(100 * KIB).unwrap();
        assert_eq!(outgoing.messages.available_permits(), 246);
        drop((part, rest, held));
        assert_eq!(outgoing.messages.available_permits(), 256);
        assert_eq!(share.held.load(Ordering::Relaxed), 0);
    }
}
