//! People: engines over stores in memory, whose processes can be killed at any write.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;

use undertone_core::rand_core::{TryCryptoRng, TryRng};
use undertone_session::engine::{Engine, EngineError};
use undertone_session::ids::UnixMillis;
use undertone_session::store::{MemoryStore, Order, Row, Store, StoreError, Table, Transaction};
use undertone_wire::{AdmissionToken, JoinAddress, RelayAddress, RootFingerprint};
use zeroize::Zeroizing;

pub const NOW: UnixMillis = UnixMillis::new(1_700_000_000_000);
pub const DAY: u64 = 86_400_000;

/// Deterministic and worthless: SplitMix64, whose owner can copy it while an engine has it.
#[derive(Clone)]
pub struct Rng(Rc<Cell<u64>>);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(Rc::new(Cell::new(seed)))
    }

    /// Another that goes on as this one does.
    pub fn twin(&self) -> Self {
        Self::new(self.0.get())
    }
}

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut z = self.0.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            *byte = self.try_next_u64()? as u8;
        }
        Ok(())
    }
}

impl TryCryptoRng for Rng {}

/// When the process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kill {
    /// At the write behind so many: nothing of its transaction is kept.
    AtWrite(u64),
    /// When the transaction with the write behind so many is on the disk, and nobody has heard of it.
    BehindCommit(u64),
}

#[derive(Default)]
struct Disk {
    rows: MemoryStore,
    /// Writes so far, in all transactions.
    writes: u64,
    kill: Option<Kill>,
    /// The process has ended; nothing works until it starts anew.
    dead: bool,
}

/// A store that its owner can look at from outside.
#[derive(Clone, Default)]
pub struct Shared(Rc<RefCell<Disk>>);

const KILLED: &str = "killed";

impl Shared {
    pub fn of(rows: MemoryStore) -> Self {
        Self(Rc::new(RefCell::new(Disk { rows, ..Disk::default() })))
    }

    pub fn snapshot(&self) -> MemoryStore {
        self.0.borrow().rows.snapshot()
    }

    pub fn writes(&self) -> u64 {
        self.0.borrow().writes
    }

    /// Arms a kill, or disarms it.
    pub fn kill(&self, kill: Option<Kill>) {
        self.0.borrow_mut().kill = kill;
    }

    /// True if the process had been killed. It lives again.
    pub fn revive(&self) -> bool {
        let mut disk = self.0.borrow_mut();
        disk.kill = None;
        std::mem::take(&mut disk.dead)
    }
}

fn killed() -> StoreError {
    StoreError::Failed { reason: KILLED.to_owned() }
}

pub fn is_killed(error: &EngineError) -> bool {
    matches!(error, EngineError::Store(StoreError::Failed { reason }) if reason == KILLED)
}

/// A transaction that counts its writes and stops at one.
struct Counted<'a> {
    inner: &'a mut dyn Transaction,
    writes: &'a mut u64,
    stop: Option<u64>,
    stopped: bool,
}

impl Counted<'_> {
    fn write(&mut self) -> Result<(), StoreError> {
        if self.stop.is_some_and(|stop| *self.writes >= stop) {
            self.stopped = true;
            return Err(killed());
        }
        *self.writes += 1;
        Ok(())
    }
}

impl Transaction for Counted<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.inner.get(table, key)
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.write()?;
        self.inner.put(table, key, value)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.write()?;
        self.inner.delete(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        from: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.inner.scan(table, prefix, from, order, limit)
    }
}

impl Store for Shared {
    fn transaction<T, E, F>(&mut self, work: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnOnce(&mut dyn Transaction) -> Result<T, E>,
    {
        let mut disk = self.0.borrow_mut();
        let Disk { rows, writes, kill, dead } = &mut *disk;
        if *dead {
            return Err(killed().into());
        }
        let stop = match kill {
            Some(Kill::AtWrite(at)) => Some(*at),
            _ => None,
        };
        let mut stopped = false;
        let result = rows.transaction(|tx| {
            let mut tx = Counted { inner: tx, writes, stop, stopped: false };
            let result = work(&mut tx);
            stopped = tx.stopped;
            // Whatever the work has made of the error: the process is gone before the commit.
            if stopped { Err(killed().into()) } else { result }
        });
        let committed = matches!(kill, Some(Kill::BehindCommit(at)) if *writes > *at);
        *dead = stopped || committed;
        match result {
            Ok(_) if committed => Err(killed().into()),
            result => result,
        }
    }
}

pub type Person = Engine<Shared, Rng>;

pub fn relay_address() -> RelayAddress {
    RelayAddress::new("relay.example", 4433, RootFingerprint::from_bytes([9; 32])).unwrap()
}

pub fn join() -> JoinAddress {
    JoinAddress::new(relay_address(), AdmissionToken::from_bytes([1; 32]))
}
