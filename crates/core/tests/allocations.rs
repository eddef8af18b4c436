//! No allocation for a message beyond the output buffer.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod common;

use std::convert::Infallible;

use common::*;

#[test]
fn only_the_output_buffer() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = pair(rng);
    for number in 0..200 {
        // Alternation and chains, so that steps, epochs and pieces are met.
        if number % 5 < 3 {
            std::mem::swap(&mut alice, &mut bob);
        }
        let mut envelope = vec![];
        let sealing = allocation_counter::measure(|| {
            let pending = alice.seal(&[7; 280], rng).unwrap();
            envelope = pending.commit(|_, _| Ok::<_, Infallible>(())).unwrap();
        });
        assert_eq!(sealing.count_total, 1, "sealing message {number}");
        assert_eq!(sealing.bytes_total, 1024);
        let mut content = None;
        let opening = allocation_counter::measure(|| {
            let pending = bob.open(&envelope, TODAY).unwrap();
            content = Some(pending.commit(|_| Ok::<_, Infallible>(())).unwrap());
        });
        assert_eq!(opening.count_total, 1, "opening message {number}");
        assert_eq!(content.unwrap()[..], [7; 280]);
    }
    assert!(alice.epoch() > 5);
}
