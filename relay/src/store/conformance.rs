//! One suite that every backend passes: each check gets an empty store and says what went wrong.

use undertone_wire::frame::{Acknowledgement, FillMode, MailboxKind, MailboxLimits, MailboxState};
use undertone_wire::ids::BlobCapabilityHash;
use undertone_wire::limits::{DEPOT_BUNDLES, MAILBOX_IDLE_DAYS, REMEMBERED_ENVELOPES};
use undertone_wire::{
    BlobHash, BlobId, Day, DepotId, DepotKey, ErrorCode, Floor, Incarnation, MailboxId, ReadKey,
    Seq, TakeId, WriteCapability, WriteCapabilityHash,
};

use super::{
    Answer, BlobRecord, Command, DepotFill, Outcome, Policy, Prekey, Quotas, Removed, Store,
    StoreFailure, TokenClass,
};

/// What a check found.
#[derive(Debug)]
pub struct Finding(pub String);

impl From<StoreFailure> for Finding {
    fn from(failure: StoreFailure) -> Self {
        Self(failure.to_string())
    }
}

impl From<ErrorCode> for Finding {
    fn from(code: ErrorCode) -> Self {
        Self(format!("refused as {}", code.slug()))
    }
}

type Check = fn(&mut Subject) -> Result<(), Finding>;

/// Every check by name.
pub const CHECKS: &[(&str, Check)] = &[
    ("positions are contiguous and in order", order),
    ("a repeat is recognised while queued and among the last 64", repeats),
    ("acknowledgement is cumulative and never ahead", floors),
    ("a mailbox is full by count and by bytes", full),
    ("one capability can't fill a mailbox that has others", shares),
    ("unknown, revoked and deleted are alike", absence),
    ("a capability belongs to one mailbox, and a refusal changes nothing", conflicts),
    ("a depot hands out each bundle once", depots),
    ("tokens admit, count by day and are revoked", tokens),
    ("blobs are recognised by all that was announced", blobs),
    ("what has passed its day goes, with a floor of its own", expiry),
    ("a clock that jumps ahead removes no faster than two days in one", slowly),
    ("a clock that was set back and right again destroys nothing", back),
];

/// Runs every check, each on a new store.
///
/// # Errors
/// The first [`Finding`], with the name of the check.
pub fn run(mut make: impl FnMut() -> Result<Box<dyn Store>, StoreFailure>) -> Result<(), Finding> {
    for (name, check) in CHECKS {
        let mut subject = Subject { store: make()?, today: Day::new(20_000) };
        check(&mut subject).map_err(|Finding(what)| Finding(format!("{name}: {what}")))?;
        subject.store.close()?;
    }
    Ok(())
}

/// A store under test, with the day.
pub struct Subject {
    store: Box<dyn Store>,
    today: Day,
}

const TOKEN: [u8; 32] = [9; 32];

macro_rules! same {
    ($found:expr, $expected:expr) => {{
        let (found, expected) = (&$found, &$expected);
        if found != expected {
            return Err(Finding(format!(
                "line {}: found {found:?}, expected {expected:?}",
                line!()
            )));
        }
    }};
}

fn key(n: u8) -> ReadKey {
    ReadKey::from_bytes([n; 32])
}

fn id(n: u8) -> MailboxId {
    key(n).mailbox()
}

fn hash(n: u8) -> WriteCapabilityHash {
    WriteCapability::from_bytes([n; 32]).hash()
}

fn envelope(n: u32) -> Vec<u8> {
    let mut bytes = n.to_be_bytes().to_vec();
    bytes.resize(1024, 0);
    bytes
}

fn deliver(to: u8, n: u32) -> Command {
    Command::Deliver { capability: hash(to), envelope: envelope(n) }
}

fn create(n: u8, capabilities: &[u8]) -> Command {
    Command::CreateMailbox {
        key: key(n),
        token: TOKEN,
        kind: MailboxKind::Queue,
        limits: None,
        capabilities: capabilities.iter().map(|n| hash(*n)).collect(),
    }
}

