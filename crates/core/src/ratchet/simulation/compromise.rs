//! Attackers who have copied a whole state: what they can read afterwards.

use rand_core::{TryCryptoRng, TryRng};
use std::vec::Vec;

use super::*;

/// Hands out a known DH secret first, where one is drawn, and then its own
/// randomness: what a quantum attacker makes of a ratchet key that it saw.
struct Overheard<'a> {
    dh: Option<[u8; 32]>,
    own: &'a mut TestRng,
}

impl TryRng for Overheard<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.own.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.own.try_next_u64()
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        match self.dh.take() {
            Some(secret) if out.len() == 32 => {
                out.copy_from_slice(&secret);
                Ok(())
            }
            _ => self.own.try_fill_bytes(out),
        }
    }
}

impl TryCryptoRng for Overheard<'_> {}

/// What the attacker can do beside reading the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Power {
    /// Nothing.
    Classical,
    /// Computes the private key of any X25519 key that it has seen.
    Quantum,
}

/// A passive attacker with a copy of one party's session.
pub(super) struct Thief {
    copy: Session,
    power: Power,
    rng: TestRng,
}

impl Thief {
    pub(super) fn new(victim: &Session, power: Power, seed: u64) -> Self {
        Self { copy: copy(victim), power, rng: TestRng::new(seed) }
    }

    /// Follows a message that the victim sent; `due`: it began a chain.
    pub(super) fn follow(&mut self, victim: &Session, due: bool, content: &[u8]) {
        let known = due && self.power == Power::Quantum;
        let dh = known.then(|| *victim.inner.core.live().own.expose());
        let mut rng = Overheard { dh, own: &mut self.rng };
        if let Ok(pending) = self.copy.seal(content, &mut rng) {
            let _ = pending.commit(|_, _| Ok::<_, Infallible>(()));
        }
    }

    /// Tries to read a message to the victim.
    pub(super) fn read(&mut self, envelope: &[u8]) -> Result<Vec<u8>, OpenError> {
        open(&mut self.copy, envelope)
    }
}

/// Sends one message from `from` to `to`; a thief of the sender's state
/// follows, a thief of the receiver's tries to read. Returns whether it could.
pub(super) fn exchange(
    from: &mut Session,
    to: &mut Session,
    text: &[u8],
    of_sender: Option<&mut Thief>,
    of_receiver: Option<&mut Thief>,
    rng: &mut TestRng,
) -> Option<Result<Vec<u8>, OpenError>> {
    let due = from.inner.core.live().sending_due;
    let envelope = seal(from, text, rng);
    if let Some(thief) = of_sender {
        thief.follow(from, due, text);
    }
    assert_eq!(open(to, &envelope).unwrap(), text);
    of_receiver.map(|thief| thief.read(&envelope))
}

/// After a compromise of Alice's copy at message `at`: how many messages the
/// thief reads on the way to Alice before it is out for good, and whether it
/// could still tell a header then.
fn messages_until_healed(power: Power, at: u32, text: &[u8], seed: u64) -> (u32, Vec<OpenError>) {
    let mut rng = TestRng::new(seed);
    let (mut alice, mut bob) = pair(&mut rng);
    let mut thief: Option<Thief> = None;
    let mut last_read = 0;
    let mut failures = Vec::new();
    for number in 0..at + 250 {
        if number == at {
            thief = Some(Thief::new(&alice, power, seed + 1));
        }
        if number % 2 == 0 {
            exchange(&mut alice, &mut bob, text, thief.as_mut(), None, &mut rng);
        } else {
            let read = exchange(&mut bob, &mut alice, text, None, thief.as_mut(), &mut rng);
            match read {
                Some(Ok(_)) => {
                    assert!(failures.is_empty(), "back in after it was out");
                    last_read = number + 1 - at;
                }
                Some(Err(error)) => failures.push(error),
                None => {}
            }
        }
    }
    (last_read, failures)
}

