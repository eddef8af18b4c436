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

/// Two parties and what is under way between them.
struct Talk {
    rng: TestRng,
    /// Alice's, Bob's.
    sessions: [Session; 2],
    /// To Alice, to Bob.
    ways: [Way; 2],
    /// Whom it reached, and what: opened already.
    arrived: Vec<(usize, Vec<u8>)>,
}

impl Talk {
    fn new(seed: u64) -> Self {
        let mut rng = TestRng::new(seed);
        let (alice, bob) = pair(&mut rng);
        Self { rng, sessions: [alice, bob], ways: Default::default(), arrived: vec![] }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send { alice, len } => {
                let from = usize::from(!alice);
                let text = vec![len as u8; len];
                let envelope = seal(&mut self.sessions[from], &text, &mut self.rng);
                self.ways[1 - from].push((envelope, text));
            }
            Step::Deliver { alice, at } => {
                let to = usize::from(!alice);
                if at < self.ways[to].len() {
                    let (envelope, text) = self.ways[to].remove(at);
                    assert_eq!(open(&mut self.sessions[to], &envelope).unwrap(), text);
                    self.arrived.push((to, envelope));
                }
            }
            Step::Lose { alice, at } => {
                let way = &mut self.ways[usize::from(!alice)];
                if at < way.len() {
                    way.remove(at);
                }
            }
            Step::Reload { alice } => reload(&mut self.sessions[usize::from(!alice)]),
        }
    }

    fn states(&self) -> [Vec<u8>; 2] {
        [0, 1].map(|side| self.sessions[side].to_bytes().to_vec())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_interleaving_decrypts_to_what_was_sent_once_each(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut talk = Talk::new(seed);
        for step in &steps {
            talk.step(step);
        }
        // Once each: whatever arrived is refused the second time.
        for (to, envelope) in &talk.arrived {
            let session = &mut talk.sessions[*to];
            let before = session.to_bytes();
            prop_assert!(open(session, envelope).is_err());
            prop_assert_eq!(session.to_bytes(), before);
        }
    }

    /// A session that is stored and read again before every step does, to the
    /// byte, what one does that never was.
    #[test]
    fn storing_and_reading_changes_nothing(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let (mut kept, mut read) = (Talk::new(seed), Talk::new(seed));
        for step in &steps {
            read.sessions.iter_mut().for_each(reload);
            kept.step(step);
            read.step(step);
            prop_assert_eq!(&kept.ways, &read.ways);
            prop_assert_eq!(kept.states(), read.states());
        }
    }

    /// Whatever came before: of the envelopes under way, none opens with a bit
    /// changed, and all open without.
    #[test]
    fn a_changed_bit_in_any_envelope_is_refused_with_the_state_unchanged(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..60),
        bits in prop::collection::vec(any::<prop::sample::Index>(), 8),
    ) {
        let mut talk = Talk::new(seed);
        for step in &steps {
            talk.step(step);
        }
        for to in [0, 1] {
            talk.step(&Step::Send { alice: to == 1, len: 100 });
            for (mut envelope, text) in std::mem::take(&mut talk.ways[to]) {
                let session = &mut talk.sessions[to];
                let before = session.to_bytes();
                for bit in &bits {
                    let bit = bit.index(envelope.len() * 8);
                    envelope[bit / 8] ^= 1 << (bit % 8);
                    prop_assert!(session.open(&envelope, TODAY).is_err(), "bit {}", bit);
                    prop_assert_eq!(session.to_bytes(), before.clone());
                    envelope[bit / 8] ^= 1 << (bit % 8);
                }
                prop_assert_eq!(open(session, &envelope).unwrap(), text);
            }
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
fn every_one_bit_change_of_a_first_contact_envelope_is_refused_with_the_prekey_unchanged() {
    let rng = &mut TestRng::new(2);
    let mut contact = first_contact(rng, BundleKind::OneTime);
    let mut hello = seal(&mut contact.session, b"hello", rng);
    let before = contact.prekey.to_bytes();
    for bit in 0..hello.len() * 8 {
        hello[bit / 8] ^= 1 << (bit % 8);
        assert!(accept(&contact, &hello).is_err(), "bit {bit}");
        hello[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(contact.prekey.to_bytes(), before);
    accept(&contact, &hello).unwrap();
}
