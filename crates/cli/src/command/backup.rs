//! `backup export`, `backup import`, `backup check`

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;
use undertone::{BackupReport, Client, RecoveryKey, check_backup};

use crate::args::{BackupFile, BackupImport};
use crate::failure::Failure;
use crate::output::{Output, Written};
use crate::profile::Access;
use crate::{input, json, safe_text, time};

/// How often progress is shown.
const EVERY: Duration = Duration::from_millis(250);

/// Shows progress on standard error, to a person.
fn progress(what: &'static str, output: &Output) -> impl Fn(u64, u64) + Send + 'static {
    let shown = !output.is_json() && io::stderr().is_terminal();
    let last: Mutex<Option<Instant>> = Mutex::new(None);
    move |done, total| {
        let Ok(mut last) = last.lock() else { return };
        let due = last.is_none_or(|at| at.elapsed() >= EVERY) || done >= total;
        if shown && due {
            *last = Some(Instant::now());
            let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
            let end = if done >= total { "\n" } else { "" };
            // Nobody is left to tell if it can't be shown.
            let _ = write!(io::stderr().lock(), "\r{what}: {percent} %{end}");
        }
    }
}

/// The key in a file, on standard input (`-`), or typed.
fn read_key(from: Option<&Path>) -> Result<RecoveryKey, Failure> {
    let text = match from {
        Some(path) => input::file_or_stdin(path)?,
        None => input::secret("Recovery key (64 characters): ")?,
    };
    Ok(text.parse()?)
}

pub(super) async fn export(file: &BackupFile, client: &Client, output: &Output) -> Written {
    let (key, fresh) = match &file.recovery_key_file {
        Some(path) => (read_key(Some(path))?, false),
        None => (RecoveryKey::generate(), true),
    };
    let report = client.export_backup(&file.path, &key, progress("Backup", output)).await?;
    let said = said("Backup written", &file.path, &report);
    output.result(
        || {
            let key = if fresh { shown(&key) } else { String::new() };
            format!("{said}{key}")
        },
        || {
            let mut value = json::backup(&file.path, &report);
            if let (true, Some(object)) = (fresh, value.as_object_mut()) {
                object.insert("recovery_key".into(), key.to_text().as_str().into());
            }
            value
        },
    )
}

/// The key, once.
fn shown(key: &RecoveryKey) -> String {
    let lines = key.lines().map(|line| format!("    {}\n", *line)).concat();
    format!(
        "\n\nRecovery key:\n\n{lines}\nWrite it down, and keep it apart from the backup: it is not \
         shown again, and nobody can\nopen the backup without it. `backup export \
         --recovery-key-file` makes further backups\nunder the same key."
    )
}

pub(super) async fn import(import: &BackupImport, access: &Access, output: &Output) -> Written {
    access.must_be_absent()?;
    let key = read_key(import.file.recovery_key_file.as_deref())?;
    let builder = access.builder().secret(access.new_secret()?);
    let path = &import.file.path;
    let (client, report) = builder.restore(path, &key, progress("Restore", output)).await?;
    let me = client.me();
    client.close().await;
    let directory = access.directory().display().to_string();
    output.result(
        || {
            format!(
                "{}\nProfile of {} in {}\nFingerprint: {}\n\nThis is a new device of the account. \
                 With the next `receive` or `send` the conversations go on;\nyour contacts need do \
                 nothing. Do not use the device any more that the backup was made on.",
                said("Restored", path, &report),
                safe_text::line(&me.name),
                safe_text::line(&directory),
                me.account,
            )
        },
        || {
            let mut value = json::backup(path, &report);
            if let Some(object) = value.as_object_mut() {
                object.insert("profile".into(), directory.clone().into());
                object.insert("me".into(), json::me(&me));
            }
            value
        },
    )
}

pub(super) async fn check(file: &BackupFile, output: &Output) -> Written {
    let key = read_key(file.recovery_key_file.as_deref())?;
    let report = check_backup(&file.path, &key, progress("Check", output)).await?;
    output.result(
        || said("The backup is whole, and this is its key", &file.path, &report),
        || json!({ "whole": true, "backup": json::backup(&file.path, &report) }),
    )
}

fn said(what: &str, path: &Path, report: &BackupReport) -> String {
    let BackupReport { contacts, messages, bytes, made } = report;
    let path = safe_text::line(&path.display().to_string());
    format!(
        "{what}: {path}\n{contacts} contacts, {messages} messages, {bytes} bytes, made {}",
        time::minute(*made)
    )
}