#[test]
fn classical_secrecy_returns_with_the_first_fresh_key() {
    for at in 0..30 {
        let (read, failures) = messages_until_healed(Power::Classical, at, &[1; 280], 7);
        // Stolen before Bob's message: that one is still read. The message
        // that answers Alice's next key is not.
        assert!(read <= 1, "at {at}: {read}");
        // Headers heal one step after bodies.
        assert_eq!(failures[0], OpenError::BodyAltered, "at {at}");
        assert!(failures[1..].iter().all(|error| *error == OpenError::NotForThisSession));
    }
}

/// Something on its way to one of two people.
struct Flying {
    to: usize,
    due: u64,
    envelope: Vec<u8>,
    /// The receiver made the ratchet key that it answers after the theft.
    fresh: bool,
    /// The sender's epoch.
    epoch: u32,
}

/// What became of the messages that reached the robbed side, as the thief sees
/// them: (answers a key from after the theft, epochs since, whether it reads it).
type Seen = Vec<(bool, u32, bool)>;

/// A conversation in which envelopes are lost, late and out of order, and at some
/// moment one side, either, is robbed. The thief knows all that reaches it.
fn robbed_in_a_storm(seed: u64, power: Power) -> Seen {
    let mut rng = TestRng::new(20_000 + seed);
    let (alice, bob) = pair(&mut rng);
    let mut people = [alice, bob];
    let (victim, at) = (index(&mut rng, 2), 5 + below(&mut rng, 60));
    let mut thief: Option<(Thief, u32)> = None;
    let (mut flying, mut fresh_keys, mut seen) = (Vec::<Flying>::new(), Vec::new(), Seen::new());
    for now in 0..at + 160 {
        if now == at {
            let copied = Thief::new(&people[victim], power, seed + 1);
            thief = Some((copied, people[victim].epoch()));
        }
        let from = index(&mut rng, 2);
        if people[from].inner.core.live().remote.is_none() {
            continue;
        }
        for _ in 0..=below(&mut rng, 3) {
            let due = people[from].inner.core.live().sending_due;
            let envelope = seal(&mut people[from], &[1; 280], &mut rng);
            if let (Some((thief, _)), true) = (&mut thief, from == victim) {
                thief.follow(&people[from], due, &[1; 280]);
                if due {
                    fresh_keys.push(people[from].inner.core.live().sending.public);
                }
            }
            if below(&mut rng, 100) < 20 {
                continue;
            }
            let remote = people[from].inner.core.live().remote.map(|key| *key.as_bytes());
            let fresh = remote.is_some_and(|key| fresh_keys.contains(&key));
            let due = now + if below(&mut rng, 100) < 30 { below(&mut rng, 8) } else { 0 };
            let epoch = people[from].epoch();
            flying.push(Flying { to: 1 - from, due, envelope, fresh, epoch });
        }
        while let Some(next) = flying.iter().position(|one| one.due <= now) {
            let one = flying.swap_remove(next);
            let opened = open(&mut people[one.to], &one.envelope).is_ok();
            let Some((thief, then)) = thief.as_mut().filter(|_| opened && one.to == victim) else {
                continue;
            };
            let reads = thief.read(&one.envelope).is_ok();
            seen.push((one.fresh, one.epoch.saturating_sub(*then), reads));
        }
    }
    seen
}

/// Whatever is lost or late, the bound is the same: what answers a key from before
/// the theft is read, and nothing that answers a later one.
#[test]
fn in_a_storm_classical_secrecy_returns_with_the_same_key() {
    let (mut before, mut behind) = (0, 0);
    for seed in seeds(20) {
        for (fresh, _, reads) in robbed_in_a_storm(seed, Power::Classical) {
            assert_eq!(reads, !fresh, "seed {seed}");
            *if fresh { &mut behind } else { &mut before } += 1;
        }
    }
    assert!(before > 20 && behind > 200, "{before} {behind}");
}

