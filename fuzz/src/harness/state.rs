//! Stored sessions.

use core::convert::Infallible;

use undertone_core::{Day, Session, StateError};

use super::edit;
use super::fixture::fixture;
use super::input::Input;
use crate::common::{TODAY, TestRng};

/// Whether the reader refuses a state whose serial numbers contradict each
/// other. It does not: a current chain that shares its serial with an old one,
/// or a skipped key that is still ahead, is read. A later message can then
/// store one place twice, which nothing reads back. Until it does, an edited
/// state is held to less.
const SERIALS_ARE_CHECKED: bool = false;

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
    let today = TODAY.plus(by);
    let untouched = bytes == sample.state;
    let whole = untouched || SERIALS_ARE_CHECKED;
    send(&mut session, whole);
    for (number, envelope) in sample.coming.iter().enumerate() {
        let opened = receive(&mut session, envelope, today, whole);
        assert!(opened || !untouched || by > 0, "envelope {number} was refused");
        assert!(!receive(&mut session, envelope, today, whole), "opened twice");
        send(&mut session, whole);
    }
    let before = session.to_bytes();
    assert!(session.expire(today, |_| Err(())).is_err());
    assert_eq!(session.to_bytes(), before);
    session.expire(today, |_| Ok::<_, Infallible>(())).unwrap();
    assert!(!session.has_expired(today));
    reread(&session, whole);
}

fn send(session: &mut Session, whole: bool) {
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
    reread(session, whole);
}

fn receive(session: &mut Session, envelope: &[u8], today: Day, whole: bool) -> bool {
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
    } else if whole {
        assert_eq!(stored.unwrap(), session.to_bytes(), "what was stored is what is");
    }
    reread(session, whole);
    opened
}

fn reread(session: &Session, whole: bool) {
    let bytes = session.to_bytes();
    match Session::from_bytes(&bytes) {
        Ok(again) => assert_eq!(again.to_bytes(), bytes),
        Err(error) => assert!(!whole && error == StateError::Unreadable, "{error}"),
    }
}
