//! How and what is logged.

use tracing::Level;

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// A line of text for each event.
    Text,
    /// A JSON object in a line for each event.
    Json,
}

impl LogFormat {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    /// The format with that name.
    ///
    /// # Errors
    /// A sentence, if there is none.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = [Self::Text, Self::Json].into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| format!("{name:?} is no log format; there are text and json"))
    }
}

/// What is written to the log. At no level does it say anything about clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogLevel(pub Level);

impl LogLevel {
    /// All levels.
    const ALL: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        }
    }

    /// The level with that name.
    ///
    /// # Errors
    /// A sentence, if there is none.
    pub fn parse(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().map(Self).find(|level| level.name() == name).ok_or_else(|| {
            format!("{name:?} is no log level; there are error, warn, info, debug and trace")
        })
    }
}