/// And the same two epochs, counted as they are mixed in.
#[test]
fn in_a_storm_post_quantum_secrecy_returns_within_two_epochs() {
    let (mut read, mut behind, mut lasting) = (0, 0, 0);
    for seed in seeds(20) {
        for (_, epochs, reads) in robbed_in_a_storm(seed, Power::Quantum) {
            assert!(!reads || epochs < 2, "seed {seed}: read {epochs} epochs later");
            read += u32::from(reads);
            lasting += u32::from(reads && epochs == 1);
            behind += u32::from(epochs >= 2);
        }
    }
    // Some are read for an epoch more, whose secrets were there to be stolen.
    assert!(read > 100 && behind > 200 && lasting > 0, "{read} {behind} {lasting}");
}

/// It is the robbed side's fresh key that heals, not the peer's: a whole chain
/// that Bob begins after the theft, with a key of his that is new, is read.
#[test]
fn a_fresh_key_of_the_peer_does_not_heal() {
    let mut rng = TestRng::new(16);
    let (mut alice, mut bob) = pair(&mut rng);
    exchange(&mut alice, &mut bob, b"before", None, None, &mut rng);
    exchange(&mut bob, &mut alice, b"before", None, None, &mut rng);
    exchange(&mut alice, &mut bob, b"before", None, None, &mut rng);
    let mut thief = Thief::new(&alice, Power::Classical, 17);
    for _ in 0..5 {
        let read = exchange(&mut bob, &mut alice, b"read", None, Some(&mut thief), &mut rng);
        assert!(read.unwrap().is_ok());
    }
    exchange(&mut alice, &mut bob, b"fresh", Some(&mut thief), None, &mut rng);
    for _ in 0..5 {
        let read = exchange(&mut bob, &mut alice, b"safe", None, Some(&mut thief), &mut rng);
        assert!(read.unwrap().is_err());
    }
}

#[test]
fn post_quantum_secrecy_returns_within_two_epochs() {
    let mut worst = 0;
    for at in 0..40 {
        let (read, failures) = messages_until_healed(Power::Quantum, at, &[1; 280], 8);
        assert!(!failures.is_empty(), "at {at}: never healed");
        worst = worst.max(read);
    }
    // Two epochs of 7 messages.
    assert!((7..=14).contains(&worst), "{worst}");
    std::println!("post-quantum secrecy returns after at most {worst} messages");
}

#[test]
fn post_quantum_secrecy_returns_in_full_buckets_too() {
    let full = [1; 1024 - 97 - 2 - 128];
    let mut worst = 0;
    for at in (0..110).step_by(9) {
        let (read, failures) = messages_until_healed(Power::Quantum, at, &full, 9);
        assert!(!failures.is_empty(), "at {at}: never healed");
        worst = worst.max(read);
    }
    assert!(worst <= 98, "{worst}");
    std::println!("in full buckets after at most {worst} messages");
}

/// The compromise just after our key pair was made: the thief has the seed,
/// follows that epoch, and is out with the next.
#[test]
fn a_key_pair_made_before_the_compromise_does_not_heal() {
    let mut rng = TestRng::new(10);
    let (mut alice, mut bob) = pair(&mut rng);
    // Alice's first message makes her key pair.
    exchange(&mut alice, &mut bob, &[1; 280], None, None, &mut rng);
    let mut thief = Thief::new(&alice, Power::Quantum, 11);
    while alice.epoch() == 0 {
        let read = exchange(&mut bob, &mut alice, &[1; 280], None, Some(&mut thief), &mut rng);
        assert!(read.unwrap().is_ok());
        exchange(&mut alice, &mut bob, &[1; 280], Some(&mut thief), None, &mut rng);
    }
    let read = exchange(&mut bob, &mut alice, &[1; 280], None, Some(&mut thief), &mut rng);
    assert!(read.unwrap().is_ok(), "the thief holds the seed of epoch 1");
    let mut healed = false;
    while alice.epoch() < 3 {
        exchange(&mut alice, &mut bob, &[1; 280], Some(&mut thief), None, &mut rng);
        let read = exchange(&mut bob, &mut alice, &[1; 280], None, Some(&mut thief), &mut rng);
        healed |= read.unwrap().is_err();
    }
    assert!(healed);
}

