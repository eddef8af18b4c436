//! One envelope, whatever is in it, does not stand in the way of those behind it.

use super::super::attempt::attempt;
use super::healing::{assert_healed, ready};
use super::*;
use crate::content::{Body, Content};
use crate::store::{Order, Row, Transaction};

fn parked(person: &mut Person) -> usize {
    let scan =
        |tx: &mut dyn Transaction| tx.scan(Table::Parked, &[], None, Order::Ascending, usize::MAX);
    person.store.transaction(scan).unwrap().len()
}

/// A device list of this person, newer than the one that is known, and without their device.
fn list_without_me(person: &mut Person) -> Content {
    let row: rows::ProfileRow =
        person.store.transaction(|tx| rows::must(tx, Table::Meta, PROFILE)).unwrap();
    let secret = AccountSecret::from_bytes(&row.account_secret.array("a key").unwrap());
    let other = DeviceSecret::generate(&mut TestRng(4711));
    let before = person.me.list().record();
    let later = NOW.seconds() + 60;
    let list = DeviceList::issue(&secret, Some(&before), later, &[other.public()]).unwrap();
    let body = Body::DeviceList(list.as_bytes().to_vec());
    Content { id: MessageId::from_bytes([9; 16]), sent_at: NOW, body }
}

#[test]
fn a_contact_that_ends_its_own_session_stops_nobody() {
    let (mut relay, mut mallory, mut bob, at_mallory, at_bob) = ready();
    let link = relay.invite(&mut bob, LinkKind::Reusable);
    let mut carol = person("Carol", 3);
    let at_carol = relay.add(&mut carol, &link);
    relay.settle(&mut [&mut carol, &mut bob]);
    let to_carol = bob.find_contact("Carol").unwrap().id;
    // Something that stays, in the mailbox that is Mallory's.
    let route = mallory
        .store
        .transaction(|tx| contacts::load_contact(tx, at_mallory))
        .unwrap()
        .devices
        .remove(0)
        .routes
        .remove(0);
    let capability = crate::routing::Routing::from_bytes(route.bytes()).unwrap().capability;
    let mailbox = relay.capabilities[&capability.hash()];
    relay.mailboxes.get_mut(&mailbox).unwrap().queue.push(vec![7; 1024]);
    let list = list_without_me(&mut mallory);
    mallory.store.transaction(|tx| outbox::enqueue_control(tx, at_mallory, &list, None)).unwrap();
    mallory.queue_text(at_mallory, "behind it", NOW).unwrap();
    relay.send(&mut mallory);
    relay.push(&mut bob);
    assert!(bob.next_delivery(at_bob).unwrap().is_none(), "they have no device");
    assert_eq!(parked(&mut bob), 2, "the junk, and what came behind the end of the session");
    carol.queue_text(at_carol, "as ever", NOW).unwrap();
    relay.settle(&mut [&mut carol, &mut bob]);
    assert_eq!(texts(&mut bob, to_carol), ["as ever"]);
    bob.expire(UnixMillis::new(NOW.get() + 86_400_000)).unwrap();
}

#[test]
fn what_the_engine_fails_at_is_set_aside_told_and_taken_up_when_it_can_be() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    let first = alice.queue_text(at_alice, "first", NOW).unwrap();
    let second = alice.queue_text(at_alice, "second", NOW).unwrap();
    // What is kept for the first can't be read, and is needed when it comes.
    let row = rows::EarlyRow {
        target: *first.as_bytes(),
        content: rows::Secret::new(&[0xff]),
        day: day(NOW).get(),
    };
    let key = rows::key2(&rows::key1(at_bob.get()), &rows::key1(1));
    bob.store.transaction(|tx| rows::save(tx, Table::Early, &key, &row)).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(texts(&mut bob, at_bob), ["second"]);
    assert_eq!(state(&mut alice, second), MessageState::Delivered);
    assert_eq!(state(&mut alice, first), MessageState::Accepted, "nobody says that it is there");
    let told = EventKind::EnvelopeParked { contact: Some(at_bob.get()) };
    assert!(events(&mut bob).contains(&told));
    let health = bob.health(NOW).unwrap();
    assert_eq!((health.unopenable, health.parked), (1, 1));
    assert_eq!(relay.hand_over(&mut bob).len(), 0, "acknowledged");
    // The others go on being retried, too, while it can't be taken up.
    let tomorrow = UnixMillis::new(NOW.get() + 86_400_000);
    bob.expire(tomorrow).unwrap();
    assert_eq!(parked(&mut bob), 1);
    bob.store.transaction(|tx| tx.delete(Table::Early, &key)).unwrap();
    alice.queue_text(at_alice, "third", NOW).unwrap();
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(parked(&mut bob), 0);
    let mut heard = texts(&mut bob, at_bob);
    heard.sort();
    assert_eq!(heard, ["first", "second", "third"]);
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(state(&mut alice, first), MessageState::Delivered);
    assert_healed(&mut relay, (&mut alice, at_alice), (&mut bob, at_bob));
}