impl Subject {
    fn run(&mut self, command: Command) -> Result<Answer, Finding> {
        let mut answers = self.store.commit(self.today, &[command])?;
        answers.pop().ok_or_else(|| Finding("no answer".into()))
    }

    fn admit(&mut self) -> Result<(), Finding> {
        self.run(Command::AddToken(TOKEN, TokenClass::Standard))??;
        Ok(())
    }

    fn state(&mut self, n: u8) -> Result<MailboxState, Finding> {
        match self.run(Command::Status(id(n)))?? {
            Outcome::Mailbox(state) => Ok(state),
            other => Err(Finding(format!("{other:?} instead of a state"))),
        }
    }

    fn ack(&mut self, n: u8, floor: u64) -> Result<Answer, Finding> {
        let incarnation = self.state(n)?.incarnation;
        let floor = Floor::new(floor);
        self.run(Command::Acknowledge(Acknowledgement { mailbox: id(n), incarnation, floor }))
    }

    fn queued(&mut self, n: u8, after: u64, count: usize) -> Result<Vec<(u64, Vec<u8>)>, Finding> {
        let found = self.store.reader()?.after(id(n), Seq::new(after), count)?;
        found
            .into_iter()
            .map(|queued| {
                let bytes = queued.envelope.ok_or_else(|| Finding("damaged".into()))?;
                Ok((queued.seq.get(), bytes))
            })
            .collect()
    }
}

fn order(s: &mut Subject) -> Result<(), Finding> {
    s.admit()?;
    s.run(create(1, &[1]))??;
    s.run(create(2, &[2]))??;
    let batch: Vec<_> = (0..20).map(|n| deliver(if n % 2 == 0 { 1 } else { 2 }, n)).collect();
    for answer in s.store.commit(s.today, &batch)? {
        answer?;
    }
    for (mailbox, first) in [(1, 0), (2, 1)] {
        let expected: Vec<_> =
            (1_u64..).zip((first..20).step_by(2)).map(|(seq, n)| (seq, envelope(n))).collect();
        same!(s.queued(mailbox, 0, 100)?, expected);
        let tail: Vec<_> = expected.into_iter().skip(4).take(3).collect();
        same!(s.queued(mailbox, 4, 3)?, tail);
    }
    Ok(())
}

fn repeats(s: &mut Subject) -> Result<(), Finding> {
    s.admit()?;
    s.run(create(1, &[1]))??;
    let remembered = u32::try_from(REMEMBERED_ENVELOPES).map_err(|_| Finding("64".into()))?;
    let known = Ok(Outcome::Delivered { mailbox: id(1), new: None });
    let fresh = |seq| Ok(Outcome::Delivered { mailbox: id(1), new: Some(Seq::new(seq)) });
    // Twice in one batch, too.
    let batch: Vec<_> = (0..=remembered).flat_map(|n| [deliver(1, n), deliver(1, n)]).collect();
    for (pair, seq) in s.store.commit(s.today, &batch)?.chunks(2).zip(1..) {
        same!(pair, [fresh(seq), known.clone()]);
    }
    same!(s.run(deliver(1, 0))?, known);
    let head = u64::from(remembered) + 1;
    s.ack(1, head)??;
    same!(s.run(deliver(1, 1))?, known);
    same!(s.run(deliver(1, 0))?, fresh(head + 1));
    same!(s.state(1)?.head.get(), head + 1);
    Ok(())
}

fn floors(s: &mut Subject) -> Result<(), Finding> {
    s.admit()?;
    s.run(create(1, &[1]))??;
    for n in 0..5 {
        s.run(deliver(1, n))??;
    }
    same!(s.ack(1, 6)?, Err(ErrorCode::FloorAhead));
    s.ack(1, 3)??;
    s.ack(1, 1)??;
    let state = s.state(1)?;
    same!((state.acknowledged.get(), state.head.get(), state.bytes), (3, 5, 2048));
    same!(s.queued(1, 3, 9)?, vec![(4, envelope(3)), (5, envelope(4))]);
    let elsewhere = Acknowledgement {
        mailbox: id(1),
        incarnation: Incarnation::from_bytes([0; 16]),
        floor: Floor::new(4),
    };
    same!(s.run(Command::Acknowledge(elsewhere))?, Err(ErrorCode::OtherIncarnation));
    s.ack(1, 5)??;
    s.run(deliver(1, 9))??;
    same!(s.queued(1, 5, 9)?, vec![(6, envelope(9))]);
    Ok(())
}

