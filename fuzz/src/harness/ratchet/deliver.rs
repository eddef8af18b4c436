//! Bringing an envelope to a side, altered or not.

use core::convert::Infallible;

use undertone_core::{Greeting, OpenError};

use super::world::World;
use crate::harness::INSECURE;
use crate::harness::fixture::fixture;

/// Bytes of a nonce and a sealed header.
pub const HEADER: usize = 12 + 53 + 16;

impl World {
    /// Delivers all that waits for a side, oldest or newest first.
    pub fn deliver_pending(&mut self, to: usize, newest_first: bool) {
        let mut pending = core::mem::take(&mut self.sides[to].pending);
        if newest_first {
            pending.reverse();
        }
        for number in pending {
            self.deliver(number);
        }
    }

    /// Delivers a message as it was sent, for the first time or again.
    pub fn deliver(&mut self, number: usize) {
        let message = &self.messages[number];
        let to = 1 - message.from;
        let (at, today) = (message.at, self.today);
        let expected = self.sides[to].model.expects(at, today);
        let envelope = message.envelope.clone();
        let result = self.open(to, &envelope, message.handshake > 0);
        let (strict, tainted) = (self.strict(), self.tainted);
        let message = &self.messages[number];
        let side = &mut self.sides[to];
        if strict {
            assert_eq!(result.as_ref().err().copied(), expected.err().map(Some), "{at:?}");
        }
        match result {
            Ok(content) => {
                assert!(tainted || content == message.content, "not what was sent");
                assert!(side.received.insert(number) || tainted, "opened twice");
                side.model.receive(at, today);
            }
            Err(Some(error)) => assert!(tainted || is_possible(error), "{error}"),
            Err(None) => assert!(tainted, "a greeting that was not altered"),
        }
    }

    /// Delivers an altered copy. With encryption it is always refused, and as
    /// long as nobody was put back, the place of the alteration says how.
    pub fn deliver_altered(&mut self, number: usize, alter: impl FnOnce(&mut Vec<u8>)) {
        let message = &self.messages[number];
        let (handshake, len) = (message.handshake, message.envelope.len());
        let expected = self.sides[1 - message.from].model.expects(message.at, self.today);
        let Some((first, altered, error)) = self.graft(number, alter) else { return };
        if !self.strict() || altered != len {
            return;
        }
        match error {
            None => assert!(first < handshake, "the handshake was not altered"),
            Some(error) if first >= handshake + HEADER => {
                assert_eq!(error, expected.err().unwrap_or(OpenError::BodyAltered));
            }
            Some(error) => assert_eq!(error, OpenError::NotForThisSession),
        }
    }

    /// Delivers a copy that may be altered with parts of other messages.
    /// Returns where the first altered byte stands, the envelope's length and
    /// the refusal; nothing where it was not altered, or not encrypted.
    pub fn graft(
        &mut self,
        number: usize,
        alter: impl FnOnce(&mut Vec<u8>),
    ) -> Option<(usize, usize, Option<OpenError>)> {
        let message = &self.messages[number];
        let (to, greets) = (1 - message.from, message.handshake > 0);
        let mut envelope = message.envelope.clone();
        alter(&mut envelope);
        if envelope == message.envelope {
            self.deliver(number);
            return None;
        }
        let first = message.envelope.iter().zip(&envelope).position(|(was, is)| was != is);
        let first = first.unwrap_or(envelope.len().min(message.envelope.len()));
        let result = self.open(to, &envelope, greets);
        if INSECURE {
            self.tainted |= result.is_ok();
            return None;
        }
        let error = result.expect_err("an altered envelope opened");
        Some((first, envelope.len(), error))
    }

    /// Brings a side its own envelope back.
    pub fn reflect(&mut self, number: usize) {
        let message = &self.messages[number];
        let (from, greets) = (message.from, message.handshake > 0);
        let envelope = message.envelope.clone();
        let error = self.open(from, &envelope, greets).expect_err("one's own envelope opened");
        assert!(self.tainted || error == Some(OpenError::NotForThisSession), "{error:?}");
    }

    /// Opens and commits. `None` stands for a greeting that does not open, or
    /// is another session's.
    pub fn open(
        &mut self,
        to: usize,
        envelope: &[u8],
        greets: bool,
    ) -> Result<Vec<u8>, Option<OpenError>> {
        let part = if greets { self.behind_greeting(envelope).ok_or(None)? } else { envelope };
        let today = self.day();
        let session = &mut self.sides[to].session;
        let before = session.to_bytes();
        let mut stored = None;
        let result = session.open(part, today).map(|pending| {
            let seen = pending.content().to_vec();
            let commit = pending.commit(|state| {
                stored = Some(state.to_bytes());
                Ok::<_, Infallible>(())
            });
            (seen, commit.unwrap())
        });
        match result {
            Ok((seen, content)) => {
                assert_eq!(seen, *content);
                assert_eq!(stored.unwrap(), session.to_bytes(), "what was stored is what is");
                Ok(seen)
            }
            Err(error) => {
                assert_eq!(session.to_bytes(), before, "{error} changed the state");
                Err(Some(error))
            }
        }
    }

    fn behind_greeting<'e>(&self, envelope: &'e [u8]) -> Option<&'e [u8]> {
        let fixture = fixture();
        let greeting = Greeting::open(&fixture.link().hello_key(), envelope).ok()?;
        let ours = greeting.session_id(&fixture.prekey().digest()) == self.id();
        ours.then(|| greeting.envelope())
    }
}

/// Whether an envelope that nobody altered may be refused like this: after a
/// rollback in more ways than without one, but nobody has broken a layout.
const fn is_possible(error: OpenError) -> bool {
    matches!(
        error,
        OpenError::NotForThisSession
            | OpenError::PeerRolledBack(_)
            | OpenError::GapTooLarge
            | OpenError::Duplicate
            | OpenError::KeyGone
            | OpenError::BodyAltered
    )
}
