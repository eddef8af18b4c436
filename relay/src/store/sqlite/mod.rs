//! The store on SQLite: the default.
//!
//! One writer; WAL with `synchronous=FULL`. Deliveries and acknowledgements commit to one file, the
//! newest day's queue. Rows stand in order of arrival, with an index by mailbox; each day's file is
//! removed whole. The module `schema` lists the files and tables, `keys` says how an envelope is wrapped.

mod keys;
mod queue;
mod reader;
mod records;
pub(crate) mod schema;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::Connection;
use undertone_wire::frame::Acknowledgement;
use undertone_wire::limits::MAX_RETENTION_DAYS;
use undertone_wire::{
    BlobId, Day, EnvelopeHash, ErrorCode, Incarnation, MailboxId, WriteCapabilityHash,
};

use super::rules::{Entry, Mailbox, Offer, hours, maintenance_clock};
use super::{Answer, Command, Outcome, Policy, Reader, Store, StoreFailure};
use queue::{Days, Queue};
use records::Records;
use schema::Database;

/// Mailboxes kept in memory, in each of two generations. A mailbox costs a few hundred bytes, and
/// some 50 for each envelope it holds.
const CACHED_MAILBOXES: usize = 20_000;

/// Days after the last on which a queue file is still kept, so that a clock that is set forward and
/// back again destroys nothing.
const GRACE_DAYS: u32 = 2;

/// Queue files that may go at a time: as many as pass in two days.
const REMOVALS_AT_A_TIME: usize = 2;

/// The store on SQLite.
pub struct SqliteStore {
    directory: PathBuf,
    incarnation: Incarnation,
    records: Records,
    key_database: Connection,
    queues: BTreeMap<Day, Queue>,
    days: Days,
    newest: Option<Day>,
    retention: u32,
    /// By which everything is removed; `None` until the first commit.
    maintenance: Option<u32>,
    cache: Cache,
}

/// What is asked for often: two generations, the older of which is dropped when the newer is full.
#[derive(Default)]
struct Cache {
    young: HashMap<MailboxId, Mailbox>,
    old: HashMap<MailboxId, Mailbox>,
    capabilities: HashMap<WriteCapabilityHash, MailboxId>,
}

impl Cache {
    fn take(&mut self, mailbox: MailboxId) -> Option<Mailbox> {
        self.young.remove(&mailbox).or_else(|| self.old.remove(&mailbox))
    }

