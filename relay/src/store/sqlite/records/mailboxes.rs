//! Mailboxes and their capabilities.

use rusqlite::{Connection, OptionalExtension as _, params};
use undertone_wire::frame::{MailboxKind, MailboxLimits};
use undertone_wire::limits::MAX_CAPABILITIES_PER_MAILBOX;
use undertone_wire::{Day, ErrorCode, MailboxId, ReadKey, WriteCapabilityHash};

use super::{Found, Records, done_or_unknown, intact, tokens};
use crate::store::rules::{effective, idle_expiry};
use crate::store::sqlite::queue::{integer, natural};
use crate::store::{Answer, Outcome, StoreFailure};

/// [`MailboxKind::Queue`] as it is stored.
const KIND_QUEUE: i64 = 0;

/// A mailbox as it is stored.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct MailboxRow {
    pub(in super::super) limits: MailboxLimits,
    pub(in super::super) expires: Day,
    pub(in super::super) acknowledged: u64,
    pub(in super::super) expired: u64,
}

impl Records {
    pub(in super::super) fn mailbox(
        &self,
        id: MailboxId,
    ) -> Result<Found<MailboxRow>, StoreFailure> {
        let row = self
            .connection
            .prepare_cached(
                "SELECT intact, expires, max_envelopes, max_bytes, acknowledged, expired
                 FROM mailbox WHERE id = ?1",
            )?
            .query_row([id.as_bytes()], |row| {
                let limits = (row.get::<_, u32>(2)?, row.get::<_, i64>(3)?);
                let floors = (row.get::<_, i64>(4)?, row.get::<_, i64>(5)?);
                Ok((row.get::<_, bool>(0)?, (row.get::<_, u32>(1)?, limits, floors)))
            })
            .optional()?;
        let row = match intact(row, "mailbox") {
            Ok(row) => row,
            Err(code) => return Ok(Err(code)),
        };
        let Some((expires, (envelopes, bytes), (acknowledged, expired))) = row else {
            return Ok(Ok(None));
        };
        Ok(Ok(Some(MailboxRow {
            limits: MailboxLimits { envelopes, bytes: natural(bytes)? },
            expires: Day::new(expires),
            acknowledged: natural(acknowledged)?,
            expired: natural(expired)?,
        })))
    }