/// A transaction that nothing can be read in.
struct Damaged(StoreError);

impl Transaction for Damaged {
    fn get(&self, _: Table, _: &[u8]) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, StoreError> {
        Err(self.0.clone())
    }

    fn put(&mut self, _: Table, _: &[u8], _: &[u8]) -> Result<(), StoreError> {
        Err(self.0.clone())
    }

    fn delete(&mut self, _: Table, _: &[u8]) -> Result<(), StoreError> {
        Err(self.0.clone())
    }

    fn scan(
        &self,
        _: Table,
        _: &[u8],
        _: Option<&[u8]>,
        _: Order,
        _: usize,
    ) -> Result<Vec<Row>, StoreError> {
        Err(self.0.clone())
    }
}

/// The disk's own error is no reason to set anything aside.
#[test]
fn a_disk_that_fails_keeps_the_envelope_at_the_relay() {
    let (mut relay, mut alice, mut bob, at_alice, at_bob) = ready();
    alice.queue_text(at_alice, "hello", NOW).unwrap();
    relay.send(&mut alice);
    let failed = || EngineError::Store(StoreError::Failed { reason: INJECTED.to_owned() });
    let result = bob.store.transaction(|tx| attempt(tx, |_| Err::<(), _>(failed())));
    assert_eq!(result, Err(failed()));
    // Nor is damage to the database, which is not the envelope's doing.
    let damaged = StoreError::Corrupt { what: "the database".into() };
    let mut tx = Damaged(damaged.clone());
    let result = attempt(&mut tx, |tx| Ok(tx.get(Table::Meta, b"x").map(drop)?));
    assert_eq!(result, Err(EngineError::Store(damaged.clone())));
    let scan = |tx: &mut dyn Transaction| {
        Ok(tx.scan(Table::Meta, b"", None, Order::Ascending, 1).map(drop)?)
    };
    assert_eq!(attempt(&mut tx, scan), Err(EngineError::Store(damaged)));
    bob.store.once = Some((bob.store.count + 1, Fault::Before));
    relay.settle(&mut [&mut alice, &mut bob]);
    assert_eq!(texts(&mut bob, at_bob), ["hello"]);
    assert_eq!(parked(&mut bob), 0);
}

/// Within an attempt everything reads as it would in the transaction itself; behind it, as it was or as
/// it was made.
#[test]
fn an_attempt_is_all_or_nothing() {
    let mut rng = TestRng(5);
    let mut roll = move |below: u64| rng.try_next_u64().unwrap() % below;
    let (mut store, mut model) = (MemoryStore::new(), MemoryStore::new());
    let bad = || EngineError::NothingToDecide;
    for round in 0..300 {
        let before = model.snapshot();
        let keep = roll(2) == 0;
        let done = store.transaction(|tx| {
            attempt(tx, |tx| {
                for _ in 0..roll(12) {
                    let key = [roll(3) as u8, roll(6) as u8];
                    if roll(3) == 0 {
                        tx.delete(Table::Meta, &key)?;
                        model.delete(Table::Meta, &key)?;
                    } else {
                        let value = [roll(256) as u8];
                        tx.put(Table::Meta, &key, &value)?;
                        model.put(Table::Meta, &key, &value)?;
                    }
                    assert_eq!(tx.get(Table::Meta, &key)?, model.get(Table::Meta, &key)?);
                    let prefix = [roll(3) as u8];
                    let prefix = &prefix[..roll(2) as usize];
                    let from = [roll(3) as u8, roll(6) as u8];
                    let from = (roll(2) == 0).then_some(&from[..]);
                    for order in [Order::Ascending, Order::Descending] {
                        let limit = roll(8) as usize;
                        let pairs = |rows: Vec<Row>| -> Vec<_> {
                            rows.into_iter().map(|row| (row.key, row.value)).collect()
                        };
                        assert_eq!(
                            pairs(tx.scan(Table::Meta, prefix, from, order, limit)?),
                            pairs(model.scan(Table::Meta, prefix, from, order, limit)?),
                        );
                    }
                }
                if keep { Ok(round) } else { Err(bad()) }
            })
        });
        assert_eq!(done.unwrap(), if keep { Ok(round) } else { Err(bad()) });
        if !keep {
            model = before;
        }
        let all = |store: &MemoryStore| -> Vec<_> {
            let rows = store.scan(Table::Meta, &[], None, Order::Ascending, usize::MAX).unwrap();
            rows.into_iter().map(|row| (row.key, row.value)).collect()
        };
        assert_eq!(all(&store), all(&model));
    }
}
