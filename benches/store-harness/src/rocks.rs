//! RocksDB, laid out as suits it: one column family for each kind of row of a day, clustered by
//! mailbox, so that nothing needs a second index; a day goes with its column families.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, Direction,
    IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions,
};

use crate::engine::{Engine, Known, Mailbox, Result, forgotten};

const MAILBOXES: &str = "mailboxes";
const SEALED: &str = "sealed";
const MARKS: &str = "marks";
const FLOORS: &str = "floors";

pub(crate) struct Rocks {
    db: DB,
    batch: WriteBatch,
}

/// Values are ciphertext, which nothing compresses; every table has a Bloom filter.
fn options(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_bloom_filter(10.0, false);
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(64 << 20);
    options
}

fn key(mailbox: Mailbox, seq: u64) -> [u8; 24] {
    let mut key = [0; 24];
    let (tag, rest) = key.split_at_mut(16);
    tag.copy_from_slice(&mailbox.tag());
    rest.copy_from_slice(&seq.to_be_bytes());
    key
}

fn seq_of(key: &[u8]) -> u64 {
    key.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl Rocks {
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let cache = Cache::new_lru_cache(256 << 20)?;
        let mut base = options(&cache);
        base.create_if_missing(true);
        base.create_missing_column_families(true);
        base.set_max_background_jobs(2);
        let families = [MAILBOXES, SEALED, MARKS, FLOORS]
            .map(|name| ColumnFamilyDescriptor::new(name, options(&cache)));
        let db = DB::open_cf_descriptors(&base, directory.join("rocks"), families)?;
        Ok(Self { db, batch: WriteBatch::default() })
    }

    fn cf(&self, name: &str) -> Result<&rocksdb::ColumnFamily> {
        self.db.cf_handle(name).ok_or_else(|| "no such column family".into())
    }

    /// Walks over the rows of a mailbox behind a position.
    fn rows(
        &self,
        family: &str,
        mailbox: Mailbox,
        position: u64,
        mut each: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result {
        let mut read = ReadOptions::default();
        read.set_iterate_upper_bound(key(mailbox, u64::MAX));
        let from = key(mailbox, position.saturating_add(1));
        let mode = IteratorMode::From(&from, Direction::Forward);
        for row in self.db.iterator_cf_opt(self.cf(family)?, read, mode) {
            let (key, value) = row?;
            if !each(seq_of(&key), &value) {
                break;
            }
        }
        Ok(())
    }
}

impl Engine for Rocks {
    fn make(&mut self, of: u64) -> Result {
        for from in (0..of).step_by(100_000) {
            let mut batch = WriteBatch::default();
            for number in from..(from + 100_000).min(of) {
                let id = Mailbox { number, of }.id();
                // The other columns of the relay's table.
                let record = [id.as_slice(), &[0; 48]].concat();
                batch.put_cf(self.cf(MAILBOXES)?, id, record);
            }
            self.db.write(batch)?;
        }
        Ok(())
    }

    fn load(&mut self, mailbox: Mailbox) -> Result<Option<Known>> {
        if self.db.get_pinned_cf(self.cf(MAILBOXES)?, mailbox.id())?.is_none() {
            return Ok(None);
        }
        let floor = self.db.get_pinned_cf(self.cf(FLOORS)?, mailbox.tag())?;
        let floor = floor.map_or(0, |value| seq_of(&value));
        let mut head = floor;
        self.rows(MARKS, mailbox, 0, |seq, _| {
            head = head.max(seq);
            true
        })?;
        Ok(Some(Known { floor, head }))
    }

    fn append(&mut self, mailbox: Mailbox, seq: u64, mark: &[u8; 24], sealed: &[u8]) -> Result {
        let key = key(mailbox, seq);
        let mut batch = std::mem::take(&mut self.batch);
        batch.put_cf(self.cf(SEALED)?, key, sealed);
        batch.put_cf(self.cf(MARKS)?, key, mark);
        self.batch = batch;
        Ok(())
    }

    fn acknowledge(&mut self, mailbox: Mailbox, before: Known, floor: u64) -> Result {
        let mut batch = std::mem::take(&mut self.batch);
        batch.put_cf(self.cf(FLOORS)?, mailbox.tag(), floor.to_be_bytes());
        for seq in before.floor + 1..=floor {
            batch.delete_cf(self.cf(SEALED)?, key(mailbox, seq));
        }
        let (from, to) = (forgotten(before.floor, before.head), forgotten(floor, before.head));
        for seq in from + 1..=to {
            batch.delete_cf(self.cf(MARKS)?, key(mailbox, seq));
        }
        self.batch = batch;
        Ok(())
    }

    fn commit(&mut self) -> Result {
        let batch = std::mem::take(&mut self.batch);
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options)?;
        Ok(())
    }

    fn read(&mut self, mailbox: Mailbox, position: u64, count: usize) -> Result<Vec<(u64, usize)>> {
        let mut found = Vec::new();
        self.rows(SEALED, mailbox, position, |seq, value| {
            found.push((seq, value.to_vec().len()));
            found.len() < count
        })?;
        Ok(found)
    }

    fn expire(&mut self) -> Result {
        for family in [SEALED, MARKS, FLOORS] {
            self.db.drop_cf(family)?;
        }
        let cache = Cache::new_lru_cache(256 << 20)?;
        for family in [SEALED, MARKS, FLOORS] {
            self.db.create_cf(family, &options(&cache))?;
        }
        Ok(())
    }
}
