//! Several things at once, in one task.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

/// A piece of work with its result.
pub(crate) type Work<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs all pieces of work, at most `limit` of them at a time, and gives their results in the order
/// in which they ended. Dropping it drops them all.
pub(crate) async fn together<T>(limit: usize, work: Vec<Work<'_, T>>) -> Vec<T> {
    let mut waiting = work.into_iter();
    let mut running: Vec<Work<'_, T>> = waiting.by_ref().take(limit.max(1)).collect();
    let mut results = Vec::new();
    std::future::poll_fn(|context| {
        let mut at = 0;
        // Each is polled with every wake: with as few as are allowed at a time that costs little.
        while let Some(one) = running.get_mut(at) {
            match one.as_mut().poll(context) {
                Poll::Ready(result) => {
                    results.push(result);
                    drop(running.swap_remove(at));
                    running.extend(waiting.next());
                }
                Poll::Pending => at = at.saturating_add(1),
            }
        }
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    results
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn as_many_as_allowed_run_and_all_end() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (running, most) = (&running, &most);
        let work = (0..20_usize).map(|n| -> Work<'_, usize> {
            Box::pin(async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..n % 5 {
                    tokio::task::yield_now().await;
                }
                running.fetch_sub(1, Ordering::SeqCst);
                n
            })
        });
        let mut results = together(4, work.collect()).await;
        results.sort_unstable();
        assert_eq!(results, (0..20).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn one_that_never_ends_holds_up_no_other() {
        let silent: Work<'_, u8> = Box::pin(std::future::pending());
        let done = AtomicUsize::new(0);
        let quick: Work<'_, u8> = Box::pin(async {
            done.fetch_add(1, Ordering::SeqCst);
            1
        });
        let mut all = Box::pin(together(2, vec![silent, quick]));
        let once = std::future::poll_fn(|context| Poll::Ready(all.as_mut().poll(context)));
        assert!(once.await.is_pending());
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }
}
