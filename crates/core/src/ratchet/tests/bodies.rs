//! Bodies that no honest peer writes.

use std::vec;

use super::*;
use crate::envelope::Preamble;
use crate::primitives::hash::{sha256, truncate};
use crate::primitives::kem::mlkem768;
use crate::ratchet::pq::Phase;

/// A body of so many bytes that holds so many bytes of content, then `rest`.
pub(super) fn body(len: usize, content: u16, rest: &[u8]) -> Vec<u8> {
    let mut body = content.to_be_bytes().to_vec();
    body.resize(2 + usize::from(content), b'x');
    body.extend_from_slice(rest);
    body.resize(len, 0);
    body
}

const SMALLEST: usize = 1024 - OVERHEAD;

#[test]
fn r_702_content_beyond_the_body() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    let forger = Forger::on_chain(&alice);
    let most = u16::try_from(SMALLEST - 2).unwrap();
    for len in [most + 1, 0x8000, u16::MAX] {
        let mut body = vec![0; SMALLEST];
        body[..2].copy_from_slice(&len.to_be_bytes());
        refused(&mut bob, &forger.seal(&body), "R-702");
    }
    // A content that fills the body fits in it, and takes the slack.
    refused(&mut bob, &forger.seal(&body(SMALLEST, most, &[])), "R-703");
    pass(&mut alice, &mut bob, rng);
}

#[test]
fn r_703_not_the_smallest_bucket() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    let forger = Forger::on_chain(&alice);
    // Too large by a bucket; too small for the slack.
    for (bucket, content, rule) in [
        (1024, 798, "R-703"),
        (2048, 0, "R-703"),
        (2048, 797, "R-703"),
        (2048, 1822, "R-703"),
        (65_536, 32_541, "R-703"),
    ] {
        refused(&mut bob, &forger.seal(&body(bucket - OVERHEAD, content, &[])), rule);
    }
    // Behind a handshake the room is another.
    for (preamble, bucket, content) in [
        (Preamble::Short, 4096, 1442),
        (Preamble::Short, 8192, 1441),
        (Preamble::Long, 8192, 3906),
        (Preamble::Long, 16_384, 3905),
    ] {
        let len = bucket - preamble.len() - OVERHEAD;
        refused(&mut bob, &forger.seal(&body(len, content, &[])), "R-703");
    }
    for (len, content) in [
        (1024, 797),
        (2048, 798),
        (65_536, 32_542),
        (4096 - Preamble::Short.len(), 1441),
        (8192 - Preamble::Short.len(), 1442),
        (8192 - Preamble::Long.len(), 3905),
    ] {
        let forger = Forger::on_chain(&alice);
        let envelope = forger.seal(&body(len - OVERHEAD, content, &[]));
        assert_eq!(open(&mut bob, &envelope).unwrap(), vec![b'x'; usize::from(content)]);
        // Alice goes on behind it.
        let sending = &mut alice.inner.core.live_mut().sending;
        drop(sending.advance().unwrap());
    }
    pass(&mut alice, &mut bob, rng);
}

#[test]
fn r_704_padding_that_says_something() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    let forger = Forger::on_chain(&alice);
    // Without a run: behind the zero that says so, and the last byte.
    for at in [3, 500, SMALLEST - 1] {
        let mut body = body(SMALLEST, 0, &[]);
        body[at] = 1;
        refused(&mut bob, &forger.seal(&body), "R-704");
    }
    // Behind a run.
    let run = [&[2, 0, 0, 0, 1, 0, 1][..], &[9; 8], &[5; 32]].concat();
    for at in [2 + run.len(), SMALLEST - 1] {
        let mut body = body(SMALLEST, 0, &run);
        body[at] = 0x80;
        refused(&mut bob, &forger.seal(&body), "R-704");
    }
    pass(&mut alice, &mut bob, rng);
}

