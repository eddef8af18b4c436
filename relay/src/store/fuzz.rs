//! Operations on a store from any bytes, against the model, on a disk that fails: what the fuzz
//! target `relay/fuzz` runs, and what a test replays with every input that was kept.
//!
//! Compiled for tests and fuzzing only.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use std::path::Path;
use std::sync::Arc;

use undertone_wire::frame::{Acknowledgement, FillMode, MailboxKind, MailboxLimits};
use undertone_wire::ids::BlobCapabilityHash;
use undertone_wire::{
    BlobHash, BlobId, Day, DepotId, DepotKey, Floor, Incarnation, MailboxId, ReadKey, Seq, TakeId,
    WriteCapability, WriteCapabilityHash,
};

use super::audit::Action;
use super::sqlite::SqliteStore;
use super::{
    Answer, BlobRecord, Command, DepotFill, EndlessDisk, MemoryStore, Outcome, Store, TokenClass,
    TokenId,
};

const TOKEN: [u8; 32] = [9; 32];
const START: u32 = 20_000;

/// Commands in a batch, and steps in a run: what is found is found by few.
const BATCH: usize = 6;
const STEPS: usize = 64;

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
}

fn key(n: u8) -> ReadKey {
    ReadKey::from_bytes([n % 3; 32])
}

fn id(n: u8) -> MailboxId {
    key(n).mailbox()
}

fn capability(n: u8) -> WriteCapabilityHash {
    WriteCapability::from_bytes([n % 5; 32]).hash()
}

fn blob(n: u8) -> BlobRecord {
    BlobRecord {
        blob: BlobId::from_bytes([n % 2; 32]),
        read: BlobCapabilityHash::from_bytes([n % 4; 32]),
        delete: BlobCapabilityHash::from_bytes([7; 32]),
        length: u64::from(n % 3) + 1,
        hash: BlobHash::from_bytes([n % 2; 32]),
        expires: Day::new(START + u32::from(n % 40)),
    }
}

/// A command from three bytes.
fn command(input: &mut Input<'_>, incarnation: Incarnation) -> Option<Command> {
    let (kind, a, b) = (input.byte()?, input.byte()?, input.byte()?);
    let depot = DepotId::from_bytes([a % 2; 32]);
    let owner = DepotKey::from_bytes([b % 2; 32]);
    Some(match kind % 18 {
        0..=4 => Command::Deliver {
            capability: capability(a),
            envelope: vec![b; if b % 16 == 0 { 16_384 } else { 1024 }],
        },
        5 | 6 => Command::Acknowledge(Acknowledgement {
            mailbox: id(a),
            incarnation: if b == 255 { Incarnation::from_bytes([0; 16]) } else { incarnation },
            floor: Floor::new(u64::from(b)),
        }),
        7 => Command::CreateMailbox {
            key: key(a),
            token: if b == 255 { [0; 32] } else { TOKEN },
            kind: MailboxKind::Queue,
            limits: (b % 4 == 0).then_some(MailboxLimits { envelopes: 3, bytes: 20_000 }),
            capabilities: vec![capability(b), capability(a)],
        },
        8 => Command::SetLimits(
            id(a),
            MailboxLimits { envelopes: u32::from(b), bytes: u64::from(b) << 10 },
        ),
        9 => Command::AddCapabilities(id(a), vec![capability(b)]),
        10 => Command::RevokeCapabilities(id(a), vec![capability(b)]),
        11 if b % 4 == 0 => Command::DeleteMailbox(id(a)),
        11 => Command::Visit(id(a)),
        12 => Command::FillDepot(DepotFill {
            depot,
            owner,
            token: TOKEN,
            mode: if b & 4 == 0 { FillMode::Add } else { FillMode::Replace },
            one_time: (0..b % 7).map(|n| vec![n ^ a; 64]).collect(),
            last_resort: (b & 8 == 0).then(|| vec![b; 64]),
            expires: Day::new(START + u32::from(b % 40)),
        }),
        13 => Command::TakePrekey(depot, TakeId::from_bytes([b; 16])),
        14 if b & 1 == 0 => Command::DepotStatus(depot, owner),
        14 => Command::DeleteDepot(depot, owner),
        15 => Command::AnnounceBlob(blob(a), if b == 255 { [0; 32] } else { TOKEN }),
        16 if b & 1 == 0 => Command::FindBlob(blob(a).blob, blob(b).read),
        16 => Command::DeleteBlob(blob(a).blob, blob(a).delete),
        _ if b & 1 == 0 => Command::HasBlob(blob(a).blob),
        _ => Command::Audit(Action::TokenRevoked(TokenId(u32::from(a)))),
    })
}

/// Incarnations differ between two stores; everything else must be equal.
fn comparable(mut answers: Vec<Answer>) -> Vec<Answer> {
    for answer in &mut answers {
        match answer {
            Ok(Outcome::Mailbox(state)) => state.incarnation = Incarnation::from_bytes([0; 16]),
            Ok(Outcome::Depot(state)) => state.incarnation = Incarnation::from_bytes([0; 16]),
            _ => {}
        }
    }
    answers
}

fn incarnation(store: &mut dyn Store) -> Incarnation {
    let create = Command::CreateMailbox {
        key: ReadKey::from_bytes([100; 32]),
        token: TOKEN,
        kind: MailboxKind::Queue,
        limits: None,
        capabilities: vec![],
    };
    let admit = Command::AddToken(TOKEN, TokenClass::Unlimited);
    match store.commit(Day::new(START), &[admit, create]).unwrap().pop() {
        Some(Ok(Outcome::Mailbox(state))) => state.incarnation,
        other => panic!("{other:?}"),
    }
}

