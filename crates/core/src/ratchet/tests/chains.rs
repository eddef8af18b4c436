//! Headers that no honest peer sends.

use super::*;
use crate::bounds::{MAX_SKIP, REMEMBERED_POSITIONS, RETENTION_DAYS};
use crate::ratchet::pq::Phase;

#[test]
fn what_is_forged_like_an_honest_message_is_accepted() {
    let rng = &mut TestRng::new(1);
    let (alice, mut bob) = talking(rng);
    let envelope = Forger::on_chain(&alice).seal(&[0; 1024 - OVERHEAD]);
    assert_eq!(open(&mut bob, &envelope).unwrap(), b"");
}

#[test]
fn r_502_unknown_header_flags() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = pair(rng);
    pass(&mut alice, &mut bob, rng);
    let mut old = Forger::on_chain(&alice);
    pass(&mut bob, &mut alice, rng);
    pass(&mut alice, &mut bob, rng);
    old.header.number = 0;
    let mut next = Forger::on_next_chain(&alice);
    let mut current = Forger::on_chain(&alice);
    for flags in [1, 2, 0x80, 0xff] {
        for forger in [&mut current, &mut next, &mut old] {
            forger.flags = flags;
            refused(&mut bob, &forger.header(|_| ()), "R-502");
        }
    }
    pass(&mut alice, &mut bob, rng);
}

#[test]
fn r_503_ratchet_keys_of_a_header() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    pass(&mut bob, &mut alice, rng);
    let mut next = Forger::on_next_chain(&alice);
    // 2^255 - 19, not canonical; 0 and 1, of low order.
    let mut prime = [0xff; 32];
    (prime[0], prime[31]) = (0xed, 0x7f);
    let mut one = [0; 32];
    one[0] = 1;
    for key in [[0xff; 32], prime, *low_order().as_bytes(), one] {
        refused(&mut bob, &next.header(|header| header.key = key), "R-503");
    }
    // Of low order, behind keys of both chains that would be skipped.
    let envelope = next.header(|header| {
        header.key = one;
        header.previous += 3;
        header.number = 3;
    });
    refused(&mut bob, &envelope, "R-503");
    // A key that is fit: its body does not open.
    refused(&mut bob, &next.header(|_| ()), "R-513");
    pass(&mut alice, &mut bob, rng);
}

#[test]
fn r_504_constants_of_the_current_chain() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    let mut current = Forger::on_chain(&alice);
    for edit in CONSTANTS {
        refused(&mut bob, &current.header(edit), "R-504");
        // Of a position that was passed too: the chain is looked at first.
        let passed = |header: &mut Header| {
            edit(header);
            header.number = 0;
        };
        refused(&mut bob, &current.header(passed), "R-504");
    }
    pass(&mut alice, &mut bob, rng);
}

#[test]
fn r_504_constants_of_an_old_chain() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = pair(rng);
    pass(&mut alice, &mut bob, rng);
    let mut old = Forger::on_chain(&alice);
    let late = seal(&mut alice, b"late", rng);
    pass(&mut bob, &mut alice, rng);
    pass(&mut alice, &mut bob, rng);
    assert_eq!(bob.skipped_keys(), 1);
    for edit in CONSTANTS {
        refused(&mut bob, &old.header(edit), "R-504");
    }
    // The position is open: under the chain's own header it is another body
    // that does not open.
    old.message = SendingMessageKey::blank();
    refused(&mut bob, &old.header(|_| ()), "R-513");
    assert_eq!(open(&mut bob, &late).unwrap(), b"late");
}

#[test]
fn r_506_a_previous_chain_that_was_longer() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    for _ in 0..4 {
        pass(&mut alice, &mut bob, rng);
    }
    pass(&mut bob, &mut alice, rng);
    let mut next = Forger::on_next_chain(&alice);
    assert_eq!(next.header.previous, 5);
    for previous in [0, 4] {
        refused(&mut bob, &next.header(|header| header.previous = previous), "R-506");
    }
    refused(&mut bob, &next.header(|_| ()), "R-513");
    pass(&mut alice, &mut bob, rng);
}

