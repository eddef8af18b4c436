//! Properties of the public API under any input.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a test may panic"
)]

mod common;

use common::*;
use proptest::prelude::*;
use undertone_core::*;

/// What may happen next between two parties.
#[derive(Clone, Debug)]
enum Step {
    /// Alice or Bob sends so many bytes.
    Send { alice: bool, len: usize },
    /// The envelope at this place of those under way arrives.
    Deliver { alice: bool, at: usize },
    /// One is lost.
    Lose { alice: bool, at: usize },
    /// Stored and read again.
    Reload { alice: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), 0..1200usize).prop_map(|(alice, len)| Step::Send { alice, len }),
        4 => (any::<bool>(), 0..8usize).prop_map(|(alice, at)| Step::Deliver { alice, at }),
        1 => (any::<bool>(), 0..8usize).prop_map(|(alice, at)| Step::Lose { alice, at }),
        1 => any::<bool>().prop_map(|alice| Step::Reload { alice }),
    ]
}

fn reload(session: &mut Session) {
    let bytes = session.to_bytes();
    *session = Session::from_bytes(&bytes).unwrap();
    assert_eq!(session.to_bytes(), bytes);
}

/// Envelopes under way to somebody, with what is in them.
type Way = Vec<(Vec<u8>, Vec<u8>)>;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_interleaving_decrypts_to_what_was_sent_once_each(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let rng = &mut TestRng::new(seed);
        let (mut alice, mut bob) = pair(rng);
        let (mut to_alice, mut to_bob): (Way, Way) = Default::default();
        let mut arrived = vec![];
        for step in steps {
            match step {
                Step::Send { alice: true, len } => {
                    let text = vec![len as u8; len];
                    to_bob.push((seal(&mut alice, &text, rng), text));
                }
                Step::Send { alice: false, len } => {
                    let text = vec![len as u8; len];
                    to_alice.push((seal(&mut bob, &text, rng), text));
                }
                Step::Deliver { alice: to, at } => {
                    let (way, session) =
                        if to { (&mut to_alice, &mut alice) } else { (&mut to_bob, &mut bob) };
                    if at < way.len() {
                        let (envelope, text) = way.remove(at);
                        prop_assert_eq!(open(session, &envelope).unwrap(), text);
                        arrived.push((to, envelope));
                    }
                }
                Step::Lose { alice: to, at } => {
                    let way = if to { &mut to_alice } else { &mut to_bob };
                    if at < way.len() {
                        way.remove(at);
                    }
                }
                Step::Reload { alice: true } => reload(&mut alice),
                Step::Reload { alice: false } => reload(&mut bob),
            }
        }
        // Once each: whatever arrived is refused the second time.
        for (to, envelope) in arrived {
            let session = if to { &mut alice } else { &mut bob };
            let before = session.to_bytes();
            prop_assert!(open(session, &envelope).is_err());
            prop_assert_eq!(session.to_bytes(), before);
        }
    }

    #[test]
    fn no_parser_panics(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
        let link = LinkSecret::from_bytes(&[1; 32]);
        let fingerprint = AccountFingerprint::from_bytes([2; 32]);
        let _ = DeviceList::parse(&bytes);
        let _ = Session::from_bytes(&bytes);
        let _ = PrekeySecret::from_bytes(&bytes);
        let _ = Routing::new(&bytes);
        prop_assert!(Bundle::open(&link.card_key(), &bytes, &fingerprint, TODAY).is_err());
        prop_assert!(Greeting::open(&link.hello_key(), &bytes).is_err());
    }

    #[test]
    fn no_stored_session_panics_when_altered(
        seed in 0..20u64,
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let rng = &mut TestRng::new(seed);
        let (mut alice, mut bob) = pair(rng);
        let envelope = seal(&mut alice, &vec![1; seed as usize * 40], rng);
        let mut bytes = bob.to_bytes().to_vec();
        let place = at.index(bytes.len());
        bytes[place] = value;
        if let Ok(mut altered) = Session::from_bytes(&bytes) {
            let _ = open(&mut altered, &envelope);
            let _ = altered.seal(b"x", rng).map(drop);
        }
        bytes.truncate(cut.index(bytes.len()));
        prop_assert!(Session::from_bytes(&bytes).is_err());
        prop_assert!(open(&mut bob, &envelope).is_ok());
    }
}

#[test]
fn every_one_bit_change_is_refused_with_the_state_unchanged() {
    let rng = &mut TestRng::new(1);
    let (mut alice, mut bob) = pair(rng);
    let mut envelope = seal(&mut alice, b"message", rng);
    let before = bob.to_bytes();
    for bit in 0..envelope.len() * 8 {
        envelope[bit / 8] ^= 1 << (bit % 8);
        assert!(bob.open(&envelope, TODAY).is_err(), "bit {bit}");
        envelope[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(bob.to_bytes(), before);
    open(&mut bob, &envelope).unwrap();
}

#[test]
fn every_one_bit_change_of_a_first_contact_envelope_is_refused() {
    let rng = &mut TestRng::new(2);
    let mut contact = first_contact(rng, BundleKind::OneTime);
    let mut hello = seal(&mut contact.session, b"hello", rng);
    for bit in (0..hello.len() * 8).step_by(11) {
        hello[bit / 8] ^= 1 << (bit % 8);
        assert!(accept(&contact, &hello).is_err(), "bit {bit}");
        hello[bit / 8] ^= 1 << (bit % 8);
    }
    accept(&contact, &hello).unwrap();
}