/// A mailbox as it is shown: its state, and envelopes by position.
type Shown = (Vec<Answer>, Vec<(u64, Vec<u8>)>);

fn shown(store: &mut dyn Store, today: Day) -> Vec<Shown> {
    let mut reader = store.reader().unwrap();
    (0..3)
        .map(|n| {
            let state = store.commit(today, &[Command::Status(id(n))]).unwrap();
            let floor = match state.first() {
                Some(Ok(Outcome::Mailbox(s))) => s.acknowledged.get().max(s.expired.get()),
                _ => return (comparable(state), Vec::new()),
            };
            let queued = reader.after(id(n), Seq::new(floor), 9_999).unwrap();
            let queued = queued.into_iter().map(|q| (q.seq.get(), q.envelope.expect("whole")));
            (comparable(state), queued.collect())
        })
        .collect()
}

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(directory, 30).unwrap().with_disk(Arc::new(EndlessDisk))
}

/// Runs what the bytes say, in an empty directory.
///
/// # Panics
/// If the store does not do what the model does, or forgets after a failure what it answered.
pub fn run(directory: &Path, bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut store = open(directory);
    let mut model = MemoryStore::new().unwrap();
    let mut incarnations = (incarnation(&mut store), incarnation(&mut model));
    let mut today = Day::new(START);
    for _ in 0..STEPS {
        let Some(step) = input.byte() else { break };
        match step % 16 {
            0 => today = today.plus(1),
            1 => {
                today =
                    Day::new(today.get().saturating_sub(u32::from(input.byte().unwrap_or(0) % 4)))
            }
            2 => today = today.plus(u32::from(input.byte().unwrap_or(0) % 40)),
            3 => {
                // As often as it takes: only some files go at a time.
                for _ in 0..40 {
                    store.expire(today, u32::MAX).unwrap();
                    model.expire(today, u32::MAX).unwrap();
                }
            }
            // Killed, and opened again.
            4 => {
                drop(store);
                store = open(directory);
                model.restart();
            }
            5 => {
                Box::new(store).close().unwrap();
                store = open(directory);
                model.restart();
            }
            6 => {
                store = failing(directory, store, &mut model, today, &mut input, &mut incarnations);
            }
            _ => {
                let (one, two) = batches(&mut input, incarnations);
                let left = comparable(store.commit(today, &one).unwrap());
                let right = comparable(model.commit(today, &two).unwrap());
                assert_eq!(left, right, "{one:?}");
            }
        }
        assert_eq!(shown(&mut store, today), shown(&mut model, today));
    }
    drop(store);
    let faults = super::sqlite::check(directory).unwrap();
    assert!(faults.is_empty(), "{faults:?}");
}

fn batches(
    input: &mut Input<'_>,
    incarnations: (Incarnation, Incarnation),
) -> (Vec<Command>, Vec<Command>) {
    let count = usize::from(input.byte().unwrap_or(0)) % BATCH + 1;
    let rest = input.0;
    let one: Vec<_> = (0..count).map_while(|_| command(input, incarnations.0)).collect();
    let mut again = Input(rest);
    let two = (0..count).map_while(|_| command(&mut again, incarnations.1)).collect();
    (one, two)
}

/// A batch on a disk that is full after some pages more. If the store failed, it is opened again; its
/// batch may be there or not, but if it was answered it is, and if it is there it is whole.
fn failing(
    directory: &Path,
    mut store: SqliteStore,
    model: &mut MemoryStore,
    today: Day,
    input: &mut Input<'_>,
    incarnations: &mut (Incarnation, Incarnation),
) -> SqliteStore {
    let pages = u32::from(input.byte().unwrap_or(0) % 8);
    let (one, two) = batches(input, *incarnations);
    let before = shown(&mut store, today);
    store.limit_pages(Some(pages));
    if let Ok(answers) = store.commit(today, &one) {
        store.limit_pages(None);
        assert_eq!(comparable(answers), comparable(model.commit(today, &two).unwrap()));
        return store;
    }
    drop(store);
    let mut store = open(directory);
    // What of the batch is there nobody knows; what was there before it is, unless the batch was to
    // acknowledge or delete it.
    let after = shown(&mut store, today);
    let removes = |command: &Command| {
        matches!(command, Command::DeleteMailbox(_) | Command::CreateMailbox { .. })
    };
    if !one.iter().any(removes) {
        for ((_, before), (_, after)) in before.iter().zip(&after) {
            let first = after.first().map_or(u64::MAX, |(position, _)| *position);
            let kept = before.iter().filter(|(position, _)| *position >= first);
            assert!(after.starts_with(&kept.cloned().collect::<Vec<_>>()), "{before:?} {after:?}");
        }
    }
    drop(store);
    // The model can't be half-way, so that both begin anew.
    for entry in std::fs::read_dir(directory).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let mut store = open(directory);
    *model = MemoryStore::new().unwrap();
    *incarnations = (incarnation(&mut store), incarnation(model));
    store
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> tempfile::TempDir {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
    }

    #[test]
    fn every_input_that_was_kept_runs() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/store_operations");
        let mut count = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            run(scratch().path(), &bytes);
            count += 1;
        }
        assert!(count >= 20, "{count} inputs");
    }

    /// `UNDERTONE_FUZZ_RUNS` says how many.
    #[test]
    fn inputs_by_chance_run() {
        let runs = std::env::var("UNDERTONE_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok());
        for seed in 0..runs.unwrap_or(40_u64) {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
            let bytes: Vec<u8> = (0..300)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (state >> 56) as u8
                })
                .collect();
            println!("seed {seed}");
            run(scratch().path(), &bytes);
        }
    }
}
