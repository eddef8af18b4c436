//! Does the encryption work, and is it still fast? Counted and measured on this machine; nothing of
//! it is sent anywhere.

use std::time::{Duration, Instant};

use getrandom::SysRng;
use undertone_core::rand_core::UnwrapErr;
use undertone_core::{
    AccountSecret, Bundle, BundleKind, Day, DeviceList, DeviceSecret, Greeting, LinkSecret,
    LocalDevice, Routing, Session, generate_prekey, initiate,
};
use undertone_session::engine::{ConversationHealth, Health};
use undertone_session::ids::UnixMillis;

use crate::client::Client;
use crate::error::Error;

/// Messages that are encrypted and opened to measure how long that takes: some milliseconds.
const ROUNDS: usize = 64;

/// Bytes of such a message: a short text.
const PROBE: usize = 200;

/// How long a step takes on this machine.
///
/// ```
/// use std::time::Duration;
/// use undertone::Latency;
///
/// let latency =
///     Latency { median: Duration::from_micros(40), slowest: Duration::from_micros(95) };
/// assert!(latency.median <= latency.slowest);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Latency {
    /// Half of the runs took no longer.
    pub median: Duration,
    /// The longest run.
    pub slowest: Duration,
}

impl Latency {
    fn of(mut runs: Vec<Duration>) -> Self {
        runs.sort_unstable();
        let at = |index: usize| runs.get(index).copied().unwrap_or_default();
        Self { median: at(runs.len() / 2), slowest: at(runs.len().saturating_sub(1)) }
    }
}

/// How well the encryption works; made by [`Client::health`].
///
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
/// let health = client.health().await?;
/// if let Some(share) = health.post_quantum_share() {
///     println!("{:.0} % of conversations have healed with a post-quantum secret", share * 100.0);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthReport {
    /// Each conversation in which both sides have written.
    pub conversations: Vec<ConversationHealth>,
    /// Envelopes that opened when they came, in the last 30 days.
    pub opened: u64,
    /// Envelopes that nothing opened when they came, in the last 30 days.
    pub unopenable: u64,
    /// Envelopes that nothing has opened yet and that are kept, to be tried again.
    pub parked: u64,
    /// Contacts who are not verified.
    pub unverified: u64,
    /// Encrypting a message of 200 bytes: the cryptography alone, measured now.
    pub seal: Latency,
    /// Opening it.
    pub open: Latency,
    /// When the report was made.
    pub at: UnixMillis,
}

impl HealthReport {
    fn of(health: Health, (seal, open): (Latency, Latency), at: UnixMillis) -> Self {
        let Health { conversations, opened, unopenable, parked, unverified } = health;
        Self { conversations, opened, unopenable, parked, unverified, seal, open, at }
    }

    /// Share of the conversations whose present session has had a fresh post-quantum secret mixed in,
    /// beside the one that it began with; absent if there is no conversation.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// assert_ne!(client.health().await?.post_quantum_share(), Some(0.0));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn post_quantum_share(&self) -> Option<f64> {
        let healed = self.conversations.iter().filter(|one| one.epochs > 0).count();
        share(healed, self.conversations.len())
    }

    /// How long ago the last healing was, in the conversation in which that is longest ago; absent if
    /// none has healed yet.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// println!("{:?}", client.health().await?.oldest_healing());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn oldest_healing(&self) -> Option<Duration> {
        let healed = self.conversations.iter().filter_map(|one| one.healed_at);
        let oldest = healed.min()?;
        Some(Duration::from_millis(self.at.get().saturating_sub(oldest.get())))
    }

    /// Share of the envelopes of the last 30 days that nothing opened when they came; absent if none
    /// came.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// assert!(client.health().await?.unopenable_share().unwrap_or(0.0) < 0.01);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn unopenable_share(&self) -> Option<f64> {
        let whole = usize::try_from(self.opened.saturating_add(self.unopenable)).ok()?;
        share(usize::try_from(self.unopenable).ok()?, whole)
    }
}

/// Exact up to 2^32, which neither conversations nor envelopes of 30 days come near.
fn share(part: usize, whole: usize) -> Option<f64> {
    let number = |count| u32::try_from(count).map_or(f64::from(u32::MAX), f64::from);
    (whole > 0).then(|| number(part) / number(whole))
}