fn full(s: &mut Subject) -> Result<(), Finding> {
    s.admit()?;
    s.run(create(1, &[1]))??;
    s.run(Command::SetLimits(id(1), MailboxLimits { envelopes: 2, bytes: u64::MAX }))??;
    s.run(deliver(1, 0))??;
    s.run(deliver(1, 1))??;
    same!(s.run(deliver(1, 2))?, Err(ErrorCode::MailboxFull));
    same!(s.run(deliver(1, 1))?, Ok(Outcome::Delivered { mailbox: id(1), new: None }));
    s.ack(1, 1)??;
    s.run(deliver(1, 2))??;
    s.run(Command::SetLimits(id(1), MailboxLimits { envelopes: 9, bytes: 3071 }))??;
    same!(s.run(deliver(1, 3))?, Err(ErrorCode::MailboxFull));
    s.run(Command::SetLimits(id(1), MailboxLimits { envelopes: 9, bytes: 3072 }))??;
    s.run(deliver(1, 3))??;
    Ok(())
}

fn shares(s: &mut Subject) -> Result<(), Finding> {
    s.admit()?;
    s.store.set_policy(&Policy { share: 25, ..Policy::default() });
    let limits = |envelopes, kib: u64| {
        Command::SetLimits(id(1), MailboxLimits { envelopes, bytes: kib << 10 })
    };
    s.run(create(1, &[1, 2]))??;
    s.run(limits(8, 99))??;
    for n in 0..2 {
        s.run(deliver(1, n))??;
    }
    same!(s.run(deliver(1, 2))?, Err(ErrorCode::MailboxFull));
    same!(s.store.shares_reached(), 1);
    same!(s.store.shares_reached(), 0);
    // Known is known, and others have theirs.
    same!(s.run(deliver(1, 1))?, Ok(Outcome::Delivered { mailbox: id(1), new: None }));
    s.run(deliver(2, 10))??;
    s.run(deliver(2, 11))??;
    same!(s.run(deliver(2, 12))?, Err(ErrorCode::MailboxFull));
    // What was acknowledged is nobody's.
    s.ack(1, 1)??;
    s.run(deliver(1, 2))??;
    same!(s.run(deliver(1, 3))?, Err(ErrorCode::MailboxFull));
    // By bytes: a quarter of 16 KiB.
    s.run(limits(99, 16))??;
    s.run(deliver(1, 3))??;
    s.run(deliver(1, 4))??;
    same!(s.run(deliver(1, 5))?, Err(ErrorCode::MailboxFull));
    // Who has it alone may fill it, and who has nothing in it may always put one in.
    s.run(Command::RevokeCapabilities(id(1), vec![hash(2)]))??;
    s.run(deliver(1, 5))??;
    s.run(Command::AddCapabilities(id(1), vec![hash(3)]))??;
    same!(s.run(deliver(1, 6))?, Err(ErrorCode::MailboxFull));
    s.run(limits(99, 99))??;
    s.store.set_policy(&Policy { share: 1, ..Policy::default() });
    s.run(deliver(3, 6))??;
    same!(s.run(deliver(3, 7))?, Err(ErrorCode::MailboxFull));
    s.store.set_policy(&Policy { share: 25, ..Policy::default() });
    // A mailbox that begins anew has nobody's in it; and the operator may lift the bound.
    s.run(Command::DeleteMailbox(id(1)))??;
    s.run(create(1, &[1, 2]))??;
    s.run(limits(4, 99))??;
    s.run(deliver(1, 0))??;
    same!(s.run(deliver(1, 1))?, Err(ErrorCode::MailboxFull));
    s.store.set_policy(&Policy { share: 100, ..Policy::default() });
    for n in 1..4 {
        s.run(deliver(1, n))??;
    }
    same!(s.run(deliver(1, 4))?, Err(ErrorCode::MailboxFull));
    same!(s.store.shares_reached() > 0, true);
    Ok(())
}

