//! Rules that hold for every backend, so that backends differ in how they store only.

use std::collections::{HashSet, VecDeque};

use undertone_wire::frame::{MailboxLimits, MailboxState};
use undertone_wire::limits::{
    MAILBOX_BYTES, MAILBOX_ENVELOPES, MAILBOX_IDLE_DAYS, REMEMBERED_ENVELOPES,
};
use undertone_wire::{Day, EnvelopeHash, ErrorCode, Floor, Incarnation};

/// Renewing a mailbox's expiry writes to the store; once in so many days is enough.
pub(super) const RENEW_AFTER_DAYS: u32 = 7;

/// The limits that hold: the owner's, but never above the relay's.
pub(super) fn effective(limits: Option<MailboxLimits>) -> MailboxLimits {
    let most = MailboxLimits { envelopes: MAILBOX_ENVELOPES, bytes: MAILBOX_BYTES };
    limits.map_or(most, |wanted| MailboxLimits {
        envelopes: wanted.envelopes.min(most.envelopes),
        bytes: wanted.bytes.min(most.bytes),
    })
}

/// When a mailbox goes whose owner came today.
pub(super) fn idle_expiry(today: Day) -> Day {
    today.plus(MAILBOX_IDLE_DAYS)
}

/// Hours by which the maintenance clock comes nearer to the machine's in an hour of uptime.
const CATCH_UP: u32 = 2;

/// The maintenance clock, by which everything is removed that has expired, in hours since
/// 1970-01-01. It never goes ahead of the machine's day and follows it slowly: a machine whose clock
/// is set years ahead removes in a day what expires in two, however often it is restarted, and
/// somebody has time to notice. It does not go back (R-1205).
pub(super) fn maintenance_clock(now: u32, today: Day, observed_hours: u32) -> u32 {
    let furthest = now.saturating_add(observed_hours.saturating_mul(CATCH_UP));
    now.max(furthest.min(hours(today)))
}

/// The beginning of a day in hours since 1970-01-01.
pub(super) fn hours(day: Day) -> u32 {
    day.get().saturating_mul(24)
}

/// An envelope's place in a mailbox, without its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) seq: u64,
    /// The day at whose end it expires, in whose file it is.
    pub(super) day: Day,
    pub(super) bytes: u64,
    pub(super) hash: EnvelopeHash,
}

/// What a new envelope is to a mailbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// It is there, or was lately.
    Known,
    /// It goes to this position.
    Next(u64),
}

/// A mailbox in memory: counters, floors, and the hashes by which repeats are recognised.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) limits: MailboxLimits,
    pub(super) expires: Day,
    acknowledged: u64,
    expired: u64,
    head: u64,
    /// What is queued, and behind the floor what is among the last 64, by position.
    entries: VecDeque<Entry>,
    hashes: HashSet<EnvelopeHash>,
    count: u64,
    bytes: u64,
}

/// The highest position that is neither queued nor among the last 64.
fn forgotten(floor: u64, head: u64) -> u64 {
    let remembered = u64::try_from(REMEMBERED_ENVELOPES).unwrap_or(u64::MAX);
    floor.min(head.saturating_sub(remembered))
}

impl Mailbox {
    /// A mailbox from what is stored. `entries` are in order of their positions.
    pub(super) fn new(
        limits: MailboxLimits,
        expires: Day,
        (acknowledged, expired): (u64, u64),
        mut entries: Vec<Entry>,
    ) -> Self {
        let head = entries.last().map_or(0, |e| e.seq).max(acknowledged).max(expired);
        let floor = acknowledged.max(expired);
        // A row that outlived its deletion may have the hash of a later one.
        let forgotten = forgotten(floor, head);
        entries.retain(|entry| entry.seq > forgotten);
        let queued = || entries.iter().filter(|e| e.seq > floor);
        let (count, bytes) =
            (u64::try_from(queued().count()).unwrap_or(0), queued().map(|e| e.bytes).sum());
        let hashes = entries.iter().map(|e| e.hash).collect();
        Self {
            limits,
            expires,
            acknowledged,
            expired,
            head,
            entries: entries.into(),
            hashes,
            count,
            bytes,
        }
    }

