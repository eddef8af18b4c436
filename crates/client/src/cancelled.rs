//! Transfers that were cancelled while they may be under way.
//!
//! A pass takes the moment at which it began, and then asks the store what is to be moved: what is
//! cancelled later stops; what was cancelled before and is wanted again since does not.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// When which transfers were cancelled.
#[derive(Default)]
pub(crate) struct Cancelled {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    now: u64,
    /// By the places of their messages.
    at: HashMap<u64, u64>,
}

/// A moment between cancellations.
#[derive(Clone, Copy)]
pub(crate) struct Since(u64);

impl Cancelled {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Since {
        Since(self.lock().now)
    }

    /// Cancels the transfer of this message. The store has been told already.
    pub(crate) fn cancel(&self, message: u64) {
        let mut known = self.lock();
        known.now = known.now.saturating_add(1);
        let now = known.now;
        known.at.insert(message, now);
    }

    /// Whether it was cancelled after that moment.
    pub(crate) fn is_over(&self, message: u64, since: Since) -> bool {
        self.lock().at.get(&message).is_some_and(|at| *at > since.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_again_goes_on_in_a_later_pass_only() {
        let cancelled = Cancelled::default();
        let before = cancelled.now();
        cancelled.cancel(7);
        let after = cancelled.now();
        assert!(cancelled.is_over(7, before) && !cancelled.is_over(8, before));
        assert!(!cancelled.is_over(7, after));
        cancelled.cancel(8);
        assert!(!cancelled.is_over(7, after) && cancelled.is_over(8, after));
    }
}