    fn put(&mut self, id: MailboxId, mailbox: Mailbox) {
        if self.young.len() >= CACHED_MAILBOXES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, mailbox);
    }

    fn remember(&mut self, capability: WriteCapabilityHash, mailbox: MailboxId) {
        if self.capabilities.len() >= CACHED_MAILBOXES {
            self.capabilities.clear();
        }
        self.capabilities.insert(capability, mailbox);
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Files are made in this order: `relay.db`, `keys.db`, queues. One without those before it is no
/// new store but what is left of an old one.
fn check_files(directory: &Path) -> Result<(), StoreFailure> {
    let there = |database: Database| directory.join(database.file_name()).try_exists();
    let (relay, keys) = (there(Database::Relay)?, there(Database::Keys)?);
    let queues = !schema::queue_days(directory)?.is_empty();
    if !relay && (keys || queues) {
        return Err(StoreFailure::Damaged("the file relay.db is missing"));
    }
    if !keys && queues {
        return Err(StoreFailure::Damaged("the file keys.db is missing"));
    }
    Ok(())
}

/// Bytes or rows as the store checks them on opening.
fn check_high_water(records: &Records, day: Day, queue: &Queue) -> Result<(), StoreFailure> {
    if queue.high_water()? < records.high_water(day)? {
        return Err(StoreFailure::Damaged("a queue file is older than the rest of the store"));
    }
    Ok(())
}

impl SqliteStore {
    /// Opens what is not a queue, beside a relay that may be running: for operator commands.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub(crate) fn open_records_only(directory: &Path) -> Result<Self, StoreFailure> {
        schema::check_sqlite()?;
        check_files(directory)?;
        let mut records = Records::open(directory)?;
        let incarnation = records.incarnation()?;
        let key_database = schema::open(directory, Database::Keys)?;
        let maintenance = records.maintenance_clock()?;
        Ok(Self {
            directory: directory.to_owned(),
            incarnation,
            records,
            key_database,
            queues: BTreeMap::new(),
            days: Arc::new(RwLock::new(BTreeMap::new())),
            newest: None,
            retention: MAX_RETENTION_DAYS,
            maintenance,
            cache: Cache::default(),
        })
    }

    /// Opens the store in a directory, or makes one. The caller holds the directory's lock.
    ///
    /// `retention` is how many days an envelope is kept, at most [`MAX_RETENTION_DAYS`].
    ///
    /// # Errors
    /// [`StoreFailure`]; a damaged store is reported and left as it is.
    pub fn open(directory: &Path, retention: u32) -> Result<Self, StoreFailure> {
        let mut store = Self::open_records_only(directory)?;
        store.retention = retention.min(MAX_RETENTION_DAYS);
        store.finish_removals()?;
        let days = schema::queue_days(directory)?;
        // A day has its mark from when its file was made, before anything was in it.
        if store.records.high_water_days()?.iter().any(|day| !days.contains(day)) {
            return Err(StoreFailure::Damaged("a queue file is missing"));
        }
        for day in days {
            store.open_queue(day)?;
            if let Some(queue) = store.queues.get(&day) {
                check_high_water(&store.records, day, queue)?;
            }
        }
        store.newest = store.queues.keys().next_back().copied();
        for (day, queue) in &store.queues {
            if Some(*day) != store.newest {
                queue.retire()?;
            }
        }
        Ok(store)
    }

    /// What sequences and floors belong to.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The blobs that are announced and neither deleted nor expired: others need no files.
    pub(crate) fn blob_ids(&self) -> Result<Vec<BlobId>, StoreFailure> {
        self.records.blob_ids()
    }

    fn open_queue(&mut self, day: Day) -> Result<(), StoreFailure> {
        let queue = Queue::open(&self.directory, &self.key_database, day)?;
        let mut days = self.days.write().unwrap_or_else(PoisonError::into_inner);
        days.insert(day, queue.keys());
        self.queues.insert(day, queue);
        Ok(())
    }

    /// The file that today's envelopes go to.
    fn current(&mut self, today: Day) -> Result<&mut Queue, StoreFailure> {
        let day = today.plus(self.retention);
        if self.newest != Some(day) {
            self.change_day(day)?;
        }
        self.queues.get_mut(&day).ok_or(StoreFailure::Damaged("a queue file disappeared"))
    }

    fn change_day(&mut self, day: Day) -> Result<(), StoreFailure> {
        if let Some(old) = self.newest.and_then(|day| self.queues.get_mut(&day)) {
            // Half of a batch may be in the old file: it must be durable before the next is.
            old.commit()?;
            old.retire()?;
        }
        // A file that was retired under another clock is opened anew to be written in full again.
        self.queues.remove(&day);
        if self.records.removals()?.contains(&day) {
            // The clock was set back behind a day that has passed. Its file is gone; nothing waits
            // any longer for its old key, which the next checkpoint overwrites.
            self.records.end_removal(day)?;
        }
        self.open_queue(day)?;
        if let Some(queue) = self.queues.get(&day) {
            // From here on a missing file is noticed.
            self.records.set_high_water(day, queue.high_water()?)?;
            self.records.commit()?;
        }
        self.newest = Some(day);
        Ok(())
    }

    /// Takes a mailbox out of the cache or reads it; `None` if there is none.
    fn mailbox(&mut self, id: MailboxId) -> Result<Option<Mailbox>, StoreFailure> {
        if let Some(mailbox) = self.cache.take(id) {
            return Ok(Some(mailbox));
        }
        let Some(row) = self.records.mailbox(id)? else { return Ok(None) };
        let (mut acknowledged, mut entries) = (row.acknowledged, Vec::<Entry>::new());
        for queue in self.queues.values() {
            let (floor, more) = queue.load(id)?;
            acknowledged = acknowledged.max(floor);
            entries.extend(more);
        }
        entries.sort_unstable_by_key(|entry| entry.seq);
        let floors = (acknowledged, row.expired);
        Ok(Some(Mailbox::new(row.limits, row.expires, floors, entries)))
    }

    /// Runs a change on a mailbox and keeps it in the cache.
    fn with_mailbox(
        &mut self,
        id: MailboxId,
        change: impl FnOnce(&mut Self, &mut Mailbox) -> Result<Answer, StoreFailure>,
    ) -> Result<Answer, StoreFailure> {
        let Some(mut mailbox) = self.mailbox(id)? else { return Ok(Err(ErrorCode::Unknown)) };
        let answer = change(self, &mut mailbox)?;
        self.cache.put(id, mailbox);
        Ok(answer)
    }

    fn deliver(
        &mut self,
        today: Day,
        capability: WriteCapabilityHash,
        envelope: &[u8],
    ) -> Result<Answer, StoreFailure> {
        let id = match self.cache.capabilities.get(&capability) {
            Some(id) => *id,
            None => match self.records.mailbox_of(capability)? {
                Some(id) => {
                    self.cache.remember(capability, id);
                    id
                }
                None => return Ok(Err(ErrorCode::Unknown)),
            },
        };
        self.with_mailbox(id, |store, mailbox| {
            let hash = EnvelopeHash::of(envelope);
            let bytes = u64::try_from(envelope.len()).unwrap_or(u64::MAX);
            let seq = match mailbox.offer(hash, bytes) {
                Ok(Offer::Next(seq)) => seq,
                Ok(Offer::Known) => return Ok(Ok(Outcome::Delivered { mailbox: id, new: false })),
                Err(code) => return Ok(Err(code)),
            };
            store.current(today)?.insert(id, seq, hash, envelope)?;
            mailbox.push(Entry { seq, bytes, hash });
            Ok(Ok(Outcome::Delivered { mailbox: id, new: true }))
        })
    }

    fn acknowledge(&mut self, today: Day, ack: &Acknowledgement) -> Result<Answer, StoreFailure> {
        if ack.incarnation != self.incarnation {
            return Ok(Err(ErrorCode::OtherIncarnation));
        }
        self.with_mailbox(ack.mailbox, |store, mailbox| {
            let floor = match mailbox.offer_floor(ack.floor) {
                Ok(Some(floor)) => floor,
                Ok(None) => return Ok(Ok(Outcome::Done)),
                Err(code) => return Ok(Err(code)),
            };
            store.current(today)?.set_floor(ack.mailbox, floor)?;
            mailbox.acknowledge(floor);
            for queue in store.queues.values_mut() {
                queue.delete_behind(ack.mailbox, mailbox.floor(), mailbox.forgotten())?;
            }
            Ok(Ok(Outcome::Done))
        })
    }

    fn execute(&mut self, today: Day, command: &Command) -> Result<Answer, StoreFailure> {
        match command {
            Command::Deliver { capability, envelope } => self.deliver(today, *capability, envelope),
            Command::Acknowledge(ack) => self.acknowledge(today, ack),
            Command::CreateMailbox { key, token, kind, limits, capabilities } => {
                let id = key.mailbox();
                if self.mailbox_is_absent(id)? {
                    // What an earlier mailbox with this key left would count as this one's.
                    for queue in self.queues.values_mut() {
                        queue.purge(id)?;
                    }
                }
                let made = self.records.create(today, *key, token, *kind, *limits, capabilities)?;
                match made {
                    Ok(()) => self.state(id),
                    Err(code) => Ok(Err(code)),
                }
            }
            Command::SetLimits(id, limits) => self.with_mailbox(*id, |store, mailbox| {
                mailbox.limits = super::rules::effective(Some(*limits));
                store.records.set_limits(*id, mailbox.limits)?;
                Ok(Ok(Outcome::Done))
            }),
            Command::AddCapabilities(id, hashes) => self.records.add_capabilities(*id, hashes),
            Command::RevokeCapabilities(id, hashes) => {
                for hash in hashes {
                    self.cache.capabilities.remove(hash);
                }
                self.records.revoke_capabilities(*id, hashes)
            }
            Command::Status(id) => self.state(*id),
            Command::Visit(id) => {
                let renewed = super::rules::idle_expiry(today);
                let visited = self.with_mailbox(*id, |store, mailbox| {
                    if mailbox.expires.days_until(renewed) >= super::rules::RENEW_AFTER_DAYS {
                        store.records.renew(*id, renewed)?;
                        mailbox.expires = renewed;
                    }
                    Ok(Ok(Outcome::Done))
                })?;
                if visited.is_err() { Ok(visited) } else { self.state(*id) }
            }
            Command::DeleteMailbox(id) => self.delete_mailbox(*id),
            other => self.records.execute(today, other, self.incarnation),
        }
    }

    fn mailbox_is_absent(&mut self, id: MailboxId) -> Result<bool, StoreFailure> {
        Ok(self.records.mailbox(id)?.is_none())
    }

    fn state(&mut self, id: MailboxId) -> Result<Answer, StoreFailure> {
        self.with_mailbox(id, |store, mailbox| {
            Ok(Ok(Outcome::Mailbox(mailbox.state(store.incarnation))))
        })
    }

    fn delete_mailbox(&mut self, id: MailboxId) -> Result<Answer, StoreFailure> {
        if self.mailbox_is_absent(id)? {
            return Ok(Err(ErrorCode::Unknown));
        }
        self.cache.take(id);
        self.cache.capabilities.retain(|_, mailbox| *mailbox != id);
        // First the record, so that a crash in between leaves rows that nobody can reach rather
        // than a mailbox that lost its envelopes.
        self.records.delete_mailbox(id)?;
        self.records.commit()?;
        for queue in self.queues.values_mut() {
            queue.purge(id)?;
        }
        Ok(Ok(Outcome::Done))
    }

    fn set_maintenance(&mut self, hours: u32) -> Result<(), StoreFailure> {
        if self.maintenance != Some(hours) {
            self.records.set_maintenance_clock(hours)?;
            self.maintenance = Some(hours);
        }
        Ok(())
    }

    fn commit_all(&mut self) -> Result<(), StoreFailure> {
        self.records.commit()?;
        // First the newest: floors are there, and what they repeat, the deletions in older files,
        // must not be durable before them.
        if let Some(newest) = self.newest.and_then(|day| self.queues.get_mut(&day)) {
            newest.commit()?;
        }
        for queue in self.queues.values_mut() {
            queue.commit()?;
        }
        Ok(())
    }

    /// Moves the floors that a queue file knows to the mailboxes' records, then removes its key and
    /// the file.
    fn remove_queue(&mut self, day: Day) -> Result<(), StoreFailure> {
        let Some(queue) = self.queues.remove(&day) else { return Ok(()) };
        for id in self.records.mailbox_ids()? {
            let (acknowledged, entries) = queue.load(id)?;
            let last = entries.iter().filter(|entry| entry.bytes > 0).map(|entry| entry.seq).max();
            if acknowledged > 0 || last.is_some() {
                self.records.raise_floors(id, acknowledged, last.unwrap_or(0))?;
            }
        }
        self.records.begin_removal(day)?;
        self.records.commit()?;
        self.days.write().unwrap_or_else(PoisonError::into_inner).remove(&day);
        drop(queue);
        if self.newest == Some(day) {
            self.newest = None;
        }
        self.cache.clear();
        self.finish_removals()
    }

    /// Removes keys and files of the days whose removal has begun. A removal is over when the key
    /// is overwritten in the file of keys; while a reader hinders that, it waits for the next time.
    fn finish_removals(&mut self) -> Result<(), StoreFailure> {
        for day in self.records.removals()? {
            // The key goes first and for good (`secure_delete`): without it the file is noise.
            self.key_database.execute("DELETE FROM day_key WHERE day = ?1", [day.get()])?;
            schema::remove_queue(&self.directory, day)?;
            if schema::checkpoint(&self.key_database)? {
                self.records.end_removal(day)?;
            }
        }
        Ok(())
    }
}