fn absence(s: &mut Subject) -> Result<(), Finding> {
    s.admit()?;
    s.run(create(1, &[1, 2]))??;
    s.run(deliver(1, 0))??;
    s.run(Command::RevokeCapabilities(id(1), vec![hash(1), hash(77)]))??;
    same!(s.run(deliver(1, 1))?, Err(ErrorCode::Unknown));
    s.run(deliver(2, 1))??;
    s.run(Command::DeleteMailbox(id(1)))??;
    for command in [
        deliver(2, 2),
        deliver(99, 2),
        Command::Status(id(1)),
        Command::Visit(id(1)),
        Command::DeleteMailbox(id(1)),
        Command::AddCapabilities(id(1), vec![]),
        Command::RevokeCapabilities(id(1), vec![]),
        Command::SetLimits(id(1), MailboxLimits { envelopes: 1, bytes: 1 }),
        Command::Acknowledge(Acknowledgement {
            mailbox: id(8),
            incarnation: incarnation(s)?,
            floor: Floor::NONE,
        }),
    ] {
        same!(s.run(command)?, Err(ErrorCode::Unknown));
    }
    s.run(create(1, &[2]))??;
    let state = s.state(1)?;
    same!((state.head.get(), state.bytes), (0, 0));
    same!(s.queued(1, 0, 9)?, vec![]);
    s.run(deliver(2, 0))??;
    same!(s.queued(1, 0, 9)?, vec![(1, envelope(0))]);
    Ok(())
}

fn incarnation(s: &mut Subject) -> Result<Incarnation, Finding> {
    s.run(create(200, &[]))??;
    Ok(s.state(200)?.incarnation)
}

fn conflicts(s: &mut Subject) -> Result<(), Finding> {
    s.admit()?;
    s.run(create(1, &[1]))??;
    same!(s.run(create(2, &[2, 1]))?, Err(ErrorCode::Conflict));
    same!(s.run(Command::Status(id(2)))?, Err(ErrorCode::Unknown));
    same!(s.run(deliver(2, 0))?, Err(ErrorCode::Unknown));
    s.run(create(2, &[2]))??;
    same!(
        s.run(Command::AddCapabilities(id(2), vec![hash(3), hash(1)]))?,
        Err(ErrorCode::Conflict)
    );
    same!(s.run(deliver(3, 0))?, Err(ErrorCode::Unknown));
    // A repetition is harmless.
    s.run(create(2, &[2, 3]))??;
    s.run(deliver(3, 0))??;
    Ok(())
}

