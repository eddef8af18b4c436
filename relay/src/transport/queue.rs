//! A bounded queue between the tasks of one connection.
//!
//! tokio's channels keep room for 32 items and stand on cache lines of their own, which serves few
//! busy ones. A relay has two for each of many connections, nearly all of which are idle: this one
//! keeps nothing while it is empty.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Room that an empty queue keeps, in items.
const KEPT: usize = 4;

struct Shared<T> {
    state: Mutex<State<T>>,
    bound: usize,
    filled: Notify,
    emptied: Notify,
}

struct State<T> {
    items: VecDeque<T>,
    senders: usize,
    received: bool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A queue of at most so many items.
pub(super) fn queue<T>(bound: usize) -> (Sender<T>, Receiver<T>) {
    let state = State { items: VecDeque::new(), senders: 1, received: true };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        bound,
        filled: Notify::new(),
        emptied: Notify::new(),
    });
    (Sender(shared.clone()), Receiver(shared))
}

/// Puts items in.
pub(super) struct Sender<T>(Arc<Shared<T>>);

/// Takes items out, in order.
pub(super) struct Receiver<T>(Arc<Shared<T>>);

/// The other end is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

impl<T> Sender<T> {
    /// Waits for room.
    pub(super) async fn send(&self, item: T) -> Result<(), Gone> {
        let mut item = Some(item);
        while !self.put(&mut item)? {
            self.0.emptied.notified().await;
        }
        Ok(())
    }

    /// Puts the item in, if there is room.
    fn put(&self, item: &mut Option<T>) -> Result<bool, Gone> {
        let mut state = self.0.lock();
        let (received, full) = (state.received, state.items.len() >= self.0.bound);
        if received && !full {
            state.items.extend(item.take());
        }
        let room = state.items.len() < self.0.bound;
        drop(state);
        // One of those who wait is told of room, or that nobody reads: each tells the next.
        if !received || room {
            self.0.emptied.notify_one();
        }
        if !received {
            return Err(Gone);
        }
        if !full {
            self.0.filled.notify_one();
        }
        Ok(!full)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let mut state = self.0.lock();
        state.senders = state.senders.saturating_add(1);
        drop(state);
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders = state.senders.saturating_sub(1);
        let last = state.senders == 0;
        drop(state);
        if last {
            self.0.filled.notify_one();
        }
    }
}

impl<T> Receiver<T> {
    /// Waits for an item; `None` if there is none and nobody is left to put one in.
    pub(super) async fn recv(&mut self) -> Option<T> {
        loop {
            if let Some(item) = self.try_recv() {
                return Some(item);
            }
            if self.0.lock().senders == 0 {
                // One may have come between the two looks.
                return self.try_recv();
            }
            self.0.filled.notified().await;
        }
    }

    /// An item that is there.
    pub(super) fn try_recv(&mut self) -> Option<T> {
        let mut state = self.0.lock();
        let item = state.items.pop_front()?;
        if state.items.is_empty() && state.items.capacity() > KEPT {
            state.items = VecDeque::new();
        }
        drop(state);
        self.0.emptied.notify_one();
        Some(item)
    }

    /// Whether nothing is there now.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().items.is_empty()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.received = false;
        let left = std::mem::take(&mut state.items);
        drop(state);
        self.0.emptied.notify_one();
        // Behind the lock: what is dropped with it may be anything.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn everything_arrives_once_and_in_each_sender_s_order() {
        let (sender, mut receiver) = queue(3);
        for which in 0..4_u32 {
            let sender = sender.clone();
            tokio::spawn(async move {
                for number in 0..1000_u32 {
                    sender.send((which, number)).await.unwrap();
                    if number % 7 == which {
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
        drop(sender);
        let mut next = [0; 4];
        while let Some((which, number)) = receiver.recv().await {
            let next = next.get_mut(usize::try_from(which).unwrap()).unwrap();
            assert_eq!(number, *next);
            *next += 1;
            assert!(receiver.0.lock().items.len() <= 3);
        }
        assert_eq!(next, [1000; 4]);
    }

    #[tokio::test]
    async fn whoever_waits_for_room_learns_that_nobody_reads_any_more() {
        let (sender, receiver) = queue(1);
        sender.send(0).await.unwrap();
        let waiting: Vec<_> = (1..4)
            .map(|n| {
                let sender = sender.clone();
                tokio::spawn(async move { sender.send(n).await })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(receiver);
        for one in waiting {
            assert_eq!(one.await.unwrap(), Err(Gone));
        }
        assert_eq!(sender.send(9).await, Err(Gone));
    }

    #[tokio::test]
    async fn one_that_waits_and_is_given_up_takes_nobody_s_turn() {
        let (sender, mut receiver) = queue(1);
        sender.send(0).await.unwrap();
        let [first, second] = [1, 2].map(|n| {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send(n).await })
        });
        tokio::task::yield_now().await;
        assert_eq!(receiver.try_recv(), Some(0));
        first.abort();
        let _ = first.await;
        let next = receiver.recv().await.unwrap();
        assert!(next == 1 || next == 2);
        if next == 1 {
            assert_eq!(receiver.recv().await, Some(2));
        }
        second.await.unwrap().unwrap();
        drop(sender);
        assert_eq!(receiver.recv().await, None);
        assert!(receiver.is_empty());
    }

    #[tokio::test]
    async fn an_empty_queue_keeps_no_room() {
        let (sender, mut receiver) = queue(100);
        for n in 0..100 {
            sender.send(n).await.unwrap();
        }
        while receiver.try_recv().is_some() {}
        assert!(receiver.0.lock().items.capacity() <= KEPT);
    }
}
