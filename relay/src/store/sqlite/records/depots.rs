//! Depots of prekey bundles.

use rusqlite::{Connection, OptionalExtension as _, params};
use undertone_wire::frame::{DepotState, FillMode};
use undertone_wire::limits::DEPOT_BUNDLES;
use undertone_wire::{Day, DepotId, DepotKey, ErrorCode, Incarnation, TakeId};

use super::{Found, Records, intact, tokens};
use crate::store::{Answer, DepotFill, Outcome, Prekey, Quotas, StoreFailure};

impl Records {
    /// Leaves every depot without bundles, for its owner to fill again: which of them were handed
    /// out since a backup was made, nobody knows.
    pub(in super::super) fn empty_depots(&mut self) -> Result<usize, StoreFailure> {
        self.begin()?;
        self.connection.execute("DELETE FROM bundle", [])?;
        Ok(self.connection.execute(
            "UPDATE depot SET last_resort = NULL, last_take = NULL, last_bundle = NULL WHERE intact",
            [],
        )?)
    }
}

fn owner(db: &Connection, depot: DepotId) -> Result<Found<DepotKey>, StoreFailure> {
    let row = db
        .prepare_cached("SELECT intact, owner FROM depot WHERE id = ?1")?
        .query_row([depot.as_bytes()], |row| Ok((row.get(0)?, DepotKey::from_bytes(row.get(1)?))))
        .optional()?;
    Ok(intact(row, "depot"))
}

fn bundles_left(db: &Connection, depot: DepotId) -> Result<u32, StoreFailure> {
    Ok(db
        .prepare_cached("SELECT count(*) FROM bundle WHERE depot = ?1")?
        .query_row([depot.as_bytes()], |row| row.get(0))?)
}

pub(super) fn fill(
    db: &Connection,
    quotas: &Quotas,
    (today, removal): (Day, Day),
    fill: &DepotFill,
    incarnation: Incarnation,
) -> Result<Answer, StoreFailure> {
    let id = fill.depot.as_bytes();
    // R-1205, R-1208: an expired depot is like none, also where it has not been removed yet; not if it
    // has expired by a clock alone that may be ahead, and not if its day may be what is damaged.
    db.execute(
        "DELETE FROM depot WHERE id = ?1 AND expires < ?2 AND intact",
        params![id, today.min(removal).get()],
    )?;
    match owner(db, fill.depot)? {
        Err(code) => return Ok(Err(code)),
        Ok(Some(owner)) if owner == fill.owner => {}
        // Somebody else's depot is, for this owner, unknown.
        Ok(Some(_)) => return Ok(Err(ErrorCode::Unknown)),
        Ok(None) => {
            if let Err(code) = tokens::admit(db, quotas, today, &fill.token, 1, 0)? {
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
    state(db, today, fill.depot, fill.owner, incarnation)
}

pub(super) fn state(
    db: &Connection,
    today: Day,
    depot: DepotId,
    owner: DepotKey,
    incarnation: Incarnation,
) -> Result<Answer, StoreFailure> {
    let row = db
        .prepare_cached(
            "SELECT intact, owner, expires, last_resort IS NOT NULL FROM depot WHERE id = ?1",
        )?
        .query_row([depot.as_bytes()], |row| {
            let stored = (row.get::<_, [u8; 32]>(1)?, row.get::<_, u32>(2)?, row.get(3)?);
            Ok((row.get(0)?, stored))
        })
        .optional()?;
    let (stored_owner, expires, last_resort) = match intact(row, "depot") {
        Ok(Some(stored)) => stored,
        Ok(None) => return Ok(Err(ErrorCode::Unknown)),
        Err(code) => return Ok(Err(code)),
    };
    if stored_owner != *owner.as_bytes() || expires < today.get() {
        return Ok(Err(ErrorCode::Unknown));
    }
    Ok(Ok(Outcome::Depot(DepotState {
        one_time: bundles_left(db, depot)?,
        last_resort,
        expires: Day::new(expires),
        incarnation,
    })))
}

/// What a take needs of a depot.
struct Depot {
    expires: u32,
    last_resort: Option<Vec<u8>>,
    last_take: Option<[u8; 16]>,
    last_bundle: Option<Vec<u8>>,
}

fn find(db: &Connection, depot: DepotId) -> Result<Found<Depot>, StoreFailure> {
    let row = db
        .prepare_cached(
            "SELECT intact, expires, last_resort, last_take, last_bundle FROM depot WHERE id = ?1",
        )?
        .query_row([depot.as_bytes()], |row| {
            let depot = Depot {
                expires: row.get(1)?,
                last_resort: row.get(2)?,
                last_take: row.get(3)?,
                last_bundle: row.get(4)?,
            };
            Ok((row.get(0)?, depot))
        })
        .optional()?;
    Ok(intact(row, "depot"))
}

pub(super) fn take(
    db: &Connection,
    today: Day,
    depot: DepotId,
    take: TakeId,
) -> Result<Answer, StoreFailure> {
    let stored = match find(db, depot)? {
        Ok(Some(stored)) if stored.expires >= today.get() => stored,
        Ok(_) => return Ok(Err(ErrorCode::Unknown)),
        Err(code) => return Ok(Err(code)),
    };
    // The same take again: the answer was lost on its way.
    if stored.last_take == Some(*take.as_bytes())
        && let Some(sealed) = stored.last_bundle
    {
        return Ok(Ok(Outcome::Prekey(Prekey::OneTime(sealed))));
    }
    let next = db
        .prepare_cached(
            "SELECT intact, position, sealed FROM bundle
             WHERE depot = ?1 ORDER BY position LIMIT 1",
        )?
        .query_row([depot.as_bytes()], |row| {
            Ok((row.get(0)?, (row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?)))
        })
        .optional()?;
    let (position, sealed) = match intact(next, "bundle") {
        Ok(Some(next)) => next,
        // Both answers are the same for everybody, so that there is nothing to remember.
        Ok(None) => {
            let last_resort = stored.last_resort;
            return Ok(Ok(Outcome::Prekey(last_resort.map_or(Prekey::UsedUp, Prekey::LastResort))));
        }
        Err(code) => return Ok(Err(code)),
    };
    db.prepare_cached("DELETE FROM bundle WHERE position = ?1")?.execute([position])?;
    db.prepare_cached("UPDATE depot SET last_take = ?2, last_bundle = ?3 WHERE id = ?1")?
        .execute(params![depot.as_bytes(), take.as_bytes(), sealed])?;
    Ok(Ok(Outcome::Prekey(Prekey::OneTime(sealed))))
}
