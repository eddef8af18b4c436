//! Keys of messages that have not arrived: looked up in constant time, the
//! oldest dropped first.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use hashbrown::HashMap;

use crate::bounds::{MAX_SKIPPED_KEYS, RETENTION_DAYS};
use crate::day::Day;

use super::keys::ReceivingMessageKey;

/// A place in a receiving chain: the chain's serial number and the message's.
pub(crate) type Place = (u32, u32);

/// The keys, in a table by place and a queue by age. An entry of the queue
/// whose key is gone is passed over; the queue is swept when most are.
pub(crate) struct Skipped {
    keys: HashMap<Place, Waiting>,
    order: VecDeque<(u64, Place)>,
    /// Numbers the insertions, so that a stale entry of the queue never
    /// stands for a later key at the same place.
    inserted: u64,
}

struct Waiting {
    /// Boxed, so that a growing table leaves no key behind.
    key: Box<ReceivingMessageKey>,
    day: Day,
    insertion: u64,
}

/// Whether a key that waits since `day` may still be kept on `today`.
pub(crate) fn lives(day: Day, today: Day) -> bool {
    day.plus(RETENTION_DAYS) >= today
}

impl Skipped {
    pub(crate) fn new() -> Self {
        Self { keys: HashMap::new(), order: VecDeque::new(), inserted: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// A key, and since when it waits.
    pub(crate) fn get(&self, place: &Place) -> Option<(&ReceivingMessageKey, Day)> {
        self.keys.get(place).map(|waiting| (&*waiting.key, waiting.day))
    }

    pub(crate) fn remove(&mut self, place: &Place) {
        self.keys.remove(place);
        self.sweep();
    }

    /// Adds a key; the oldest goes where there are too many.
    pub(crate) fn add(&mut self, place: Place, key: Box<ReceivingMessageKey>, day: Day) {
        self.inserted = self.inserted.wrapping_add(1);
        let waiting = Waiting { key, day, insertion: self.inserted };
        self.keys.insert(place, waiting);
        self.order.push_back((self.inserted, place));
        while self.keys.len() > MAX_SKIPPED_KEYS {
            self.drop_front();
        }
    }

    /// Drops what may not be kept on `today`, wherever it stands: a clock that
    /// went back leaves days out of order.
    pub(crate) fn expire(&mut self, today: Day) {
        self.keys.retain(|_, waiting| lives(waiting.day, today));
        self.sweep();
    }

    /// Drops the keys of a chain that can't be recognised any more.
    pub(crate) fn drop_chain(&mut self, serial: u32) {
        self.keys.retain(|place, _| place.0 != serial);
        self.sweep();
    }

    /// Shortens the queue where most of it is stale.
    fn sweep(&mut self) {
        if self.order.len() > 2 * self.keys.len() + 64 {
            let keys = &self.keys;
            self.order.retain(|(insertion, place)| {
                keys.get(place).is_some_and(|waiting| waiting.insertion == *insertion)
            });
        }
    }

    /// Drops the front of the queue, and its key if it still is that key's.
    fn drop_front(&mut self) {
        let Some((insertion, place)) = self.order.pop_front() else {
            return;
        };
        if self.keys.get(&place).is_some_and(|waiting| waiting.insertion == insertion) {
            self.keys.remove(&place);
        }
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place, &ReceivingMessageKey, Day)> {
        self.order.iter().filter_map(|(insertion, place)| {
            let waiting = self.keys.get(place)?;
            (waiting.insertion == *insertion).then_some((*place, &*waiting.key, waiting.day))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Box<ReceivingMessageKey> {
        Box::new(ReceivingMessageKey::from_array(&[byte; 32]))
    }

    #[test]
    fn the_oldest_go_first() {
        let mut skipped = Skipped::new();
        let over = u32::try_from(MAX_SKIPPED_KEYS).unwrap() + 10;
        for number in 0..over {
            skipped.add((1, number), key(1), Day::new(1));
        }
        assert_eq!(skipped.len(), MAX_SKIPPED_KEYS);
        assert!(skipped.get(&(1, 9)).is_none());
        assert!(skipped.get(&(1, 10)).is_some());
    }

    #[test]
    fn a_stale_entry_does_not_drop_a_later_key() {
        let mut skipped = Skipped::new();
        skipped.add((1, 1), key(1), Day::new(1));
        skipped.remove(&(1, 1));
        skipped.add((1, 1), key(2), Day::new(40));
        skipped.expire(Day::new(40));
        assert_eq!(skipped.get(&(1, 1)).map(|(key, _)| key.expose()[0]), Some(2));
        assert_eq!(skipped.iter().count(), 1);
    }

    #[test]
    fn none_outlives_the_retention() {
        let mut skipped = Skipped::new();
        skipped.add((1, 1), key(1), Day::new(1));
        skipped.expire(Day::new(1 + RETENTION_DAYS));
        assert_eq!(skipped.len(), 1);
        skipped.expire(Day::new(2 + RETENTION_DAYS));
        assert_eq!(skipped.len(), 0);
    }

    #[test]
    fn the_queue_stays_small() {
        let mut skipped = Skipped::new();
        for number in 0..100_000 {
            skipped.add((1, number), key(1), Day::new(1));
            skipped.remove(&(1, number));
        }
        assert!(skipped.order.len() <= 64 + 1);
    }
}