impl Client {
    /// Whether the encryption works, and how fast it is: counted and measured on this machine, and told
    /// to nobody. Takes some milliseconds.
    ///
    /// # Errors
    /// Those of the store.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// let health = client.health().await?;
    /// println!("{} of {} envelopes could not be opened", health.unopenable, health.opened);
    /// println!("encrypting a message takes {:?}", health.seal.median);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn health(&self) -> Result<HealthReport, Error> {
        let now = self.core().now();
        let health = self.core().ask(move |e| e.health(now)).await?;
        let speed = tokio::task::spawn_blocking(probe)
            .await
            .map_err(|e| Error::Internal { reason: e.to_string() })?;
        Ok(HealthReport::of(health, speed?, now))
    }
}

/// Two devices that live for as long as this takes.
fn meet() -> Result<(Session, Session), Error> {
    let failed = |what: &dyn std::fmt::Display| Error::Internal { reason: what.to_string() };
    let rng = &mut UnwrapErr(SysRng);
    let today = Day::new(20_000);
    let mut device = || -> Result<LocalDevice, Error> {
        let account = AccountSecret::generate(rng);
        let device = DeviceSecret::generate(rng);
        let list = DeviceList::issue(&account, None, 1, &[device.public()]);
        LocalDevice::new(device, list.map_err(|e| failed(&e))?).map_err(|e| failed(&e))
    };
    let (one, other) = (device()?, device()?);
    let link = LinkSecret::generate(rng);
    let nowhere = Routing::new(&[]).map_err(|e| failed(&e))?;
    let (prekey, bundle) = generate_prekey(BundleKind::OneTime, &one, today, &nowhere, rng);
    let sealed = bundle.seal(&link.card_key(), rng);
    let account = one.account().fingerprint();
    let bundle = Bundle::open(&link.card_key(), &sealed, &account, today);
    let checked = bundle.and_then(|bundle| Ok(bundle.check(None)?)).map_err(|e| failed(&e))?;
    let mut theirs = initiate(&other, checked, &link, &nowhere, rng).map_err(|e| failed(&e))?;
    let pending = theirs.seal(b"", rng).map_err(|e| failed(&e))?;
    let envelope = pending.commit(|_, _| Ok::<(), Error>(()))?;
    let hello = link.hello_key();
    let greeting = Greeting::open(&hello, &envelope).map_err(|e| failed(&e))?;
    let ours = greeting
        .accept(&one, &prekey, &link, today, |_| false)
        .and_then(|introduction| introduction.open(None, today))
        .map_err(|e| failed(&e))?
        .commit(|_| Ok::<(), Error>(()))?;
    Ok((ours, theirs))
}

/// How long encrypting and opening take.
fn probe() -> Result<(Latency, Latency), Error> {
    let failed = |what: &dyn std::fmt::Display| Error::Internal { reason: what.to_string() };
    let (mut from, mut to) = meet()?;
    let (mut seals, mut opens) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let pending = from.seal(&[0; PROBE], &mut UnwrapErr(SysRng)).map_err(|e| failed(&e))?;
        let envelope = pending.commit(|_, _| Ok::<(), Error>(()))?;
        seals.push(begun.elapsed());
        let begun = Instant::now();
        let pending = to.open(&envelope, Day::new(20_000)).map_err(|e| failed(&e))?;
        pending.commit(|_| Ok::<(), Error>(()))?;
        opens.push(begun.elapsed());
        // Back and forth, so that the ratchets turn as they do in a conversation.
        std::mem::swap(&mut from, &mut to);
    }
    Ok((Latency::of(seals), Latency::of(opens)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_probe_holds_a_conversation() {
        let (seal, open) = probe().unwrap();
        for latency in [seal, open] {
            assert!(latency.median > Duration::ZERO && latency.median <= latency.slowest);
        }
    }

    #[test]
    fn shares_are_of_something() {
        assert_eq!(share(0, 0), None);
        assert_eq!(share(1, 4), Some(0.25));
    }
}
