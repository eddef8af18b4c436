//! The store on SQLite: the default.
//!
//! One writer; WAL with `synchronous=FULL`. Deliveries and acknowledgements commit to one file, the
//! newest day's queue. Rows stand in order of arrival, with an index by mailbox; each day's file is
//! removed whole. The module `schema` lists the files and tables, `keys` says how an envelope is wrapped.

mod backup;
mod cache;
mod check;
mod erase;
mod keys;
mod look;
#[cfg(test)]
mod power_loss;
mod queue;
mod reader;
mod records;
pub(crate) mod schema;
mod sums;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::Connection;
use undertone_wire::frame::Acknowledgement;
use undertone_wire::limits::MAX_RETENTION_DAYS;
use undertone_wire::{
    BlobId, Day, EnvelopeHash, ErrorCode, Incarnation, MailboxId, Seq, WriteCapabilityHash,
};

use super::audit::{Action, AuditEntry};
use super::room::{Room, SystemDisk};
use super::rules::{Entry, Mailbox, Offer, hours, maintenance_clock};
use super::shares::Shares;
use super::{
    Answer, Command, DEFAULT_SHARE, Disk, Outcome, Policy, Reader, Removed, Store, StoreFailure,
};
pub(crate) use backup::{DayKey, Snapshot, is_whole};
use cache::Cache;
pub(crate) use check::{blob_records, check};
use queue::{Days, Queue};
use records::{Found, Records};
use schema::{Database, Upgrading};

/// Days after the last on which a queue file is still kept, so that a clock that is set forward and
/// back again destroys nothing.
const GRACE_DAYS: u32 = 2;

/// Hours of uptime after which another queue file may go: two in a day, whatever clocks say.
const HOURS_PER_REMOVAL: u32 = 12;

/// Uptime beyond this does not add up: a day's worth of removals at a time.
const MOST_CREDIT: u32 = 24;

/// What a row takes beside an envelope's bytes, in its table and in the index: counted rather too
/// high, since a page is never quite full.
const ROW_BYTES: u64 = 512;

/// The databases are measured anew after so many bytes that came in: 1 MiB.
const MEASURE_AFTER: u64 = 1 << 20;

/// Beside the databases: the last entry of the audit log, against which its end is checked.
pub(crate) const AUDIT_HEAD: &str = "audit.head";

