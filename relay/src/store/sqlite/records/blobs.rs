//! What is known of blobs; their bytes are files.

use rusqlite::{Connection, OptionalExtension as _, params};
use undertone_wire::ids::BlobCapabilityHash;
use undertone_wire::{BlobHash, BlobId, Day, ErrorCode};

use super::{Found, Records, intact, tokens};
use crate::store::sqlite::queue::{integer, natural};
use crate::store::{Answer, BlobRecord, Outcome, Quotas, StoreFailure};

impl Records {
    pub(in super::super) fn blob_ids(&self) -> Result<Vec<BlobId>, StoreFailure> {
        let mut statement = self.connection.prepare("SELECT id FROM blob")?;
        let rows = statement.query_map([], |row| row.get::<_, [u8; 32]>(0))?;
        Ok(rows.map(|id| id.map(BlobId::from_bytes)).collect::<Result<_, _>>()?)
    }
}

pub(super) fn find(db: &Connection, blob: BlobId) -> Result<Found<BlobRecord>, StoreFailure> {
    let row = db
        .prepare_cached("SELECT intact, read, del, length, hash, expires FROM blob WHERE id = ?1")?
        .query_row([blob.as_bytes()], |row| {
            let capabilities = (row.get::<_, [u8; 32]>(1)?, row.get::<_, [u8; 32]>(2)?);
            let content = (row.get::<_, i64>(3)?, row.get::<_, [u8; 32]>(4)?);
            Ok((row.get::<_, bool>(0)?, (capabilities, content, row.get::<_, u32>(5)?)))
        })
        .optional()?;
    let row = match intact(row, "blob") {
        Ok(row) => row,
        Err(code) => return Ok(Err(code)),
    };
    let Some(((read, delete), (length, hash), expires)) = row else { return Ok(Ok(None)) };
    Ok(Ok(Some(BlobRecord {
        blob,
        read: BlobCapabilityHash::from_bytes(read),
        delete: BlobCapabilityHash::from_bytes(delete),
        length: natural(length)?,
        hash: BlobHash::from_bytes(hash),
        expires: Day::new(expires),
    })))
}

pub(super) fn announce(
    db: &Connection,
    quotas: &Quotas,
    today: Day,
    record: &BlobRecord,
    token: &[u8; 32],
) -> Result<Answer, StoreFailure> {
    match find(db, record.blob)? {
        Err(code) => return Ok(Err(code)),
        Ok(Some(stored)) if stored == *record => return Ok(Ok(Outcome::Blob(stored))),
        Ok(Some(_)) => return Ok(Err(ErrorCode::Conflict)),
        Ok(None) => {}
    }
    if let Err(code) = tokens::admit(db, quotas, today, token, 0, record.length)? {
        return Ok(Err(code));
    }
    db.execute(
        "INSERT INTO blob (id, read, del, length, hash, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            record.blob.as_bytes(),
            record.read.as_bytes(),
            record.delete.as_bytes(),
            integer(record.length)?,
            record.hash.as_bytes(),
            record.expires.get()
        ],
    )?;
    Ok(Ok(Outcome::Blob(record.clone())))
}

/// Removes what has passed its day, and names it.
pub(super) fn expire(db: &Connection, today: Day) -> Result<Vec<BlobId>, StoreFailure> {
    let mut statement =
        db.prepare("DELETE FROM blob WHERE expires < ?1 AND intact RETURNING id")?;
    let rows = statement.query_map([today.get()], |row| row.get::<_, [u8; 32]>(0))?;
    Ok(rows.map(|id| id.map(BlobId::from_bytes)).collect::<Result<_, _>>()?)
}
