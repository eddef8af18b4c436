//! `run`: serves until a signal ends it.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use undertone_relay::settings::{Layers, Loaded};
use undertone_relay::{Config, Relay, RunningRelay};

use super::config::{Common, Shortcuts, directory, load};
use super::log::Log;
use super::notify::{State, tell};
use super::{Result, print};

pub(super) fn run(common: &Common, shortcuts: &Shortcuts, accept_clock: bool) -> Result {
    let layers = common.layers(shortcuts)?;
    let loaded = load(&layers)?;
    let log = Log::start(loaded.settings.log_format(), loaded.settings.log_level())?;
    for name in &loaded.unknown_variables {
        tracing::warn!(name, "an environment variable looks like a setting and is none");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(layers, loaded, log, accept_clock))
}

async fn serve(layers: Layers, mut loaded: Loaded, log: Log, accept_clock: bool) -> Result {
    let directory = directory(&loaded)?;
    // As another user it would leave files that its owner can't read.
    super::owner::check(&directory)?;
    // Before the relay starts: a signal that comes meanwhile is not lost, and does not kill.
    let mut signals = Signals::new()?;
    let config = Config { accept_clock, ..loaded.settings.config(directory.clone()) };
    let relay = Relay::start(config).await?;
    announce(&directory, &relay)?;
    tell(State::Ready);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "serving");
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            failure = relay.failed() => {
                // Nothing more is answered; what was answered is stored.
                tracing::error!(%failure, "the store failed");
                relay.kill().await;
                return Err(failure.to_string().into());
            }
        };
        match signal {
            Signal::Reload => reload(&layers, &mut loaded, &log, &relay, &directory).await,
            Signal::Stop => break,
        }
    }
    tell(State::Stopping);
    tracing::info!("stopping");
    tokio::select! {
        stopped = relay.shutdown() => stopped.map_err(|failure| failure.to_string())?,
        // Whoever asks twice does not want to wait, for another process that holds a database, say:
        // the store's thread might not end, and the runtime would wait for it.
        () = signals.stop() => {
            tracing::error!("stopped at once; what was answered is stored");
            std::process::exit(1)
        }
    }
    tracing::info!("stopped");
    Ok(())
}

fn announce(directory: &Path, relay: &RunningRelay) -> Result {
    let address = relay.address();
    let mut text = format!(
        "Directory: {}\nAddress:   {address}\nListening on port {}, UDP and TCP.\n",
        directory.display(),
        address.port()
    );
    if let Some(monitoring) = relay.monitoring() {
        text.push_str(&format!("Metrics:   http://{monitoring}/metrics\n"));
    }
    if let Some(join) = relay.join_address().filter(|_| is_log()) {
        let file = directory.join(JOIN_ADDRESS);
        write_join_address(&file, join.to_text().as_str()).map_err(|error| {
            let file = file.display();
            format!("{file}: {error}; `undertone-relay token add` makes a join address")
        })?;
        text.push_str(&format!(
            "\nThe join address, for `undertone init --relay`, is in {}.\nIt holds an admission token: remove the file when you have it.\n",
            file.display()
        ));
    } else if let Some(join) = relay.join_address() {
        text.push_str(&format!(
            "\nJoin address, for `undertone init --relay`. It holds an admission token and is not shown again\n(`undertone-relay token add` makes another):\n{}\n",
            join.to_text().as_str()
        ));
    }
    if let Some(join) = relay.open_join_address() {
        text.push_str(&format!(
            "\nThis relay is open. Join address for everybody:\n{}\n",
            join.to_text().as_str()
        ));
    }
    print(&text)
}

/// The file that the first join address goes to where the output is kept.
const JOIN_ADDRESS: &str = "join-address";

/// Whether what is printed goes to a log, where a token would stay and be read by others: systemd and
/// containers say so (systemd.exec(5), and the variable that podman, systemd and our image set).
fn is_log() -> bool {
    let kept = ["JOURNAL_STREAM", "container"].into_iter();
    kept.filter_map(std::env::var_os).any(|value| !value.is_empty())
        && !std::io::stdout().is_terminal()
}

/// Writes a file that its owner alone can read, in a directory that is its owner's alone.
fn write_join_address(path: &Path, join: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(format!("{join}\n").as_bytes())?;
    file.sync_all()
}

/// Reads the same layers again. A configuration that is not good changes nothing.
async fn reload(
    layers: &Layers,
    loaded: &mut Loaded,
    log: &Log,
    relay: &RunningRelay,
    directory: &Path,
) {
    let fresh = match layers.load() {
        Ok(fresh) => fresh,
        Err(problems) => {
            for problem in problems {
                tracing::error!(%problem, "the configuration is not good");
            }
            tracing::error!("not reloaded; what held before holds");
            relay.reload_failed();
            return;
        }
    };
    let (now, later) = loaded.changes(&fresh);
    log.change(fresh.settings.log_level());
    relay.reload(&fresh.settings.config(directory.to_owned())).await;
    tracing::info!(changed = ?now, "reloaded");
    if !later.is_empty() {
        tracing::warn!(changed = ?later, "these take effect with the next start only");
    }
    // What waits for a start is compared with what the process was started with, so that it is
    // told at each reload until then.
    loaded.settings = loaded.settings.with_reloaded(&fresh.settings);
}

enum Signal {
    Reload,
    Stop,
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
        }
    }

    async fn stop(&mut self) {
        while !matches!(self.next().await, Signal::Stop) {}
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        // If the system refuses to tell, it ends the process itself.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Stop
    }

    async fn stop(&mut self) {
        self.next().await;
    }
}