fn size_of_fill(fill: &super::DepotFill) -> u64 {
    let bundles = fill.one_time.iter().chain(&fill.last_resort);
    let bytes = bundles.map(|bundle| u64::try_from(bundle.len()).unwrap_or(u64::MAX));
    bytes.fold(ROW_BYTES, |sum, bytes| sum.saturating_add(bytes).saturating_add(ROW_BYTES))
}

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
    /// Hours of uptime for which no queue file went yet.
    credit: u32,
    /// The operator said that the clock is right: all that has passed may go.
    catching_up: bool,
    /// As `maintenance`, for who shows it.
    shown_clock: Arc<AtomicU32>,
    room: Arc<Room>,
    /// Bytes accepted since the files were measured.
    unmeasured: u64,
    /// As [`Records::erasures`] when it was last looked at.
    erasures: u64,
    erased_elsewhere: bool,
    shares: Shares,
    /// As [`Policy::share`].
    share: u32,
    shares_reached: u64,
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
        Self::open_with(directory, Upgrading::No)
    }

    fn open_with(directory: &Path, upgrading: Upgrading) -> Result<Self, StoreFailure> {
        schema::check_sqlite()?;
        check_files(directory)?;
        let mut records = Records::open(directory, upgrading)?;
        let incarnation = records.incarnation()?;
        let key_database = schema::open(directory, Database::Keys, upgrading)?;
        let maintenance = records.maintenance_clock()?;
        records.removal = Day::new(maintenance.unwrap_or(0) / 24);
        let erasures = records.erasures()?;
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
            credit: 0,
            catching_up: false,
            shown_clock: Arc::new(AtomicU32::new(maintenance.unwrap_or(0))),
            room: Arc::new(Room::new(directory, Arc::new(SystemDisk))),
            unmeasured: 0,
            erasures,
            erased_elsewhere: false,
            shares: Shares::default(),
            share: DEFAULT_SHARE,
            shares_reached: 0,
        })
    }

    /// Opens the store in a directory, or makes one. The caller holds the directory's lock.
    ///
    /// `retention` is how many days an envelope is kept, at most [`MAX_RETENTION_DAYS`].
    ///
    /// # Errors
    /// [`StoreFailure`]; a damaged store is reported and left as it is.
    pub fn open(directory: &Path, retention: u32) -> Result<Self, StoreFailure> {
        let mut store = Self::open_with(directory, Upgrading::Yes)?;
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
        for (day, queue) in &mut store.queues {
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

    /// Lets the files grow by so many pages and no more, as a full disk would; `None` is no bound.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn limit_pages(&self, pages: Option<u32>) {
        let queues = self.queues.values().map(Queue::connection);
        for connection in queues.chain([self.records.connection()]) {
            let count =
                connection.pragma_query_value::<u32, _>(None, "page_count", |row| row.get(0));
            let most = pages.map_or(u32::MAX - 1, |pages| count.unwrap_or(0).saturating_add(pages));
            // Answers with the bound that holds.
            let _ = connection.pragma_update_and_check(None, "max_page_count", most, |_| Ok(()));
        }
    }

    /// Asks another disk how much is free: for tests.
    #[must_use]
    pub fn with_disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.room = Arc::new(Room::new(&self.directory, disk));
        self
    }

    /// The clock of removal, in hours since 1970-01-01; 0 before the first commit.
    pub(crate) fn removal_clock(&self) -> Arc<AtomicU32> {
        self.shown_clock.clone()
    }

    /// How much room there is; whoever writes blobs counts them there.
    pub(crate) fn room(&self) -> Arc<Room> {
        self.room.clone()
    }

    /// The operator's log, in order.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub fn audit_log(&self) -> Result<Vec<AuditEntry>, StoreFailure> {
        self.records.audit_log()
    }

    /// Lets the maintenance clock catch up with the machine's at once, because the operator says
    /// that it is right; what has expired goes with the next [`Store::expire`].
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub fn accept_clock(&mut self, today: Day) -> Result<(), StoreFailure> {
        self.set_maintenance(hours(today))?;
        self.catching_up = true;
        self.commit(today, &[Command::Audit(Action::ClockAccepted)])?;
        Ok(())
    }

    fn open_queue(&mut self, day: Day) -> Result<(), StoreFailure> {
        let queue = Queue::open(&self.directory, &self.key_database, day)?;
        let mut days = self.days.write().unwrap_or_else(PoisonError::into_inner);
        days.insert(day, queue.keys());
        self.queues.insert(day, queue);
        Ok(())
    }

    /// The later of the two clocks' days.
    fn later(&self, today: Day) -> Day {
        today.max(self.records.removal)
    }

    /// The file that today's envelopes go to. By the later of the two clocks: a machine's clock that
    /// is behind must not put envelopes where they expire when it is set right.
    fn current(&mut self, today: Day) -> Result<&mut Queue, StoreFailure> {
        let day = self.later(today).plus(self.retention);
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
    fn mailbox(&mut self, id: MailboxId) -> Result<Found<Mailbox>, StoreFailure> {
        if let Some(mailbox) = self.cache.take(id) {
            return Ok(Ok(Some(mailbox)));
        }
        let row = match self.records.mailbox(id)? {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(Ok(None)),
            Err(code) => return Ok(Err(code)),
        };
        let (mut acknowledged, mut entries) = (row.acknowledged, Vec::<Entry>::new());
        for queue in self.queues.values() {
            let (floor, more) = match queue.load(id)? {
                Ok(loaded) => loaded,
                Err(code) => return Ok(Err(code)),
            };
            acknowledged = acknowledged.max(floor);
            entries.extend(more);
        }
        entries.sort_unstable_by_key(|entry| entry.seq);
        let floors = (acknowledged, row.expired);
        // What outlived its deletion, which a crash can bring about in older files.
        let floor = acknowledged.max(row.expired);
        let is_stale = |entry: &&Entry| entry.seq <= floor && entry.bytes > 0;
        let stale: BTreeSet<Day> = entries.iter().filter(is_stale).map(|e| e.day).collect();
        let mailbox = Mailbox::new(row.limits, row.expires, floors, entries);
        for day in stale {
            if let Some(queue) = self.queues.get_mut(&day) {
                queue.delete_behind(id, mailbox.floor(), mailbox.forgotten())?;
            }
        }
        Ok(Ok(Some(mailbox)))
    }

    /// Runs a change on a mailbox and keeps it in the cache.
    fn with_mailbox(
        &mut self,
        id: MailboxId,
        change: impl FnOnce(&mut Self, &mut Mailbox) -> Result<Answer, StoreFailure>,
    ) -> Result<Answer, StoreFailure> {
        let mut mailbox = match self.mailbox(id)? {
            Ok(Some(mailbox)) => mailbox,
            Ok(None) => return Ok(Err(ErrorCode::Unknown)),
            Err(code) => return Ok(Err(code)),
        };
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
                Ok(Some(id)) => {
                    self.cache.remember(capability, id);
                    id
                }
                Ok(None) => return Ok(Err(ErrorCode::Unknown)),
                Err(code) => return Ok(Err(code)),
            },
        };
        self.with_mailbox(id, |store, mailbox| {
            let hash = EnvelopeHash::of(envelope);
            let bytes = u64::try_from(envelope.len()).unwrap_or(u64::MAX);
            let seq = match mailbox.offer(hash, bytes) {
                Ok(Offer::Next(seq)) => seq,
                Ok(Offer::Known) => return Ok(Ok(Outcome::Delivered { mailbox: id, new: None })),
                Err(code) => return Ok(Err(code)),
            };
            if store.has_its_share(id, capability, bytes, mailbox)? {
                store.shares_reached = store.shares_reached.saturating_add(1);
                return Ok(Err(ErrorCode::MailboxFull));
            }
            let size = bytes.saturating_add(ROW_BYTES);
            if let Err(code) = store.room.promise(size) {
                return Ok(Err(code));
            }
            store.unmeasured = store.unmeasured.saturating_add(size);
            let queue = store.current(today)?;
            let day = queue.day();
            queue.insert(id, seq, hash, envelope)?;
            mailbox.push(Entry { seq, day, bytes, hash });
            store.shares.push(id, capability, seq, bytes);
            Ok(Ok(Outcome::Delivered { mailbox: id, new: Some(Seq::new(seq)) }))
        })
    }

    /// Whether so many bytes more would be more than one capability may take of a mailbox that has
    /// others.
    fn has_its_share(
        &mut self,
        id: MailboxId,
        capability: WriteCapabilityHash,
        bytes: u64,
        mailbox: &Mailbox,
    ) -> Result<bool, StoreFailure> {
        let exceeds =
            |shares: &Shares| shares.exceeds(id, capability, bytes, mailbox.limits, self.share);
        if !exceeds(&self.shares) {
            return Ok(false);
        }
        // What expired meanwhile is counted until somebody looks.
        self.shares.release(id, mailbox.floor());
        Ok(exceeds(&self.shares) && self.records.has_other_capability(id, capability)?)
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
            let days = mailbox.acknowledge(floor);
            store.shares.release(ack.mailbox, mailbox.floor());
            for day in days {
                if let Some(queue) = store.queues.get_mut(&day) {
                    queue.delete_behind(ack.mailbox, mailbox.floor(), mailbox.forgotten())?;
                }
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
                // R-1209: one that is there is a repetition.
                if !self.records.has_mailbox(id)? {
                    if let Err(code) = self.room.check(ROW_BYTES) {
                        return Ok(Err(code));
                    }
                    self.purge_before(id)?;
                }
                let made = self.records.create(today, *key, token, *kind, *limits, capabilities)?;
                match made {
                    Ok(()) => self.state(id),
                    Err(code) => Ok(Err(code)),
                }
            }
            Command::SetLimits(id, limits) => self.with_mailbox(*id, |store, mailbox| {
                let limits = super::rules::effective(Some(*limits));
                let answer = store.records.set_limits(*id, limits)?;
                if answer.is_ok() {
                    mailbox.limits = limits;
                }
                Ok(answer)
            }),
            Command::AddCapabilities(id, hashes) => self.records.add_capabilities(*id, hashes),
            Command::RevokeCapabilities(id, hashes) => {
                for hash in hashes {
                    self.cache.capabilities.remove(hash);
                }
                self.records.revoke_capabilities(*id, hashes)
            }
            Command::Status(id) => self.state(*id),
            Command::Visit(id) => self.visit(today, *id),
            Command::DeleteMailbox(id) => self.delete_mailbox(*id),
            Command::FillDepot(fill) => match self.room.check(size_of_fill(fill)) {
                Ok(()) => self.records.execute(today, command, self.incarnation),
                Err(code) => Ok(Err(code)),
            },
            Command::AnnounceBlob(record, _) => {
                let known = self.records.execute(
                    today,
                    &Command::HasBlob(record.blob),
                    self.incarnation,
                )?;
                // One that is known resumes; whoever writes its bytes looks again.
                match self.room.check(record.length) {
                    Err(code) if known.is_err() => Ok(Err(code)),
                    _ => self.records.execute(today, command, self.incarnation),
                }
            }
            other => self.records.execute(today, other, self.incarnation),
        }
    }

    /// What an earlier mailbox with this key left would count as that of the one that is made. It is
    /// gone for good before that one is there: a power failure brings nothing of it back.
    fn purge_before(&mut self, id: MailboxId) -> Result<(), StoreFailure> {
        self.shares.forget(id);
        for queue in self.queues.values_mut() {
            queue.purge(id)?;
        }
        // Also of one that was deleted in the same batch.
        if self.queues.values().any(Queue::purges) {
            self.commit_queues()?;
        }
        Ok(())
    }

    fn delete_mailbox(&mut self, id: MailboxId) -> Result<Answer, StoreFailure> {
        if !self.records.has_mailbox(id)? {
            return Ok(Err(ErrorCode::Unknown));
        }
        self.cache.take(id);
        self.shares.forget(id);
        self.cache.capabilities.retain(|_, mailbox| *mailbox != id);
        // First the record, so that a crash in between leaves rows that nobody can reach rather
        // than a mailbox that lost its envelopes.
        let _ = self.records.delete_mailbox(id)?;
        self.records.commit()?;
        for queue in self.queues.values_mut() {
            queue.purge(id)?;
        }
        Ok(Ok(Outcome::Done))
    }

    fn set_maintenance(&mut self, hours: u32) -> Result<(), StoreFailure> {
        if self.maintenance != Some(hours) {
            self.records.set_maintenance_clock(hours)?;
            self.records.removal = Day::new(hours / 24);
            self.maintenance = Some(hours);
            self.shown_clock.store(hours, Ordering::Relaxed);
        }
        Ok(())
    }

    fn commit_all(&mut self) -> Result<(), StoreFailure> {
        self.records.commit()?;
        self.commit_queues()
    }

    fn commit_queues(&mut self) -> Result<(), StoreFailure> {
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
}

