//! Bundles, greetings and stored prekeys.

use undertone_core::{
    Bundle, Day, Greeting, HandshakeError, PrekeySecret, Routing, Session, bounds, initiate,
};

use super::INSECURE;
use super::edit;
use super::fixture::{Fixture, HELLO, fixture};
use super::input::Input;
use super::resign;
use crate::common::{TODAY, TestRng, open, seal};

/// Bytes in front of a sealed text, and behind it.
const NONCE: usize = 12;
const TAG: usize = 16;
/// Where the list's length stands in a bundle: after kind, id, device index,
/// expiry, X25519 key and ML-KEM-1024 key.
const LIST_IN_BUNDLE: usize = 1 + 16 + 1 + 4 + 32 + 1568;
/// Where an initiator's identity stands in an envelope: after nonce, bundle
/// id, ephemeral key and ciphertext.
const IDENTITY: usize = NONCE + 16 + 32 + 1568;

/// A day on which bundle and prekey are good, or another.
fn day(input: &mut Input<'_>) -> Day {
    let by = u32::from(input.u8());
    if by < 128 { TODAY.plus(by) } else { TODAY.minus(by - 128) }
}

/// A sealed bundle: any bytes, or a real one with edits, whose list and body
/// are signed again or not; then a session is started with what opens.
pub fn bundle(data: &[u8]) {
    let input = &mut Input::new(data);
    let (flags, today) = (input.u8(), day(input));
    let fixture = fixture();
    let mut sealed = edit::value(&fixture.sealed_bundle, input);
    if flags & 1 == 1 {
        let _ = list_at(&mut sealed, NONCE + LIST_IN_BUNDLE, &fixture.bob.account);
    }
    if flags & 2 == 2 {
        let end = sealed.len().saturating_sub(TAG);
        if let Some(body) = sealed.get_mut(NONCE..end) {
            let _ = resign::bundle(body, fixture.bob.signing());
        }
    }
    let card = fixture.link().card_key();
    let expected = fixture.bob.account().public().fingerprint();
    let result = Bundle::open(&card, &sealed, &expected, today);
    let Ok(bundle) = result else {
        let good = today >= TODAY.minus(bounds::CLOCK_SLACK_DAYS) && today <= TODAY.plus(30);
        assert!(sealed != fixture.sealed_bundle || !good, "a good bundle was refused");
        return;
    };
    assert!(INSECURE || sealed == fixture.sealed_bundle, "an altered bundle opened");
    assert!(bundle.expiry() >= today);
    assert_eq!(bundle.list().account().fingerprint(), expected);
    let route = Routing::new(bundle.reply().as_bytes()).unwrap();
    let checked = bundle.check(None).unwrap();
    let me = fixture.alice.local();
    let rng = &mut TestRng::new(2);
    match initiate(&me, checked, &fixture.link(), &route, rng) {
        Ok(mut session) => {
            let envelope = seal(&mut session, HELLO, rng);
            assert!(envelope.len() >= bounds::MIN_FIRST_CONTACT_BUCKET);
            reread(&session);
        }
        Err(error) => assert!(INSECURE, "{error}"),
    }
}

/// A first-contact envelope: any bytes, or a real one with edits.
pub fn greeting(data: &[u8]) {
    let input = &mut Input::new(data);
    let (flags, today) = (input.u8(), day(input));
    let fixture = fixture();
    let mut envelope = edit::value(&fixture.hello, input);
    if flags & 1 == 1 {
        let _ = list_at(&mut envelope, IDENTITY + 1, &fixture.alice.account);
    }
    let result = accept(fixture, &fixture.prekey(), &envelope, today);
    if envelope == fixture.hello {
        let good = today <= TODAY.plus(30 + bounds::RETENTION_DAYS);
        assert_eq!(result.is_ok(), good);
    } else {
        assert!(INSECURE || result.is_err(), "an altered greeting was accepted");
    }
}

/// A stored prekey, which then has to deal with a real greeting.
pub fn prekey_state(data: &[u8]) {
    let input = &mut Input::new(data);
    let fixture = fixture();
    let bytes = edit::value(&fixture.prekey, input);
    let Ok(prekey) = PrekeySecret::from_bytes(&bytes) else {
        assert_ne!(bytes, fixture.prekey);
        return;
    };
    assert_eq!(prekey.to_bytes().to_vec(), bytes, "one encoding of a prekey");
    let result = accept(fixture, &prekey, &fixture.hello, TODAY);
    assert!(result.is_ok() || bytes != fixture.prekey);
}

/// All stages of the responder's side. What comes out has to work.
fn accept(
    fixture: &Fixture,
    prekey: &PrekeySecret,
    envelope: &[u8],
    today: Day,
) -> Result<(), HandshakeError> {
    let link = fixture.link();
    let greeting = Greeting::open(&link.hello_key(), envelope)?;
    let id = greeting.session_id(&prekey.digest());
    assert!(envelope.ends_with(greeting.envelope()));
    let me = fixture.bob.local();
    let again = Greeting::open(&link.hello_key(), envelope)?;
    let replayed = again.accept(&me, prekey, &link, today, |seen| *seen == id).err();
    let other = prekey.id() != greeting.bundle_id();
    assert!(other || replayed == Some(HandshakeError::Replayed));
    let introduction = greeting.accept(&me, prekey, &link, today, |_| false)?;
    let account = introduction.account();
    let pending = introduction.open(None, today)?;
    assert_eq!(pending.session_id(), id);
    assert_eq!(pending.peer().account(), account);
    assert!(INSECURE || pending.content() == HELLO);
    let mut stored = None;
    let mut session = pending
        .commit(|state| {
            stored = Some(state.to_bytes());
            Ok::<_, core::convert::Infallible>(())
        })
        .unwrap();
    assert_eq!(stored, Some(session.to_bytes()));
    reread(&session);
    let reply = seal(&mut session, b"hi", &mut TestRng::new(3));
    let mut alice = Session::from_bytes(&fixture.greeted).unwrap();
    if !INSECURE {
        assert_eq!(open(&mut alice, &reply).unwrap(), b"hi");
    }
    Ok(())
}

fn reread(session: &Session) {
    let bytes = session.to_bytes();
    assert_eq!(Session::from_bytes(&bytes).unwrap().to_bytes(), bytes);
}

/// Signs the list anew whose length stands at `at`.
fn list_at(bytes: &mut [u8], at: usize, account: &[u8; 32]) -> Option<()> {
    let len: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    let start = at + 2;
    resign::list(bytes.get_mut(start..start + usize::from(u16::from_be_bytes(len)))?, account)
}
