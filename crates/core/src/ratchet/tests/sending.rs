//! What an honest sender refuses.

use super::*;

#[test]
fn r_503_a_sender_meets_low_order() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    pass(&mut bob, &mut alice, rng);
    // No header brings such a key in; a damaged store may.
    let honest = alice.inner.core.live_mut().remote.replace(low_order());
    refuses_to_seal(&mut alice, "R-503", rng);
    alice.inner.core.live_mut().remote = honest;
    pass(&mut alice, &mut bob, rng);
}

#[test]
fn r_514_a_chain_has_no_further_number() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    // Both at the end of Alice's chain: number 2^32 - 3 is the last.
    alice.inner.core.live_mut().sending.next = u32::MAX - 2;
    bob.inner.core.live_mut().receiving.next = u32::MAX - 2;
    pass(&mut alice, &mut bob, rng);
    assert_eq!(alice.inner.core.live().sending.next, u32::MAX - 1);
    refuses_to_seal(&mut alice, "R-514", rng);
    refuses_to_seal(&mut alice, "R-514", rng);
    // An answer begins the next chain, which can still say how long this was.
    pass(&mut bob, &mut alice, rng);
    pass(&mut alice, &mut bob, rng);
    assert_eq!(bob.inner.core.live().receiving.previous, u32::MAX - 1);
    assert_eq!(bob.skipped_keys(), 0);
}

#[test]
fn r_515_a_responder_that_has_received_nothing() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = pair(rng);
    refuses_to_seal(&mut bob, "R-515", rng);
    // A damaged store may say that a step is due: there is nothing to step on.
    bob.inner.core.live_mut().sending_due = true;
    refuses_to_seal(&mut bob, "R-515", rng);
    bob.inner.core.live_mut().sending_due = false;
    pass(&mut alice, &mut bob, rng);
    pass(&mut bob, &mut alice, rng);
}
