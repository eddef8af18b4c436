//! Load on a relay, and what it makes of it.
//!
//! The relay runs in a process of its own, as it ships, from the same executable (`load relay`), so
//! that its memory can be told from that of its clients. All figures are of this machine, which
//! runs the clients as well.
#![allow(clippy::expect_used, reason = "a tool that measures stops at the first surprise")]

mod child;
mod hostile;
mod idle;
mod latency;
mod network;
mod people;
mod soak;
mod startup;
mod storage;
mod storm;
mod system;
mod throughput;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T = ()> = std::result::Result<T, Error>;

#[derive(Parser)]
#[command(about = "Measures a relay on this machine", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Where the relay's store is put; a temporary directory if absent. It must be on the disk that
    /// is to be measured.
    #[arg(long, global = true)]
    on: Option<PathBuf>,
    /// Runs the relay under another program, which is given with its arguments in one word: a
    /// profiler. Figures of the relay's memory and processor time are that program's then.
    #[arg(long, global = true)]
    under: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a relay until standard input ends. The other commands start it.
    #[command(hide = true)]
    Relay {
        dir: PathBuf,
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// Durable deliveries, or full cycles (deliver, push, acknowledge), of 1 KiB a second.
    Throughput {
        #[arg(long, default_value_t = 100)]
        mailboxes: u32,
        /// Requests under way at a time (closed loop).
        #[arg(long, default_value_t = 256)]
        in_flight: usize,
        /// Connections that deliver, and as many that subscribe.
        #[arg(long, default_value_t = 8)]
        connections: usize,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Deliver only, without subscribers.
        #[arg(long)]
        deliver_only: bool,
        /// Deliveries begun a second, whatever is under way (open loop).
        #[arg(long)]
        rate: Option<u32>,
        /// Without padding.
        #[arg(long)]
        no_padding: bool,
        /// TLS on TCP instead of QUIC.
        #[arg(long)]
        tcp: bool,
    },
    /// Memory of the relay for each idle subscriber.
    Idle {
        #[arg(long, default_value_t = 1000)]
        clients: u32,
        /// How long they are idle before it is measured.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Time until all are subscribed again after the relay was killed.
    Storm {
        #[arg(long, default_value_t = 5000)]
        clients: u32,
        #[arg(long, default_value_t = 100)]
        mailboxes: u32,
        /// With the mailboxes' keys instead of tickets.
        #[arg(long)]
        keys: bool,
        /// Clients do not try TCP as well, which the SDK does after half a second.
        #[arg(long)]
        quic_only: bool,
    },
    /// Latency of honest clients, alone and beside hostile ones.
    Hostile {
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Time to start, and memory, with many empty mailboxes.
    Startup {
        #[arg(long, default_value_t = 1_000_000)]
        mailboxes: u32,
    },
    /// Bad networks: pairs write to each other through a proxy on loopback that delays, loses, repeats and
    /// reorders datagrams. Fails unless everything arrives once and in order.
    Network {
        /// For each of the networks.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Mixed load for long, with restarts: nothing may grow after the first ten minutes, and everything
    /// that was accepted arrives once and in order. Prints a line each minute and a report.
    Soak {
        #[arg(long, default_value_t = 60)]
        minutes: u64,
    },
    /// The store alone, without connections: deliveries, and deliveries that are acknowledged.
    Store {
        #[arg(long, default_value_t = 100)]
        mailboxes: u32,
        /// Commands in a commit.
        #[arg(long, default_value_t = 256)]
        batch: u32,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// The disk alone: 4 KiB and fsync, one after the other.
    Fsync,
}

fn main() -> Result {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let on = cli.on;
    if let Some(under) = cli.under {
        let words = under.split_whitespace().map(str::to_owned).collect();
        child::UNDER.set(words).map_err(|_| "set once")?;
    }
    runtime.block_on(async {
        match cli.command {
            Command::Relay { dir, port } => child::serve(dir, port).await,
            Command::Throughput {
                mailboxes,
                in_flight,
                connections,
                seconds,
                deliver_only,
                rate,
                no_padding,
                tcp,
            } => {
                let plan = throughput::Plan {
                    mailboxes,
                    in_flight,
                    connections,
                    time: Duration::from_secs(seconds),
                    deliver_only,
                    rate,
                    padding: !no_padding,
                    tcp,
                };
                throughput::run(on, plan).await
            }
            Command::Idle { clients, seconds } => {
                idle::run(on, clients, Duration::from_secs(seconds)).await
            }
            Command::Storm { clients, mailboxes, keys, quic_only } => {
                storm::run(on, storm::Plan { clients, mailboxes, keys, quic_only }).await
            }
            Command::Hostile { seconds } => hostile::run(on, Duration::from_secs(seconds)).await,
            Command::Startup { mailboxes } => startup::run(on, mailboxes).await,
            Command::Network { seconds } => network::run(on, Duration::from_secs(seconds)).await,
            Command::Soak { minutes } => soak::run(on, Duration::from_secs(minutes * 60)).await,
            Command::Store { mailboxes, batch, seconds } => {
                let time = Duration::from_secs(seconds);
                storage::run(on, mailboxes, batch, time).await
            }
            Command::Fsync => system::fsync(on),
        }
    })
}