#[test]
fn r_601_a_malformed_run_in_a_message() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = talking(rng);
    let forger = Forger::on_chain(&alice);
    let run = |kind, first, count: u8| {
        let head = [kind, 0, 0, 0, 1, first, count, 9, 9, 9, 9, 9, 9, 9, 9];
        [&head[..], &vec![5; 32 * usize::from(count)]].concat()
    };
    for (kind, first, count) in
        [(3, 0, 1), (0xff, 0, 1), (1, 37, 1), (2, 34, 1), (1, 0, 0), (2, 0, 0)]
    {
        refused(&mut bob, &forger.seal(&body(SMALLEST, 0, &run(kind, first, count))), "R-601");
    }
    // More blocks than the object has, and more than the body holds.
    let large = 4096 - OVERHEAD;
    for (kind, count) in [(1, 38), (2, 35), (1, 0xff)] {
        let mut body = body(large, 1_900, &run(kind, 0, count));
        body.truncate(large);
        refused(&mut bob, &forger.seal(&body), "R-601");
    }
    for content in [797, 700] {
        let mut body = body(SMALLEST, content, &run(1, 0, 37));
        body.truncate(SMALLEST);
        refused(&mut bob, &forger.seal(&body), "R-601");
    }
    pass(&mut alice, &mut bob, rng);
}

#[test]
fn r_702_r_703_r_601_r_704_in_this_order() {
    let rng = &mut TestRng::new(1);
    let (alice, mut bob) = talking(rng);
    let forger = Forger::on_chain(&alice);
    let len = 2048 - OVERHEAD;
    // Not the smallest bucket, an unknown kind, padding that is not zero.
    let mut body = body(len, 0, &[3]);
    body[len - 1] = 1;
    refused(&mut bob, &forger.seal(&body), "R-703");
    body.truncate(SMALLEST);
    body[SMALLEST - 1] = 1;
    refused(&mut bob, &forger.seal(&body), "R-601");
    body[2] = 0;
    refused(&mut bob, &forger.seal(&body), "R-704");
}

/// A whole encapsulation key under its own tag whose first coefficient is not
/// below 3,329, as a run for epoch 1. `rest` makes several of them.
fn bad_key(rest: u8) -> Vec<u8> {
    let mut key = [rest; mlkem768::KEY];
    (key[0], key[1]) = (0xff, 0xff);
    assert!(mlkem768::EncapsulationKey::from_bytes(&key).is_err());
    let tag: [u8; 8] = truncate(&sha256(b"Undertone v1 kem key", &[&key]));
    [&[1, 0, 0, 0, 1, 0, 37][..], &tag, &key].concat()
}

/// The smallest content whose bucket leaves room for a whole key.
const BESIDE_A_KEY: u16 = 1_822;

#[test]
fn r_602_an_encapsulation_key_that_is_none() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = pair(rng);
    let large = 4096 - OVERHEAD;
    // In every phase that takes a key in. Waiting, with nothing yet and with a
    // part of Alice's key.
    pass(&mut alice, &mut bob, rng);
    assert!(matches!(bob.inner.pq.live().phase, Phase::Waiting { incoming: Some(_) }));
    let refuse = |alice: &Session, bob: &mut Session| {
        let forger = Forger::on_chain(alice);
        refused(bob, &forger.seal(&body(large, BESIDE_A_KEY, &bad_key(1))), "R-602");
    };
    refuse(&alice, &mut bob);
    bob.inner.pq.live_mut().phase = Phase::Waiting { incoming: None };
    refuse(&alice, &mut bob);
    while !matches!(bob.inner.pq.live().phase, Phase::Keyed(_)) {
        pass(&mut alice, &mut bob, rng);
    }
    refuse(&alice, &mut bob);
    pass(&mut bob, &mut alice, rng);
    // Alice's second chain, on which the forged key comes.
    pass(&mut alice, &mut bob, rng);
    assert!(matches!(bob.inner.pq.live().phase, Phase::Answering { .. }));
    refuse(&alice, &mut bob);
    // A key whose hash does not fit its tag is no error, and no key.
    let mut run = bad_key(2);
    run[7] ^= 1;
    let before = bob.inner.pq.live().followable(0).map(|info| info.tag());
    let forger = Forger::on_chain(&alice);
    open(&mut bob, &forger.seal(&body(large, BESIDE_A_KEY, &run))).unwrap();
    assert_eq!(bob.inner.pq.live().followable(0).map(|info| info.tag()), before);
    drop(alice.inner.core.live_mut().sending.advance().unwrap());
    pass(&mut bob, &mut alice, rng);
    pass(&mut alice, &mut bob, rng);
}
