//! Reads queued envelopes beside the writer.

use std::collections::HashMap;
use std::path::PathBuf;

use rusqlite::{Connection, params};
use undertone_wire::{Day, MailboxId, Seq};

use super::queue::{Days, integer, natural, snapshot};
use super::schema::{self, Database};
use crate::store::{Queued, Reader, StoreFailure};

/// A reader with connections of its own, opened when first needed.
pub(super) struct SqliteReader {
    directory: PathBuf,
    days: Days,
    open: HashMap<Day, Connection>,
}

impl SqliteReader {
    pub(super) fn new(directory: PathBuf, days: Days) -> Self {
        Self { directory, days, open: HashMap::new() }
    }
}

impl Reader for SqliteReader {
    fn after(
        &mut self,
        mailbox: MailboxId,
        position: Seq,
        count: usize,
    ) -> Result<Vec<Queued>, StoreFailure> {
        let days = snapshot(&self.days);
        self.open.retain(|day, _| days.iter().any(|(live, _)| live == day));
        let (from, limit) = (integer(position.get())?, i64::try_from(count).unwrap_or(i64::MAX));
        let mut found = Vec::new();
        for (day, keys) in days {
            let connection = match self.open.entry(day) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(schema::open_read_only(&self.directory, Database::Queue(day))?)
                }
            };
            let mut statement = connection.prepare_cached(
                "SELECT seq, sealed FROM envelope
                 WHERE tag = ?1 AND seq > ?2 AND sealed IS NOT NULL ORDER BY seq LIMIT ?3",
            )?;
            let rows = statement.query_map(params![keys.tag(mailbox), from, limit], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
            })?;
            for row in rows {
                let (seq, sealed) = row?;
                let seq = natural(seq)?;
                found.push(Queued {
                    seq: Seq::new(seq),
                    envelope: keys.open(mailbox, seq, &sealed),
                });
            }
        }
        // A clock that was set back puts later envelopes into an earlier day's file.
        found.sort_unstable_by_key(|queued| queued.seq);
        found.truncate(count);
        Ok(found)
    }
}
