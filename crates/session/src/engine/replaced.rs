//! Sessions that another has replaced on one side only (`protocol-spec/13-session.md` §4).
//!
//! A store that was put back may not know of the session that its contact sends in, and nothing that
//! comes in that one can be opened. But what it sends, in a session that the contact has retired, is
//! opened there: the contact answers in that session, and names those that have taken its place.

use undertone_core::rand_core::CryptoRng;

use super::contacts::{load_contact, save_contact};
use super::healing::{contact_is_lost, tell_where};
use super::outbox::enqueue_in;
use super::rows::{ContactRow, DeviceRow};
use super::{EngineError, random};
use crate::content::{Body, Content, MAX_NAMED_SESSIONS};
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::store::Transaction;

/// The number of the notice in a session that others have replaced.
const REPLACED: u8 = 4;

/// The contact wrote in this session. True if that is to be taken up.
///
/// What it says about where to write to is not, in a session that another has replaced: the other
/// began with where the contact is now, and a store that is lost may have told what only it had.
pub(super) fn heard(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    contact: ContactId,
    session: &[u8; 32],
    content: &[u8],
    now: UnixMillis,
) -> Result<bool, EngineError> {
    let row = load_contact(tx, contact)?;
    let retired = row.sessions().any(|one| one.id == *session && one.retired.is_some());
    let body = Content::decode(content).map(|content| content.body);
    if retired {
        tell(tx, rng, contact, row, session, now)?;
        // R-1308; and R-1307: what a notice says here is not looked at.
        return Ok(!matches!(body, Ok(Body::MailboxMove(_) | Body::ResetLink(_))));
    }
    if let Ok(Body::ResetNotice { cause: REPLACED, sessions }) = body {
        told(tx, rng, contact, row, &sessions, now)?;
    }
    Ok(true)
}

/// The contact is told, once and in this session, which of those that have taken its place they have
/// had: if they do not know it, their store is an old copy, which no floor and no header may show.
fn tell(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    contact: ContactId,
    mut row: ContactRow,
    session: &[u8; 32],
    now: UnixMillis,
) -> Result<(), EngineError> {
    if row.state_is_lost() {
        return Ok(());
    }
    let has = |device: &&mut DeviceRow| device.sessions.iter().any(|one| one.id == *session);
    let Some(device) = row.devices.iter_mut().find(has) else { return Ok(()) };
    let in_use = device.sessions.iter().filter(|one| one.retired.is_none() && one.peer_has);
    let sessions: Vec<_> = in_use.map(|one| one.id).take(MAX_NAMED_SESSIONS).collect();
    let mut all = device.sessions.iter_mut();
    // Where there is none, they are yet to hear of the one that we have started.
    let Some(old) = all.find(|one| one.id == *session && !one.told && !sessions.is_empty()) else {
        return Ok(());
    };
    old.told = true;
    let body = Body::ResetNotice { cause: REPLACED, sessions };
    let content = Content { id: MessageId::from_bytes(random(rng)), sent_at: now, body };
    if enqueue_in(tx, rng, contact, &content, *session)? {
        save_contact(tx, contact, &row)?;
    }
    Ok(())
}

/// The contact says, in a session that is in use here, that these have taken its place on their side,
/// and that we have had them. One that is unknown shows that this store is older than what it has
/// sent; if all are known, they are used again.
fn told(
    tx: &mut dyn Transaction,
    rng: &mut impl CryptoRng,
    contact: ContactId,
    mut row: ContactRow,
    sessions: &[[u8; 32]],
    now: UnixMillis,
) -> Result<(), EngineError> {
    if !sessions.iter().all(|id| row.sessions().any(|one| one.id == *id)) {
        return contact_is_lost(tx, contact);
    }
    let mut again = None;
    for device in &mut row.devices {
        for one in &mut device.sessions {
            if sessions.contains(&one.id) && one.retired.take().is_some() {
                device.spoken = Some(one.id);
                again = Some(one.id);
            }
        }
    }
    let Some(session) = again else { return Ok(()) };
    save_contact(tx, contact, &row)?;
    // What was said about it elsewhere was not taken up.
    tell_where(tx, rng, contact, session, now)
}
