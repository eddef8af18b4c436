//! The relay's process, from outside.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use undertone_relay::operator::{StoreDump, inspect};

use super::step;
use crate::failure::Failure;

/// A relay on loopback is there in a fraction of a second, unless the machine is very busy.
const READY: Duration = Duration::from_secs(30);

/// Where the relay of one demonstration keeps things.
#[derive(Clone, Debug)]
pub(super) struct RelayPlaces {
    /// Its directory, as an operator would have it.
    pub(super) directory: PathBuf,
    /// Its log, and what it says on standard error.
    pub(super) log: PathBuf,
    pub(super) errors: PathBuf,
    /// What it serves, after TLS.
    pub(super) frames: PathBuf,
}

impl RelayPlaces {
    pub(super) fn below(root: &Path) -> Self {
        Self {
            directory: root.join("relay"),
            log: root.join("relay.log"),
            errors: root.join("relay.stderr"),
            frames: root.join("relay.frames"),
        }
    }

    /// Every stored field, from the real store, whether the relay runs or was killed.
    pub(super) fn stored(&self) -> Result<StoreDump, Failure> {
        inspect(&self.directory)
            .map_err(|error| step::failed(format!("the relay's store can't be read: {error}")))
    }
}

/// The relay's process. Killed when dropped.
pub(super) struct RelayProcess {
    child: Child,
    pub(super) address: String,
    pub(super) port: u16,
    /// With the admission token; given once, by the first run.
    pub(super) join: Option<String>,
}

impl RelayProcess {
    /// Starts a relay on 127.0.0.1 and waits until it answers.
    pub(super) async fn start(
        places: &RelayPlaces,
        port: u16,
        log_canary: Option<&str>,
    ) -> Result<Self, Failure> {
        let errors =
            std::fs::OpenOptions::new().create(true).append(true).open(&places.errors).map_err(
                |error| step::failed(format!("the relay's output can't be kept: {error}")),
            )?;
        let program = std::env::current_exe()
            .map_err(|error| step::failed(format!("this program can't find itself: {error}")))?;
        let mut command = Command::new(program);
        command
            .arg("__relay")
            .arg("--directory")
            .arg(&places.directory)
            .arg("--log")
            .arg(&places.log)
            .arg("--frames")
            .arg(&places.frames)
            .args(["--port", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors);
        if let Some(canary) = log_canary {
            command.args(["--log-canary", canary]);
        }
        let mut child = command
            .spawn()
            .map_err(|error| step::failed(format!("the relay can't be started: {error}")))?;
        let Some(out) = child.stdout.take() else {
            return Err(step::failed("the relay has no output".into()));
        };
        // Killed on drop from here on, which also ends the reading below.
        let mut process = Self { child, address: String::new(), port, join: None };
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(out).read_line(&mut line).map(|_| line)
        });
        let line = match tokio::time::timeout(READY, line).await {
            Ok(Ok(Ok(line))) => line,
            _ => return Err(step::failed("the relay did not start in time".into())),
        };
        process.ready(&line, places)?;
        Ok(process)
    }

    fn ready(&mut self, line: &str, places: &RelayPlaces) -> Result<(), Failure> {
        let ready: Value = serde_json::from_str(line).unwrap_or_default();
        let text = |name: &str| ready.get(name).and_then(Value::as_str).map(str::to_owned);
        let port = ready.get("port").and_then(Value::as_u64).and_then(|port| port.try_into().ok());
        match (text("address"), port) {
            (Some(address), Some(port)) => {
                (self.address, self.port, self.join) = (address, port, text("join"));
                Ok(())
            }
            _ => {
                let said = std::fs::read_to_string(&places.errors).unwrap_or_default();
                Err(step::failed(format!("the relay did not start: {}", said.trim())))
            }
        }
    }

    /// SIGKILL: nothing is closed, nothing is flushed.
    pub(super) fn kill(mut self) -> Result<(), Failure> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(step::failed(format!("the relay ended by itself ({status})")));
        }
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map(|_| ())
            .map_err(|error| step::failed(format!("the relay can't be killed: {error}")))
    }

    /// Ends its standard input, at which it closes in order; then waits for it.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        let waited = tokio::task::spawn_blocking(move || self.child.wait());
        match tokio::time::timeout(READY, waited).await {
            Ok(Ok(Ok(status))) if status.success() => Ok(()),
            Ok(Ok(Ok(status))) => {
                Err(step::failed(format!("the relay did not end well ({status})")))
            }
            _ => Err(step::failed("the relay did not end in time".into())),
        }
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        // Already gone, if it was killed or stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
