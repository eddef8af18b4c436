//! Backups of a profile: what goes into one, and a new device out of one
//! (`protocol-spec/14-backup.md`).

mod check;
mod export;
mod restore;

pub use check::BackupCheck;
pub use export::Export;
pub use restore::{Restored, Restorer};

use super::rows::{Secret, corrupt};
use crate::backup::BackupError;
use crate::content::{Body, Content};
use crate::store::StoreError;

/// Whether a content that is not known to have arrived goes into a backup: what the person wrote or
/// decided does. What has a new value on the new device, or what the other side asks for again by
/// repeating itself, does not.
fn is_kept(content: &Content) -> bool {
    !matches!(
        content.body,
        Body::MailboxMove(_)
            | Body::ResetLink(_)
            | Body::ResetNotice { .. }
            | Body::DeliveryAck(_)
            | Body::ReadReceipt(_)
            | Body::Typing(_)
            | Body::DeviceList(_)
    )
}

/// A content of this store.
fn read(content: &Secret) -> Result<Content, StoreError> {
    Content::decode(content.bytes()).map_err(|_| corrupt("a content that is to be sent"))
}

/// R-1411.
const fn contradiction(what: &'static str) -> BackupError {
    BackupError::Contradiction { what }
}
