//! Everybody comes back at once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use undertone_wire::SessionSecret;
use undertone_wire::client::{Carriers, Connection, Options, Ticket};
use undertone_wire::transport::Carrier;

use crate::child::RelayProcess;
use crate::latency::Latencies;
use crate::system::{busy, directory, lost_datagrams, processor_time};
use crate::{Result, people};

/// Clients that come at a time before the storm; in it, all do.
const AT_A_TIME: usize = 64;

/// What a client waits at most before it tries again, if the relay is busy: as the SDK does, twice as
/// long each time, the second half of it by chance.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How many of those who came last have their story told.
const LAST: usize = 5;

/// When it is told that the storm failed.
const PATIENCE: Duration = Duration::from_secs(300);

/// A knock that did not help, with when it began and ended, counted from when the client began.
struct Failed {
    phase: &'static str,
    error: String,
    knocked: Duration,
    told: Duration,
}

/// Those who came last, and why. Without it a storm's end could not be told from bad luck.
#[derive(Default)]
struct Account {
    reasons: BTreeMap<String, u32>,
    /// When each was back, and what had happened to it.
    stories: Vec<(Duration, String)>,
}

impl Account {
    fn add(&mut self, back: Duration, failed: &[Failed]) {
        let mut story = String::new();
        for Failed { phase, error, knocked, told } in failed {
            *self.reasons.entry(format!("{phase}: {error}")).or_default() += 1;
            let _ = write!(story, " {knocked:.1?} to {told:.1?} {phase}: {error};");
        }
        self.stories.push((back, story));
    }

    fn print(mut self) {
        for (reason, times) in &self.reasons {
            println!("  {times} times {reason}");
        }
        self.stories.sort_by_key(|(back, _)| core::cmp::Reverse(*back));
        for (back, story) in self.stories.iter().take(LAST) {
            let story = if story.is_empty() { " with the first knock" } else { story };
            println!("  one of the last, back after {back:.1?}:{story}");
        }
    }
}

struct Client {
    first: u32,
    mailboxes: u32,
    ticket: Option<Ticket>,
}

impl Client {
    fn owners(&self) -> Vec<undertone_wire::MailboxSecret> {
        (self.first..self.first + self.mailboxes).map(people::owner).collect()
    }

    /// Subscribes with keys and, if wanted, gets a ticket for the next time.
    async fn sign(&mut self, connection: &Connection, ticket: bool) -> Result {
        let owners = self.owners();
        let states = connection.subscribe(&owners.iter().collect::<Vec<_>>(), 64).await?;
        if ticket {
            let mut seed = [9; 32];
            for (to, from) in seed.iter_mut().zip(self.first.to_be_bytes()) {
                *to = from;
            }
            let ids = states.iter().map(|(id, _)| *id).collect();
            self.ticket = Some(connection.ticket(SessionSecret::from_seed(&seed), ids).await?);
        }
        Ok(())
    }