impl Store for SqliteStore {
    fn commit(&mut self, today: Day, batch: &[Command]) -> Result<Vec<Answer>, StoreFailure> {
        if self.maintenance.is_none() {
            self.set_maintenance(hours(today))?;
        }
        self.measure()?;
        self.notice_erasures(today, batch)?;
        let mut answers = Vec::with_capacity(batch.len());
        for command in batch {
            answers.push(self.execute(today, command)?);
        }
        self.commit_all()?;
        if answers.iter().any(|answer| matches!(answer, Ok(Outcome::Audited(_)))) {
            self.write_audit_head()?;
        }
        Ok(answers)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreFailure> {
        Ok(Box::new(reader::SqliteReader::new(self.directory.clone(), self.days.clone())))
    }

    fn expire(&mut self, today: Day, observed_hours: u32) -> Result<Removed, StoreFailure> {
        self.warn_of_clock(today);
        let now = self.maintenance.unwrap_or(hours(today));
        let now = maintenance_clock(now, today, observed_hours);
        self.set_maintenance(now)?;
        self.records.commit()?;
        // Behind a clock that was set back nothing is removed either.
        let today = today.min(Day::new(now / 24));
        let passed: Vec<Day> =
            self.queues.keys().copied().filter(|day| day.plus(GRACE_DAYS) < today).collect();
        self.credit = self.credit.saturating_add(observed_hours).min(MOST_CREDIT);
        for day in passed {
            if !self.catching_up {
                let Some(left) = self.credit.checked_sub(HOURS_PER_REMOVAL) else { break };
                self.credit = left;
            }
            self.remove_queue(day)?;
        }
        self.catching_up = false;
        self.finish_removals()?;
        let mut removed = self.records.expire(today)?;
        for id in self.records.idle_mailboxes(today)? {
            if self.delete_mailbox(id)?.is_ok() {
                removed.mailboxes.push(id);
            }
        }
        self.commit_all()?;
        self.room.measure();
        self.measure_databases()?;
        Ok(removed)
    }

    fn shrink(&mut self) -> Result<bool, StoreFailure> {
        let more = self.give_back()?;
        if !more {
            // What somebody hindered before.
            for queue in self.queues.values() {
                schema::checkpoint(queue.connection())?;
            }
            self.room.measure();
            self.measure_databases()?;
        }
        Ok(more)
    }

    fn set_policy(&mut self, policy: &Policy) {
        let retention = policy.retention_days.min(MAX_RETENTION_DAYS);
        if retention < self.retention {
            tracing::warn!(
                before = self.retention,
                now = retention,
                "what comes from now on goes earlier, and takes with it what came before into the same mailbox"
            );
        }
        self.retention = retention;
        self.records.quotas = policy.quotas;
        self.share = policy.share;
        self.room.set_limits(policy.disk);
        // So that the next commit measures.
        self.unmeasured = MEASURE_AFTER;
    }

    fn erased_elsewhere(&mut self) -> bool {
        std::mem::take(&mut self.erased_elsewhere)
    }

    fn shares_reached(&mut self) -> u64 {
        std::mem::take(&mut self.shares_reached)
    }

    fn close(mut self: Box<Self>) -> Result<(), StoreFailure> {
        for (day, queue) in &self.queues {
            if Some(*day) == self.newest {
                schema::checkpoint_soon(queue.connection())?;
            } else {
                schema::checkpoint(queue.connection())?;
            }
            self.records.set_high_water(*day, queue.high_water()?)?;
        }
        self.records.commit()?;
        self.records.checkpoint()?;
        self.finish_removals()?;
        self.checkpoint_keys()?;
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

    /// The envelope's hash in a row, unless the row is damaged.
    pub(crate) fn hash(&self, mailbox: MailboxId, seq: u64, mark: [u8; 24]) -> Option<[u8; 16]> {
        self.keys.unmark(mailbox, seq, mark).map(|hash| *hash.as_bytes())
    }
}
