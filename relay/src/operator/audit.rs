//! The operator's log, and the search for damage.

use std::io::ErrorKind;
use std::path::Path;

use undertone_wire::Day;

use super::{Layout, read_if_there};
use crate::store::audit::{Action, AuditAnchor, AuditEntry, AuditFault, verify};
use crate::store::sqlite::{AUDIT_HEAD, SqliteStore};
use crate::store::{Command, Outcome, Store as _, StoreFailure};

/// Adds an entry to the log of a relay, which may be running.
///
/// # Errors
/// [`StoreFailure`].
pub fn record(directory: &Path, today: Day, action: Action) -> Result<AuditEntry, StoreFailure> {
    let mut store = SqliteStore::open_records_only(&Layout::new(directory).store())?;
    match store.commit(today, &[Command::Audit(action)])?.pop() {
        Some(Ok(Outcome::Audited(entry))) => Ok(entry),
        _ => Err(StoreFailure::Damaged("the table audit")),
    }
}

/// All entries, in order.
///
/// # Errors
/// [`StoreFailure`].
pub fn audit_log(directory: &Path) -> Result<Vec<AuditEntry>, StoreFailure> {
    SqliteStore::open_records_only(&Layout::new(directory).store())?.audit_log()
}

/// Checks the log against its chain, the file `audit.head`, and anchors that were noted down
/// elsewhere; the entries if nothing is wrong with them.
///
/// # Errors
/// [`StoreFailure`] if the log cannot be read.
pub fn verify_audit(
    directory: &Path,
    noted: &[AuditAnchor],
) -> Result<Result<Vec<AuditEntry>, AuditFault>, StoreFailure> {
    // The head first: an entry that is added meanwhile is then no contradiction.
    let head = read_if_there(&Layout::new(directory).store().join(AUDIT_HEAD))?;
    let entries = audit_log(directory)?;
    let mut anchors = noted.to_vec();
    match head.map(|bytes| String::from_utf8_lossy(&bytes).parse()) {
        Some(Ok(anchor)) => anchors.push(anchor),
        Some(Err(fault)) => return Ok(Err(fault)),
        None if entries.is_empty() => {}
        None => return Ok(Err(AuditFault::NoHead)),
    }
    Ok(verify(&entries, &anchors).map(|()| entries))
}

/// Searches a relay's databases and blobs for damage; it may be running. Each fault is a sentence,
/// and says nothing about a client; none means that everything is as it was written.
///
/// # Errors
/// [`StoreFailure`] if there is no store that could be searched.
pub fn check(directory: &Path) -> Result<Vec<String>, StoreFailure> {
    let layout = Layout::new(directory);
    let mut faults = crate::store::sqlite::check(&layout.store())?;
    match verify_audit(directory, &[]) {
        Ok(Ok(_)) => {}
        Ok(Err(fault)) => faults.push(format!("audit log: {fault}")),
        Err(failure) => faults.push(format!("audit log: {failure}")),
    }
    match super::backup::damaged_blobs(&layout) {
        Ok(0) => {}
        Ok(count) => faults.push(format!("blobs: {count} damaged files")),
        Err(StoreFailure::File(error)) if error.kind() == ErrorKind::NotFound => {}
        Err(failure) => faults.push(format!("blobs: {failure}")),
    }
    Ok(faults)
}
