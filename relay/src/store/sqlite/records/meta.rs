//! What the relay keeps about itself: incarnation, clock, queue files, removals by the operator.

use rusqlite::{OptionalExtension as _, params};
use undertone_wire::{Day, Incarnation};

use super::Records;
use crate::store::{StoreFailure, new_incarnation};

const INCARNATION: &str = "incarnation";
const MAINTENANCE: &str = "maintenance";
const ERASURES: &str = "erasures";

impl Records {
    /// A value of the expected length. `None` if it was never set.
    fn meta<const N: usize>(&self, name: &str) -> Result<Option<[u8; N]>, StoreFailure> {
        let found = self
            .connection
            .prepare_cached("SELECT intact, value FROM meta WHERE name = ?1")?
            .query_row([name], |row| Ok((row.get::<_, bool>(0)?, row.get::<_, Vec<u8>>(1)?)))
            .optional()?;
        let Some((intact, value)) = found else { return Ok(None) };
        match value.try_into() {
            Ok(value) if intact => Ok(Some(value)),
            _ => Err(StoreFailure::Damaged("a row of the table meta")),
        }
    }

    fn set_meta(&mut self, name: &str, value: &[u8]) -> Result<(), StoreFailure> {
        self.begin()?;
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?
            .execute(params![name, value])?;
        Ok(())
    }

    fn unset_meta(&mut self, name: &str) -> Result<(), StoreFailure> {
        self.begin()?;
        self.connection.execute("DELETE FROM meta WHERE name = ?1", [name])?;
        Ok(())
    }

    /// The incarnation; made when the store is.
    pub(in super::super) fn incarnation(&mut self) -> Result<Incarnation, StoreFailure> {
        if let Some(bytes) = self.meta(INCARNATION)? {
            return Ok(Incarnation::from_bytes(bytes));
        }
        self.new_incarnation()
    }

    /// Another incarnation than before: sequence numbers and floors begin to mean something else.
    pub(in super::super) fn new_incarnation(&mut self) -> Result<Incarnation, StoreFailure> {
        let fresh = new_incarnation()?;
        self.set_meta(INCARNATION, fresh.as_bytes())?;
        self.commit()?;
        Ok(fresh)
    }

    // ---- the maintenance clock

    /// As `rules::maintenance_clock`; `None` if it was never set.
    pub(in super::super) fn maintenance_clock(&self) -> Result<Option<u32>, StoreFailure> {
        Ok(self.meta(MAINTENANCE)?.map(u32::from_be_bytes))
    }

    pub(in super::super) fn set_maintenance_clock(
        &mut self,
        hours: u32,
    ) -> Result<(), StoreFailure> {
        self.set_meta(MAINTENANCE, &hours.to_be_bytes())
    }

    // ---- what another process erased

    /// How often an operator's command has erased something. Another number than before means that
    /// what is remembered in memory may be gone.
    pub(in super::super) fn erasures(&self) -> Result<u64, StoreFailure> {
        Ok(self.meta(ERASURES)?.map_or(0, u64::from_be_bytes))
    }

    pub(in super::super) fn count_erasure(&mut self) -> Result<(), StoreFailure> {
        let next = self.erasures()?.wrapping_add(1);
        self.set_meta(ERASURES, &next.to_be_bytes())
    }

    // ---- high-water marks of queue files

    pub(in super::super) fn high_water(&self, day: Day) -> Result<i64, StoreFailure> {
        Ok(self.meta(&mark_name(day))?.map_or(0, i64::from_be_bytes))
    }

    pub(in super::super) fn set_high_water(
        &mut self,
        day: Day,
        mark: i64,
    ) -> Result<(), StoreFailure> {
        self.set_meta(&mark_name(day), &mark.to_be_bytes())
    }

    pub(in super::super) fn forget_high_water(&mut self, day: Day) -> Result<(), StoreFailure> {
        self.unset_meta(&mark_name(day))
    }

    /// The days that have a mark.
    pub(in super::super) fn high_water_days(&self) -> Result<Vec<Day>, StoreFailure> {
        self.days("high-water ")
    }

    // ---- queue files that are being removed

    /// From its commit on the day's key and files are removed, whatever happens in between.
    pub(in super::super) fn begin_removal(&mut self, day: Day) -> Result<(), StoreFailure> {
        self.unset_meta(&mark_name(day))?;
        self.set_meta(&removal_name(day), &[])
    }

    pub(in super::super) fn removals(&self) -> Result<Vec<Day>, StoreFailure> {
        self.days("removed ")
    }

    pub(in super::super) fn end_removal(&mut self, day: Day) -> Result<(), StoreFailure> {
        self.unset_meta(&removal_name(day))?;
        self.commit()
    }

    fn days(&self, prefix: &'static str) -> Result<Vec<Day>, StoreFailure> {
        let mut statement =
            self.connection.prepare_cached("SELECT intact, name FROM meta ORDER BY name")?;
        let mut days = Vec::new();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
        for row in rows {
            let (intact, name): (bool, String) = row?;
            if !intact {
                return Err(StoreFailure::Damaged("a row of the table meta"));
            }
            let Some(day) = name.strip_prefix(prefix).map(str::parse) else { continue };
            days.push(Day::new(day.map_err(|_| StoreFailure::Damaged("a day in meta"))?));
        }
        Ok(days)
    }
}

fn removal_name(day: Day) -> String {
    format!("removed {}", day.get())
}

fn mark_name(day: Day) -> String {
    format!("high-water {}", day.get())
}
