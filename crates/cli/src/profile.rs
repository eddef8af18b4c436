//! Where the profile is, and opening it.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use undertone::{Client, Secret};

use crate::args::Arguments;
use crate::failure::Failure;
use crate::input;

/// What a command needs in order to open the profile.
#[derive(Debug)]
pub(crate) struct Access {
    directory: PathBuf,
    passphrase_file: Option<PathBuf>,
    bind: Option<std::net::IpAddr>,
    network_timeout: Option<Duration>,
}

impl Access {
    pub(crate) fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let directory = match &arguments.profile {
            Some(directory) => directory.clone(),
            None => default_directory().ok_or_else(|| {
                Failure::Usage(
                    "there is no usual place for a profile on this system: name one with --profile"
                        .into(),
                )
            })?,
        };
        Ok(Self {
            directory,
            passphrase_file: arguments.passphrase_file.clone(),
            bind: arguments.bind,
            network_timeout: arguments.network_timeout.map(Duration::from_secs),
        })
    }

    /// The profile's directory.
    pub(crate) const fn directory(&self) -> &PathBuf {
        &self.directory
    }

    /// Opens the profile; asks for the passphrase if it was not given.
    pub(crate) async fn open(&self) -> Result<Client, Failure> {
        let builder = self.builder();
        // Asking for the passphrase of a profile that is not there would only confuse.
        if !self.directory.exists() {
            let dir = self.directory.clone();
            return Err(undertone::Error::ProfileAbsent { dir }.into());
        }
        let passphrase = input::passphrase(self.passphrase_file.as_deref())?;
        Ok(builder.secret(Secret::Passphrase(passphrase)).open().await?)
    }

    /// An error if there is a profile: before anything is asked for that would be of no use.
    pub(crate) fn must_be_absent(&self) -> Result<(), Failure> {
        if self.directory.join("keyslot").exists() {
            let dir = self.directory.clone();
            return Err(undertone::Error::ProfileExists { dir }.into());
        }
        Ok(())
    }

    /// A builder without a secret.
    pub(crate) fn builder(&self) -> undertone::Builder {
        let mut builder = Client::builder(&self.directory);
        if let Some(address) = self.bind {
            builder = builder.bind(address);
        }
        if let Some(timeout) = self.network_timeout {
            builder = builder.timeout(timeout);
        }
        builder
    }

    /// The passphrase for a new profile.
    pub(crate) fn new_secret(&self) -> Result<Secret, Failure> {
        Ok(Secret::Passphrase(input::new_passphrase(self.passphrase_file.as_deref())?))
    }
}

/// Where programs keep a person's data on this platform.
fn default_directory() -> Option<PathBuf> {
    let from =
        |variable| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = if cfg!(windows) {
        from("APPDATA")
    } else if cfg!(target_os = "macos") {
        from("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        // XDG Base Directory Specification: a relative path there is to be ignored.
        from("XDG_DATA_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| from("HOME").map(|home| home.join(".local/share")))
    };
    data.map(|data| data.join("undertone"))
}
