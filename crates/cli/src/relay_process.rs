//! The relay of the demonstration, in a process of its own: so that it can be killed as a relay
//! is killed in earnest, with nothing closed and nothing flushed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;
use undertone_relay::{Config, Direction, FrameTap, Relay};

use crate::args::RelayProcess;
use crate::failure::Failure;
use crate::output::Written;

/// The relay's own events at every level. What other libraries log is no part of a relay's log:
/// `undertone-relay` does not write it either.
const LOG_FILTER: &str = "off,undertone_relay=trace,undertone_wire=trace";

/// Runs until standard input ends, which it does when the parent goes, however it goes.
pub(crate) async fn run(arguments: RelayProcess) -> Written {
    start_log(&arguments.log)?;
    let mut config = Config::new(arguments.directory);
    config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    config.tap = Some(Arc::new(FrameFile::open(&arguments.frames)?));
    let relay = Relay::start(config).await.map_err(|error| unexpected("the relay", &error))?;
    if let Some(canary) = arguments.log_canary {
        tracing::info!(target: "undertone_relay::canary", canary, "planted for the search");
    }
    tell(&json!({
        "address": relay.address().to_string(),
        "port": relay.address().port(),
        "join": relay.join_address().map(|join| join.to_text().to_string()),
    }))?;
    tokio::select! {
        () = input_ended() => {}
        failure = relay.failed() => return Err(unexpected("the relay's store", &failure)),
    }
    relay.shutdown().await.map_err(|error| unexpected("the relay's store", &error))
}

fn unexpected(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::Unexpected(format!("{what} failed: {error}"))
}

fn append(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| {
        Failure::Unexpected(format!("{} can't be written ({error})", path.display()))
    })
}

fn start_log(path: &Path) -> Written {
    let log = Mutex::new(append(path)?);
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(LOG_FILTER))
        .with_ansi(false)
        .with_writer(log)
        .try_init()
        .map_err(|error| Failure::Unexpected(format!("the log can't be started: {error}")))
}

/// The line that the parent waits for.
fn tell(ready: &Value) -> Written {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{ready}")
        .and_then(|()| out.flush())
        .map_err(|error| unexpected("telling the address", &error))
}

/// Ctrl-C reaches the whole group of processes; only the parent decides what it means.
async fn input_ended() {
    let ended = tokio::task::spawn_blocking(|| {
        // Nothing is ever written there; an error is an end, too.
        let _ = std::io::copy(&mut std::io::stdin().lock().take(u64::MAX), &mut std::io::sink());
    });
    tokio::pin!(ended);
    loop {
        tokio::select! {
            _ = &mut ended => return,
            listening = tokio::signal::ctrl_c() => if listening.is_err() {
                let _ = (&mut ended).await;
                return;
            },
        }
    }
}

/// Writes each frame to a file at once: what a killed relay has served is there.
struct FrameFile(Mutex<File>);

impl FrameFile {
    fn open(path: &Path) -> Result<Self, Failure> {
        Ok(Self(Mutex::new(append(path)?)))
    }
}

impl FrameTap for FrameFile {
    fn frame(&self, _: Direction, bytes: &[u8]) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(bytes) {
            // A search of half the frames would be worthless.
            tracing::error!(%error, "frames can't be written");
            std::process::abort();
        }
    }
}
