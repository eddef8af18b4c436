//! `relay.db`: mailboxes, capabilities, depots, blob records, tokens, the operator's audit log.
//!
//! Each table is a file here. Each row carries a sum over its columns (see `sums`), so that a row
//! that is not what was written is told from one that was never there.

pub(super) mod audit;
mod blobs;
mod depots;
mod mailboxes;
mod meta;
mod tokens;

pub(super) use mailboxes::MailboxRow;

use std::path::Path;

use rusqlite::{Connection, params};
use undertone_wire::{Day, ErrorCode, Incarnation};

use super::schema::{self, Database, Upgrading};
use crate::store::{Answer, Command, Outcome, Quotas, Removed, StoreFailure};

/// Savepoint around a command that may be refused half-way.
const SAVEPOINT: &str = "SAVEPOINT command";

/// What is found under a key: nothing, a row as it was written, or [`ErrorCode::Damaged`].
pub(super) type Found<T> = Result<Option<T>, ErrorCode>;

/// A row, unless it is not what was written (R-1208).
fn intact<T>(row: Option<(bool, T)>, table: &'static str) -> Found<T> {
    match row {
        Some((true, row)) => Ok(Some(row)),
        Some((false, _)) => {
            tracing::error!(table, "a row is damaged; `undertone-relay check` shows what else is");
            Err(ErrorCode::Damaged)
        }
        None => Ok(None),
    }
}

pub(super) struct Records {
    connection: Connection,
    pub(super) quotas: Quotas,
    /// The day of the clock of removal.
    pub(super) removal: Day,
    batch: schema::Batch,
}

impl Records {
    pub(super) fn open(directory: &Path, upgrading: Upgrading) -> Result<Self, StoreFailure> {
        Ok(Self {
            connection: schema::open(directory, Database::Relay, upgrading)?,
            quotas: Quotas::default(),
            removal: Day::new(0),
            batch: schema::Batch::default(),
        })
    }

    fn begin(&mut self) -> Result<(), StoreFailure> {
        self.batch.begin(&self.connection)
    }

    pub(super) fn commit(&mut self) -> Result<(), StoreFailure> {
        self.batch.commit(&self.connection)
    }

    /// Moves the WAL into the database, unless somebody hinders it for long.
    pub(super) fn checkpoint(&self) -> Result<(), StoreFailure> {
        schema::checkpoint_soon(&self.connection).map(|_| ())
    }

    /// Removes a row by its id.
    pub(super) fn delete_by_id(
        &mut self,
        table: &'static str,
        id: &[u8; 32],
    ) -> Result<(), StoreFailure> {
        self.begin()?;
        super::erase::delete_by_id(&self.connection, table, id)
    }

    /// The connection, for who measures the file.
    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
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

    /// Everything that is neither about a mailbox nor about a queue.
    pub(super) fn execute(
        &mut self,
        today: Day,
        command: &Command,
        incarnation: Incarnation,
    ) -> Result<Answer, StoreFailure> {
        let (quotas, removal) = (self.quotas, self.removal);
        match command {
            Command::FillDepot(fill) => self.all_or_nothing(|db| {
                depots::fill(db, &quotas, (today, removal), fill, incarnation)
            }),
            Command::DepotStatus(depot, owner) => {
                depots::state(&self.connection, today, *depot, *owner, incarnation)
            }
            Command::DeleteDepot(depot, owner) => {
                self.begin()?;
                let gone = self.connection.execute(
                    "DELETE FROM depot WHERE id = ?1 AND owner = ?2 AND expires >= ?3",
                    params![depot.as_bytes(), owner.as_bytes(), today.get()],
                )?;
                Ok(done_or_unknown(gone))
            }
            Command::TakePrekey(depot, take) => {
                self.all_or_nothing(|db| depots::take(db, today, *depot, *take))
            }
            Command::AnnounceBlob(record, token) => {
                self.all_or_nothing(|db| blobs::announce(db, &quotas, today, record, token))
            }
            Command::FindBlob(blob, capability) => {
                Ok(match blobs::find(&self.connection, *blob)? {
                    Ok(Some(record)) if record.read == *capability && record.expires >= today => {
                        Ok(Outcome::Blob(record))
                    }
                    Ok(_) => Err(ErrorCode::Unknown),
                    Err(code) => Err(code),
                })
            }
            // A damaged record keeps its files: somebody may want to look at them.
            Command::HasBlob(blob) => Ok(match blobs::find(&self.connection, *blob)? {
                Ok(None) => Err(ErrorCode::Unknown),
                Ok(Some(_)) | Err(_) => Ok(Outcome::Done),
            }),
            Command::DeleteBlob(blob, capability) => {
                self.begin()?;
                let gone = self.connection.execute(
                    "DELETE FROM blob WHERE id = ?1 AND del = ?2",
                    params![blob.as_bytes(), capability.as_bytes()],
                )?;
                Ok(done_or_unknown(gone))
            }
            Command::AddToken(verifier, class) => {
                self.begin()?;
                tokens::add(&self.connection, today, verifier, *class)
            }
            Command::RevokeToken(id) => {
                self.begin()?;
                let gone = self.connection.execute("DELETE FROM token WHERE id = ?1", [id.0])?;
                Ok(done_or_unknown(gone))
            }
            Command::Tokens => Ok(Ok(Outcome::Tokens(tokens::all(&self.connection)?))),
            Command::Audit(action) => {
                self.begin()?;
                let entry = audit::append(&self.connection, today, action)?;
                Ok(Ok(Outcome::Audited(entry)))
            }
            // The queue's commands are executed by the store itself.
            _ => Ok(Err(ErrorCode::Internal)),
        }
    }

    /// Removes what has passed its day, except mailboxes, which only the store can remove; names
    /// the blobs among it. What is damaged stays: its day may be what is damaged.
    pub(super) fn expire(&mut self, today: Day) -> Result<Removed, StoreFailure> {
        self.begin()?;
        let blobs = blobs::expire(&self.connection, today)?;
        self.connection
            .execute("DELETE FROM depot WHERE expires < ?1 AND intact", [today.get()])?;
        Ok(Removed { blobs, mailboxes: Vec::new() })
    }
}

fn done_or_unknown(rows: usize) -> Answer {
    if rows == 0 { Err(ErrorCode::Unknown) } else { Ok(Outcome::Done) }
}
