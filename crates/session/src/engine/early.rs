//! What refers to a message that is not here: kept for a while, since a message may come behind an
//! edit of it when both are sent again after a reset. A contact can fill no more than a bound.

use zeroize::Zeroizing;

use super::rows::{EarlyRow, Secret, decode, key1, key2, next_number, save};
use crate::ids::{ContactId, MessageId};
use crate::store::{Order, StoreError, Table, Transaction};

/// Contents of one contact that wait for their message; the oldest goes first. A person edits and
/// reacts to fewer messages while these are on their way.
pub(super) const MAX_EARLY: usize = 64;

/// Keeps a content until its message comes, at most as long as a message may be on its way.
pub(super) fn keep(
    tx: &mut dyn Transaction,
    contact: ContactId,
    target: &MessageId,
    content: &[u8],
    today: u32,
) -> Result<(), StoreError> {
    let prefix = key1(contact.get());
    let kept = tx.scan(Table::Early, &prefix, None, Order::Ascending, MAX_EARLY)?;
    for row in &kept {
        let before: EarlyRow = decode(Table::Early, &row.value)?;
        if before.content.bytes() == content {
            // A repeat.
            return Ok(());
        }
    }
    if kept.len() == MAX_EARLY
        && let Some(oldest) = kept.first()
    {
        tx.delete(Table::Early, &oldest.key)?;
    }
    let number = next_number(tx, "early")?;
    let row = EarlyRow { target: *target.as_bytes(), content: Secret::new(content), day: today };
    save(tx, Table::Early, &key2(&prefix, &key1(number)), &row)
}

/// Takes out what waits for this message, in the order in which it came.
pub(super) fn take(
    tx: &mut dyn Transaction,
    contact: ContactId,
    target: &MessageId,
) -> Result<Vec<Zeroizing<Vec<u8>>>, StoreError> {
    let prefix = key1(contact.get());
    let mut taken = Vec::new();
    for row in tx.scan(Table::Early, &prefix, None, Order::Ascending, MAX_EARLY)? {
        let early: EarlyRow = decode(Table::Early, &row.value)?;
        if early.target == *target.as_bytes() {
            tx.delete(Table::Early, &row.key)?;
            taken.push(Zeroizing::new(early.content.bytes().to_vec()));
        }
    }
    Ok(taken)
}
