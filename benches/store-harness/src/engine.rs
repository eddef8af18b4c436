//! What a store has to do for the relay, and nothing else.

use std::path::Path;

pub(crate) type Error = Box<dyn std::error::Error>;
pub(crate) type Result<T = ()> = std::result::Result<T, Error>;

/// Envelopes whose hashes are kept behind the floor, as in the relay.
pub(crate) const REMEMBERED: u64 = 64;

/// A mailbox, by number; of so many that there are.
#[derive(Clone, Copy)]
pub(crate) struct Mailbox {
    pub(crate) number: u64,
    pub(crate) of: u64,
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Mailbox {
    /// 32 bytes, as a hash would be; in the order of the numbers, so that millions are made quickly.
    pub(crate) fn id(self) -> [u8; 32] {
        let mut id = [0; 32];
        let first = self.number.wrapping_mul(u64::MAX / self.of.max(1));
        let words = [first, mix(self.number ^ 1), mix(self.number ^ 2), mix(self.number ^ 3)];
        for (to, from) in id.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&from.to_be_bytes());
        }
        id
    }

    /// 16 bytes that look random: how a day's file names the mailbox.
    pub(crate) fn tag(self) -> [u8; 16] {
        let mut tag = [0; 16];
        for (to, salt) in tag.chunks_exact_mut(8).zip([4, 5]) {
            to.copy_from_slice(&mix(mix(self.number).wrapping_add(salt)).to_be_bytes());
        }
        tag
    }
}

/// What is known of a mailbox once it was looked up.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) floor: u64,
    pub(crate) head: u64,
}

/// A store. Changes are durable when [`Engine::commit`] returns, and are seen before by nobody else.
pub(crate) trait Engine {
    /// Makes the records of mailboxes.
    fn make(&mut self, of: u64) -> Result;
    /// What the relay reads of a mailbox that is not in its cache: the record, the floor, the hashes
    /// by which repeats are recognised. `None` if there is no such mailbox.
    fn load(&mut self, mailbox: Mailbox) -> Result<Option<Known>>;
    fn append(&mut self, mailbox: Mailbox, seq: u64, mark: &[u8; 24], sealed: &[u8]) -> Result;
    /// Sets the floor, and deletes envelopes up to it and hashes up to `forgotten`.
    fn acknowledge(&mut self, mailbox: Mailbox, before: Known, floor: u64) -> Result;
    fn commit(&mut self) -> Result;
    /// The bytes of at most so many envelopes behind a position, in order.
    fn read(&mut self, mailbox: Mailbox, position: u64, count: usize) -> Result<Vec<(u64, usize)>>;
    /// Removes all that the day holds, with its bytes.
    fn expire(&mut self) -> Result;
}

/// All files below a directory, as the disk has them.
pub(crate) fn disk_bytes(directory: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        // RocksDB removes files beside us.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

/// The highest hash that is neither queued nor among the last.
pub(crate) fn forgotten(floor: u64, head: u64) -> u64 {
    floor.min(head.saturating_sub(REMEMBERED))
}
