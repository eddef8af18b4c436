//! Memory for each idle subscriber.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use undertone_wire::client::{Carriers, Connection, Options};
use undertone_wire::frame::{Acknowledgement, Push};

use crate::child::RelayProcess;
use crate::system::{busy, directory};
use crate::throughput::{deliver, envelope};
use crate::{Result, people};

/// Clients that come at a time.
const AT_A_TIME: usize = 64;

pub(crate) async fn run(on: Option<PathBuf>, clients: u32, idle: Duration) -> Result {
    let directory = directory(on)?;
    people::populate(directory.path(), clients, clients).await?;
    let relay = RelayProcess::start(directory.path(), 0).await?;
    let options = Options {
        carriers: Carriers::QuicOnly,
        timeout: Duration::from_secs(60),
        ..Options::default()
    };
    let since = Instant::now();
    let sender = Connection::connect(&relay.address, &options).await?;
    deliver(&sender, 1, 1, since, since).await?;
    let before = relay.resident_kib()?;
    let mut coming = JoinSet::new();
    let mut here = Vec::new();
    for number in 0..clients {
        if coming.len() == AT_A_TIME {
            here.push(coming.join_next().await.ok_or("nobody")???);
        }
        let (address, options, sender) = (relay.address.clone(), options.clone(), sender.clone());
        coming.spawn(async move {
            let connection = Connection::connect(&address, &options).await?;
            let mut pushes = connection.pushes().ok_or("no pushes")?;
            let owner = people::owner(number);
            connection.subscribe(&[&owner], 64).await?;
            let bytes = envelope(u64::from(number) + 2, since);
            sender.deliver(&people::writer(number), bytes).await?;
            // One message, received and acknowledged.
            if let Some(Push::Envelope { mailbox, incarnation, seq, .. }) = pushes.next().await {
                let floor = seq.into();
                connection
                    .acknowledge(vec![Acknowledgement { mailbox, incarnation, floor }])
                    .await?;
            }
            Ok::<_, crate::Error>((connection, pushes))
        });
    }
    while let Some(one) = coming.join_next().await {
        here.push(one??);
    }
    let busiest = relay.resident_kib()?;
    tokio::time::sleep(idle).await;
    let after = relay.resident_kib()?;
    let each = f64::from(u32::try_from(after.saturating_sub(before))?) / f64::from(clients);
    println!(
        "{} idle subscribers for {idle:?}: {each:.1} KiB each; relay {before} KiB before, {busiest} KiB when all had come, {after} KiB now; load of the machine {}",
        here.len(),
        busy()
    );
    drop(here);
    relay.stop().await
}
