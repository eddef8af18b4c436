//! SQLite and RocksDB under the relay's own load: 1 KiB envelopes into many mailboxes, 256 changes
//! in a commit that ends with an fsync, ordered reads, deletion behind the floor, a day's expiry,
//! a kill.
//!
//! Both engines hold the same rows and get the same calls; sealing is left out, since it costs the
//! same above either. Run it on the disk that is to be measured, with nothing else on it.

mod engine;
mod rocks;
mod sqlite;

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};

use engine::{Engine, Known, Mailbox, Result, disk_bytes};

/// Changes in a commit, as in the relay.
const BATCH: u64 = 256;

/// Mailboxes that are kept in memory, as in the relay.
const CACHED: usize = 40_000;

/// An envelope of 1 KiB as it is stored: with nonce and tag.
const SEALED: usize = 1024 + 28;

#[derive(Parser)]
#[command(about = "Measures SQLite and RocksDB on the relay's own load")]
struct Cli {
    #[arg(value_enum)]
    engine: Kind,
    /// Mailboxes that there are.
    #[arg(long, default_value_t = 1_000_000)]
    mailboxes: u64,
    /// Envelopes that are appended.
    #[arg(long, default_value_t = 400_000)]
    envelopes: u64,
    /// Where the store is put; a temporary directory if absent.
    #[arg(long)]
    on: Option<PathBuf>,
    /// Appends for ever to the store that is there, and says so after each commit: what the
    /// measurement of a kill starts.
    #[arg(long, hide = true)]
    append_for_ever: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Sqlite,
    Rocksdb,
}

fn open(kind: Kind, directory: &Path) -> Result<Box<dyn Engine>> {
    Ok(match kind {
        Kind::Sqlite => Box::new(sqlite::Sqlite::open(directory)?),
        Kind::Rocksdb => Box::new(rocks::Rocks::open(directory)?),
    })
}

/// A store with the relay's cache before it.
struct Store {
    engine: Box<dyn Engine>,
    cache: HashMap<u64, Known>,
    of: u64,
    random: u64,
}

impl Store {
    fn new(kind: Kind, directory: &Path, of: u64) -> Result<Self> {
        Ok(Self { engine: open(kind, directory)?, cache: HashMap::new(), of, random: 1 })
    }

    /// Some mailbox, each as likely as any other.
    fn any(&mut self) -> Mailbox {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        Mailbox { number: self.random % self.of, of: self.of }
    }

    fn known(&mut self, mailbox: Mailbox) -> Result<Known> {
        if let Some(known) = self.cache.get(&mailbox.number) {
            return Ok(*known);
        }
        let known = self.engine.load(mailbox)?.ok_or("a mailbox is missing")?;
        self.remember(mailbox, known);
        Ok(known)
    }

    fn remember(&mut self, mailbox: Mailbox, known: Known) {
        if self.cache.len() >= CACHED && !self.cache.contains_key(&mailbox.number) {
            self.cache.clear();
        }
        self.cache.insert(mailbox.number, known);
    }

    fn append(&mut self, mailbox: Mailbox) -> Result<u64> {
        let known = self.known(mailbox)?;
        let head = known.head + 1;
        let (mut mark, mut sealed) = ([0; 24], [0; SEALED]);
        for chunk in mark.chunks_mut(8).chain(sealed.chunks_mut(8)) {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let bytes = self.random.to_be_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        self.engine.append(mailbox, head, &mark, &sealed)?;
        self.remember(mailbox, Known { head, ..known });
        Ok(head)
    }

    /// All that is in it.
    fn acknowledge(&mut self, mailbox: Mailbox) -> Result {
        let known = self.known(mailbox)?;
        if known.head > known.floor {
            self.engine.acknowledge(mailbox, known, known.head)?;
            self.remember(mailbox, Known { floor: known.head, ..known });
        }
        Ok(())
    }
}

/// Times of commits.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn permille(&mut self, permille: usize) -> Duration {
        self.0.sort_unstable();
        let at = (self.0.len() * permille / 1000).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().unwrap_or_default()
    }
}

fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn main() -> Result {
    let cli = Cli::parse();
    if cli.append_for_ever {
        let on = cli.on.ok_or("where?")?;
        return append_for_ever(&mut Store::new(cli.engine, &on, cli.mailboxes)?);
    }
    let scratch = match &cli.on {
        Some(on) => tempfile::tempdir_in(on)?,
        None => tempfile::tempdir()?,
    };
    let directory = scratch.path();
    let mut store = Store::new(cli.engine, directory, cli.mailboxes)?;
    let name = match cli.engine {
        Kind::Sqlite => "SQLite",
        Kind::Rocksdb => "RocksDB",
    };
    println!("{name}, {} mailboxes", cli.mailboxes);
    let begun = Instant::now();
    store.engine.make(cli.mailboxes)?;
    let bytes = disk_bytes(directory)?;
    println!(
        "  mailboxes made in {:.1?}, {} bytes each on disk",
        begun.elapsed(),
        bytes / cli.mailboxes.max(1)
    );
    fsync(directory)?;
    let queued = append(&mut store, cli.envelopes)?;
    read(&mut store, cli.envelopes / 4)?;
    acknowledge(&mut store, &queued)?;
    churn(&mut store, directory, cli.envelopes)?;
    drop(store);
    let mut store = recover(&cli, directory)?;
    expire(&mut store, directory)?;
    println!("  resident memory {} MiB", resident_mib());
    Ok(())
}

/// The disk alone, as often as a commit goes to it.
fn fsync(directory: &Path) -> Result {
    let (mut file, mut times) = (std::fs::File::create(directory.join("fsync"))?, Times::default());
    for _ in 0..500 {
        let begun = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.0.push(begun.elapsed());
    }
    println!("  4 KiB and fdatasync: p50 {:.2?}, p99 {:.2?}", times.permille(500), times.permille(990));
    std::fs::remove_file(directory.join("fsync"))?;
    Ok(())
}

fn append(store: &mut Store, envelopes: u64) -> Result<Vec<Mailbox>> {
    let (begun, mut times, mut queued) = (Instant::now(), Times::default(), Vec::new());
    for number in 1..=envelopes {
        let mailbox = store.any();
        store.append(mailbox)?;
        queued.push(mailbox);
        if number % BATCH == 0 || number == envelopes {
            let begun = Instant::now();
            store.engine.commit()?;
            times.0.push(begun.elapsed());
        }
    }
    println!(
        "  append, {BATCH} in a commit: {:.0}/s; commits p50 {:.2?}, p99 {:.2?}",
        rate(envelopes, begun.elapsed()),
        times.permille(500),
        times.permille(990)
    );
    Ok(queued)
}

fn read(store: &mut Store, mailboxes: u64) -> Result {
    let (begun, mut envelopes) = (Instant::now(), 0);
    for _ in 0..mailboxes {
        let mailbox = store.any();
        let found = store.engine.read(mailbox, 0, 16)?;
        if found.iter().zip(1..).any(|((seq, length), place)| *seq != place || *length != SEALED) {
            return Err("read something else than what was written".into());
        }
        envelopes += found.len();
    }
    println!(
        "  ordered reads: {:.0} mailboxes/s ({envelopes} envelopes)",
        rate(mailboxes, begun.elapsed())
    );
    Ok(())
}

fn acknowledge(store: &mut Store, queued: &[Mailbox]) -> Result {
    let begun = Instant::now();
    for part in queued.chunks(usize::try_from(BATCH)?) {
        for mailbox in part {
            store.acknowledge(*mailbox)?;
        }
        store.engine.commit()?;
    }
    println!(
        "  delete behind the floor: {:.0}/s",
        rate(u64::try_from(queued.len())?, begun.elapsed())
    );
    Ok(())
}

