//! The operator's audit log.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use undertone_wire::Day;

use super::Records;
use crate::store::StoreFailure;
use crate::store::audit::{Action, AuditEntry};
use crate::store::sqlite::queue::{integer, natural};

const COLUMNS: &str = "SELECT number, day, action, detail, hash FROM audit";

impl Records {
    /// The last entry; until the commit no other process adds another.
    pub(in super::super) fn last_audit(&mut self) -> Result<Option<AuditEntry>, StoreFailure> {
        self.begin()?;
        last(&self.connection)
    }

    /// All entries, in order.
    pub(in super::super) fn audit_log(&self) -> Result<Vec<AuditEntry>, StoreFailure> {
        let mut statement = self.connection.prepare(&format!("{COLUMNS} ORDER BY number"))?;
        let rows = statement.query_map([], entry)?;
        rows.map(|row| row?).collect()
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Result<AuditEntry, StoreFailure>> {
    let (day, action, detail, hash) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
    Ok(natural(row.get(0)?).map(|number| AuditEntry {
        number,
        day: Day::new(day),
        action,
        detail,
        hash,
    }))
}

fn last(db: &Connection) -> Result<Option<AuditEntry>, StoreFailure> {
    db.prepare_cached(&format!("{COLUMNS} ORDER BY number DESC LIMIT 1"))?
        .query_row([], entry)
        .optional()?
        .transpose()
}

pub(super) fn append(
    db: &Connection,
    today: Day,
    action: &Action,
) -> Result<AuditEntry, StoreFailure> {
    let (before, previous) = last(db)?.map_or((0, [0; 32]), |last| (last.number, last.hash));
    let (name, detail) = action.text();
    let mut entry = AuditEntry {
        number: before.saturating_add(1),
        day: today,
        action: name.to_owned(),
        detail,
        hash: previous,
    };
    entry.hash = entry.expected_hash(&previous);
    db.prepare_cached(
        "INSERT INTO audit (number, day, action, detail, hash) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        integer(entry.number)?,
        today.get(),
        entry.action,
        entry.detail,
        entry.hash
    ])?;
    Ok(entry)
}
