//! Deliveries and full cycles a second.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use undertone_wire::Floor;
use undertone_wire::client::{Carriers, ClientError, Connection, Options, Pushes};
use undertone_wire::frame::{Acknowledgement, Push};
use undertone_wire::limits::{MAX_ACKS_PER_REQUEST, MAX_CREDIT};

use crate::child::RelayProcess;
use crate::latency::Latencies;
use crate::system::{busy, directory};
use crate::{Result, people};

/// What is to be measured.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) mailboxes: u32,
    pub(crate) in_flight: usize,
    pub(crate) connections: usize,
    pub(crate) time: Duration,
    pub(crate) deliver_only: bool,
    pub(crate) rate: Option<u32>,
    pub(crate) padding: bool,
    pub(crate) tcp: bool,
}

/// Mailboxes that are subscribed to, if there are more: what the subscribers' connections hold.
const MOST_SUBSCRIBED: u32 = 10_000;

/// Deliveries under way at most in an open loop: more means that the relay does not keep up.
const MOST_OPEN: usize = 20_000;

impl Plan {
    pub(crate) fn options(&self) -> Options {
        let carriers = if self.tcp { Carriers::TcpOnly } else { Carriers::QuicOnly };
        let timeout = Duration::from_secs(60);
        Options { carriers, padding: self.padding, timeout, ..Options::default() }
    }
}

/// 1 KiB that was never sent before, with the time at which it was made.
pub(crate) fn envelope(number: u64, since: Instant) -> Vec<u8> {
    let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut bytes = vec![0; 1024];
    for (to, from) in bytes.iter_mut().zip([number.to_be_bytes(), micros.to_be_bytes()].concat()) {
        *to = from;
    }
    bytes
}

