//! Reads queued envelopes beside the writer.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};
use undertone_wire::{Day, MailboxId, Seq};

use super::keys::DayKeys;
use super::queue::{Days, floor_of, integer, natural, snapshot};
use super::schema::{self, Database};
use crate::store::{Queued, Reader, StoreFailure};

/// A reader with connections of its own, opened when first needed.
pub(super) struct SqliteReader {
    directory: PathBuf,
    days: Days,
    queues: HashMap<Day, Connection>,
    records: Option<Connection>,
}

impl SqliteReader {
    pub(super) fn new(directory: PathBuf, days: Days) -> Self {
        Self { directory, days, queues: HashMap::new(), records: None }
    }

    fn queue(&mut self, day: Day) -> Result<&Connection, StoreFailure> {
        Ok(match self.queues.entry(day) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(schema::open_read_only(&self.directory, Database::Queue(day))?)
            }
        })
    }

    /// The higher floor of a mailbox, wherever it is stored. What is damaged counts as none: then
    /// more is reported as missing rather than less.
    fn floor(&mut self, days: &[LiveDay], mailbox: MailboxId) -> Result<u64, StoreFailure> {
        let records = match &mut self.records {
            Some(records) => records,
            none => none.insert(schema::open_read_only(&self.directory, Database::Relay)?),
        };
        let stored: Option<i64> = records
            .prepare_cached(
                "SELECT max(acknowledged, expired) FROM mailbox WHERE id = ?1 AND intact",
            )?
            .query_row([mailbox.as_bytes()], |row| row.get(0))
            .optional()?;
        let mut floor = natural(stored.unwrap_or(0))?;
        for (day, keys) in days {
            let here = floor_of(self.queue(*day)?, keys.tag(mailbox))?;
            floor = floor.max(here.unwrap_or(0));
        }
        Ok(floor)
    }
}

type LiveDay = (Day, Arc<DayKeys>);

/// What of a mailbox is in one file. A row that neither opens at its position nor has a mark of it
/// is not of that position and is left out: it shows as missing where it was.
fn read(
    queue: &Connection,
    keys: &DayKeys,
    mailbox: MailboxId,
    (from, limit): (i64, i64),
    found: &mut Vec<Queued>,
) -> Result<(), StoreFailure> {
    let mut statement = queue.prepare_cached(
        "SELECT seq, sealed, mark FROM envelope
         WHERE tag = ?1 AND seq > ?2 AND sealed IS NOT NULL ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = statement.query(params![keys.tag(mailbox), from, limit])?;
    while let Some(row) = rows.next()? {
        let (seq, sealed) = (natural(row.get(0)?)?, row.get_ref(1)?.as_bytes());
        let envelope = sealed.ok().and_then(|sealed| keys.open(mailbox, seq, sealed));
        if envelope.is_none() {
            let mark = row.get_ref(2)?.as_bytes().ok().and_then(|mark| mark.try_into().ok());
            if mark.and_then(|mark| keys.unmark(mailbox, seq, mark)).is_none() {
                continue;
            }
        }
        found.push(Queued { seq: Seq::new(seq), envelope });
    }
    Ok(())
}

impl Reader for SqliteReader {
    fn after(
        &mut self,
        mailbox: MailboxId,
        position: Seq,
        count: usize,
    ) -> Result<Vec<Queued>, StoreFailure> {
        let days = snapshot(&self.days);
        self.queues.retain(|day, _| days.iter().any(|(live, _)| live == day));
        let bounds = (integer(position.get())?, i64::try_from(count).unwrap_or(i64::MAX));
        let mut found = Vec::new();
        for (day, keys) in &days {
            read(self.queue(*day)?, keys, mailbox, bounds, &mut found)?;
        }
        // A clock that was set back puts later envelopes into an earlier day's file.
        found.sort_unstable_by_key(|queued| queued.seq);
        found.truncate(count);
        let contiguous = (position.get().saturating_add(1)..).zip(&found);
        if contiguous.into_iter().all(|(expected, queued)| queued.seq.get() == expected) {
            return Ok(found);
        }
        // Acknowledged or expired meanwhile, or lost: positions are contiguous behind the floor.
        let floor = self.floor(&days, mailbox)?;
        Ok(with_missing(found, position.get().max(floor), count))
    }
}

/// Puts in, as damaged, the positions that are missing behind a floor.
fn with_missing(found: Vec<Queued>, floor: u64, count: usize) -> Vec<Queued> {
    let mut whole = Vec::new();
    let mut expected = floor.saturating_add(1);
    for queued in found {
        while expected < queued.seq.get() && whole.len() < count {
            whole.push(Queued { seq: Seq::new(expected), envelope: None });
            expected = expected.saturating_add(1);
        }
        if whole.len() >= count {
            break;
        }
        expected = expected.max(queued.seq.get().saturating_add(1));
        whole.push(queued);
    }
    whole
}
