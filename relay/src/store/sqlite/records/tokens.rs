//! Admission tokens, with the counters of the last day on which each was used.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use undertone_wire::{Day, ErrorCode};

use super::intact;
use crate::store::sqlite::queue::natural;
use crate::store::{Answer, Outcome, Quotas, StoreFailure, TokenClass, TokenId, TokenRecord};

pub(super) fn add(
    db: &Connection,
    today: Day,
    verifier: &[u8; 32],
    class: TokenClass,
) -> Result<Answer, StoreFailure> {
    db.execute(
        "INSERT INTO token (verifier, class, day, mailboxes, blob_bytes)
         VALUES (?1, ?2, ?3, 0, 0)",
        params![verifier, class.name(), today.get()],
    )?;
    let id = u32::try_from(db.last_insert_rowid());
    Ok(id.map(|id| Outcome::Token(TokenId(id))).map_err(|_| ErrorCode::LimitReached))
}

/// Counts against the quota of the token with that verifier.
pub(super) fn admit(
    db: &Connection,
    quotas: &Quotas,
    today: Day,
    verifier: &[u8; 32],
    mailboxes: u32,
    blob_bytes: u64,
) -> Result<Result<(), ErrorCode>, StoreFailure> {
    let token = db
        .prepare_cached(
            "SELECT intact, id, verifier, class, day, mailboxes, blob_bytes
             FROM token WHERE verifier = ?1",
        )?
        .query_row([verifier], |row| Ok((row.get(0)?, record(row)?)))
        .optional()?;
    let token = match intact(token, "token") {
        Ok(Some(token)) => token?,
        Ok(None) => return Ok(Err(ErrorCode::NotAdmitted)),
        Err(code) => return Ok(Err(code)),
    };
    let fresh = token.day != today;
    let made = if fresh { 0 } else { token.mailboxes }.saturating_add(mailboxes);
    let stored = if fresh { 0 } else { token.blob_bytes }.saturating_add(blob_bytes);
    let quota = quotas.of(token.class);
    if made > quota.mailboxes || stored > quota.blob_bytes {
        return Ok(Err(ErrorCode::QuotaExceeded));
    }
    // The counter of an unlimited class stops where SQLite's integers do.
    let stored = i64::try_from(stored).unwrap_or(i64::MAX);
    db.execute(
        "UPDATE token SET day = ?2, mailboxes = ?3, blob_bytes = ?4 WHERE id = ?1",
        params![token.id.0, today.get(), made, stored],
    )?;
    Ok(Ok(()))
}

/// From the second column on.
fn record(row: &Row<'_>) -> rusqlite::Result<Result<TokenRecord, StoreFailure>> {
    let (class, blob_bytes): (String, i64) = (row.get(3)?, row.get(6)?);
    let record = (|id, verifier, day, mailboxes| {
        Ok(TokenRecord {
            id: TokenId(id),
            verifier,
            class: TokenClass::from_name(&class)
                .ok_or(StoreFailure::Damaged("the class of a token"))?,
            day: Day::new(day),
            mailboxes,
            blob_bytes: natural(blob_bytes)?,
        })
    })(row.get(1)?, row.get(2)?, row.get(4)?, row.get(5)?);
    Ok(record)
}

pub(super) fn all(db: &Connection) -> Result<Vec<TokenRecord>, StoreFailure> {
    let mut statement = db.prepare(
        "SELECT intact, id, verifier, class, day, mailboxes, blob_bytes FROM token ORDER BY id",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, bool>(0)?, record(row)?)))?;
    let mut tokens = Vec::new();
    for row in rows {
        let (intact, token) = row?;
        if !intact {
            return Err(StoreFailure::Damaged("a row of the table token"));
        }
        tokens.push(token?);
    }
    Ok(tokens)
}
