//! Searching the history. There is no index: each message is looked at, newest first. What is
//! erased is found no more, because there is nothing beside the messages that could be searched.

use undertone_core::rand_core::CryptoRng;

use super::contacts::load_contact;
use super::history::{load_message, view};
use super::rows::{MessageRow, decode, key1, key2, number};
use super::{Engine, EngineError};
use crate::ids::ContactId;
use crate::message::{Message, MessageKind};
use crate::store::{Order, Row, Store, StoreError, Table, Transaction};

/// Messages that one call looks at, so that what else the store is asked for does not wait long.
const LOOKED_AT: usize = 2048;

/// What one call of [`Engine::search`] found.
#[derive(Debug)]
pub struct Found {
    /// The messages, newest first.
    pub messages: Vec<Message>,
    /// Where to go on, if not all was looked at.
    pub next: Option<u64>,
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// Looks for a text in messages, file names and captions, whatever its case; newest first, before
    /// a place if one is given. Looks at a bounded number of messages: [`Found::next`] is where to
    /// go on.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`], [`EngineError::EmptyText`].
    pub fn search(
        &mut self,
        contact: Option<ContactId>,
        text: &str,
        before: Option<u64>,
    ) -> Result<Found, EngineError> {
        let wanted = text.trim().to_lowercase();
        if wanted.is_empty() {
            return Err(EngineError::EmptyText);
        }
        self.store.transaction(|tx| {
            let rows = page(tx, contact, before)?;
            let mut found = Found { messages: Vec::new(), next: None };
            if rows.len() == LOOKED_AT
                && let Some(last) = rows.last()
            {
                found.next = Some(number(&last.key, "a place in the history")?);
            }
            for row in rows {
                let message = match contact {
                    Some(_) => load_message(tx, number(&row.key, "a place in the history")?)?,
                    None => Some(decode(Table::Messages, &row.value)?),
                };
                found.messages.extend(message.filter(|row| says(row, &wanted)).map(view));
            }
            Ok(found)
        })
    }
}

fn page(
    tx: &dyn Transaction,
    contact: Option<ContactId>,
    before: Option<u64>,
) -> Result<Vec<Row>, EngineError> {
    let rows: Result<Vec<Row>, StoreError> = match contact {
        Some(contact) => {
            load_contact(tx, contact)?;
            let prefix = key1(contact.get());
            let from = before.map(|place| key2(&prefix, &key1(place)));
            tx.scan(Table::History, &prefix, from.as_deref(), Order::Descending, LOOKED_AT)
        }
        None => {
            let from = before.map(key1);
            let from = from.as_ref().map(<[u8; 8]>::as_slice);
            tx.scan(Table::Messages, &[], from, Order::Descending, LOOKED_AT)
        }
    };
    Ok(rows?)
}

fn says(row: &MessageRow, wanted: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(wanted);
    match &row.kind {
        MessageKind::Text { text } => has(text),
        MessageKind::File(file) => has(&file.name) || has(&file.caption),
        MessageKind::Custom { .. } | MessageKind::Unknown { .. } | MessageKind::Deleted => false,
    }
}
