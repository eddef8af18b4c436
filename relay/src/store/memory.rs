//! A store in memory: the model that backends are compared with. Plain searches, no caches, and
//! rules written out anew, so that a fault in one of the two shows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use undertone_wire::frame::{DepotState, FillMode, MailboxLimits, MailboxState};
use undertone_wire::limits::{
    DEPOT_BUNDLES, MAILBOX_BYTES, MAILBOX_ENVELOPES, MAILBOX_IDLE_DAYS,
    MAX_CAPABILITIES_PER_MAILBOX, MAX_RETENTION_DAYS, REMEMBERED_ENVELOPES,
};
use undertone_wire::{
    BlobId, Day, DepotId, DepotKey, ErrorCode, Floor, Incarnation, MailboxId, Seq, TakeId,
    WriteCapabilityHash,
};

use super::audit::{Action, AuditEntry};
use super::{
    Answer, BlobRecord, Command, DEFAULT_SHARE, DepotFill, Outcome, Policy, Prekey, Queued, Quotas,
    Reader, Removed, Store, StoreFailure, TokenClass, TokenId, TokenRecord, new_incarnation,
};

/// Holds everything in memory and loses it when dropped.
pub struct MemoryStore {
    shared: Arc<Mutex<State>>,
}

struct State {
    incarnation: Incarnation,
    mailboxes: BTreeMap<MailboxId, Mailbox>,
    capabilities: BTreeMap<WriteCapabilityHash, MailboxId>,
    depots: BTreeMap<DepotId, Depot>,
    blobs: BTreeMap<BlobId, BlobRecord>,
    tokens: Vec<TokenRecord>,
    next_token: u32,
    log: Vec<AuditEntry>,
    quotas: Quotas,
    retention: u32,
    /// The maintenance clock, once it runs.
    hours: Option<u32>,
    /// The last day by which expired things were removed.
    swept: Day,
    share: u32,
    shares_reached: u64,
}

struct Mailbox {
    limits: MailboxLimits,
    expires: Day,
    acknowledged: u64,
    expired: u64,
    /// Everything that ever came: envelope and its expiry day. Position is index + 1.
    all: Vec<(Vec<u8>, Day)>,
    /// With which capability each of them came, as far as that is known.
    by: Vec<Option<WriteCapabilityHash>>,
}

#[derive(Clone)]
struct Depot {
    owner: DepotKey,
    expires: Day,
    one_time: Vec<Vec<u8>>,
    last_resort: Option<Vec<u8>>,
    last: Option<(TakeId, Vec<u8>)>,
}

impl Mailbox {
    fn floor(&self) -> u64 {
        self.acknowledged.max(self.expired)
    }

    fn head(&self) -> u64 {
        u64::try_from(self.all.len()).unwrap_or(u64::MAX)
    }

    fn numbered(&self) -> impl Iterator<Item = (u64, &(Vec<u8>, Day))> {
        (1..).zip(&self.all)
    }

    fn queued(&self) -> impl Iterator<Item = (u64, &Vec<u8>)> {
        let floor = self.floor();
        self.numbered().filter(move |(seq, _)| *seq > floor).map(|(seq, (bytes, _))| (seq, bytes))
    }

    /// Whether one more would be more than the capability's part, which is never less than one.
    fn share_exceeded(&self, of: WriteCapabilityHash, envelope: &[u8], percent: u32) -> bool {
        let by = (1..).zip(&self.by).filter(|(_, by)| **by == Some(of)).map(|(seq, _)| seq);
        let by: std::collections::BTreeSet<u64> = by.collect();
        let queued = self.queued().filter(|(seq, _)| by.contains(seq));
        let sizes = queued.map(|(_, e)| u128::try_from(e.len()).unwrap_or(u128::MAX));
        let sizes: Vec<u128> = sizes.collect();
        let next = u128::try_from(envelope.len()).unwrap_or(u128::MAX);
        let bytes = sizes.iter().fold(next, |sum, size| sum.saturating_add(*size));
        let count = u128::try_from(sizes.len()).unwrap_or(u128::MAX).saturating_add(1);
        let part = |limit: u64| u128::from(limit).saturating_mul(percent.into()) / 100;
        let fits = count <= part(self.limits.envelopes.into()) && bytes <= part(self.limits.bytes);
        percent < 100 && !sizes.is_empty() && !fits
    }

    fn bytes(&self) -> u64 {
        self.queued().map(|(_, e)| u64::try_from(e.len()).unwrap_or(u64::MAX)).sum()
    }
}