/// How long ago an envelope was made.
fn age(envelope: &[u8], since: Instant) -> Duration {
    let made = envelope.get(8..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
    since.elapsed().saturating_sub(Duration::from_micros(u64::from_be_bytes(made)))
}

pub(crate) async fn run(on: Option<PathBuf>, plan: Plan) -> Result {
    let directory = directory(on)?;
    let subscribed = if plan.deliver_only { 0 } else { plan.mailboxes.min(MOST_SUBSCRIBED) };
    people::populate(directory.path(), subscribed, plan.mailboxes).await?;
    let relay = RelayProcess::start(directory.path(), 0).await?;
    let since = Instant::now();
    let cycles = Arc::new(AtomicU64::new(0));
    let ages = Arc::new(Mutex::new(Latencies::default()));
    let mut receivers = JoinSet::new();
    for part in 0..plan.connections.min(usize::try_from(subscribed)?) {
        let owners = (0..subscribed).skip(part).step_by(plan.connections).map(people::owner);
        let owners: Vec<_> = owners.collect();
        let connection = Connection::connect(&relay.address, &plan.options()).await?;
        let pushes = connection.pushes().ok_or("no pushes")?;
        connection.subscribe(&owners.iter().collect::<Vec<_>>(), MAX_CREDIT).await?;
        receivers.spawn(receive(connection, pushes, since, cycles.clone(), ages.clone()));
    }
    let mut senders = Vec::new();
    for _ in 0..plan.connections {
        senders.push(Connection::connect(&relay.address, &plan.options()).await?);
    }
    let targets = if plan.deliver_only { plan.mailboxes } else { subscribed };
    let begun = Instant::now();
    let delivered = match plan.rate {
        Some(rate) => open_loop(&senders, targets, plan.time, rate, since).await?,
        None => closed_loop(&senders, targets, plan, since).await?,
    };
    let took = begun.elapsed();
    let total = u64::try_from(delivered.count())?;
    if !plan.deliver_only {
        // The rest of the cycles, for as long as anything comes.
        let end = Instant::now() + Duration::from_secs(20);
        while cycles.load(Ordering::Relaxed) < total && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let cycled = begun.elapsed();
    println!(
        "{} mailboxes, {}, {} + {} connections over {}, padding {}; load of the machine {}",
        plan.mailboxes,
        plan.rate.map_or_else(
            || format!("{} in flight", plan.in_flight),
            |rate| format!("{rate}/s begun (open loop)")
        ),
        plan.connections,
        if plan.deliver_only { 0 } else { plan.connections },
        if plan.tcp { "TCP" } else { "QUIC" },
        if plan.padding { "on" } else { "off" },
        busy(),
    );
    println!("  durable deliveries: {}", delivered.summary(took));
    if !plan.deliver_only {
        let done = cycles.load(Ordering::Relaxed);
        let each = f64::from(u32::try_from(done)?) / cycled.as_secs_f64();
        println!("  full cycles: {each:.0}/s ({done} of {total})");
        if done < total {
            return Err("what was delivered has not all been received and acknowledged".into());
        }
        let ages = std::mem::take(&mut *ages.lock().await);
        println!("  from send to receive: {}", ages.summary(cycled));
        receivers.abort_all();
    }
    println!("  resident memory of the relay: {} KiB", relay.resident_kib()?);
    relay.stop().await
}

/// As many as may be are under way.
async fn closed_loop(
    senders: &[Connection],
    targets: u32,
    plan: Plan,
    since: Instant,
) -> Result<Latencies> {
    let end = Instant::now() + plan.time;
    let number = Arc::new(AtomicU64::new(1));
    let mut running = JoinSet::new();
    for which in 0..plan.in_flight {
        let sender = senders.get(which % senders.len()).ok_or("no connection")?.clone();
        let number = number.clone();
        running.spawn(async move {
            let mut latencies = Latencies::default();
            while Instant::now() < end {
                let number = number.fetch_add(1, Ordering::Relaxed);
                latencies.add(deliver(&sender, number, targets, Instant::now(), since).await?);
            }
            Ok::<_, ClientError>(latencies)
        });
    }
    let mut all = Latencies::default();
    while let Some(one) = running.join_next().await {
        all.extend(one??);
    }
    Ok(all)
}

/// So many are begun each second; latencies count from when they should have begun.
async fn open_loop(
    senders: &[Connection],
    targets: u32,
    time: Duration,
    rate: u32,
    since: Instant,
) -> Result<Latencies> {
    let begun = Instant::now();
    let mut running = JoinSet::new();
    let mut all = Latencies::default();
    let mut number: u32 = 0;
    loop {
        let due = begun + Duration::from_secs(1) * number / rate;
        if due > begun + time {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        while let Some(one) = running.try_join_next() {
            all.add(one??);
        }
        if running.len() > MOST_OPEN {
            return Err("the relay does not keep up with this rate".into());
        }
        number += 1;
        let which = usize::try_from(number)? % senders.len();
        let sender = senders.get(which).ok_or("no connection")?.clone();
        running.spawn(async move { deliver(&sender, number.into(), targets, due, since).await });
    }
    while let Some(one) = running.join_next().await {
        all.add(one??);
    }
    Ok(all)
}

/// Where an envelope goes.
pub(crate) fn target(number: u64, targets: u32) -> u32 {
    // Any order will do, as long as it is not the one in which they were made.
    let target = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    u32::try_from(target % u64::from(targets.max(1))).unwrap_or(0)
}

/// Delivers and says how long it took since `due`.
pub(crate) async fn deliver(
    sender: &Connection,
    number: u64,
    targets: u32,
    due: Instant,
    since: Instant,
) -> std::result::Result<Duration, ClientError> {
    let target = target(number, targets);
    loop {
        match sender.deliver(&people::writer(target), envelope(number, since)).await {
            Ok(()) => return Ok(due.elapsed()),
            // The same bytes again are recognised.
            Err(ClientError::Refused(
                undertone_wire::ErrorCode::MailboxFull | undertone_wire::ErrorCode::Busy,
            )) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => return Err(error),
        }
    }
}

/// Takes what comes and acknowledges it, as much at a time as is there.
async fn receive(
    connection: Connection,
    mut pushes: Pushes,
    since: Instant,
    cycles: Arc<AtomicU64>,
    ages: Arc<Mutex<Latencies>>,
) {
    while let Some(first) = pushes.next().await {
        let mut floors: Vec<Acknowledgement> = Vec::new();
        let (mut next, mut count, mut seen) = (Some(first), 0, Latencies::default());
        while let Some(push) = next {
            if let Push::Envelope { mailbox, incarnation, seq, envelope } = push {
                seen.add(age(envelope.as_slice(), since));
                count += 1;
                match floors.iter_mut().find(|floor| floor.mailbox == mailbox) {
                    Some(floor) => floor.floor = Floor::from(seq),
                    None => {
                        floors.push(Acknowledgement { mailbox, incarnation, floor: seq.into() })
                    }
                }
            }
            next = (floors.len() < MAX_ACKS_PER_REQUEST).then(|| pushes.try_next()).flatten();
        }
        ages.lock().await.extend(seen);
        let (connection, cycles) = (connection.clone(), cycles.clone());
        tokio::spawn(async move {
            if connection.acknowledge(floors).await.is_ok() {
                cycles.fetch_add(count, Ordering::Relaxed);
            }
        });
    }
}