fn depots(s: &mut Subject) -> Result<(), Finding> {
    s.admit()?;
    let depot = DepotId::from_bytes([1; 32]);
    let (owner, other) = (DepotKey::from_bytes([2; 32]), DepotKey::from_bytes([3; 32]));
    let take = |n: u8| Command::TakePrekey(depot, TakeId::from_bytes([n; 16]));
    let fill = |owner, mode, bundles: Vec<u8>, last: Option<u8>| {
        Command::FillDepot(DepotFill {
            depot,
            owner,
            token: TOKEN,
            mode,
            one_time: bundles.into_iter().map(|n| vec![n; 4096]).collect(),
            last_resort: last.map(|n| vec![n; 4096]),
            expires: Day::new(20_010),
        })
    };
    let once = |n: u8| Ok(Outcome::Prekey(Prekey::OneTime(vec![n; 4096])));
    same!(s.run(take(1))?, Err(ErrorCode::Unknown));
    s.run(fill(owner, FillMode::Add, vec![1, 2], None))??;
    same!(s.run(fill(other, FillMode::Replace, vec![], None))?, Err(ErrorCode::Unknown));
    same!(s.run(Command::DepotStatus(depot, other))?, Err(ErrorCode::Unknown));
    same!(s.run(Command::DeleteDepot(depot, other))?, Err(ErrorCode::Unknown));
    same!(s.run(take(1))?, once(1));
    same!(s.run(take(1))?, once(1));
    same!(s.run(take(2))?, once(2));
    same!(s.run(take(3))?, Ok(Outcome::Prekey(Prekey::UsedUp)));
    same!(s.run(take(2))?, once(2));
    s.run(fill(owner, FillMode::Add, vec![3], Some(9)))??;
    same!(s.run(take(4))?, once(3));
    same!(s.run(take(5))?, Ok(Outcome::Prekey(Prekey::LastResort(vec![9; 4096]))));
    let bundles = u8::try_from(DEPOT_BUNDLES).map_err(|_| Finding("50".into()))?;
    let many: Vec<u8> = (100..).take(DEPOT_BUNDLES).collect();
    s.run(fill(owner, FillMode::Add, many.clone(), None))??;
    same!(s.run(fill(owner, FillMode::Add, vec![8], None))?, Err(ErrorCode::LimitReached));
    same!(s.run(take(6))?, once(100));
    // Bundles that are there are not there twice, neither by a repetition nor within one request.
    let again = vec![101, 99 + bundles, 101, 98];
    s.run(fill(owner, FillMode::Add, again.clone(), None))??;
    s.run(fill(owner, FillMode::Add, again, None))??;
    same!(s.run(take(7))?, once(101));
    same!(s.run(take(8))?, once(102));
    s.run(fill(owner, FillMode::Replace, many, None))??;
    match s.run(Command::DepotStatus(depot, owner))?? {
        Outcome::Depot(state) => {
            same!((state.one_time, state.last_resort, state.expires.get()), (50, false, 20_010));
        }
        other => return Err(Finding(format!("{other:?} instead of a depot"))),
    }
    // Passed its day, before and without removal.
    s.today = Day::new(20_011);
    same!(s.run(take(9))?, Err(ErrorCode::Unknown));
    same!(s.run(Command::DepotStatus(depot, owner))?, Err(ErrorCode::Unknown));
    same!(s.run(Command::DeleteDepot(depot, owner))?, Err(ErrorCode::Unknown));
    s.today = Day::new(20_010);
    same!(s.run(take(9))?, once(100));
    s.run(Command::DeleteDepot(depot, owner))??;
    same!(s.run(take(10))?, Err(ErrorCode::Unknown));
    // One that has expired is in nobody's way, and nothing of it is in the next; not if it has by the
    // machine's clock alone (R-1205).
    s.run(fill(owner, FillMode::Add, vec![1, 2], Some(3)))??;
    s.today = Day::new(20_011);
    let anew = || {
        Command::FillDepot(DepotFill {
            depot,
            owner: other,
            token: TOKEN,
            mode: FillMode::Add,
            one_time: vec![vec![4; 4096]],
            last_resort: None,
            expires: Day::new(20_012),
        })
    };
    same!(s.run(anew())?, Err(ErrorCode::Unknown));
    s.store.expire(s.today, 200)?;
    s.run(anew())??;
    same!(s.run(take(11))?, once(4));
    same!(s.run(take(12))?, Ok(Outcome::Prekey(Prekey::UsedUp)));
    Ok(())
}

fn tokens(s: &mut Subject) -> Result<(), Finding> {
    same!(s.run(create(1, &[]))?, Err(ErrorCode::NotAdmitted));
    s.admit()?;
    let quota = Quotas::default().standard;
    for n in 0..quota.mailboxes {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(n.to_be_bytes()) {
            *to = from;
        }
        let create = Command::CreateMailbox {
            key: ReadKey::from_bytes(bytes),
            token: TOKEN,
            kind: MailboxKind::Queue,
            limits: None,
            capabilities: vec![],
        };
        s.run(create)??;
    }
    same!(s.run(create(99, &[]))?, Err(ErrorCode::QuotaExceeded));
    s.today = s.today.plus(1);
    s.run(create(99, &[]))??;
    match s.run(Command::Tokens)?? {
        Outcome::Tokens(tokens) => match tokens.as_slice() {
            [token] => {
                same!((token.mailboxes, token.blob_bytes, token.verifier), (1, 0, TOKEN));
                s.run(Command::RevokeToken(token.id))??;
                same!(s.run(Command::RevokeToken(token.id))?, Err(ErrorCode::Unknown));
            }
            other => return Err(Finding(format!("{} tokens", other.len()))),
        },
        other => return Err(Finding(format!("{other:?} instead of tokens"))),
    }
    same!(s.run(create(100, &[]))?, Err(ErrorCode::NotAdmitted));
    // What it made lives on.
    s.state(99)?;
    Ok(())
}

