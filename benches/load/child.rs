//! The relay in a process of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use undertone_relay::{Config, Relay};
use undertone_wire::RelayAddress;

use crate::Result;
use crate::system::{processor_time, resident_kib};

/// What the process does: serves until its standard input ends.
pub(crate) async fn serve(directory: PathBuf, port: u16) -> Result {
    let mut config = Config::new(directory);
    config.listen = (std::net::Ipv4Addr::LOCALHOST, port).into();
    config.limits.connections = 200_000;
    config.limits.subscriptions = 20_000_000;
    let relay = Relay::start(config).await?;
    println!("{}", relay.address());
    let ended = || std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new());
    tokio::task::spawn_blocking(ended).await??;
    relay.shutdown().await.map_err(|failure| failure.to_string())?;
    Ok(())
}

/// What every relay is run under, as words of a command; empty if nothing.
pub(crate) static UNDER: OnceLock<Vec<String>> = OnceLock::new();

/// This program, under another one if that is wanted.
fn command() -> Result<Command> {
    let this = std::env::current_exe()?;
    Ok(match UNDER.get().map(Vec::as_slice) {
        Some([program, arguments @ ..]) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(this);
            command
        }
        _ => Command::new(this),
    })
}

/// A relay that runs; killed when dropped.
pub(crate) struct RelayProcess {
    process: Child,
    pub(crate) address: RelayAddress,
}

impl RelayProcess {
    /// Starts one in a directory, on a port that is free or was its own.
    pub(crate) async fn start(directory: &Path, port: u16) -> Result<Self> {
        let mut process = command()?
            .arg("relay")
            .arg(directory)
            .args(["--port", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().ok_or("no output of the relay")?;
        let mut lines = BufReader::new(output).lines();
        loop {
            let line = lines.next_line().await?.ok_or("the relay did not start")?;
            // What it runs under may say something before.
            if let Ok(address) = line.parse() {
                return Ok(Self { process, address });
            }
        }
    }

    pub(crate) fn resident_kib(&self) -> Result<u64> {
        resident_kib(self.pid()?)
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        Ok(self.process.id().ok_or("the relay has ended")?)
    }

    pub(crate) fn processor_time(&self) -> Result<Duration> {
        processor_time(self.process.id().ok_or("the relay has ended")?)
    }

    /// Kills it, as a power failure would.
    pub(crate) async fn kill(mut self) -> Result {
        self.process.kill().await?;
        Ok(())
    }

    /// Stops it in order.
    pub(crate) async fn stop(mut self) -> Result {
        drop(self.process.stdin.take());
        self.process.wait().await?;
        Ok(())
    }
}
