//! Time as an input.

use std::time::{SystemTime, UNIX_EPOCH};

use undertone_session::ids::UnixMillis;

/// Where the client takes the time from. Tests bring their own.
///
/// ```
/// use undertone::{Clock, SystemClock, UnixMillis};
///
/// /// An hour behind.
/// struct Late;
///
/// impl Clock for Late {
///     fn now(&self) -> UnixMillis {
///         UnixMillis::new(SystemClock.now().get() - 3_600_000)
///     }
/// }
///
/// assert!(Late.now() < SystemClock.now());
/// ```
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> UnixMillis;
}

/// The system's clock.
///
/// ```
/// use undertone::{Clock, SystemClock};
///
/// assert!(SystemClock.now().seconds() > 1_700_000_000);
/// ```
#[derive(Clone, Copy, Default, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
