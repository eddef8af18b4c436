//! How often epochs rise, in every size of room, and with losses.

use std::vec::Vec;

use super::*;

/// Numbers of the messages that raised an epoch, of 400 that alternate.
fn raised_at(text: usize, lost_percent: u64, seed: u64) -> Vec<u32> {
    let mut rng = TestRng::new(seed);
    let (mut alice, mut bob) = pair(&mut rng);
    let text = std::vec![5; text];
    let mut raised = Vec::new();
    for number in 1..=400 {
        let (from, to) =
            if number % 2 == 1 { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        let before = from.epoch();
        if from.inner.core.live().remote.is_none() {
            continue;
        }
        let envelope = seal(from, &text, &mut rng);
        if from.epoch() > before {
            raised.push(number);
        }
        if below(&mut rng, 100) >= lost_percent {
            assert_eq!(open(to, &envelope).unwrap(), text);
        }
    }
    raised
}

fn gaps(raised: &[u32]) -> Vec<u32> {
    raised.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn every_size_of_room() {
    for text in [0, 100, 280, 302, 303, 400, 500, 600, 700, 797] {
        // 1,024 less overhead, length prefix and run header, in blocks.
        let blocks = (1024 - 97 - 2 - 15 - text) / 32;
        // The key's pieces, the ciphertext's, and the message that raises.
        let pieces = 37usize.div_ceil(blocks) + 34usize.div_ceil(blocks);
        let expected = u32::try_from(2 * pieces - 1).unwrap();
        let gaps = gaps(&raised_at(text, 0, 1));
        assert!(!gaps.is_empty(), "{text}");
        std::println!("texts of {text} bytes: an epoch every {} messages", gaps[0]);
        assert!(gaps.iter().all(|gap| *gap == expected), "{text}: {gaps:?}");
    }
}

#[test]
fn larger_buckets_are_no_slower() {
    for text in [798, 1_500, 3_000, 10_000, 60_000] {
        let gaps = gaps(&raised_at(text, 0, 2));
        assert!(gaps.iter().all(|gap| *gap <= 49), "{text}: {gaps:?}");
    }
}

#[test]
fn losses_delay_and_never_stop_it() {
    for seed in seeds(5) {
        for lost in [10, 30, 60] {
            let raised = raised_at(280, lost, 100 + seed);
            assert!(raised.len() > 5, "{lost} %: {raised:?}");
        }
    }
}

/// A relay that counts envelopes and knows their contents' sizes drops those
/// that would carry the end and the beginning of a key that goes out in an
/// unbroken circle. It delays the first epoch and does not stop it.
#[test]
fn a_relay_that_counts_can_not_stop_it_with_few_losses() {
    for seed in seeds(6) {
        let mut rng = TestRng::new(500 + seed);
        let (mut alice, mut bob) = pair(&mut rng);
        let full = [6; 797];
        let (mut sent, mut dropped) = (0_u32, 0_u32);
        for _ in 0..60 {
            for _ in 0..3 {
                let envelope = seal(&mut alice, &full, &mut rng);
                if [35, 36, 0].contains(&(3 * sent % 37)) {
                    dropped += 1;
                } else {
                    open(&mut bob, &envelope).unwrap();
                }
                sent += 1;
            }
            for _ in 0..3 {
                let envelope = seal(&mut bob, &full, &mut rng);
                open(&mut alice, &envelope).unwrap();
            }
        }
        assert!(dropped > 10);
        assert!(alice.epoch() > 0 && bob.epoch() > 0, "seed {seed}: {dropped} of {sent} dropped");
    }
}