#[test]
fn nothing_heals_without_replies() {
    let mut rng = TestRng::new(12);
    let (mut alice, mut bob) = pair(&mut rng);
    exchange(&mut alice, &mut bob, b"hello", None, None, &mut rng);
    let mut thief = Thief::new(&bob, Power::Classical, 13);
    for _ in 0..500 {
        let read = exchange(&mut alice, &mut bob, b"monologue", None, Some(&mut thief), &mut rng);
        assert!(read.unwrap().is_ok());
    }
}

/// An attacker who goes on in the place of the robbed side, from any moment
/// and on either side: epochs rise and help nobody, and who was cut off is not
/// understood any more, nor understands.
#[test]
fn nothing_heals_against_an_active_attacker_and_the_victim_notices() {
    for at in 0..30 {
        let mut rng = TestRng::new(14_000 + at);
        let (mut alice, mut bob) = pair(&mut rng);
        for _ in 0..at {
            exchange(&mut alice, &mut bob, b"before", None, None, &mut rng);
            std::mem::swap(&mut alice, &mut bob);
        }
        let before = bob.epoch();
        let mut attacker = copy(&alice);
        for _ in 0..40 {
            exchange(&mut attacker, &mut bob, b"not alice", None, None, &mut rng);
            exchange(&mut bob, &mut attacker, b"to alice", None, None, &mut rng);
        }
        assert!(bob.epoch() > before + 8);
        let envelope = seal(&mut alice, b"here I am", &mut rng);
        assert!(open(&mut bob, &envelope).is_err(), "at {at}");
        let envelope = seal(&mut bob, b"who is it?", &mut rng);
        assert!(open(&mut alice, &envelope).is_err(), "at {at}");
    }
}

/// One message in the robbed side's place is enough to cut it off: whatever it
/// sends from then on is refused as from a peer that was rolled back, which is
/// a reason for a reset, and until then the attacker goes on reading.
#[test]
fn one_message_of_an_active_attacker_cuts_the_victim_off_for_good() {
    for at in 1..12 {
        let mut rng = TestRng::new(15_000 + at);
        let (mut alice, mut bob) = pair(&mut rng);
        for _ in 0..2 * at {
            exchange(&mut alice, &mut bob, b"before", None, None, &mut rng);
            std::mem::swap(&mut alice, &mut bob);
        }
        let mut attacker = copy(&alice);
        exchange(&mut attacker, &mut bob, b"not alice", None, None, &mut rng);
        for _ in 0..30 {
            let envelope = seal(&mut alice, b"here I am", &mut rng);
            let refused = open(&mut bob, &envelope).unwrap_err();
            assert!(refused.is_reason_for_reset(), "at {at}: {refused}");
            let envelope = seal(&mut bob, b"to alice", &mut rng);
            assert!(open(&mut alice, &envelope).is_err(), "at {at}");
            assert_eq!(open(&mut attacker, &envelope).unwrap(), b"to alice");
        }
    }
}

#[test]
fn past_messages_stay_secret() {
    let mut rng = TestRng::new(15);
    let (mut alice, mut bob) = pair(&mut rng);
    let mut past = Vec::new();
    for number in 0..60u8 {
        let (from, to) =
            if number % 2 == 0 { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        let envelope = seal(from, &[number], &mut rng);
        open(to, &envelope).unwrap();
        past.push((number % 2 == 0, envelope));
    }
    for (to_bob, envelope) in past {
        let mut thief = copy(if to_bob { &bob } else { &alice });
        assert!(open(&mut thief, &envelope).is_err());
    }
}
