//! Command line, configuration file and signals.

mod data;
mod inspect;
mod token;

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use serde::Deserialize;
use undertone_relay::{Config, Relay, RunningRelay, known_address};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Stores and forwards what it cannot read, for people it does not know.
#[derive(Parser)]
#[command(name = "undertone-relay", version, about)]
struct Cli {
    /// Directory in which everything is kept.
    #[arg(long, global = true, env = "UNDERTONE_RELAY_DIR")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve; needs no configuration.
    Run {
        /// UDP address to listen on.
        #[arg(long, env = "UNDERTONE_RELAY_LISTEN")]
        listen: Option<SocketAddr>,
        /// Host name or IP address that clients use.
        #[arg(long, env = "UNDERTONE_RELAY_HOST")]
        host: Option<String>,
        /// Configuration file (TOML); what is given here or in the environment goes before it.
        #[arg(long, env = "UNDERTONE_RELAY_CONFIG")]
        config: Option<PathBuf>,
        /// How the log is written to standard error. It never holds anything about clients.
        #[arg(long, env = "UNDERTONE_RELAY_LOG_FORMAT")]
        log_format: Option<LogFormat>,
    },
    /// Print the relay's address.
    Address,
    /// Manage admission tokens; the relay may be running.
    Token {
        #[command(subcommand)]
        command: token::TokenCommand,
    },
    /// Show everything that is stored; the relay may be running.
    Inspect {
        /// As JSON, values in full.
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Data(data::DataCommand),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LogFormat {
    Text,
    Json,
}

/// The configuration file. Every key is optional; an unknown key is an error.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    host: Option<String>,
    retention_days: Option<u32>,
    max_connections: Option<u32>,
    log_format: Option<LogFormat>,
}

pub(crate) fn run() -> Result {
    let cli = Cli::parse();
    let directory = cli.dir.map_or_else(default_directory, Ok)?;
    match cli.command {
        Command::Run { listen, host, config, log_format } => {
            let mut file = config.as_deref().map_or_else(|| Ok(File::default()), read_config)?;
            file.listen = listen.or(file.listen);
            file.host = host.or(file.host);
            file.log_format = log_format.or(file.log_format);
            serve(directory, file)
        }
        Command::Address => {
            let address = known_address(&directory)?.ok_or_else(|| never_ran(&directory))?;
            print(&format!("{address}\n"))
        }
        Command::Token { command } => token::run(&directory, command),
        Command::Inspect { json } => inspect::run(&directory, json),
        Command::Data(command) => data::run(&directory, command),
    }
}

fn never_ran(directory: &Path) -> String {
    format!(
        "there is no relay in {}; start one with `undertone-relay run`, or give its directory with --dir",
        directory.display()
    )
}

/// systemd's state directory, else the user's data directory.
fn default_directory() -> Result<PathBuf> {
    if let Some(state) = std::env::var_os("STATE_DIRECTORY").filter(|state| !state.is_empty()) {
        return Ok(state.into());
    }
    if let Some(data) = std::env::var_os("XDG_DATA_HOME").filter(|data| !data.is_empty()) {
        return Ok(Path::new(&data).join("undertone-relay"));
    }
    let home = std::env::home_dir().ok_or("no home directory; give a directory with --dir")?;
    Ok(home.join(".local/share/undertone-relay"))
}

fn read_config(path: &Path) -> Result<File> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Output that ends early because its reader left is no failure of ours.
fn print(text: &str) -> Result {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn serve(directory: PathBuf, file: File) -> Result {
    start_log(file.log_format.unwrap_or(LogFormat::Text));
    let mut config = Config::new(directory);
    config.listen = file.listen.unwrap_or(config.listen);
    config.host = file.host;
    config.retention_days = file.retention_days.unwrap_or(config.retention_days);
    if let Some(connections) = file.max_connections {
        config.limits.connections = connections;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let directory = config.directory.display().to_string();
        let relay = Relay::start(config).await?;
        announce(&directory, &relay)?;
        tokio::select! {
            signal = stop_signal() => {
                signal?;
                tracing::info!("stopping");
                relay.shutdown().await.map_err(|failure| failure.to_string())?;
                tracing::info!("stopped");
                Ok(())
            }
            failure = relay.failed() => {
                // Nothing more is answered; what was answered is stored.
                tracing::error!(%failure, "the store failed");
                relay.kill().await;
                Err(failure.to_string().into())
            }
        }
    })
}

fn announce(directory: &str, relay: &RunningRelay) -> Result {
    let address = relay.address();
    let mut text = format!(
        "Directory: {directory}\nAddress:   {address}\nListening on UDP port {}.\n",
        address.port()
    );
    if let Some(join) = relay.join_address() {
        text.push_str(&format!(
            "\nJoin address, for `undertone init --relay`. It holds an admission token and is not shown again\n(`undertone-relay token add` makes another):\n{}\n",
            join.to_text().as_str()
        ));
    }
    print(&text)
}

fn start_log(format: LogFormat) {
    // A level and nothing else: a filter for other crates could make them log client addresses.
    let level = std::env::var("UNDERTONE_RELAY_LOG")
        .ok()
        .and_then(|text| text.parse::<tracing::Level>().ok())
        .unwrap_or(tracing::Level::INFO);
    let filter = tracing_subscriber::EnvFilter::new(format!("off,undertone_relay={level}"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

#[cfg(unix)]
async fn stop_signal() -> Result {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn stop_signal() -> Result {
    Ok(tokio::signal::ctrl_c().await?)
}