/// What is delivered is acknowledged a moment later, as by people who are there.
fn churn(store: &mut Store, directory: &Path, envelopes: u64) -> Result {
    let before = disk_bytes(directory)?;
    let (begun, mut most) = (Instant::now(), before);
    let mut last: Vec<Mailbox> = Vec::new();
    for number in 0..envelopes.div_ceil(BATCH / 2) {
        for mailbox in std::mem::take(&mut last) {
            store.acknowledge(mailbox)?;
        }
        for _ in 0..BATCH / 2 {
            let mailbox = store.any();
            store.append(mailbox)?;
            last.push(mailbox);
        }
        store.engine.commit()?;
        if number % 128 == 0 {
            most = most.max(disk_bytes(directory)?);
        }
    }
    let took = begun.elapsed();
    let after = disk_bytes(directory)?;
    println!(
        "  deliver and acknowledge: {:.0} cycles/s; a day of {} MiB leaves {} MiB more on disk, {} MiB at most",
        rate(envelopes, took),
        envelopes / 1024,
        after.saturating_sub(before) >> 20,
        most.saturating_sub(before) >> 20,
    );
    Ok(())
}

fn append_for_ever(store: &mut Store) -> Result {
    let mut output = std::io::stdout().lock();
    loop {
        let mut told = Vec::new();
        for _ in 0..BATCH {
            let mailbox = store.any();
            let seq = store.append(mailbox)?;
            writeln!(told, "{} {seq}", mailbox.number)?;
        }
        store.engine.commit()?;
        // In one piece, and only now: what is told is durable.
        output.write_all(&told)?;
    }
}

/// Kills a process that appends, opens what it left, and looks for all that it said was durable.
fn recover(cli: &Cli, directory: &Path) -> Result<Store> {
    let name = cli.engine.to_possible_value().ok_or("no name")?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg(name.get_name())
        .args(["--append-for-ever", "--mailboxes", &cli.mailboxes.to_string(), "--on"])
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    let reader = std::thread::spawn(move || {
        let lines = std::io::BufReader::new(output).lines();
        lines.map_while(std::result::Result::ok).collect::<Vec<_>>()
    });
    std::thread::sleep(Duration::from_secs(5));
    child.kill()?;
    child.wait()?;
    let told = reader.join().map_err(|_| "the reader panicked")?;
    let begun = Instant::now();
    let mut store = Store::new(cli.engine, directory, cli.mailboxes)?;
    let mailbox = store.any();
    store.append(mailbox)?;
    store.engine.commit()?;
    let took = begun.elapsed();
    let mut heads: HashMap<u64, u64> = HashMap::new();
    // The last line may be half a line.
    for line in told.iter().rev().skip(1) {
        let (number, seq) = line.split_once(' ').ok_or("half a line")?;
        let head = heads.entry(number.parse()?).or_default();
        *head = (*head).max(seq.parse()?);
    }
    for (number, head) in &heads {
        let mailbox = Mailbox { number: *number, of: cli.mailboxes };
        let known = store.engine.load(mailbox)?.ok_or("a mailbox is missing")?;
        if known.head < *head {
            return Err("an envelope that was said to be durable is missing".into());
        }
    }
    println!(
        "  after SIGKILL under load: first commit {took:.1?} after opening; all of {} durable envelopes there",
        told.len()
    );
    Ok(store)
}

fn expire(store: &mut Store, directory: &Path) -> Result {
    let (before, begun) = (disk_bytes(directory)?, Instant::now());
    store.engine.expire()?;
    let took = begun.elapsed();
    std::thread::sleep(Duration::from_secs(2));
    println!(
        "  expiry of the day: {took:.1?}, {} MiB of {} MiB given back",
        before.saturating_sub(disk_bytes(directory)?) >> 20,
        before >> 20
    );
    Ok(())
}
