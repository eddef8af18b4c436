//! Device lists and the small records beside them.

use undertone_core::{
    AccountFingerprint, AccountKey, DeviceKeys, DeviceList, ListRecord, Routing, SafetyNumber,
    bounds,
};

use super::edit;
use super::fixture::fixture;
use super::input::Input;
use super::resign;

/// A device list: any bytes, or a real one with edits, signed again or not.
pub fn device_list(data: &[u8]) {
    let input = &mut Input::new(data);
    let signed_again = input.u8() & 1 == 1;
    let alice = &fixture().alice;
    let mut bytes = edit::value(&alice.list, input);
    if signed_again {
        let _ = resign::list(&mut bytes, &alice.account);
    }
    let Ok(list) = DeviceList::parse(&bytes) else { return };
    assert_eq!(list.as_bytes(), bytes, "one encoding of a list");
    assert_eq!(list.account().as_bytes(), &bytes[..32]);
    assert!((1..=bounds::MAX_DEVICES).contains(&list.devices().len()));
    for device in list.devices() {
        assert!(device.extension().len() <= bounds::MAX_EXTENSION);
        assert_eq!(DeviceKeys::from_bytes(&device.keys().to_bytes()), Ok(device.keys()));
    }
    assert!(signed_again || bytes == alice.list, "accepted without the account's signature");
    let record = list.record();
    assert_eq!(list.follows(Some(&record)), Ok(()));
    assert_eq!(ListRecord::from_bytes(&record.to_bytes()), Ok(record));
    // Its record against the real one: one order, and never both ways.
    let real = DeviceList::parse(&alice.list).unwrap();
    let (after, before) = (list.follows(Some(&real.record())), real.follows(Some(&list.record())));
    let forwards = list.counter() > real.counter() || list == real;
    assert_eq!(after.is_ok(), forwards, "{after:?}");
    assert!(after.is_err() || before.is_err() || list == real);
}

/// Keys, list records, fingerprints, routes and scanned safety numbers.
pub fn records(data: &[u8]) {
    let input = &mut Input::new(data);
    let kind = input.u8();
    let fixture = fixture();
    let list = DeviceList::parse(&fixture.alice.list).unwrap();
    match kind % 5 {
        0 => {
            let bytes = edit::value(&list.record().to_bytes(), input);
            let Some(bytes) = bytes.first_chunk() else { return };
            if let Ok(record) = ListRecord::from_bytes(bytes) {
                assert_eq!(record.to_bytes(), *bytes);
                let same = record == list.record();
                let ahead = record.counter() < list.counter();
                let ours = record.account() == list.account();
                assert_eq!(list.follows(Some(&record)).is_ok(), ours && (same || ahead));
            }
        }
        1 => {
            let bytes = edit::value(&list.devices()[0].keys().to_bytes(), input);
            let Some(bytes) = bytes.first_chunk() else { return };
            if let Ok(keys) = DeviceKeys::from_bytes(bytes) {
                assert_eq!(keys.to_bytes(), *bytes);
            }
        }
        2 => {
            let ours = list.account();
            let bytes = edit::value(ours.as_bytes(), input);
            let Some(bytes) = bytes.first_chunk() else { return };
            if let Ok(key) = AccountKey::from_bytes(bytes) {
                assert_eq!(key.as_bytes(), bytes);
                assert_eq!(SafetyNumber::new(&key, &ours), SafetyNumber::new(&ours, &key));
                let fingerprint = key.fingerprint();
                assert_eq!(AccountFingerprint::from_bytes(*fingerprint.as_bytes()), fingerprint);
                assert_eq!(fingerprint == ours.fingerprint(), key == ours);
            }
        }
        3 => {
            let theirs = fixture.bob.account().public();
            let number = SafetyNumber::new(&list.account(), &theirs);
            let scanned = edit::value(number.qr_bytes(), input);
            assert_eq!(number.matches_qr(&scanned), scanned == number.qr_bytes());
            assert_eq!(number.digits(), number.to_string().replace(' ', ""));
            assert_eq!(number.digits().len(), 60);
        }
        _ => {
            let bytes = edit::value(b"bob's mailbox", input);
            match Routing::new(&bytes) {
                Ok(route) => assert_eq!(route.as_bytes(), bytes),
                Err(_) => assert!(bytes.len() > bounds::MAX_ROUTING),
            }
        }
    }
}