    /// Whether there is one, damaged or not.
    pub(in super::super) fn has_mailbox(&self, id: MailboxId) -> Result<bool, StoreFailure> {
        Ok(self
            .connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM mailbox WHERE id = ?1)")?
            .query_row([id.as_bytes()], |row| row.get(0))?)
    }

    pub(in super::super) fn mailbox_ids(&self) -> Result<Vec<MailboxId>, StoreFailure> {
        self.ids("SELECT id FROM mailbox", 0)
    }

    /// Those that nobody came to for long. A damaged one stays: its day may be what is damaged.
    pub(in super::super) fn idle_mailboxes(
        &self,
        today: Day,
    ) -> Result<Vec<MailboxId>, StoreFailure> {
        self.ids("SELECT id FROM mailbox WHERE expires < ?1 + 0 AND intact", today.get())
    }

    fn ids(&self, sql: &str, day: u32) -> Result<Vec<MailboxId>, StoreFailure> {
        let mut statement = self.connection.prepare(sql)?;
        let parameters = if statement.parameter_count() == 1 { vec![day] } else { vec![] };
        let rows = statement
            .query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, [u8; 32]>(0))?;
        Ok(rows.map(|id| id.map(MailboxId::from_bytes)).collect::<Result<_, _>>()?)
    }

    pub(in super::super) fn mailbox_of(
        &self,
        capability: WriteCapabilityHash,
    ) -> Result<Found<MailboxId>, StoreFailure> {
        let row = self
            .connection
            .prepare_cached("SELECT intact, mailbox FROM capability WHERE hash = ?1")?
            .query_row([capability.as_bytes()], |row| {
                Ok((row.get(0)?, MailboxId::from_bytes(row.get(1)?)))
            })
            .optional()?;
        Ok(intact(row, "capability"))
    }

    pub(in super::super) fn create(
        &mut self,
        today: Day,
        key: ReadKey,
        token: &[u8; 32],
        kind: MailboxKind,
        limits: Option<MailboxLimits>,
        capabilities: &[WriteCapabilityHash],
    ) -> Result<Result<(), ErrorCode>, StoreFailure> {
        let MailboxKind::Queue = kind;
        let (id, limits) = (key.mailbox(), effective(limits));
        let exists = match self.mailbox(id)? {
            Ok(found) => found.is_some(),
            Err(code) => return Ok(Err(code)),
        };
        let quotas = self.quotas;
        // R-1205: by the later of the two clocks, so that one that is behind shortens nobody's time.
        let expires = idle_expiry(today.max(self.removal));
        let answer = self.all_or_nothing(|db| {
            if !exists {
                if let Err(code) = tokens::admit(db, &quotas, today, token, 1, 0)? {
                    return Ok(Err(code));
                }
                db.execute(
                    "INSERT INTO mailbox (id, key, kind, expires, max_envelopes, max_bytes, acknowledged, expired)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0)",
                    params![
                        id.as_bytes(), key.as_bytes(), KIND_QUEUE, expires.get(),
                        limits.envelopes, integer(limits.bytes)?
                    ],
                )?;
            }
            insert_capabilities(db, id, capabilities)
        })?;
        Ok(answer.map(|_| ()))
    }

    /// A damaged row stays as it is: see [`Self::raise_floors`].
    pub(in super::super) fn set_limits(
        &mut self,
        id: MailboxId,
        limits: MailboxLimits,
    ) -> Result<Answer, StoreFailure> {
        self.begin()?;
        let changed = self.connection.execute(
            "UPDATE mailbox SET max_envelopes = ?2, max_bytes = ?3 WHERE id = ?1 AND intact",
            params![id.as_bytes(), limits.envelopes, integer(limits.bytes)?],
        )?;
        Ok(if changed == 0 { Err(ErrorCode::Damaged) } else { Ok(Outcome::Done) })
    }

    /// A damaged row stays as it is: see [`Self::raise_floors`].
    pub(in super::super) fn renew(
        &mut self,
        id: MailboxId,
        expires: Day,
    ) -> Result<(), StoreFailure> {
        self.begin()?;
        self.connection.execute(
            "UPDATE mailbox SET expires = ?2 WHERE id = ?1 AND intact",
            params![id.as_bytes(), expires.get()],
        )?;
        Ok(())
    }

    /// Floors only rise. Those of a damaged row stay as they are: a sum over what nobody wrote
    /// would make it whole.
    pub(in super::super) fn raise_floors(
        &mut self,
        id: MailboxId,
        acknowledged: u64,
        expired: u64,
    ) -> Result<(), StoreFailure> {
        self.begin()?;
        self.connection
            .prepare_cached(
                "UPDATE mailbox SET acknowledged = max(acknowledged, ?2), expired = max(expired, ?3)
                 WHERE id = ?1 AND intact",
            )?
            .execute(params![id.as_bytes(), integer(acknowledged)?, integer(expired)?])?;
        Ok(())
    }

    pub(in super::super) fn add_capabilities(
        &mut self,
        id: MailboxId,
        hashes: &[WriteCapabilityHash],
    ) -> Result<Answer, StoreFailure> {
        if !self.has_mailbox(id)? {
            return Ok(Err(ErrorCode::Unknown));
        }
        self.all_or_nothing(|db| insert_capabilities(db, id, hashes))
    }

    /// Whether the mailbox has a capability beside this one.
    pub(in super::super) fn has_other_capability(
        &self,
        id: MailboxId,
        capability: WriteCapabilityHash,
    ) -> Result<bool, StoreFailure> {
        let found = self
            .connection
            .prepare_cached("SELECT 1 FROM capability WHERE mailbox = ?1 AND hash <> ?2 LIMIT 1")?
            .exists(params![id.as_bytes(), capability.as_bytes()])?;
        Ok(found)
    }

    pub(in super::super) fn revoke_capabilities(
        &mut self,
        id: MailboxId,
        hashes: &[WriteCapabilityHash],
    ) -> Result<Answer, StoreFailure> {
        if !self.has_mailbox(id)? {
            return Ok(Err(ErrorCode::Unknown));
        }
        self.begin()?;
        for hash in hashes {
            self.connection
                .prepare_cached("DELETE FROM capability WHERE hash = ?1 AND mailbox = ?2")?
                .execute(params![hash.as_bytes(), id.as_bytes()])?;
        }
        Ok(Ok(Outcome::Done))
    }

    /// Removes the record with its capabilities.
    pub(in super::super) fn delete_mailbox(
        &mut self,
        id: MailboxId,
    ) -> Result<Answer, StoreFailure> {
        self.begin()?;
        let gone = self.connection.execute("DELETE FROM mailbox WHERE id = ?1", [id.as_bytes()])?;
        Ok(done_or_unknown(gone))
    }
}

fn insert_capabilities(
    db: &Connection,
    id: MailboxId,
    hashes: &[WriteCapabilityHash],
) -> Result<Answer, StoreFailure> {
    for hash in hashes {
        let owner = db
            .prepare_cached("SELECT intact, mailbox FROM capability WHERE hash = ?1")?
            .query_row([hash.as_bytes()], |row| Ok((row.get(0)?, row.get::<_, [u8; 32]>(1)?)))
            .optional()?;
        match intact(owner, "capability") {
            Err(code) => return Ok(Err(code)),
            Ok(Some(owner)) if owner == *id.as_bytes() => {}
            Ok(Some(_)) => return Ok(Err(ErrorCode::Conflict)),
            Ok(None) => {
                db.prepare_cached("INSERT INTO capability (hash, mailbox) VALUES (?1, ?2)")?
                    .execute(params![hash.as_bytes(), id.as_bytes()])?;
            }
        }
    }
    let count: u32 = db
        .prepare_cached("SELECT count(*) FROM capability WHERE mailbox = ?1")?
        .query_row([id.as_bytes()], |row| row.get(0))?;
    Ok(if count > MAX_CAPABILITIES_PER_MAILBOX {
        Err(ErrorCode::LimitReached)
    } else {
        Ok(Outcome::Done)
    })
}
