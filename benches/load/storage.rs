//! The relay's store alone, in this process.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use undertone_relay::store::sqlite::SqliteStore;
use undertone_relay::store::{Command, Store as _};
use undertone_wire::frame::Acknowledgement;
use undertone_wire::limits::MAX_RETENTION_DAYS;
use undertone_wire::{Floor, MailboxId, WriteCapabilityHash};

use crate::Result;
use crate::latency::Latencies;
use crate::people::{nobody, populate, today, writer};
use crate::system::{busy, directory, processor_time};
use crate::throughput::{envelope, target};

/// A mailbox and how many envelopes it ever had.
struct Mailbox {
    id: MailboxId,
    capability: WriteCapabilityHash,
    head: u64,
}

struct Bench {
    store: SqliteStore,
    mailboxes: Vec<Mailbox>,
    batch: u32,
    since: Instant,
    number: u64,
}

pub(crate) async fn run(on: Option<PathBuf>, count: u32, batch: u32, time: Duration) -> Result {
    let directory = directory(on)?;
    populate(directory.path(), 0, count).await?;
    let layout = undertone_relay::operator::Layout::new(directory.path());
    let store = SqliteStore::open(&layout.store(), MAX_RETENTION_DAYS)?;
    let mailbox = |n| Mailbox { id: nobody(n).mailbox(), capability: writer(n).hash(), head: 0 };
    let mailboxes = (0..count).map(mailbox).collect();
    let mut bench = Bench { store, mailboxes, batch, since: Instant::now(), number: 0 };
    println!(
        "the store alone, {count} mailboxes, {batch} deliveries in a commit; load of the machine {}",
        busy()
    );
    bench.measure(time, false)?;
    let all: Vec<u32> = (0..count).collect();
    for part in all.chunks(4096) {
        let commands: Vec<_> = part.iter().filter_map(|n| bench.acknowledge(*n)).collect();
        bench.store.commit(today(), &commands)?;
    }
    bench.measure(time, true)?;
    Box::new(bench.store).close()?;
    Ok(())
}

impl Bench {
    fn acknowledge(&self, number: u32) -> Option<Command> {
        let mailbox = self.mailboxes.get(usize::try_from(number).ok()?)?;
        Some(Command::Acknowledge(Acknowledgement {
            mailbox: mailbox.id,
            incarnation: self.store.incarnation(),
            floor: Floor::new(mailbox.head),
        }))
    }

    fn deliver(&mut self) -> Result<(u32, Command)> {
        self.number += 1;
        let to = target(self.number, u32::try_from(self.mailboxes.len())?);
        let mailbox = self.mailboxes.get_mut(usize::try_from(to)?).ok_or("no mailbox")?;
        mailbox.head += 1;
        let envelope = envelope(self.number, self.since);
        Ok((to, Command::Deliver { capability: mailbox.capability, envelope }))
    }

    /// Deliveries; if `cycles`, what came is acknowledged in the next commit, once for each mailbox,
    /// as a client does that takes many pushes.
    fn measure(&mut self, time: Duration, cycles: bool) -> Result {
        let (begun, before) = (Instant::now(), processor_time(std::process::id())?);
        let (mut commits, mut count, mut last) = (Latencies::default(), 0_u32, Vec::new());
        while begun.elapsed() < time {
            let mut commands: Vec<_> = last.iter().filter_map(|n| self.acknowledge(*n)).collect();
            last.clear();
            for _ in 0..self.batch {
                let (to, command) = self.deliver()?;
                commands.push(command);
                last.push(to);
            }
            last.sort_unstable();
            last.dedup();
            let committing = Instant::now();
            let answers = self.store.commit(today(), &commands)?;
            commits.add(committing.elapsed());
            if let Some(refused) = answers.into_iter().find_map(std::result::Result::err) {
                return Err(format!("refused: {refused:?}").into());
            }
            count += self.batch;
            if !cycles {
                last.clear();
            }
        }
        let took = begun.elapsed();
        let used = processor_time(std::process::id())?.saturating_sub(before);
        println!(
            "  {}: {:.0}/s, {:.1} us of processor time each; commits {}",
            if cycles { "deliveries and acknowledgements" } else { "deliveries" },
            f64::from(count) / took.as_secs_f64(),
            used.as_secs_f64() * 1e6 / f64::from(count),
            commits.summary(took),
        );
        Ok(())
    }
}
