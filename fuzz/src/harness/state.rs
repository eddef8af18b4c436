//! Stored sessions.

use core::convert::Infallible;

use undertone_core::{Day, Session};

use super::edit;
use super::fixture::fixture;
use super::input::Input;
use crate::common::{TODAY, TestRng};

/// A stored session, any bytes or a real one with edits, and then a few
/// messages on it: whatever was read has to hold up.
pub fn session_state(data: &[u8]) {
    let input = &mut Input::new(data);
    let samples = &fixture().states;
    let sample = &samples[usize::from(input.u8()) % samples.len()];
    let by = u32::from(input.u8() % 64);
    let bytes = edit::value(&sample.state, input);
    let Ok(mut session) = Session::from_bytes(&bytes) else {
        assert_ne!(bytes, sample.state);
        return;
    };
    assert_eq!(session.to_bytes().to_vec(), bytes, "one encoding of a session");
    let untouched = bytes == sample.state;
    let today = TODAY.plus(by);
    send(&mut session);
    for (number, envelope) in sample.coming.iter().enumerate() {
        let opened = receive(&mut session, envelope, today);
        assert!(opened || !untouched || by > 0, "envelope {number} was refused");
        assert!(!receive(&mut session, envelope, today), "opened twice");
        send(&mut session);
    }
    let before = session.to_bytes();
    assert!(session.expire(today, |_| Err(())).is_err());
    assert_eq!(session.to_bytes(), before);
    session.expire(today, |_| Ok::<_, Infallible>(())).unwrap();
    assert!(!session.has_expired(today));
    reread(&session);
}

fn send(session: &mut Session) {
    let before = session.to_bytes();
    let mut stored = None;
    let result = session.seal(b"text", &mut TestRng::new(4)).map(|pending| {
        pending.commit(|state, _| {
            stored = Some(state.to_bytes());
            Ok::<_, Infallible>(())
        })
    });
    match result {
        Ok(_) => assert_eq!(stored.unwrap(), session.to_bytes(), "what was stored is what is"),
        Err(_) => assert_eq!(session.to_bytes(), before),
    }
    reread(session);
}

fn receive(session: &mut Session, envelope: &[u8], today: Day) -> bool {
    let before = session.to_bytes();
    let mut stored = None;
    let result = session.open(envelope, today).map(|pending| {
        pending.commit(|state| {
            stored = Some(state.to_bytes());
            Ok::<_, Infallible>(())
        })
    });
    let opened = result.is_ok();
    if !opened {
        assert_eq!(session.to_bytes(), before, "a refusal changed the state");
    } else {
        assert_eq!(stored.unwrap(), session.to_bytes(), "what was stored is what is");
    }
    reread(session);
    opened
}

fn reread(session: &Session) {
    let bytes = session.to_bytes();
    let again = Session::from_bytes(&bytes).expect("what was stored reads back");
    assert_eq!(again.to_bytes(), bytes);
}