fn blobs(s: &mut Subject) -> Result<(), Finding> {
    s.admit()?;
    let record = BlobRecord {
        blob: BlobId::from_bytes([1; 32]),
        read: BlobCapabilityHash::from_bytes([2; 32]),
        delete: BlobCapabilityHash::from_bytes([3; 32]),
        length: 1 << 30,
        hash: BlobHash::from_bytes([4; 32]),
        expires: Day::new(20_010),
    };
    let found = Ok(Outcome::Blob(record.clone()));
    same!(s.run(Command::AnnounceBlob(record.clone(), [0; 32]))?, Err(ErrorCode::NotAdmitted));
    same!(s.run(Command::AnnounceBlob(record.clone(), TOKEN))?, found);
    // Resuming needs no quota and no valid token.
    same!(s.run(Command::AnnounceBlob(record.clone(), [0; 32]))?, found);
    let longer = BlobRecord { length: 2 << 30, ..record.clone() };
    same!(s.run(Command::AnnounceBlob(longer, TOKEN))?, Err(ErrorCode::Conflict));
    let other =
        BlobRecord { blob: BlobId::from_bytes([9; 32]), length: 16 << 30, ..record.clone() };
    same!(s.run(Command::AnnounceBlob(other, TOKEN))?, Err(ErrorCode::QuotaExceeded));
    same!(s.run(Command::FindBlob(record.blob, record.read))?, found);
    same!(s.run(Command::FindBlob(record.blob, record.delete))?, Err(ErrorCode::Unknown));
    s.today = Day::new(20_011);
    same!(s.run(Command::FindBlob(record.blob, record.read))?, Err(ErrorCode::Unknown));
    same!(s.run(Command::DeleteBlob(record.blob, record.read))?, Err(ErrorCode::Unknown));
    // Its files are needed until it is removed.
    same!(s.run(Command::HasBlob(record.blob))?, Ok(Outcome::Done));
    s.run(Command::DeleteBlob(record.blob, record.delete))??;
    same!(s.run(Command::HasBlob(record.blob))?, Err(ErrorCode::Unknown));
    same!(s.run(Command::FindBlob(record.blob, record.read))?, Err(ErrorCode::Unknown));
    Ok(())
}

fn back(s: &mut Subject) -> Result<(), Finding> {
    let start = s.today;
    s.admit()?;
    s.run(create(1, &[1]))??;
    s.run(deliver(1, 0))??;
    for days in [1, 40, 4000] {
        s.today = Day::new(start.get() - days);
        s.run(deliver(1, days))??;
        same!(s.store.expire(s.today, EVER)?, Removed::default());
    }
    s.today = start;
    s.run(deliver(1, 5))??;
    for _ in 0..100 {
        same!(s.store.expire(s.today, EVER)?, Removed::default());
    }
    let expected: Vec<_> = (1..).zip([0, 1, 40, 4000, 5].map(envelope)).collect();
    same!(s.queued(1, 0, 9)?, expected);
    let state = s.state(1)?;
    same!((state.expired.get(), state.head.get()), (0, 5));
    // As long as what came when the clock was right.
    s.today = start.plus(32);
    s.store.expire(s.today, EVER)?;
    same!(s.state(1)?.expired.get(), 0);
    s.today = start.plus(33);
    s.store.expire(s.today, EVER)?;
    same!(s.state(1)?.expired.get(), 5);
    Ok(())
}

/// More hours than the maintenance clock can be behind.
const EVER: u32 = u32::MAX;

