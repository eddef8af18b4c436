//! A process's memory as the kernel shows it, for tests that look for what
//! should not be there.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a test may panic"
)]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::vec;

/// Occurrences in this process's writable memory of the bytes whose
/// complement is given: so the needle itself is none of them.
pub fn occurrences(complement: &[u8]) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut memory = File::open("/proc/self/mem").unwrap();
    let mut found = 0;
    let mut chunk = vec![0; 1 << 16];
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (range, _) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let start = u64::from_str_radix(start, 16).unwrap();
        let end = u64::from_str_radix(end, 16).unwrap();
        let mut at = start;
        while at < end {
            let len = chunk.len().min((end - at) as usize);
            if memory.seek(SeekFrom::Start(at)).is_err()
                || memory.read_exact(&mut chunk[..len]).is_err()
            {
                break;
            }
            // The chunk's own copy would count itself: it is wiped after use.
            found += chunk[..len]
                .windows(complement.len())
                .filter(|window| window.iter().zip(complement).all(|(a, b)| *a == !*b))
                .count();
            chunk[..len].fill(0);
            at += len as u64 - if at + (len as u64) < end { complement.len() as u64 } else { 0 };
        }
    }
    found
}
