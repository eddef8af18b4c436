//! What is looked at.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::World;
use crate::Result;
use crate::child::RelayProcess;
use crate::system::{busy, descriptors, files, resident_kib};

/// The relay at one moment.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    at: Duration,
    memory: u64,
    descriptors: u64,
    files: u64,
    bytes: u64,
}

impl Sample {
    pub(super) const HEAD: &str =
        "minute  memory KiB  descriptors  files  KiB in files  delivered  received  load";

    pub(super) fn figures(self) -> [(&'static str, u64); 4] {
        [
            ("memory in KiB", self.memory),
            ("descriptors", self.descriptors),
            ("files", self.files),
            ("KiB in files", self.bytes / 1024),
        ]
    }
}

/// All samples.
pub(super) struct Watch {
    directory: PathBuf,
    samples: Vec<Sample>,
    shown: u64,
}

impl Watch {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), samples: Vec::new(), shown: 0 }
    }

    /// Looks, and prints a line for each minute.
    pub(super) fn look(&mut self, relay: &RelayProcess, world: &World) -> Result {
        let pid = relay.pid()?;
        let (files, bytes) = files(&self.directory)?;
        let sample = Sample {
            at: world.since.elapsed(),
            memory: resident_kib(pid)?,
            descriptors: descriptors(pid)?,
            files,
            bytes,
        };
        self.samples.push(sample);
        let minute = sample.at.as_secs() / 60;
        if minute > self.shown {
            self.shown = minute;
            let of =
                |n: &std::sync::atomic::AtomicU64| n.load(std::sync::atomic::Ordering::Relaxed);
            println!(
                "{minute:>6}  {:>10}  {:>11}  {:>5}  {:>12}  {:>9}  {:>8}  {}",
                sample.memory,
                sample.descriptors,
                files,
                bytes / 1024,
                of(&world.counts.delivered),
                of(&world.counts.received),
                busy()
            );
        }
        Ok(())
    }

    /// The medians of the `window` samples behind `warm`, and of the last ones; `None` if there are
    /// too few for both.
    pub(super) fn compare(&self, warm: Duration, window: usize) -> Option<(Sample, Sample)> {
        let first = self.samples.iter().position(|sample| sample.at >= warm)?;
        let behind = self.samples.get(first..)?;
        if behind.len() < 2 * window {
            return None;
        }
        let last = behind.get(behind.len().checked_sub(window)?..)?;
        Some((median(behind.get(..window)?)?, median(last)?))
    }
}

fn median(samples: &[Sample]) -> Option<Sample> {
    let middle = |of: fn(&Sample) -> u64| {
        let mut all: Vec<_> = samples.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    };
    Some(Sample {
        at: samples.last()?.at,
        memory: middle(|sample| sample.memory)?,
        descriptors: middle(|sample| sample.descriptors)?,
        files: middle(|sample| sample.files)?,
        bytes: middle(|sample| sample.bytes)?,
    })
}
