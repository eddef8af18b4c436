//! Stored rows: any bytes in the place of any row. What can't be read is an error and stays as it is;
//! nothing panics, whatever is asked of the profile.

use undertone_session::engine::{Engine, EngineError};
use undertone_session::event::EventKind;
use undertone_session::ids::{EventSeq, UnixMillis};
use undertone_session::store::{MemoryStore, Order, Row, Store, StoreError, Table};

use super::people::{DAY, NOW, Person, Rng, Shared};
use super::relay::{Loss, Relay};
use super::world::{Op, World};

fn all(store: &mut MemoryStore) -> Vec<(Table, Row)> {
    let mut rows = Vec::new();
    for table in Table::ALL {
        let scan = |tx: &mut dyn undertone_session::store::Transaction| {
            tx.scan(*table, &[], None, Order::Ascending, usize::MAX)
        };
        let found: Result<Vec<Row>, StoreError> = store.transaction(scan);
        rows.extend(found.unwrap().into_iter().map(|row| (*table, row)));
    }
    rows
}

/// A store in the middle of things: something queued, something sealed, something parked.
fn base() -> (MemoryStore, Relay) {
    let mut world = World::new(1);
    for op in [
        Op::Say { from: 0, to: 1 },
        Op::Say { from: 0, to: 1 },
        Op::Say { from: 1, to: 0 },
        Op::Send { from: 1, to: 0, limit: 4, loss: Loss::default() },
        Op::Send { from: 0, to: 1, limit: 2, loss: Loss(2) },
        Op::Junk { to: 0, which: 1, byte: 9 },
        Op::Push { to: 0, which: 0, limit: 1, loss: Loss::default() },
        Op::Push { to: 0, which: 1, limit: 1, loss: Loss::default() },
        Op::Say { from: 0, to: 2 },
    ] {
        world.step(op);
    }
    (world.rows_of(0), world.relay.clone())
}

pub fn rows(data: &[u8]) {
    let Some((head, new)) = data.split_first_chunk::<3>() else { return };
    let (mut store, mut relay) = base();
    let mut rows = all(&mut store);
    let at = usize::from(u16::from_be_bytes([head[0], head[1]])) % rows.len();
    let (table, row) = rows.swap_remove(at);
    // As it is, or with what was there behind a part of it.
    let mut value = new.to_vec();
    if head[2] % 2 == 1 {
        value.extend(row.value.get(new.len()..).unwrap_or_default());
    }
    let put: Result<(), StoreError> = store.transaction(|tx| tx.put(table, &row.key, &value));
    put.unwrap();
    let before = store.snapshot();
    let shared = Shared::of(store);
    match Engine::open(shared.clone(), Rng::new(7)) {
        Ok(mut person) => probe(&mut person, &mut relay),
        Err(_) => assert_eq!(all(&mut shared.snapshot()).len(), all(&mut before.snapshot()).len()),
    }
}

/// Asks everything of a profile. Errors are answers.
pub fn probe(person: &mut Person, relay: &mut Relay) {
    let _ = person.recover();
    let _ = relay.check(person);
    let contacts = person.contacts().unwrap_or_default();
    for contact in &contacts {
        let _ = person.history(contact.id, None, 100);
        let _ = person.safety_number(contact.id);
        let _ = person.mailbox_of(contact.id);
        let _ = person.queue_text(contact.id, "probe", NOW);
    }
    let _ = person.links();
    let mut at = EventSeq::START;
    while let Ok(Some(event)) = person.event_after(at) {
        at = event.seq;
        if let EventKind::MessageReceived { contact, id } = event.kind {
            let _ = person.received_message(contact, id);
        }
    }
    let _ = person.health(NOW);
    for _ in 0..2 {
        let _ = relay.care(person, NOW);
        let waiting: Result<_, EngineError> = person.contacts_to_send_to();
        for contact in waiting.unwrap_or_default() {
            let _ = relay.send(person, contact, 3, Loss::default());
        }
        for which in 0..4 {
            let _ = relay.push(person, which, 3, Loss::default());
        }
        let _ = person.flush_acknowledgements(NOW);
    }
    let _ = person.expire(UnixMillis::new(NOW.get() + 45 * DAY));
    let mut export = undertone_session::engine::Export::begin();
    while let Ok(Some(_)) = person.export(&mut export, NOW) {}
    for contact in &contacts {
        let _ = person.block(contact.id, NOW);
        let _ = person.unblock(contact.id, NOW);
        let _ = person.delete_contact(contact.id, NOW);
    }
}
