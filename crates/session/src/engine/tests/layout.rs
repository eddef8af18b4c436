//! Every frozen row of the present version is read as a row of today and gives the same bytes again: a
//! change of a row that does not raise the version is found here, also where nobody uses the row.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frozen::{PEOPLE, place, thaw};
use super::*;
use crate::engine::rows::{
    ChoreRow, ContactRow, EarlyRow, FormerRelay, LinkRow, MailboxRow, MessageRow, OutRow,
    ParkedRow, PrekeyRow, ProfileRow, ReplayRow, SentRow, SessionRow, TakeRow, TransferRow,
};
use crate::store::Order;

fn same<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    postcard::from_bytes::<T>(bytes).and_then(|row| postcard::to_allocvec(&row)).as_deref()
        == Ok(bytes)
}

fn meta(name: &str, bytes: &[u8]) -> bool {
    match name {
        "profile" => same::<ProfileRow>(bytes),
        "schema-version" => same::<u32>(bytes),
        "read-receipts" | "scrub" => same::<bool>(bytes),
        "scrubbed" | "events-lost" => same::<u64>(bytes),
        "fetched-unasked" => same::<(u32, u64)>(bytes),
        "strangers" => same::<(u32, u32)>(bytes),
        "traffic" => same::<Vec<(u32, u64, u64)>>(bytes),
        "former-relays" => same::<Vec<FormerRelay>>(bytes),
        "over-tcp" => same::<Vec<Vec<u8>>>(bytes),
        _ if name.starts_with("next-") => same::<u64>(bytes),
        _ if name.starts_with("unopened") => same::<u32>(bytes),
        _ => panic!("a value that this version does not know: {name}"),
    }
}

fn reads_back(table: Table, key: &[u8], bytes: &[u8]) -> bool {
    match table {
        Table::Meta => meta(core::str::from_utf8(key).unwrap(), bytes),
        Table::Contacts => same::<ContactRow>(bytes),
        Table::Links => same::<LinkRow>(bytes),
        Table::Prekeys => same::<PrekeyRow>(bytes),
        Table::Replay => same::<ReplayRow>(bytes),
        Table::Sessions => same::<SessionRow>(bytes),
        Table::Mailboxes => same::<MailboxRow>(bytes),
        Table::Messages => same::<MessageRow>(bytes),
        Table::Outbox => same::<OutRow>(bytes),
        Table::Unacknowledged => same::<SentRow>(bytes),
        Table::Parked => same::<ParkedRow>(bytes),
        Table::Events => same::<Event>(bytes),
        Table::Transfers => same::<TransferRow>(bytes),
        Table::Takes => same::<TakeRow>(bytes),
        Table::Chores => same::<ChoreRow>(bytes),
        Table::Early => same::<EarlyRow>(bytes),
        Table::Gone => same::<u32>(bytes),
        Table::Accounts | Table::MessageIds | Table::Acks | Table::Cursors | Table::Receipts => {
            same::<u64>(bytes)
        }
        Table::History | Table::Erasures | Table::Removals => bytes.is_empty(),
    }
}

#[test]
fn rows_of_this_version_are_still_what_was_frozen() {
    if !place(SCHEMA_VERSION, PEOPLE[0]).exists() {
        // They may still change.
        return;
    }
    let mut seen = std::collections::BTreeSet::new();
    for name in PEOPLE {
        let mut store = thaw(SCHEMA_VERSION, name);
        for table in Table::ALL {
            let all = |tx: &mut dyn crate::store::Transaction| {
                tx.scan(*table, &[], None, Order::Ascending, usize::MAX)
            };
            for row in store.transaction(all).unwrap() {
                assert!(reads_back(*table, &row.key, &row.value), "{name}: a row of {table:?}");
                seen.insert(*table);
            }
        }
    }
    assert_eq!(seen.len(), Table::ALL.len(), "{seen:?}");
}
