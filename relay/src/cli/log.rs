//! The log of the daemon: to standard error, at a level that a reload can change.

use std::error::Error;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};
use undertone_relay::settings::{LogFormat, LogLevel};

/// Changes the level.
pub(super) struct Log(reload::Handle<EnvFilter, Registry>);

/// A level and nothing else: a filter for other crates could make them log client addresses.
fn filter(level: LogLevel) -> EnvFilter {
    let name = level.name();
    EnvFilter::new(format!("off,undertone_relay={name},undertone_wire={name}"))
}

impl Log {
    pub(super) fn start(format: LogFormat, level: LogLevel) -> Result<Self, Box<dyn Error>> {
        let (filter, handle) = reload::Layer::new(filter(level));
        let log = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
        let registry = tracing_subscriber::registry().with(filter);
        match format {
            LogFormat::Text => registry.with(log).try_init()?,
            LogFormat::Json => registry.with(log.json()).try_init()?,
        }
        Ok(Self(handle))
    }

    pub(super) fn change(&self, level: LogLevel) {
        // Fails only if the subscriber is gone, which lives as long as the process.
        let _ = self.0.reload(filter(level));
    }
}
