//! Starting with many mailboxes.

use std::path::PathBuf;
use std::time::Instant;

use crate::child::RelayProcess;
use crate::system::{busy, directory};
use crate::{Result, people};

pub(crate) async fn run(on: Option<PathBuf>, mailboxes: u32) -> Result {
    let on_disk = |path: &std::path::Path| -> Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(undertone_relay::operator::Layout::new(path).store())? {
            bytes += entry?.metadata()?.len();
        }
        Ok(bytes)
    };
    let empty = directory(on.clone())?;
    let relay = RelayProcess::start(empty.path(), 0).await?;
    let without = relay.resident_kib()?;
    relay.stop().await?;
    let directory = directory(on)?;
    let begun = Instant::now();
    people::populate(directory.path(), 0, mailboxes).await?;
    let made = begun.elapsed();
    let bytes = on_disk(directory.path())?;
    // Once in order, once as after a power failure.
    let begun = Instant::now();
    let relay = RelayProcess::start(directory.path(), 0).await?;
    let (first, resident) = (begun.elapsed(), relay.resident_kib()?);
    relay.kill().await?;
    let begun = Instant::now();
    let relay = RelayProcess::start(directory.path(), 0).await?;
    let killed = begun.elapsed();
    println!(
        "{mailboxes} empty mailboxes (made in {made:?}): {} bytes each on disk; the relay starts in {first:?}, after a kill in {killed:?}, and has {resident} KiB resident ({without} KiB with none); load of the machine {}",
        bytes / u64::from(mailboxes.max(1)),
        busy()
    );
    relay.stop().await
}
