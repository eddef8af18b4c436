//! Shows what the relay reads and writes inside TLS, to whoever wants to search it.

use std::sync::Arc;

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From a client.
    Received,
    /// To a client.
    Sent,
}

/// Sees every message (without its length) and every piece of a blob, in the clear of TLS: what
/// the relay itself sees. For demonstrations and tests; `undertone-relay run` has no way to set it.
pub trait FrameTap: Send + Sync {
    /// Called before a message is handled or after it is written.
    fn frame(&self, direction: Direction, bytes: &[u8]);
}

/// A tap that may be absent.
#[derive(Clone, Default)]
pub(crate) struct Tap(pub(crate) Option<Arc<dyn FrameTap>>);

impl Tap {
    pub(crate) fn received(&self, bytes: &[u8]) {
        if let Some(tap) = &self.0 {
            tap.frame(Direction::Received, bytes);
        }
    }

    pub(crate) fn sent(&self, bytes: &[u8]) {
        if let Some(tap) = &self.0 {
            tap.frame(Direction::Sent, bytes);
        }
    }
}
