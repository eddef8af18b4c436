//! `relay.db`: mailboxes, capabilities, depots, blob records, tokens.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use undertone_wire::frame::{DepotState, FillMode, MailboxKind, MailboxLimits};
use undertone_wire::ids::BlobCapabilityHash;
use undertone_wire::limits::{DEPOT_BUNDLES, MAX_CAPABILITIES_PER_MAILBOX};
use undertone_wire::{
    BlobHash, BlobId, Day, DepotId, DepotKey, ErrorCode, Incarnation, MailboxId, ReadKey, TakeId,
    WriteCapabilityHash,
};

use super::queue::{integer, natural};
use super::schema::{self, Database};
use crate::store::rules::{effective, idle_expiry};
use crate::store::{
    Answer, BlobRecord, Command, DepotFill, Outcome, Prekey, Quotas, StoreFailure, TokenClass,
    TokenId, TokenRecord, new_incarnation,
};

/// [`MailboxKind::Queue`] as it is stored.
const KIND_QUEUE: i64 = 0;

/// Savepoint around a command that may be refused half-way.
const SAVEPOINT: &str = "SAVEPOINT command";

pub(super) struct Records {
    connection: Connection,
    pub(super) quotas: Quotas,
    batch: schema::Batch,
}

/// A mailbox as it is stored.
pub(super) struct MailboxRow {
    pub(super) limits: MailboxLimits,
    pub(super) expires: Day,
    pub(super) acknowledged: u64,
    pub(super) expired: u64,
}

impl Records {
    pub(super) fn open(directory: &Path) -> Result<Self, StoreFailure> {
        Ok(Self {
            connection: schema::open(directory, Database::Relay)?,
            quotas: Quotas::default(),
            batch: schema::Batch::default(),
        })
    }

    fn begin(&mut self) -> Result<(), StoreFailure> {
        self.batch.begin(&self.connection)
    }

    pub(super) fn commit(&mut self) -> Result<(), StoreFailure> {
        self.batch.commit(&self.connection)
    }

    pub(super) fn checkpoint(&self) -> Result<(), StoreFailure> {
        schema::checkpoint(&self.connection).map(|_| ())
    }

    /// Runs a command so that a refusal leaves nothing of it.
    fn all_or_nothing(
        &mut self,
        run: impl FnOnce(&Connection) -> Result<Answer, StoreFailure>,
    ) -> Result<Answer, StoreFailure> {
        self.begin()?;
        self.connection.execute_batch(SAVEPOINT)?;
        let answer = run(&self.connection)?;
        self.connection.execute_batch(if answer.is_ok() {
            "RELEASE command"
        } else {
            "ROLLBACK TO command; RELEASE command"
        })?;
        Ok(answer)
    }

    /// The incarnation; made when the store is.
    pub(super) fn incarnation(&mut self) -> Result<Incarnation, StoreFailure> {
        let stored = self
            .connection
            .query_row("SELECT value FROM meta WHERE name = 'incarnation'", [], |row| row.get(0))
            .optional()?;
        if let Some(bytes) = stored {
            return Ok(Incarnation::from_bytes(bytes));
        }
        let fresh = new_incarnation()?;
        self.connection.execute(
            "INSERT INTO meta (name, value) VALUES ('incarnation', ?1)",
            [fresh.as_bytes()],
        )?;
        Ok(fresh)
    }

    // ---- high-water marks of queue files

