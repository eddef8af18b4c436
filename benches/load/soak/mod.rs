//! Mixed load for long: whether the relay grows, and whether everything arrives once and in order.
//!
//! The relay is killed once and stopped once in its first minutes, so that what is watched is a
//! process that came back to a store that was left behind; at the end it is restarted once more, and
//! everything that was accepted must have arrived.

pub(crate) mod people;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::RwLock;
use tokio::task::JoinSet;
use undertone_wire::RelayAddress;

use self::watch::{Sample, Watch};
use crate::child::RelayProcess;
use crate::system::directory;
use crate::{Result, people as numbered};

/// When memory, descriptors and files are what they are compared with.
const WARM: Duration = Duration::from_secs(600);

/// By how much they may grow from then on, in percent.
const MAY_GROW: u64 = 5;

/// Restarts before that: killed, and stopped in order.
const KILLED_AT: Duration = Duration::from_secs(180);
const STOPPED_AT: Duration = Duration::from_secs(360);

/// How often something is looked at.
const EVERY: Duration = Duration::from_secs(10);

/// Samples that make a figure: two minutes.
const WINDOW: usize = 12;

/// Pairs who write to each other and keep account of it.
pub(crate) const TALKERS: u32 = 16;
/// Clients who come, take what there is and go.
pub(crate) const VISITORS: u32 = 8;
/// Clients who are there and say nothing.
pub(crate) const IDLE: u32 = 50;

/// What everybody knows.
pub(crate) struct World {
    address: RelayAddress,
    /// Held for writing while the relay is not there, so that nobody wastes time on trying.
    up: RwLock<()>,
    over: AtomicBool,
    pub(crate) counts: Counts,
    pub(crate) since: Instant,
}

/// What happened, for the report.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) delivered: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) made: AtomicU64,
    pub(crate) blobs: AtomicU64,
    pub(crate) rude: AtomicU64,
    pub(crate) interrupted: AtomicU64,
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl World {
    pub(crate) fn new(address: RelayAddress) -> Self {
        Self {
            address,
            up: RwLock::default(),
            over: AtomicBool::new(false),
            counts: Counts::default(),
            since: Instant::now(),
        }
    }

    /// Everybody finishes what they are at.
    pub(crate) fn finish(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(crate) fn address(&self) -> &RelayAddress {
        &self.address
    }

    /// Waits while the relay is away.
    pub(crate) async fn relay_is_up(&self) {
        drop(self.up.read().await);
    }
}

pub(crate) async fn run(on: Option<PathBuf>, time: Duration) -> Result {
    let directory = directory(on)?;
    let everybody = TALKERS + VISITORS + IDLE;
    numbered::populate(directory.path(), everybody, everybody).await?;
    let mut relay = RelayProcess::start(directory.path(), 0).await?;
    let world = Arc::new(World::new(relay.address.clone()));
    let mut crowd = people::everybody(&world);
    let mut watch = Watch::new(directory.path());
    let mut restarts = [(KILLED_AT, true), (STOPPED_AT, false)].into_iter().peekable();
    println!("{}", Sample::HEAD);
    let mut tick = tokio::time::interval(EVERY);
    while world.since.elapsed() < time {
        tokio::select! {
            _ = tick.tick() => {}
            // Nobody ends before it is over but for a fault.
            Some(ended) = crowd.join_next() => ended??,
        }
        let now = world.since.elapsed();
        if let Some((_, kill)) = restarts.next_if(|(at, _)| now >= *at) {
            println!("{}", if kill { "killed" } else { "stopped in order" });
            relay = restart(&world, relay, directory.path(), kill).await?;
        }
        watch.look(&relay, &world)?;
    }
    world.finish();
    finish(crowd).await?;
    let port = world.address.port();
    relay.stop().await?;
    let relay = RelayProcess::start(directory.path(), port).await?;
    let left = people::left_over(&world).await?;
    relay.stop().await?;
    report(&watch, &world, left)
}

async fn finish(mut crowd: JoinSet<Result>) -> Result {
    while let Some(ended) = crowd.join_next().await {
        ended??;
    }
    Ok(())
}

async fn restart(
    world: &World,
    relay: RelayProcess,
    directory: &std::path::Path,
    kill: bool,
) -> Result<RelayProcess> {
    let _away = world.up.write().await;
    if kill {
        relay.kill().await?;
    } else {
        relay.stop().await?;
    }
    RelayProcess::start(directory, world.address.port()).await
}

fn report(watch: &Watch, world: &World, left: u64) -> Result {
    let counts = &world.counts;
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{} delivered, {} received in order and once, {} pushed again, {left} left; {} connections, {} requests or transfers interrupted, each blob's first upload on purpose",
        of(&counts.delivered),
        of(&counts.received),
        of(&counts.repeated),
        of(&counts.connections),
        of(&counts.interrupted),
    );
    println!(
        "{} mailboxes and depots made and deleted, {} blobs stored, read and deleted, {} clients without manners",
        of(&counts.made),
        of(&counts.blobs),
        of(&counts.rude)
    );
    if left > 0 || of(&counts.delivered) != of(&counts.received) {
        return Err("something that was accepted did not arrive".into());
    }
    let Some((before, after)) = watch.compare(WARM, WINDOW) else {
        println!("too short to say whether anything grows: that takes more than {WARM:?}");
        return Ok(());
    };
    let mut grown = false;
    for ((name, before), (_, after)) in before.figures().into_iter().zip(after.figures()) {
        let percent = |n: u64| 100.0 * (n as f64 / (before.max(1)) as f64 - 1.0);
        let too_much = after.saturating_mul(100) > before.saturating_mul(100 + MAY_GROW);
        println!(
            "{name}: {before} after {} min, {after} at the end ({:+.1} %){}",
            WARM.as_secs() / 60,
            percent(after),
            if too_much { ": GROWS" } else { "" }
        );
        grown |= too_much;
    }
    if grown { Err(format!("something grew by more than {MAY_GROW} %").into()) } else { Ok(()) }
}