impl Store for SqliteStore {
    fn commit(&mut self, today: Day, batch: &[Command]) -> Result<Vec<Answer>, StoreFailure> {
        if self.maintenance.is_none() {
            self.set_maintenance(hours(today))?;
        }
        let mut answers = Vec::with_capacity(batch.len());
        for command in batch {
            answers.push(self.execute(today, command)?);
        }
        self.commit_all()?;
        Ok(answers)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreFailure> {
        Ok(Box::new(reader::SqliteReader::new(self.directory.clone(), self.days.clone())))
    }

    fn expire(&mut self, today: Day, observed_hours: u32) -> Result<Vec<BlobId>, StoreFailure> {
        let now = self.maintenance.unwrap_or(hours(today));
        let now = maintenance_clock(now, today, observed_hours);
        self.set_maintenance(now)?;
        self.records.commit()?;
        // Behind a clock that was set back nothing is removed either.
        let today = today.min(Day::new(now / 24));
        let passed: Vec<Day> =
            self.queues.keys().copied().filter(|day| day.plus(GRACE_DAYS) < today).collect();
        for day in passed.into_iter().take(REMOVALS_AT_A_TIME) {
            self.remove_queue(day)?;
        }
        self.finish_removals()?;
        let blobs = self.records.expire(today)?;
        for id in self.records.idle_mailboxes(today)? {
            let _ = self.delete_mailbox(id)?;
        }
        self.commit_all()?;
        Ok(blobs)
    }

    fn set_policy(&mut self, policy: &Policy) {
        self.retention = policy.retention_days.min(MAX_RETENTION_DAYS);
        self.records.quotas = policy.quotas;
    }

    fn close(mut self: Box<Self>) -> Result<(), StoreFailure> {
        for (day, queue) in &self.queues {
            queue.checkpoint()?;
            self.records.set_high_water(*day, queue.high_water()?)?;
        }
        self.records.commit()?;
        self.records.checkpoint()?;
        self.finish_removals()?;
        schema::checkpoint(&self.key_database)?;
        Ok(())
    }
}

/// Opens envelopes for whoever inspects the store: see [`crate::operator`].
pub(crate) struct Opener {
    keys: keys::DayKeys,
}

impl Opener {
    /// The opener of a day's file, if its key is there.
    pub(crate) fn new(key_database: &Connection, day: Day) -> Result<Option<Self>, StoreFailure> {
        let Some(key) = queue::read_key(key_database, day)? else { return Ok(None) };
        Ok(Some(Self { keys: keys::DayKeys::new(day, &key)? }))
    }

    /// How the file names a mailbox.
    pub(crate) fn tag(&self, mailbox: MailboxId) -> [u8; 16] {
        self.keys.tag(mailbox)
    }

    /// The envelope in a row.
    pub(crate) fn open(&self, mailbox: MailboxId, seq: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        self.keys.open(mailbox, seq, sealed)
    }

    /// The envelope's hash in a row.
    pub(crate) fn hash(&self, mailbox: MailboxId, seq: u64, mark: [u8; 16]) -> [u8; 16] {
        self.keys.mask(mailbox, seq, mark)
    }
}