#[test]
fn r_506_a_previous_chain_where_nothing_was_received() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = pair(rng);
    let mut first = Forger::on_next_chain(&alice);
    for previous in [1, 2_000, u32::MAX] {
        refused(&mut bob, &first.header(|header| header.previous = previous), "R-506");
    }
    refused(&mut bob, &first.header(|_| ()), "R-513");
    pass(&mut alice, &mut bob, rng);
}

#[test]
fn r_507_beyond_the_end_of_an_old_chain() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = pair(rng);
    pass(&mut alice, &mut bob, rng);
    let late = seal(&mut alice, b"late", rng);
    let mut old = Forger::on_chain(&alice);
    assert_eq!(old.header.number, 2);
    pass(&mut bob, &mut alice, rng);
    pass(&mut alice, &mut bob, rng);
    for number in [2, 3, 5_000, u32::MAX] {
        refused(&mut bob, &old.header(|header| header.number = number), "R-507");
    }
    assert_eq!(open(&mut bob, &late).unwrap(), b"late");
}

#[test]
fn r_508_a_new_chain_with_the_key_of_the_one_before() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    pass(&mut bob, &mut alice, rng);
    let mut next = Forger::on_next_chain(&alice);
    let key = alice.inner.core.live().sending.public;
    refused(&mut bob, &next.header(|header| header.key = key), "R-508");
    // The key counts before what else is wrong.
    let envelope = next.header(|header| {
        header.key = key;
        header.previous = 0;
        header.epoch += 1;
    });
    refused(&mut bob, &envelope, "R-508");
    pass(&mut alice, &mut bob, rng);
}

#[test]
fn r_509_epochs_that_can_not_follow() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = pair(rng);
    let envelope = Forger::on_next_chain(&alice).header(|header| header.epoch += 1);
    refused(&mut bob, &envelope, "R-509");
    // Two messages hold Alice's whole key; Bob's answer makes a ciphertext.
    pass(&mut alice, &mut bob, rng);
    pass(&mut alice, &mut bob, rng);
    assert!(matches!(bob.inner.pq.live().phase, Phase::Keyed(_)));
    let mut next = Forger::on_next_chain(&alice);
    refused(&mut bob, &next.header(|header| header.epoch += 1), "R-509");
    pass(&mut bob, &mut alice, rng);
    assert!(matches!(bob.inner.pq.live().phase, Phase::Answering { .. }));
    let mut next = Forger::on_next_chain(&alice);
    let raised = bob.inner.pq.live().followable(0).unwrap();
    let mut with = |epoch, tag| {
        next.header(|header| {
            header.epoch = epoch;
            header.tag = tag;
        })
    };
    let now = bob.inner.core.live().tag;
    for (epoch, tag) in [
        (1, flipped(raised.tag())),
        (1, now),
        (0, raised.tag()),
        (0, flipped(now)),
        (2, raised.tag()),
        (u32::MAX, raised.tag()),
    ] {
        refused(&mut bob, &with(epoch, tag), "R-509");
    }
    // Both epochs that can follow: only the body is wrong.
    refused(&mut bob, &with(0, now), "R-513");
    refused(&mut bob, &with(1, raised.tag()), "R-513");
    pass(&mut alice, &mut bob, rng);
}

#[test]
fn r_510_a_gap_in_each_kind_of_chain() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    pass(&mut bob, &mut alice, rng);
    // One was received of the current chain.
    for (over, rule) in [(0, "R-513"), (1, "R-510"), (u32::MAX - MAX_SKIP - 2, "R-510")] {
        let mut current = Forger::on_chain(&alice);
        let far = 1 + MAX_SKIP + over;
        refused(&mut bob, &current.header(|header| header.number = far), rule);
        let mut next = Forger::on_next_chain(&alice);
        refused(&mut bob, &next.header(|header| header.previous = far), rule);
        refused(&mut bob, &next.header(|header| header.number = far - 1), rule);
    }
    // Both bounds at once, to the last message.
    let mut next = Forger::on_next_chain(&alice);
    let envelope = next.header(|header| {
        header.previous = 1 + MAX_SKIP;
        header.number = MAX_SKIP;
    });
    refused(&mut bob, &envelope, "R-513");
    pass(&mut alice, &mut bob, rng);
    assert_eq!(bob.skipped_keys(), 0);
}

