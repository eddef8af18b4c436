//! A deterministic world: two parties over a virtual network, and attackers
//! who copy a state. It measures when secrecy returns and asserts the bounds
//! of `protocol-spec/06-pq-ratchet.md`.
//!
//! Fixed seeds run with every `cargo test`. For a longer run:
//! `UNDERTONE_SEEDS=2000 cargo test --release -p undertone-core simulation`.

mod compromise;
mod healing;
mod rollback;
mod start;
mod world;

use std::convert::Infallible;
use std::vec::Vec;

use super::{OpenError, Session, SessionId};
use crate::day::Day;
use crate::handshake::SessionKeys;
use crate::primitives::dh::DhSecret;
use crate::testing::TestRng;
use rand_core::{CryptoRng, Rng, TryRng};

const TODAY: Day = Day::new(20_000);

/// How many seeds a test runs: a few by default, more by the environment.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let seeds = std::env::var("UNDERTONE_SEEDS").ok().and_then(|text| text.parse().ok());
    0..seeds.unwrap_or(default)
}

/// Two sessions as a handshake leaves them, without its envelopes.
pub(super) fn pair(rng: &mut TestRng) -> (Session, Session) {
    let mut id = [0; 32];
    rng.fill_bytes(&mut id);
    let mut keys = SessionKeys::blank();
    rng.fill_bytes(keys.expose_mut());
    let prekey = DhSecret::generate(rng);
    let id = SessionId::from_bytes(id);
    let mut alice = Session::initiator(id, &keys, &prekey.public(), Vec::new());
    alice.inner.preamble = None;
    (alice, Session::responder(id, &keys, &prekey))
}

/// A copy by way of the stored form: what a thief or a restored disk has.
fn copy(session: &Session) -> Session {
    Session::from_bytes(&session.to_bytes()).unwrap()
}

fn seal(session: &mut Session, content: &[u8], rng: &mut impl CryptoRng) -> Vec<u8> {
    let envelope = session.seal(content, rng).unwrap();
    envelope.commit(|_, _| Ok::<_, Infallible>(())).unwrap()
}

fn open(session: &mut Session, envelope: &[u8]) -> Result<Vec<u8>, OpenError> {
    let before = session.to_bytes();
    let result = session.open(envelope, TODAY).map(|pending| {
        let content = pending.commit(|_| Ok::<_, Infallible>(())).unwrap();
        content.to_vec()
    });
    if let Err(error) = result {
        assert_eq!(session.to_bytes(), before, "{error} changed the state");
    }
    result
}

fn below(rng: &mut TestRng, bound: u64) -> u64 {
    rng.try_next_u64().unwrap() % bound
}

fn index(rng: &mut TestRng, len: usize) -> usize {
    usize::try_from(below(rng, len as u64)).unwrap()
}