impl MemoryStore {
    /// An empty store.
    ///
    /// # Errors
    /// [`StoreFailure::Random`].
    pub fn new() -> Result<Self, StoreFailure> {
        let state = State {
            incarnation: new_incarnation()?,
            mailboxes: BTreeMap::new(),
            capabilities: BTreeMap::new(),
            depots: BTreeMap::new(),
            blobs: BTreeMap::new(),
            tokens: Vec::new(),
            next_token: 1,
            log: Vec::new(),
            quotas: Quotas::default(),
            retention: MAX_RETENTION_DAYS,
            hours: None,
            swept: Day::new(0),
            share: DEFAULT_SHARE,
            shares_reached: 0,
        };
        Ok(Self { shared: Arc::new(Mutex::new(state)) })
    }

    /// Forgets what a backend keeps in memory only, as a restart does.
    pub fn restart(&mut self) {
        for mailbox in lock(&self.shared).mailboxes.values_mut() {
            mailbox.by.fill(None);
        }
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn mailbox_state(&self, id: MailboxId) -> Answer {
        let mailbox = self.mailboxes.get(&id).ok_or(ErrorCode::Unknown)?;
        Ok(Outcome::Mailbox(MailboxState {
            incarnation: self.incarnation,
            acknowledged: Floor::new(mailbox.acknowledged),
            expired: Floor::new(mailbox.expired),
            head: Floor::new(mailbox.head()),
            bytes: mailbox.bytes(),
            limits: mailbox.limits,
        }))
    }

    /// The later of the machine's day and the maintenance clock's.
    fn later(&self, today: Day) -> Day {
        self.hours.map_or(today, |hours| today.max(Day::new(hours / 24)))
    }

    fn deliver(&mut self, today: Day, to: WriteCapabilityHash, envelope: &[u8]) -> Answer {
        let id = *self.capabilities.get(&to).ok_or(ErrorCode::Unknown)?;
        let day = self.later(today);
        let mailbox = self.mailboxes.get_mut(&id).ok_or(ErrorCode::Unknown)?;
        let remembered =
            mailbox.head().saturating_sub(u64::try_from(REMEMBERED_ENVELOPES).unwrap_or(0));
        let (floor, swept) = (mailbox.floor(), self.swept);
        let known = mailbox.numbered().any(|(seq, (bytes, day))| {
            // What was removed with its day is no longer recognised.
            let kept = day.plus(2) >= swept;
            kept && (seq > floor || seq > remembered) && bytes == envelope
        });
        if known {
            return Ok(Outcome::Delivered { mailbox: id, new: None });
        }
        let count = mailbox.queued().count();
        let bytes = mailbox.bytes().saturating_add(u64::try_from(envelope.len()).unwrap_or(0));
        if u32::try_from(count).is_ok_and(|count| count >= mailbox.limits.envelopes)
            || bytes > mailbox.limits.bytes
        {
            return Err(ErrorCode::MailboxFull);
        }
        let others = self.capabilities.iter().any(|(hash, owner)| *owner == id && *hash != to);
        if others && mailbox.share_exceeded(to, envelope, self.share) {
            self.shares_reached = self.shares_reached.saturating_add(1);
            return Err(ErrorCode::MailboxFull);
        }
        // By the later of the machine's clock and the maintenance clock.
        mailbox.all.push((envelope.to_vec(), day.plus(self.retention)));
        mailbox.by.push(Some(to));
        Ok(Outcome::Delivered { mailbox: id, new: Some(Seq::new(mailbox.head())) })
    }

    fn admit(
        &mut self,
        today: Day,
        token: &[u8; 32],
        made: u32,
        bytes: u64,
    ) -> Result<(), ErrorCode> {
        let token =
            self.tokens.iter_mut().find(|t| t.verifier == *token).ok_or(ErrorCode::NotAdmitted)?;
        let (before, stored) =
            if token.day == today { (token.mailboxes, token.blob_bytes) } else { (0, 0) };
        let (made, bytes) = (before.saturating_add(made), stored.saturating_add(bytes));
        let quota = self.quotas.of(token.class);
        if made > quota.mailboxes || bytes > quota.blob_bytes {
            return Err(ErrorCode::QuotaExceeded);
        }
        (token.day, token.mailboxes, token.blob_bytes) = (today, made, bytes);
        Ok(())
    }

    fn add_capabilities(&mut self, id: MailboxId, hashes: &[WriteCapabilityHash]) -> Answer {
        if hashes.iter().any(|hash| self.capabilities.get(hash).is_some_and(|owner| *owner != id)) {
            return Err(ErrorCode::Conflict);
        }
        let fresh: std::collections::BTreeSet<_> =
            hashes.iter().filter(|hash| !self.capabilities.contains_key(hash)).collect();
        let present = self.capabilities.values().filter(|owner| **owner == id).count();
        let count = present.saturating_add(fresh.len());
        if u32::try_from(count).is_ok_and(|count| count > MAX_CAPABILITIES_PER_MAILBOX) {
            return Err(ErrorCode::LimitReached);
        }
        self.capabilities.extend(hashes.iter().map(|hash| (*hash, id)));
        Ok(Outcome::Done)
    }

    fn delete_mailbox(&mut self, id: MailboxId) -> Answer {
        self.mailboxes.remove(&id).ok_or(ErrorCode::Unknown)?;
        self.capabilities.retain(|_, owner| *owner != id);
        Ok(Outcome::Done)
    }

    fn fill(&mut self, today: Day, fill: &DepotFill) -> Answer {
        let passed = self.hours.map_or(today, |hours| today.min(Day::new(hours / 24)));
        self.depots.retain(|id, depot| *id != fill.depot || depot.expires >= passed);
        let existing = self.depots.get(&fill.depot);
        if existing.is_some_and(|depot| depot.owner != fill.owner) {
            return Err(ErrorCode::Unknown);
        }
        let mut one_time = match existing {
            Some(depot) if fill.mode == FillMode::Add => depot.one_time.clone(),
            _ => Vec::new(),
        };
        for bundle in &fill.one_time {
            if !one_time.contains(bundle) {
                one_time.push(bundle.clone());
            }
        }
        if one_time.len() > DEPOT_BUNDLES {
            return Err(ErrorCode::LimitReached);
        }
        if existing.is_none() {
            self.admit(today, &fill.token, 1, 0)?;
        }
        let depot = self.depots.entry(fill.depot).or_insert_with(|| Depot {
            owner: fill.owner,
            expires: fill.expires,
            one_time: Vec::new(),
            last_resort: None,
            last: None,
        });
        depot.one_time = one_time;
        if fill.mode == FillMode::Replace || fill.last_resort.is_some() {
            depot.last_resort.clone_from(&fill.last_resort);
        }
        depot.expires = fill.expires;
        self.depot_state(today, fill.depot, fill.owner)
    }

    fn depot_state(&self, today: Day, depot: DepotId, owner: DepotKey) -> Answer {
        let depot = self.depots.get(&depot).filter(|d| d.owner == owner && d.expires >= today);
        let depot = depot.ok_or(ErrorCode::Unknown)?;
        Ok(Outcome::Depot(DepotState {
            one_time: u32::try_from(depot.one_time.len()).unwrap_or(u32::MAX),
            last_resort: depot.last_resort.is_some(),
            expires: depot.expires,
            incarnation: self.incarnation,
        }))
    }

    fn take(&mut self, today: Day, depot: DepotId, take: TakeId) -> Answer {
        let depot = self.depots.get_mut(&depot).filter(|d| d.expires >= today);
        let depot = depot.ok_or(ErrorCode::Unknown)?;
        if let Some((last, bundle)) = &depot.last
            && *last == take
        {
            return Ok(Outcome::Prekey(Prekey::OneTime(bundle.clone())));
        }
        if depot.one_time.is_empty() {
            let last_resort = depot.last_resort.clone();
            return Ok(Outcome::Prekey(last_resort.map_or(Prekey::UsedUp, Prekey::LastResort)));
        }
        let bundle = depot.one_time.remove(0);
        depot.last = Some((take, bundle.clone()));
        Ok(Outcome::Prekey(Prekey::OneTime(bundle)))
    }

    fn announce(&mut self, today: Day, record: &BlobRecord, token: &[u8; 32]) -> Answer {
        match self.blobs.get(&record.blob) {
            Some(stored) if stored == record => {}
            Some(_) => return Err(ErrorCode::Conflict),
            None => {
                self.admit(today, token, 0, record.length)?;
                self.blobs.insert(record.blob, record.clone());
            }
        }
        Ok(Outcome::Blob(record.clone()))
    }

    fn execute(&mut self, today: Day, command: &Command) -> Answer {
        match command {
            Command::Deliver { capability, envelope } => self.deliver(today, *capability, envelope),
            Command::Acknowledge(ack) => {
                if ack.incarnation != self.incarnation {
                    return Err(ErrorCode::OtherIncarnation);
                }
                let mailbox = self.mailboxes.get_mut(&ack.mailbox).ok_or(ErrorCode::Unknown)?;
                if ack.floor.get() > mailbox.head() {
                    return Err(ErrorCode::FloorAhead);
                }
                mailbox.acknowledged = mailbox.acknowledged.max(ack.floor.get());
                Ok(Outcome::Done)
            }
            Command::CreateMailbox { key, token, kind: _, limits, capabilities } => {
                let id = key.mailbox();
                if !self.mailboxes.contains_key(&id) {
                    let (tokens, later) = (self.tokens.clone(), self.later(today));
                    self.admit(today, token, 1, 0)?;
                    self.mailboxes.insert(
                        id,
                        Mailbox {
                            limits: clamp(*limits),
                            expires: later.plus(MAILBOX_IDLE_DAYS),
                            acknowledged: 0,
                            expired: 0,
                            all: Vec::new(),
                            by: Vec::new(),
                        },
                    );
                    if let Err(code) = self.add_capabilities(id, capabilities) {
                        self.mailboxes.remove(&id);
                        self.tokens = tokens;
                        return Err(code);
                    }
                } else {
                    self.add_capabilities(id, capabilities)?;
                }
                self.mailbox_state(id)
            }
            Command::SetLimits(id, limits) => {
                let mailbox = self.mailboxes.get_mut(id).ok_or(ErrorCode::Unknown)?;
                mailbox.limits = clamp(Some(*limits));
                Ok(Outcome::Done)
            }
            Command::AddCapabilities(id, hashes) => {
                self.mailboxes.get(id).ok_or(ErrorCode::Unknown)?;
                self.add_capabilities(*id, hashes)
            }
            Command::RevokeCapabilities(id, hashes) => {
                self.mailboxes.get(id).ok_or(ErrorCode::Unknown)?;
                self.capabilities.retain(|hash, owner| owner != id || !hashes.contains(hash));
                Ok(Outcome::Done)
            }
            Command::Status(id) => self.mailbox_state(*id),
            Command::Visit(id) => {
                let renewed = self.later(today).plus(MAILBOX_IDLE_DAYS);
                let mailbox = self.mailboxes.get_mut(id).ok_or(ErrorCode::Unknown)?;
                if mailbox.expires.days_until(renewed) >= super::rules::RENEW_AFTER_DAYS {
                    mailbox.expires = renewed;
                }
                self.mailbox_state(*id)
            }
            Command::DeleteMailbox(id) => self.delete_mailbox(*id),
            Command::FillDepot(fill) => {
                let before = (self.depots.get(&fill.depot).cloned(), self.tokens.clone());
                let answer = self.fill(today, fill);
                if answer.is_err() {
                    // A refused command changes nothing, not even what has expired.
                    self.depots.remove(&fill.depot);
                    self.depots.extend(before.0.map(|depot| (fill.depot, depot)));
                    self.tokens = before.1;
                }
                answer
            }
            Command::DepotStatus(depot, owner) => self.depot_state(today, *depot, *owner),
            Command::DeleteDepot(depot, owner) => {
                self.depot_state(today, *depot, *owner)?;
                self.depots.remove(depot);
                Ok(Outcome::Done)
            }
            Command::TakePrekey(depot, take) => self.take(today, *depot, *take),
            Command::AnnounceBlob(record, token) => self.announce(today, record, token),
            Command::FindBlob(blob, capability) => {
                let found = self
                    .blobs
                    .get(blob)
                    .filter(|record| record.read == *capability && record.expires >= today);
                found.cloned().map(Outcome::Blob).ok_or(ErrorCode::Unknown)
            }
            Command::HasBlob(blob) => {
                let found = self.blobs.contains_key(blob);
                if found { Ok(Outcome::Done) } else { Err(ErrorCode::Unknown) }
            }
            Command::DeleteBlob(blob, capability) => {
                let found = self.blobs.get(blob).is_some_and(|record| record.delete == *capability);
                if found {
                    self.blobs.remove(blob);
                    Ok(Outcome::Done)
                } else {
                    Err(ErrorCode::Unknown)
                }
            }
            Command::AddToken(verifier, class) => Ok(self.add_token(today, *verifier, *class)),
            Command::RevokeToken(id) => {
                let before = self.tokens.len();
                self.tokens.retain(|token| token.id != *id);
                if self.tokens.len() == before {
                    Err(ErrorCode::Unknown)
                } else {
                    Ok(Outcome::Done)
                }
            }
            Command::Tokens => Ok(Outcome::Tokens(self.tokens.clone())),
            Command::Audit(action) => Ok(Outcome::Audited(self.audit(today, *action))),
        }
    }

    fn audit(&mut self, day: Day, action: Action) -> AuditEntry {
        let previous = self.log.last().map_or([0; 32], |entry| entry.hash);
        let number = u64::try_from(self.log.len()).unwrap_or(u64::MAX).saturating_add(1);
        let (name, detail) = action.text();
        let mut entry = AuditEntry { number, day, action: name.to_owned(), detail, hash: previous };
        entry.hash = entry.expected_hash(&previous);
        self.log.push(entry.clone());
        entry
    }

    fn add_token(&mut self, day: Day, verifier: [u8; 32], class: TokenClass) -> Outcome {
        let id = TokenId(self.next_token);
        self.next_token = self.next_token.saturating_add(1);
        self.tokens.push(TokenRecord { id, verifier, class, day, mailboxes: 0, blob_bytes: 0 });
        Outcome::Token(id)
    }
}

fn clamp(limits: Option<MailboxLimits>) -> MailboxLimits {
    MailboxLimits {
        envelopes: limits.map_or(MAILBOX_ENVELOPES, |l| l.envelopes.min(MAILBOX_ENVELOPES)),
        bytes: limits.map_or(MAILBOX_BYTES, |l| l.bytes.min(MAILBOX_BYTES)),
    }
}

impl Store for MemoryStore {
    fn commit(&mut self, today: Day, batch: &[Command]) -> Result<Vec<Answer>, StoreFailure> {
        let mut state = lock(&self.shared);
        state.hours.get_or_insert(today.get().saturating_mul(24));
        Ok(batch.iter().map(|command| state.execute(today, command)).collect())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreFailure> {
        Ok(Box::new(MemoryReader { shared: self.shared.clone() }))
    }

    fn expire(&mut self, today: Day, observed_hours: u32) -> Result<Removed, StoreFailure> {
        let mut state = lock(&self.shared);
        let target = today.get().saturating_mul(24);
        let hours = state.hours.get_or_insert(target);
        if *hours < target {
            let step = observed_hours.saturating_mul(2).min(target.saturating_sub(*hours));
            *hours = hours.saturating_add(step);
        }
        let today = today.min(Day::new(*hours / 24));
        state.swept = state.swept.max(today);
        for mailbox in state.mailboxes.values_mut() {
            // Two days of grace, as for every backend.
            let gone = (1..).zip(&mailbox.all).filter(|(_, (_, day))| day.plus(2) < today);
            let last = gone.map(|(seq, _)| seq).filter(|seq| *seq > mailbox.acknowledged).max();
            mailbox.expired = mailbox.expired.max(last.unwrap_or(0));
        }
        let idle: Vec<_> =
            state.mailboxes.iter().filter(|(_, m)| m.expires < today).map(|(id, _)| *id).collect();
        for id in &idle {
            let _ = state.delete_mailbox(*id);
        }
        state.depots.retain(|_, depot| depot.expires >= today);
        let gone = state.blobs.values().filter(|b| b.expires < today).map(|b| b.blob).collect();
        state.blobs.retain(|_, blob| blob.expires >= today);
        Ok(Removed { blobs: gone, mailboxes: idle })
    }

    fn erased_elsewhere(&mut self) -> bool {
        false
    }

    fn shares_reached(&mut self) -> u64 {
        std::mem::take(&mut lock(&self.shared).shares_reached)
    }

    fn set_policy(&mut self, policy: &Policy) {
        let mut state = lock(&self.shared);
        state.quotas = policy.quotas;
        state.share = policy.share;
        state.retention = policy.retention_days.min(MAX_RETENTION_DAYS);
    }

    fn close(self: Box<Self>) -> Result<(), StoreFailure> {
        Ok(())
    }
}

struct MemoryReader {
    shared: Arc<Mutex<State>>,
}

impl Reader for MemoryReader {
    fn after(
        &mut self,
        mailbox: MailboxId,
        position: Seq,
        count: usize,
    ) -> Result<Vec<Queued>, StoreFailure> {
        let state = lock(&self.shared);
        let Some(mailbox) = state.mailboxes.get(&mailbox) else { return Ok(Vec::new()) };
        let queued = mailbox.queued().filter(|(seq, _)| *seq > position.get()).take(count);
        Ok(queued
            .map(|(seq, bytes)| Queued { seq: Seq::new(seq), envelope: Some(bytes.clone()) })
            .collect())
    }
}