#[test]
fn r_511_r_512_a_repeat_is_known_for_a_while() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    let first = seal(&mut alice, b"first", rng);
    open(&mut bob, &first).unwrap();
    for _ in 1..REMEMBERED_POSITIONS {
        refused(&mut bob, &first, "R-511");
        pass(&mut alice, &mut bob, rng);
    }
    refused(&mut bob, &first, "R-511");
    pass(&mut alice, &mut bob, rng);
    refused(&mut bob, &first, "R-512");
    // Of an old chain alike, and whatever its header says.
    pass(&mut bob, &mut alice, rng);
    pass(&mut alice, &mut bob, rng);
    refused(&mut bob, &first, "R-512");
}

#[test]
fn r_512_r_501_what_expired_opens_nothing() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    let last = TODAY.plus(RETENTION_DAYS);
    // Of the current chain: the key goes; nothing else was opened meanwhile
    // that would have dropped it.
    let late = seal(&mut alice, b"late", rng);
    pass(&mut alice, &mut bob, rng);
    refused_on(last.plus(1), &mut bob, &late, "R-512");
    // Of an old chain: its header key goes too.
    pass(&mut bob, &mut alice, rng);
    pass(&mut alice, &mut bob, rng);
    refused_on(last.plus(1), &mut bob, &late, "R-501");
    assert_eq!(bob.skipped_keys(), 1);
    // Neither on the last day.
    let pending = bob.open(&late, last).unwrap();
    assert_eq!(pending.content(), b"late");
}

#[test]
fn r_514_numbers_that_are_never_sent() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    pass(&mut bob, &mut alice, rng);
    let mut current = Forger::on_chain(&alice);
    refused(&mut bob, &current.header(|header| header.number = u32::MAX), "R-514");
    let mut next = Forger::on_next_chain(&alice);
    refused(&mut bob, &next.header(|header| header.number = u32::MAX), "R-514");
    refused(&mut bob, &next.header(|header| header.previous = u32::MAX), "R-514");
    // One less is a gap like any other.
    let less = u32::MAX - 1;
    refused(&mut bob, &current.header(|header| header.number = less), "R-510");
    refused(&mut bob, &next.header(|header| header.previous = less), "R-510");
    pass(&mut alice, &mut bob, rng);
}

#[test]
fn r_514_the_last_number_of_a_chain_does_not_wrap() {
    let rng = &mut TestRng::new(1);
    let (alice, mut bob) = talking(rng);
    bob.inner.core.live_mut().receiving.next = u32::MAX - 1;
    // Nobody sends 2^32 - 2, but who does is understood, and goes no further.
    let mut forger = Forger::on_chain(&alice);
    let envelope = forger.header(|header| header.number = u32::MAX - 1);
    assert_eq!(open(&mut bob, &envelope).unwrap(), b"");
    assert_eq!(bob.inner.core.live().receiving.next, u32::MAX);
    refused(&mut bob, &envelope, "R-511");
    refused(&mut bob, &forger.header(|header| header.number = u32::MAX), "R-514");
    // Nor can the chain's end be told any more.
    let mut next = Forger::on_next_chain(&alice);
    for (previous, rule) in [(u32::MAX, "R-514"), (u32::MAX - 1, "R-506")] {
        refused(&mut bob, &next.header(|header| header.previous = previous), rule);
    }
}

#[test]
fn r_514_no_chain_follows_the_last_serial() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    pass(&mut bob, &mut alice, rng);
    let mut next = Forger::on_next_chain(&alice);
    bob.inner.core.live_mut().receiving.serial = u32::MAX;
    refused(&mut bob, &next.header(|_| ()), "R-514");
    // Behind R-508 and before R-506.
    let remote = *bob.inner.core.live().remote.unwrap().as_bytes();
    refused(&mut bob, &next.header(|header| header.key = remote), "R-508");
    refused(&mut bob, &next.header(|header| header.previous = 0), "R-514");
}

#[test]
fn r_511_a_late_message_is_late_once() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    let late = seal(&mut alice, b"late", rng);
    pass(&mut alice, &mut bob, rng);
    assert_eq!(open(&mut bob, &late).unwrap(), b"late");
    refused(&mut bob, &late, "R-511");
}