    pub(super) fn high_water(&self, day: Day) -> Result<i64, StoreFailure> {
        let bytes: Option<[u8; 8]> = self
            .connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [mark_name(day)], |row| row.get(0))
            .optional()?;
        Ok(bytes.map_or(0, i64::from_be_bytes))
    }

    pub(super) fn set_high_water(&mut self, day: Day, mark: i64) -> Result<(), StoreFailure> {
        self.begin()?;
        self.connection.execute(
            "INSERT INTO meta (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            params![mark_name(day), mark.to_be_bytes()],
        )?;
        Ok(())
    }

    /// The days that have a mark.
    pub(super) fn high_water_days(&self) -> Result<Vec<Day>, StoreFailure> {
        self.days("high-water ")
    }

    pub(super) fn blob_ids(&self) -> Result<Vec<BlobId>, StoreFailure> {
        let mut statement = self.connection.prepare("SELECT id FROM blob")?;
        let rows = statement.query_map([], |row| row.get::<_, [u8; 32]>(0))?;
        Ok(rows.map(|id| id.map(BlobId::from_bytes)).collect::<Result<_, _>>()?)
    }

    // ---- the maintenance clock

    /// As `rules::maintenance_clock`; `None` if it was never set.
    pub(super) fn maintenance_clock(&self) -> Result<Option<u32>, StoreFailure> {
        let hours: Option<[u8; 4]> = self
            .connection
            .query_row("SELECT value FROM meta WHERE name = 'maintenance'", [], |row| row.get(0))
            .optional()?;
        Ok(hours.map(u32::from_be_bytes))
    }

    pub(super) fn set_maintenance_clock(&mut self, hours: u32) -> Result<(), StoreFailure> {
        self.begin()?;
        self.connection.execute(
            "INSERT OR REPLACE INTO meta (name, value) VALUES ('maintenance', ?1)",
            [hours.to_be_bytes()],
        )?;
        Ok(())
    }

    // ---- queue files that are being removed

    /// From its commit on the day's key and files are removed, whatever happens in between.
    pub(super) fn begin_removal(&mut self, day: Day) -> Result<(), StoreFailure> {
        self.begin()?;
        self.connection.execute("DELETE FROM meta WHERE name = ?1", [mark_name(day)])?;
        self.connection.execute(
            "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, x'')",
            [removal_name(day)],
        )?;
        Ok(())
    }

    pub(super) fn removals(&self) -> Result<Vec<Day>, StoreFailure> {
        self.days("removed ")
    }

    pub(super) fn end_removal(&mut self, day: Day) -> Result<(), StoreFailure> {
        self.begin()?;
        self.connection.execute("DELETE FROM meta WHERE name = ?1", [removal_name(day)])?;
        self.commit()
    }

    fn days(&self, prefix: &'static str) -> Result<Vec<Day>, StoreFailure> {
        let mut statement = self.connection.prepare("SELECT name FROM meta ORDER BY name")?;
        let mut days = Vec::new();
        for name in statement.query_map([], |row| row.get::<_, String>(0))? {
            let Some(day) = name?.strip_prefix(prefix).map(str::parse) else { continue };
            days.push(Day::new(day.map_err(|_| StoreFailure::Damaged("a day in meta"))?));
        }
        Ok(days)
    }

    // ---- mailboxes

    pub(super) fn mailbox(&self, id: MailboxId) -> Result<Option<MailboxRow>, StoreFailure> {
        let row = self
            .connection
            .prepare_cached(
                "SELECT expires, max_envelopes, max_bytes, acknowledged, expired
                 FROM mailbox WHERE id = ?1",
            )?
            .query_row([id.as_bytes()], |row| {
                Ok((
                    row.get::<_, u32>(0)?,
                    row.get::<_, u32>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, i64>(3)?,
                    row.get::<_, i64>(4)?,
                ))
            })
            .optional()?;
        row.map(|(expires, envelopes, bytes, acknowledged, expired)| {
            Ok(MailboxRow {
                limits: MailboxLimits { envelopes, bytes: natural(bytes)? },
                expires: Day::new(expires),
                acknowledged: natural(acknowledged)?,
                expired: natural(expired)?,
            })
        })
        .transpose()
    }

    pub(super) fn mailbox_ids(&self) -> Result<Vec<MailboxId>, StoreFailure> {
        self.ids("SELECT id FROM mailbox", 0)
    }

    pub(super) fn idle_mailboxes(&self, today: Day) -> Result<Vec<MailboxId>, StoreFailure> {
        self.ids("SELECT id FROM mailbox WHERE expires < ?1 + 0", today.get())
    }

    fn ids(&self, sql: &str, day: u32) -> Result<Vec<MailboxId>, StoreFailure> {
        let mut statement = self.connection.prepare(sql)?;
        let parameters = if statement.parameter_count() == 1 { vec![day] } else { vec![] };
        let rows = statement
            .query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, [u8; 32]>(0))?;
        Ok(rows.map(|id| id.map(MailboxId::from_bytes)).collect::<Result<_, _>>()?)
    }

    pub(super) fn mailbox_of(
        &self,
        capability: WriteCapabilityHash,
    ) -> Result<Option<MailboxId>, StoreFailure> {
        Ok(self
            .connection
            .prepare_cached("SELECT mailbox FROM capability WHERE hash = ?1")?
            .query_row([capability.as_bytes()], |row| row.get(0))
            .optional()?
            .map(MailboxId::from_bytes))
    }

    pub(super) fn create(
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
        let exists = self.mailbox(id)?.is_some();
        let quotas = self.quotas;
        let answer = self.all_or_nothing(|db| {
            if !exists {
                if let Err(code) = admit(db, &quotas, today, token, 1, 0)? {
                    return Ok(Err(code));
                }
                db.execute(
                    "INSERT INTO mailbox (id, key, kind, expires, max_envelopes, max_bytes, acknowledged, expired)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0)",
                    params![
                        id.as_bytes(), key.as_bytes(), KIND_QUEUE, idle_expiry(today).get(),
                        limits.envelopes, integer(limits.bytes)?
                    ],
                )?;
            }
            insert_capabilities(db, id, capabilities)
        })?;
        Ok(answer.map(|_| ()))
    }

    pub(super) fn set_limits(
        &mut self,
        id: MailboxId,
        limits: MailboxLimits,
    ) -> Result<(), StoreFailure> {
        self.begin()?;
        self.connection.execute(
            "UPDATE mailbox SET max_envelopes = ?2, max_bytes = ?3 WHERE id = ?1",
            params![id.as_bytes(), limits.envelopes, integer(limits.bytes)?],
        )?;
        Ok(())
    }

    pub(super) fn renew(&mut self, id: MailboxId, expires: Day) -> Result<(), StoreFailure> {
        self.begin()?;
        self.connection.execute(
            "UPDATE mailbox SET expires = ?2 WHERE id = ?1",
            params![id.as_bytes(), expires.get()],
        )?;
        Ok(())
    }

    pub(super) fn raise_floors(
        &mut self,
        id: MailboxId,
        acknowledged: u64,
        expired: u64,
    ) -> Result<(), StoreFailure> {
        self.begin()?;
        self.connection
            .prepare_cached(
                "UPDATE mailbox SET acknowledged = max(acknowledged, ?2), expired = max(expired, ?3)
                 WHERE id = ?1",
            )?
            .execute(params![id.as_bytes(), integer(acknowledged)?, integer(expired)?])?;
        Ok(())
    }

    pub(super) fn add_capabilities(
        &mut self,
        id: MailboxId,
        hashes: &[WriteCapabilityHash],
    ) -> Result<Answer, StoreFailure> {
        if self.mailbox(id)?.is_none() {
            return Ok(Err(ErrorCode::Unknown));
        }
        self.all_or_nothing(|db| insert_capabilities(db, id, hashes))
    }

    pub(super) fn revoke_capabilities(
        &mut self,
        id: MailboxId,
        hashes: &[WriteCapabilityHash],
    ) -> Result<Answer, StoreFailure> {
        if self.mailbox(id)?.is_none() {
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

    pub(super) fn delete_mailbox(&mut self, id: MailboxId) -> Result<(), StoreFailure> {
        self.begin()?;
        self.connection.execute("DELETE FROM mailbox WHERE id = ?1", [id.as_bytes()])?;
        Ok(())
    }

    // ---- everything that is neither a mailbox nor a queue

    pub(super) fn execute(
        &mut self,
        today: Day,
        command: &Command,
        incarnation: Incarnation,
    ) -> Result<Answer, StoreFailure> {
        match command {
            Command::FillDepot(fill) => {
                let quotas = self.quotas;
                self.all_or_nothing(|db| fill_depot(db, &quotas, today, fill, incarnation))
            }
            Command::DepotStatus(depot, owner) => {
                depot_state(&self.connection, today, *depot, *owner, incarnation)
            }
            Command::DeleteDepot(depot, owner) => {
                self.begin()?;
                let gone = self.connection.execute(
                    "DELETE FROM depot WHERE id = ?1 AND owner = ?2 AND expires >= ?3",
                    params![depot.as_bytes(), owner.as_bytes(), today.get()],
                )?;
                Ok(if gone == 0 { Err(ErrorCode::Unknown) } else { Ok(Outcome::Done) })
            }
            Command::TakePrekey(depot, take) => {
                self.all_or_nothing(|db| take_prekey(db, today, *depot, *take))
            }
            Command::AnnounceBlob(record, token) => {
                let quotas = self.quotas;
                self.all_or_nothing(|db| announce_blob(db, &quotas, today, record, token))
            }
            Command::FindBlob(blob, capability) => Ok(match find_blob(&self.connection, *blob)? {
                Some(record) if record.read == *capability && record.expires >= today => {
                    Ok(Outcome::Blob(record))
                }
                _ => Err(ErrorCode::Unknown),
            }),
            Command::HasBlob(blob) => Ok(match find_blob(&self.connection, *blob)? {
                Some(_) => Ok(Outcome::Done),
                None => Err(ErrorCode::Unknown),
            }),
            Command::DeleteBlob(blob, capability) => {
                self.begin()?;
                let gone = self.connection.execute(
                    "DELETE FROM blob WHERE id = ?1 AND del = ?2",
                    params![blob.as_bytes(), capability.as_bytes()],
                )?;
                Ok(if gone == 0 { Err(ErrorCode::Unknown) } else { Ok(Outcome::Done) })
            }
            Command::AddToken(verifier, class) => {
                self.begin()?;
                self.connection.execute(
                    "INSERT INTO token (verifier, class, day, mailboxes, blob_bytes)
                     VALUES (?1, ?2, ?3, 0, 0)",
                    params![verifier, class.name(), today.get()],
                )?;
                let id = u32::try_from(self.connection.last_insert_rowid());
                Ok(id.map(|id| Outcome::Token(TokenId(id))).map_err(|_| ErrorCode::LimitReached))
            }
            Command::RevokeToken(id) => {
                self.begin()?;
                let gone = self.connection.execute("DELETE FROM token WHERE id = ?1", [id.0])?;
                Ok(if gone == 0 { Err(ErrorCode::Unknown) } else { Ok(Outcome::Done) })
            }
            Command::Tokens => Ok(Ok(Outcome::Tokens(tokens(&self.connection)?))),
            // The queue's commands are executed by the store itself.
            _ => Ok(Err(ErrorCode::Internal)),
        }
    }

    /// Removes what has passed its day; names the blobs among it.
    pub(super) fn expire(&mut self, today: Day) -> Result<Vec<BlobId>, StoreFailure> {
        self.begin()?;
        let mut blobs = Vec::new();
        let mut statement = self.connection.prepare("SELECT id FROM blob WHERE expires < ?1")?;
        for id in statement.query_map([today.get()], |row| row.get::<_, [u8; 32]>(0))? {
            blobs.push(BlobId::from_bytes(id?));
        }
        drop(statement);
        self.connection.execute("DELETE FROM blob WHERE expires < ?1", [today.get()])?;
        self.connection.execute("DELETE FROM depot WHERE expires < ?1", [today.get()])?;
        Ok(blobs)
    }
}

fn removal_name(day: Day) -> String {
    format!("removed {}", day.get())
}

fn mark_name(day: Day) -> String {
    format!("high-water {}", day.get())
}

fn insert_capabilities(
    db: &Connection,
    id: MailboxId,
    hashes: &[WriteCapabilityHash],
) -> Result<Answer, StoreFailure> {
    for hash in hashes {
        let owner: Option<[u8; 32]> = db
            .prepare_cached("SELECT mailbox FROM capability WHERE hash = ?1")?
            .query_row([hash.as_bytes()], |row| row.get(0))
            .optional()?;
        match owner {
            Some(owner) if owner == *id.as_bytes() => {}
            Some(_) => return Ok(Err(ErrorCode::Conflict)),
            None => {
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

/// Counts against the quota of the token with that verifier.
fn admit(
    db: &Connection,
    quotas: &Quotas,
    today: Day,
    verifier: &[u8; 32],
    mailboxes: u32,
    blob_bytes: u64,
) -> Result<Result<(), ErrorCode>, StoreFailure> {
    let token = db
        .prepare_cached(
            "SELECT id, verifier, class, day, mailboxes, blob_bytes FROM token WHERE verifier = ?1",
        )?
        .query_row([verifier], token_row)
        .optional()?;
    let Some(token) = token.transpose()? else { return Ok(Err(ErrorCode::NotAdmitted)) };
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

fn token_row(row: &Row<'_>) -> rusqlite::Result<Result<TokenRecord, StoreFailure>> {
    let (class, blob_bytes): (String, i64) = (row.get(2)?, row.get(5)?);
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
    })(row.get(0)?, row.get(1)?, row.get(3)?, row.get(4)?);
    Ok(record)
}

fn tokens(db: &Connection) -> Result<Vec<TokenRecord>, StoreFailure> {
    let mut statement = db
        .prepare("SELECT id, verifier, class, day, mailboxes, blob_bytes FROM token ORDER BY id")?;
    let rows = statement.query_map([], token_row)?;
    rows.map(|row| row?).collect()
}

// ---- depots

fn depot_owner(db: &Connection, depot: DepotId) -> Result<Option<DepotKey>, StoreFailure> {
    Ok(db
        .query_row("SELECT owner FROM depot WHERE id = ?1", [depot.as_bytes()], |row| row.get(0))
        .optional()?
        .map(DepotKey::from_bytes))
}

fn bundles_left(db: &Connection, depot: DepotId) -> Result<u32, StoreFailure> {
    Ok(db.query_row("SELECT count(*) FROM bundle WHERE depot = ?1", [depot.as_bytes()], |row| {
        row.get(0)
    })?)
}

fn fill_depot(
    db: &Connection,
    quotas: &Quotas,
    today: Day,
    fill: &DepotFill,
    incarnation: Incarnation,
) -> Result<Answer, StoreFailure> {
    let id = fill.depot.as_bytes();
    // An expired depot is like none, also where it has not been removed yet.
    db.execute("DELETE FROM depot WHERE id = ?1 AND expires < ?2", params![id, today.get()])?;
    match depot_owner(db, fill.depot)? {
        Some(owner) if owner == fill.owner => {}
        // Somebody else's depot is, for this owner, unknown.
        Some(_) => return Ok(Err(ErrorCode::Unknown)),
        None => {
            if let Err(code) = admit(db, quotas, today, &fill.token, 1, 0)? {
                return Ok(Err(code));
            }
            db.execute(
                "INSERT INTO depot (id, owner, expires) VALUES (?1, ?2, ?3)",
                params![id, fill.owner.as_bytes(), fill.expires.get()],
            )?;
        }
    }
    if fill.mode == FillMode::Replace {
        db.execute("DELETE FROM bundle WHERE depot = ?1", [id])?;
        db.execute("UPDATE depot SET last_resort = NULL WHERE id = ?1", [id])?;
    }
    for sealed in &fill.one_time {
        // One that is there already is a repetition: twice in the depot it would go to two people.
        db.prepare_cached(
            "INSERT INTO bundle (depot, sealed) SELECT ?1, ?2
             WHERE NOT EXISTS (SELECT 1 FROM bundle WHERE depot = ?1 AND sealed = ?2)",
        )?
        .execute(params![id, sealed])?;
    }
    if usize::try_from(bundles_left(db, fill.depot)?).is_ok_and(|left| left > DEPOT_BUNDLES) {
        return Ok(Err(ErrorCode::LimitReached));
    }
    if let Some(last_resort) = &fill.last_resort {
        db.execute("UPDATE depot SET last_resort = ?2 WHERE id = ?1", params![id, last_resort])?;
    }
    db.execute("UPDATE depot SET expires = ?2 WHERE id = ?1", params![id, fill.expires.get()])?;
    depot_state(db, today, fill.depot, fill.owner, incarnation)
}

fn depot_state(
    db: &Connection,
    today: Day,
    depot: DepotId,
    owner: DepotKey,
    incarnation: Incarnation,
) -> Result<Answer, StoreFailure> {
    let row = db
        .query_row(
            "SELECT expires, last_resort IS NOT NULL FROM depot
             WHERE id = ?1 AND owner = ?2 AND expires >= ?3",
            params![depot.as_bytes(), owner.as_bytes(), today.get()],
            |row| Ok((row.get::<_, u32>(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((expires, last_resort)) = row else { return Ok(Err(ErrorCode::Unknown)) };
    Ok(Ok(Outcome::Depot(DepotState {
        one_time: bundles_left(db, depot)?,
        last_resort,
        expires: Day::new(expires),
        incarnation,
    })))
}

fn take_prekey(
    db: &Connection,
    today: Day,
    depot: DepotId,
    take: TakeId,
) -> Result<Answer, StoreFailure> {
    let id = depot.as_bytes();
    type Depot = (Option<Vec<u8>>, Option<[u8; 16]>, Option<Vec<u8>>);
    let row: Option<Depot> = db
        .query_row(
            "SELECT last_resort, last_take, last_bundle FROM depot WHERE id = ?1 AND expires >= ?2",
            params![id, today.get()],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    let Some((last_resort, last_take, last_bundle)) = row else {
        return Ok(Err(ErrorCode::Unknown));
    };
    // The same take again: the answer was lost on its way.
    if last_take == Some(*take.as_bytes())
        && let Some(sealed) = last_bundle
    {
        return Ok(Ok(Outcome::Prekey(Prekey::OneTime(sealed))));
    }
    let next: Option<(i64, Vec<u8>)> = db
        .query_row(
            "SELECT position, sealed FROM bundle WHERE depot = ?1 ORDER BY position LIMIT 1",
            [id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((position, sealed)) = next else {
        // Both answers are the same for everybody, so that there is nothing to remember.
        return Ok(Ok(Outcome::Prekey(last_resort.map_or(Prekey::UsedUp, Prekey::LastResort))));
    };
    db.execute("DELETE FROM bundle WHERE position = ?1", [position])?;
    db.execute(
        "UPDATE depot SET last_take = ?2, last_bundle = ?3 WHERE id = ?1",
        params![id, take.as_bytes(), sealed],
    )?;
    Ok(Ok(Outcome::Prekey(Prekey::OneTime(sealed))))
}

// ---- blobs

fn find_blob(db: &Connection, blob: BlobId) -> Result<Option<BlobRecord>, StoreFailure> {
    let row = db
        .query_row(
            "SELECT read, del, length, hash, expires FROM blob WHERE id = ?1",
            [blob.as_bytes()],
            |row| {
                Ok((
                    row.get::<_, [u8; 32]>(0)?,
                    row.get::<_, [u8; 32]>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, [u8; 32]>(3)?,
                    row.get::<_, u32>(4)?,
                ))
            },
        )
        .optional()?;
    row.map(|(read, delete, length, hash, expires)| {
        Ok(BlobRecord {
            blob,
            read: BlobCapabilityHash::from_bytes(read),
            delete: BlobCapabilityHash::from_bytes(delete),
            length: natural(length)?,
            hash: BlobHash::from_bytes(hash),
            expires: Day::new(expires),
        })
    })
    .transpose()
}

fn announce_blob(
    db: &Connection,
    quotas: &Quotas,
    today: Day,
    record: &BlobRecord,
    token: &[u8; 32],
) -> Result<Answer, StoreFailure> {
    match find_blob(db, record.blob)? {
        Some(stored) if stored == *record => return Ok(Ok(Outcome::Blob(stored))),
        Some(_) => return Ok(Err(ErrorCode::Conflict)),
        None => {}
    }
    if let Err(code) = admit(db, quotas, today, token, 0, record.length)? {
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
