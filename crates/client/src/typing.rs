//! That somebody is writing: told at once or not at all, and kept nowhere.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;
use undertone_session::event::Typing;
use undertone_session::ids::{ContactId, UnixMillis};
use undertone_wire::client::Connection;

use crate::client::{Client, Shared};
use crate::core::Core;
use crate::error::Error;
use crate::network::Role;

/// Word of typing that a slow reader may not have taken yet; older is dropped.
const WAITING: usize = 64;

/// The same is not told again sooner than this: half of how long it holds, and a second.
const REPEAT_MILLIS: u64 = 4_000;

/// After it could not be transmitted, no more is told to a contact for this long: each attempt takes
/// a position of the ratchet.
const PAUSE_MILLIS: u64 = 60_000;

/// How long transmitting may take: by then it is worth nothing, and messages may be waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was told to a contact last.
struct Told {
    at: UnixMillis,
    active: bool,
    failed: bool,
}

/// Who is writing, and whom we told that we are.
pub(crate) struct TypingState {
    heard: broadcast::Sender<Typing>,
    told: Mutex<HashMap<ContactId, Told>>,
}

impl Default for TypingState {
    fn default() -> Self {
        Self { heard: broadcast::Sender::new(WAITING), told: Mutex::default() }
    }
}

impl TypingState {
    /// A contact says so.
    pub(crate) fn hear(&self, typing: Typing) {
        // Nobody may be listening.
        let _ = self.heard.send(typing);
    }

    /// Whether it is to be told now, and notes that it was.
    fn is_due(&self, contact: ContactId, active: bool, now: UnixMillis) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let due = match told.get(&contact) {
            None => active,
            Some(last) => {
                let since = now.get().saturating_sub(last.at.get());
                let wait = match (last.failed, last.active == active) {
                    (true, _) => PAUSE_MILLIS,
                    (false, true) if active => REPEAT_MILLIS,
                    // That one has stopped is told once.
                    (false, true) => u64::MAX,
                    (false, false) => 0,
                };
                since >= wait
            }
        };
        if due {
            told.insert(contact, Told { at: now, active, failed: false });
        }
        due
    }

    fn failed(&self, contact: ContactId) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = told.get_mut(&contact) {
            last.failed = true;
        }
    }
}

/// Word of who is writing, from [`Client::typing`].
///
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
/// let mut typing = client.typing();
/// println!("{:?}", typing.next().await?);
/// # Ok(())
/// # }
/// ```
pub struct TypingUpdates {
    heard: broadcast::Receiver<Typing>,
    core: Core,
}

impl std::fmt::Debug for TypingUpdates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TypingUpdates").finish_non_exhaustive()
    }
}

impl TypingUpdates {
    /// The next word. What a slow reader did not take in time is dropped. Cancelling loses nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] once the client is closed.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// let mut typing = client.typing();
    /// loop {
    ///     let update = typing.next().await?;
    ///     println!("contact {} writes: {}", update.contact, update.active);
    /// }
    /// # }
    /// ```
    pub async fn next(&mut self) -> Result<Typing, Error> {
        let mut changes = self.core.changes();
        loop {
            if self.core.is_closed() {
                return Err(Error::Closed);
            }
            tokio::select! {
                heard = self.heard.recv() => match heard {
                    Ok(typing) => return Ok(typing),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Err(Error::Closed),
                },
                changed = changes.changed() => changed.map_err(|_| Error::Closed)?,
            }
        }
    }
}

impl Client {
    /// Who is writing, from now on. Nothing of it is stored: it reaches those who listen at the
    /// moment, and holds for [`TYPING_SECONDS`](crate::TYPING_SECONDS).
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// let mut typing = client.typing();
    /// println!("{:?}", typing.next().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn typing(&self) -> TypingUpdates {
        TypingUpdates { heard: self.shared.typing.heard.subscribe(), core: self.core().clone() }
    }

    /// Tells a contact that the person here is writing, or has stopped. It goes out now or never:
    /// it is not queued, and not told to anybody while something else waits for them. A screen may
    /// call this with each key; it is told every few seconds. True if it went out.
    ///
    /// What this tells a relay: that something small was sent at this moment. Programs that must not
    /// tell even that do not call it.
    ///
    /// # Errors
    /// [`Error::UnknownContact`], [`Error::ContactBlocked`]. That it could not be transmitted is no
    /// error.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// let bob = client.contact("Bob").await?;
    /// client.set_typing(bob.id, true).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_typing(&self, contact: ContactId, active: bool) -> Result<bool, Error> {
        let told = self.shared.tell_typing(contact, active).await;
        told.map_err(|error| error.asked_for(&contact.to_string()))
    }
}

impl Shared {
    async fn tell_typing(&self, contact: ContactId, active: bool) -> Result<bool, Error> {
        if self.network.is_offline() || !self.is_connected() {
            return Ok(false);
        }
        // What is being sent comes first, and its order must not be disturbed.
        let Ok(_alone) = self.sending.try_lock() else { return Ok(false) };
        let now = self.core.now();
        if !self.typing.is_due(contact, active, now) {
            return Ok(false);
        }
        if !matches!(self.check_contact(contact).await, Ok(true)) {
            self.typing.failed(contact);
            return Ok(false);
        }
        let sealed = self.core.ask(move |e| e.seal_typing(contact, active, now)).await?;
        let Some(passing) = sealed else { return Ok(false) };
        let (capability, envelope) = (&passing.capability, &passing.envelope);
        let deliver = |c: Connection| async move { c.deliver(capability, envelope.clone()).await };
        let request = self.network.request(&passing.relay, Role::Sender, deliver);
        let sent = matches!(tokio::time::timeout(PATIENCE, request).await, Ok(Ok(())));
        if !sent {
            self.typing.failed(contact);
        }
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_now_and_then_and_not_at_all_after_a_failure() {
        let state = TypingState::default();
        let bob = ContactId::new(1);
        let at = UnixMillis::new;
        assert!(!state.is_due(bob, false, at(0)), "never began");
        assert!(state.is_due(bob, true, at(0)));
        assert!(!state.is_due(bob, true, at(REPEAT_MILLIS - 1)));
        assert!(state.is_due(bob, true, at(REPEAT_MILLIS)));
        assert!(state.is_due(bob, false, at(REPEAT_MILLIS + 1)));
        assert!(!state.is_due(bob, false, at(10 * PAUSE_MILLIS)));
        assert!(state.is_due(bob, true, at(10 * PAUSE_MILLIS)));
        state.failed(bob);
        assert!(!state.is_due(bob, false, at(11 * PAUSE_MILLIS - 1)));
        assert!(state.is_due(bob, true, at(11 * PAUSE_MILLIS)));
    }
}
