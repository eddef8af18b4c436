//! What the system says about processes and disks.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Result;
use crate::latency::Latencies;

/// Resident memory of a process, in KiB (`VmRSS`, Linux).
pub(crate) fn resident_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
    Ok(number.parse()?)
}

/// File descriptors that a process has open (Linux).
pub(crate) fn descriptors(pid: u32) -> Result<u64> {
    Ok(u64::try_from(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())?)
}

/// Files below a directory, and their bytes. What disappears meanwhile is not counted.
pub(crate) fn files(directory: &Path) -> Result<(u64, u64)> {
    let (mut count, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        let (more, size) =
            if metadata.is_dir() { files(&entry.path())? } else { (1, metadata.len()) };
        count += more;
        bytes += size;
    }
    Ok((count, bytes))
}

/// Time that a process has had on processors (Linux, at its usual 100 ticks a second).
pub(crate) fn processor_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name is in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')').ok_or("no name in stat")?;
    let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks.sum::<std::result::Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks.saturating_mul(10)))
}

/// Datagrams that the system dropped because a socket on this port had no room for them (Linux).
pub(crate) fn lost_datagrams(port: u16) -> Result<u64> {
    let (table, ending) = (std::fs::read_to_string("/proc/net/udp")?, format!(":{port:04X}"));
    let sockets = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.nth(1).filter(|local| local.ends_with(&ending))?;
        words.last()
    });
    Ok(sockets.map(str::parse::<u64>).sum::<std::result::Result<u64, _>>()?)
}

/// Mean number of processes that wanted a processor in the last minute.
pub(crate) fn busy() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}

/// A directory for a store.
pub(crate) fn directory(on: Option<PathBuf>) -> Result<tempfile::TempDir> {
    Ok(match on {
        Some(path) => tempfile::tempdir_in(path)?,
        None => tempfile::tempdir()?,
    })
}

/// The disk alone, for five seconds.
pub(crate) fn fsync(on: Option<PathBuf>) -> Result {
    let directory = directory(on)?;
    let mut file = File::create(directory.path().join("fsync"))?;
    let (start, mut times) = (Instant::now(), Latencies::default());
    while start.elapsed() < Duration::from_secs(5) {
        let begun = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.add(begun.elapsed());
    }
    println!("bare 4 KiB write and fdatasync: {}", times.summary(start.elapsed()));
    Ok(())
}
