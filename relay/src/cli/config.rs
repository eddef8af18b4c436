//! Where the configuration comes from, and `check-config`.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use undertone_relay::settings::{Layers, Loaded, Problem};

use super::{Result, print};

/// Read if nothing says where the configuration or the directory is.
const SYSTEM_FILE: &str = "/etc/undertone-relay/relay.toml";

/// Options of all commands.
#[derive(Args)]
pub(super) struct Common {
    /// Directory in which everything is kept. [env: UNDERTONE_RELAY_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<String>,
    /// Configuration file (TOML). Without this and --dir: /etc/undertone-relay/relay.toml, if
    /// it is there.
    #[arg(long, global = true, value_name = "FILE", env = "UNDERTONE_RELAY_CONFIG")]
    config: Option<PathBuf>,
    /// Sets anything that the configuration file can set, before all other layers.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Options that stand for a key, for `run` and `check-config`.
#[derive(Args, Default)]
pub(super) struct Shortcuts {
    /// Address and port to listen on, over UDP and TCP. [env: UNDERTONE_RELAY_LISTEN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Host name or IP address that clients use. [env: UNDERTONE_RELAY_HOST]
    #[arg(long)]
    host: Option<String>,
    /// How the log is written to standard error: text or json. [env: UNDERTONE_RELAY_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// error, warn, info, debug or trace; the log never holds anything about clients.
    /// [env: UNDERTONE_RELAY_LOG_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Loopback address and TCP port for metrics and health. [env: UNDERTONE_RELAY_MONITORING_LISTEN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    monitoring: Option<String>,
}

/// The configuration is not good. The process ends with its own exit code.
#[derive(Debug)]
pub(crate) struct BadConfiguration(Vec<Problem>);

impl fmt::Display for BadConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not good; nothing was done")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for BadConfiguration {}

impl Common {
    /// All layers, with the options of a command.
    pub(super) fn layers(&self, shortcuts: &Shortcuts) -> Result<Layers> {
        let text = |name: OsString, value: OsString| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let environment: Vec<_> =
            std::env::vars_os().filter_map(|(name, value)| text(name, value)).collect();
        let elsewhere = self.dir.is_some() || std::env::var_os("UNDERTONE_RELAY_DIR").is_some();
        let system = || Some(PathBuf::from(SYSTEM_FILE)).filter(|path| !elsewhere && path.exists());
        let mut layers =
            Layers { file: self.config.clone().or_else(system), environment, flags: Vec::new() };
        let options = [
            ("--dir", "dir", &self.dir),
            ("--listen", "listen", &shortcuts.listen),
            ("--host", "host", &shortcuts.host),
            ("--log-format", "log.format", &shortcuts.log_format),
            ("--log-level", "log.level", &shortcuts.log_level),
            ("--monitoring", "monitoring.listen", &shortcuts.monitoring),
        ];
        for (option, key, value) in options {
            let flag = |value: &String| (option.to_owned(), key.to_owned(), value.clone());
            layers.flags.extend(value.as_ref().map(flag));
        }
        for setting in &self.set {
            let (key, value) = setting
                .split_once('=')
                .ok_or_else(|| format!("--set {setting:?} has no value; write KEY=VALUE"))?;
            layers.flags.push(("--set".into(), key.trim().into(), value.trim().into()));
        }
        Ok(layers)
    }

    /// The directory of the relay that a command is about.
    pub(super) fn directory(&self) -> Result<PathBuf> {
        if let Some(dir) = &self.dir {
            return Ok(dir.into());
        }
        directory(&load(&self.layers(&Shortcuts::default())?)?)
    }
}

pub(super) fn load(layers: &Layers) -> Result<Loaded> {
    layers.load().map_err(|problems| BadConfiguration(problems).into())
}

/// What is configured, else systemd's state directory, else the user's data directory.
pub(super) fn directory(loaded: &Loaded) -> Result<PathBuf> {
    if let Some(dir) = loaded.settings.directory() {
        return Ok(dir.clone());
    }
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(state) = variable("STATE_DIRECTORY") {
        return Ok(state.into());
    }
    if let Some(data) = variable("XDG_DATA_HOME") {
        return Ok(Path::new(&data).join("undertone-relay"));
    }
    let home = std::env::home_dir().ok_or("no home directory; give a directory with --dir")?;
    Ok(home.join(".local/share/undertone-relay"))
}

/// `check-config`: prints what holds, and where each value is from.
pub(super) fn check(common: &Common, shortcuts: &Shortcuts) -> Result {
    let layers = common.layers(shortcuts)?;
    let loaded = load(&layers)?;
    let mut text = match &layers.file {
        Some(file) => format!("# File: {}\n", file.display()),
        None => "# No file.\n".to_owned(),
    };
    for name in &loaded.unknown_variables {
        text.push_str(&format!("# The environment variable {name} is none of ours.\n"));
    }
    text.push_str(&format!("# Directory: {}\n", directory(&loaded)?.display()));
    text.push_str(&loaded.as_toml());
    print(&text)
}