    /// Entries in memory, queued or remembered.
    pub(super) fn entries(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn floor(&self) -> u64 {
        self.acknowledged.max(self.expired)
    }

    pub(super) fn state(&self, incarnation: Incarnation) -> MailboxState {
        MailboxState {
            incarnation,
            acknowledged: Floor::new(self.acknowledged),
            expired: Floor::new(self.expired),
            head: Floor::new(self.head),
            bytes: self.bytes,
            limits: self.limits,
        }
    }

    /// Whether an envelope can come in, and where. Changes nothing. Numbers are contiguous (R-1206).
    pub(super) fn offer(&self, hash: EnvelopeHash, bytes: u64) -> Result<Offer, ErrorCode> {
        if self.hashes.contains(&hash) {
            return Ok(Offer::Known);
        }
        let full = self.count >= u64::from(self.limits.envelopes)
            || self.bytes.saturating_add(bytes) > self.limits.bytes;
        if full {
            return Err(ErrorCode::MailboxFull);
        }
        // 2^63 envelopes do not happen; SQLite's integers end there.
        let next = self.head.checked_add(1).filter(|next| i64::try_from(*next).is_ok());
        next.map(Offer::Next).ok_or(ErrorCode::LimitReached)
    }

    /// An envelope came in at the position that [`Self::offer`] gave.
    pub(super) fn push(&mut self, entry: Entry) {
        self.head = entry.seq;
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(entry.bytes);
        self.hashes.insert(entry.hash);
        self.entries.push_back(entry);
        self.forget_old();
    }

    /// Whether a floor can be set; `None` if it changes nothing.
    pub(super) fn offer_floor(&self, floor: Floor) -> Result<Option<u64>, ErrorCode> {
        if floor.get() > self.head {
            return Err(ErrorCode::FloorAhead);
        }
        Ok((floor.get() > self.acknowledged).then_some(floor.get()))
    }

    /// The owner has stored everything up to here. Names the days in whose files something goes.
    pub(super) fn acknowledge(&mut self, floor: u64) -> Vec<Day> {
        let before = self.floor();
        self.acknowledged = self.acknowledged.max(floor);
        let (floor, forgotten) = (self.floor(), self.forgotten());
        let mut days = Vec::new();
        for entry in self.entries.iter().take_while(|entry| entry.seq <= floor) {
            let goes = entry.seq > before || entry.seq <= forgotten;
            if goes && !days.contains(&entry.day) {
                days.push(entry.day);
            }
        }
        self.uncount(before);
        days
    }

    fn uncount(&mut self, before: u64) {
        let floor = self.floor();
        let gone = self.entries.iter().take_while(|e| e.seq <= floor).filter(|e| e.seq > before);
        for entry in gone {
            self.count = self.count.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
        self.forget_old();
    }

    /// As [`forgotten`].
    pub(super) fn forgotten(&self) -> u64 {
        forgotten(self.floor(), self.head)
    }

    fn forget_old(&mut self) {
        let forgotten = self.forgotten();
        while let Some(entry) = self.entries.front()
            && entry.seq <= forgotten
        {
            self.hashes.remove(&entry.hash);
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, content: u64) -> Entry {
        let hash = EnvelopeHash::of(&content.to_be_bytes());
        Entry { seq, day: Day::new(1), bytes: 1024, hash }
    }

    #[test]
    fn a_row_that_outlived_its_deletion_takes_no_later_hash_with_it() {
        // The first row and the last have the same content; the first is forgotten.
        let mut rows: Vec<_> = (1..=70).map(|seq| entry(seq, seq)).collect();
        rows.push(entry(71, 1));
        let mut mailbox = Mailbox::new(effective(None), Day::new(1), (71, 0), rows);
        assert_eq!(mailbox.offer(entry(0, 1).hash, 1024), Ok(Offer::Known));
        mailbox.push(entry(72, 72));
        assert_eq!(mailbox.offer(entry(0, 1).hash, 1024), Ok(Offer::Known));
        assert_eq!(mailbox.offer(entry(0, 2).hash, 1024), Ok(Offer::Next(73)));
    }

    #[test]
    fn an_acknowledgement_names_the_files_in_which_something_goes() {
        let day = |seq: u64| {
            if seq <= 30 {
                1
            } else if seq <= 90 {
                2
            } else {
                3
            }
        };
        let rows = (1..=100).map(|seq| Entry { day: Day::new(day(seq)), ..entry(seq, seq) });
        let mut mailbox = Mailbox::new(effective(None), Day::new(1), (0, 0), rows.collect());
        // What is behind the last 64 goes whole, of the others the bytes.
        assert_eq!(mailbox.acknowledge(20), [Day::new(1)]);
        assert_eq!(mailbox.acknowledge(36), [1, 2].map(Day::new));
        assert_eq!(mailbox.acknowledge(40), [Day::new(2)]);
        assert_eq!(mailbox.acknowledge(95), [2, 3].map(Day::new));
        assert_eq!(mailbox.acknowledge(95), []);
    }
}
