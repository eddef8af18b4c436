//! Everybody comes back at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use undertone_wire::SessionSecret;
use undertone_wire::client::{Carriers, Connection, Options, Ticket};

use crate::child::RelayProcess;
use crate::latency::Latencies;
use crate::system::{busy, directory, processor_time};
use crate::{Result, people};

/// Clients that come at a time before the storm; in it, all do.
const AT_A_TIME: usize = 64;

/// What a client waits at most before it tries again, if the relay is busy: as the SDK does, twice as
/// long each time, the second half of it by chance.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// When it is told that the storm failed.
const PATIENCE: Duration = Duration::from_secs(300);

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

    /// Comes back, however often it has to knock; says how often that was.
    async fn come_back(&self, relay: &undertone_wire::RelayAddress) -> (Connection, u32) {
        let options = options();
        let (mut pause, mut knocks) = (FIRST_PAUSE, 0);
        loop {
            knocks += 1;
            if let Ok(connection) = Connection::connect(relay, &options).await {
                let subscribed = match &self.ticket {
                    Some(ticket) => connection.resume(ticket, 64).await,
                    None => {
                        let owners = self.owners();
                        connection.subscribe(&owners.iter().collect::<Vec<_>>(), 64).await
                    }
                };
                if subscribed.is_ok_and(|states| states.iter().all(|(_, state)| state.is_some())) {
                    return (connection, knocks);
                }
            }
            let chance = people::spread(self.first, knocks);
            tokio::time::sleep(pause.mul_f64(0.5 + 0.5 * chance)).await;
            pause *= 2;
        }
    }
}

fn options() -> Options {
    let timeout = Duration::from_secs(30);
    Options { carriers: Carriers::QuicOnly, timeout, ..Options::default() }
}

pub(crate) async fn run(on: Option<PathBuf>, clients: u32, mailboxes: u32, keys: bool) -> Result {
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
                let connection = Connection::connect(&address, &options()).await?;
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
        storm.spawn(async move { (client.come_back(&address).await, begun.elapsed()) });
    }
    let (mut back, mut times, mut most) = (Vec::new(), Latencies::default(), before);
    let (mut knocks, relay_before, own_before) =
        (0, relay.processor_time()?, processor_time(std::process::id())?);
    let all = async {
        while let Some(one) = storm.join_next().await {
            let ((connection, knocked), took) = one?;
            back.push(connection);
            knocks += knocked;
            times.add(took);
            if back.len().is_multiple_of(50) {
                most = most.max(relay.resident_kib()?);
            }
        }
        Ok::<_, crate::Error>(())
    };
    let finished = tokio::time::timeout(PATIENCE, all).await;
    let took = begun.elapsed();
    most = most.max(relay.resident_kib()?);
    let relay_time = relay.processor_time()?.saturating_sub(relay_before);
    let own_time = processor_time(std::process::id())?.saturating_sub(own_before);
    println!(
        "{clients} clients with {mailboxes} mailboxes each, {}: {} are subscribed again after {took:?}{}; each came back: {}; memory of the relay {before} KiB before, {most} KiB at most; {knocks} connections tried; processor time {relay_time:.1?} of the relay, {own_time:.1?} of its clients; load of the machine {}",
        if keys { "with keys" } else { "with tickets" },
        back.len(),
        if finished.is_ok() { "" } else { " (given up)" },
        times.summary(took),
        busy(),
    );
    drop(back);
    relay.stop().await
}