    /// Comes back, however often it has to knock; says what each knock before the last came to.
    async fn come_back(
        &self,
        relay: &undertone_wire::RelayAddress,
        carriers: Carriers,
    ) -> (Connection, Vec<Failed>) {
        let (begun, options) = (Instant::now(), options(carriers));
        let (mut pause, mut failed) = (FIRST_PAUSE, Vec::new());
        loop {
            let knocked = begun.elapsed();
            let (phase, error) = match Connection::connect(relay, &options).await {
                Ok(connection) => match self.subscribe(&connection).await {
                    Ok(()) => return (connection, failed),
                    Err(error) => ("subscribing", error),
                },
                Err(error) => ("connecting", error.into()),
            };
            failed.push(Failed { phase, error: error.to_string(), knocked, told: begun.elapsed() });
            let turn = u32::try_from(failed.len()).unwrap_or(u32::MAX);
            let chance = people::spread(self.first, turn);
            tokio::time::sleep(pause.mul_f64(0.5 + 0.5 * chance)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn subscribe(&self, connection: &Connection) -> Result {
        let states = match &self.ticket {
            Some(ticket) => connection.resume(ticket, 64).await?,
            None => {
                let owners = self.owners();
                connection.subscribe(&owners.iter().collect::<Vec<_>>(), 64).await?
            }
        };
        let all = states.iter().all(|(_, state)| state.is_some());
        if all { Ok(()) } else { Err("a mailbox is gone".into()) }
    }
}

/// As the SDK connects: over QUIC, and half a second later over TCP as well.
fn options(carriers: Carriers) -> Options {
    Options { carriers, timeout: Duration::from_secs(10), ..Options::default() }
}

/// Before the storm, which is not measured.
fn patient() -> Options {
    let timeout = Duration::from_secs(60);
    Options { carriers: Carriers::QuicOnly, timeout, ..Options::default() }
}

/// What the storm is made of.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) clients: u32,
    pub(crate) mailboxes: u32,
    /// With keys instead of tickets.
    pub(crate) keys: bool,
    /// Without trying TCP.
    pub(crate) quic_only: bool,
}

pub(crate) async fn run(on: Option<PathBuf>, plan: Plan) -> Result {
    let Plan { clients, mailboxes, keys, quic_only } = plan;
    let carriers = if quic_only { Carriers::QuicOnly } else { Carriers::QuicFirst };
    let directory = directory(on)?;
    people::populate(directory.path(), clients * mailboxes, clients * mailboxes).await?;
    let relay = RelayProcess::start(directory.path(), 0).await?;
    let port = relay.address.port();
    let mut everybody = Vec::new();
    let mut coming = JoinSet::new();
    let turns = Arc::new(Semaphore::new(AT_A_TIME));
    for number in 0..clients {
        let mut client = Client { first: number * mailboxes, mailboxes, ticket: None };
        let (address, turns) = (relay.address.clone(), turns.clone());
        coming.spawn(async move {
            let _turn = turns.acquire().await?;
            // With keys, the first time is no different from the storm: it is left out.
            if !keys {
                let connection = Connection::connect(&address, &patient()).await?;
                client.sign(&connection, true).await?;
                connection.close();
            }
            Ok::<_, crate::Error>(client)
        });
    }
    while let Some(client) = coming.join_next().await {
        everybody.push(client??);
    }
    let address = relay.address.clone();
    relay.kill().await?;
    let relay = RelayProcess::start(directory.path(), port).await?;
    let (before, begun) = (relay.resident_kib()?, Instant::now());
    let mut storm = JoinSet::new();
    for client in everybody {
        let address = address.clone();
        storm.spawn(async move { (client.come_back(&address, carriers).await, begun.elapsed()) });
    }
    let (mut back, mut times, mut most) = (Vec::new(), Latencies::default(), before);
    let (mut knocks, mut account) = (0, Account::default());
    let (relay_before, own_before) = (relay.processor_time()?, processor_time(std::process::id())?);
    let all = async {
        while let Some(one) = storm.join_next().await {
            let ((connection, failed), took) = one?;
            back.push(connection);
            knocks += failed.len() + 1;
            account.add(took, &failed);
            times.add(took);
            if back.len().is_multiple_of(50) {
                most = most.max(relay.resident_kib()?);
            }
        }
        Ok::<_, crate::Error>(())
    };
    let finished = tokio::time::timeout(PATIENCE, all).await;
    let took = begun.elapsed();
    let tcp = back.iter().filter(|connection| connection.carrier() == Carrier::Tcp).count();
    most = most.max(relay.resident_kib()?);
    let relay_time = relay.processor_time()?.saturating_sub(relay_before);
    let own_time = processor_time(std::process::id())?.saturating_sub(own_before);
    println!(
        "{clients} clients with {mailboxes} mailboxes each, {}: {} are subscribed again after {took:?}{}; each came back: {}; memory of the relay {before} KiB before, {most} KiB at most; {knocks} connections tried, {tcp} are over TCP; {} datagrams found the relay's socket full; processor time {relay_time:.1?} of the relay, {own_time:.1?} of its clients; load of the machine {}",
        if keys { "with keys" } else { "with tickets" },
        back.len(),
        if finished.is_ok() { "" } else { " (given up)" },
        times.summary(took),
        lost_datagrams(port)?,
        busy(),
    );
    account.print();
    drop(back);
    relay.stop().await
}