fn slowly(s: &mut Subject) -> Result<(), Finding> {
    let start = s.today;
    s.admit()?;
    s.run(create(1, &[1]))??;
    s.run(deliver(1, 0))??;
    let blob = BlobRecord {
        blob: BlobId::from_bytes([1; 32]),
        read: BlobCapabilityHash::from_bytes([2; 32]),
        delete: BlobCapabilityHash::from_bytes([3; 32]),
        length: 1,
        hash: BlobHash::from_bytes([4; 32]),
        expires: start.plus(9),
    };
    s.run(Command::AnnounceBlob(blob.clone(), TOKEN))??;
    // The machine's clock is set ten years ahead.
    s.today = start.plus(3652);
    for _ in 0..1000 {
        same!(s.store.expire(s.today, 0)?, Removed::default());
    }
    // Four days, nine, and the first hour of the tenth.
    same!(s.store.expire(s.today, 48)?.blobs, vec![]);
    same!(s.store.expire(s.today, 71)?.blobs, vec![]);
    same!(s.queued(1, 0, 9)?, vec![(1, envelope(0))]);
    // Set right again: what would have gone is there.
    s.today = start.plus(1);
    same!(s.store.expire(s.today, 1)?.blobs, vec![]);
    same!(s.run(Command::FindBlob(blob.blob, blob.read))?, Ok(Outcome::Blob(blob.clone())));
    // If time really passes, it catches up.
    s.today = start.plus(33);
    same!(s.store.expire(s.today, 1)?.blobs, vec![blob.blob]);
    same!(s.queued(1, 0, 9)?, vec![(1, envelope(0))]);
    s.store.expire(s.today, 12 * 23 - 1)?;
    same!(s.state(1)?.expired.get(), 0);
    s.store.expire(s.today, 1)?;
    same!(s.state(1)?.expired.get(), 1);
    Ok(())
}

fn expiry(s: &mut Subject) -> Result<(), Finding> {
    let start = s.today;
    s.admit()?;
    s.run(create(1, &[1]))??;
    s.run(create(2, &[2]))??;
    s.run(deliver(1, 0))??;
    s.run(deliver(1, 1))??;
    s.run(deliver(2, 2))??;
    s.ack(2, 1)??;
    s.today = start.plus(10);
    s.run(deliver(1, 3))??;
    let blob = BlobRecord {
        blob: BlobId::from_bytes([1; 32]),
        read: BlobCapabilityHash::from_bytes([2; 32]),
        delete: BlobCapabilityHash::from_bytes([3; 32]),
        length: 1,
        hash: BlobHash::from_bytes([4; 32]),
        expires: start.plus(12),
    };
    s.run(Command::AnnounceBlob(blob.clone(), TOKEN))??;
    // Retention is over, grace is not.
    s.today = start.plus(12);
    same!(s.store.expire(s.today, EVER)?.blobs, vec![]);
    s.today = start.plus(32);
    same!(s.store.expire(s.today, EVER)?.blobs, vec![blob.blob]);
    same!(s.state(1)?.expired.get(), 0);
    s.today = start.plus(33);
    same!(s.store.expire(s.today, EVER)?.blobs, vec![]);
    let state = s.state(1)?;
    same!((state.acknowledged.get(), state.expired.get(), state.head.get()), (0, 2, 3));
    same!(state.bytes, 1024);
    same!(s.queued(1, 0, 9)?, vec![(3, envelope(3))]);
    // A floor outlives the file that it was set in.
    let state = s.state(2)?;
    same!((state.acknowledged.get(), state.expired.get(), state.head.get()), (1, 0, 1));
    s.run(deliver(2, 4))??;
    same!(s.queued(2, 1, 9)?, vec![(2, envelope(4))]);
    // A visited mailbox lives on, the other goes.
    s.run(Command::Visit(id(1)))??;
    s.today = start.plus(MAILBOX_IDLE_DAYS).plus(1);
    same!(s.store.expire(s.today, EVER)?.mailboxes, vec![id(2)]);
    s.state(1)?;
    same!(s.run(Command::Status(id(2)))?, Err(ErrorCode::Unknown));
    Ok(())
}
