//! Lists that no honest account would issue, with signatures that verify.

use alloc::vec::Vec;
use std::vec;

use super::{AccountSecret, DeviceKeys, DeviceList, DeviceSecret, IdentityError, LocalDevice};
use crate::bounds::{MAX_DEVICES, MAX_EXTENSION};
use crate::label;
use crate::testing::{Person, TestRng};

/// An entry of a list as it is written: nothing is checked.
struct Entry {
    keys: [u8; 64],
    extension: Vec<u8>,
}

impl Entry {
    fn of(keys: [u8; 64]) -> Self {
        Self { keys, extension: vec![] }
    }
}

/// Signs any list, as somebody who has the account key can.
fn forge(account: &AccountSecret, count: u8, entries: &[Entry]) -> Vec<u8> {
    let key = *account.public().as_bytes();
    let mut list = [&key[..], &7u64.to_be_bytes(), &[count]].concat();
    for Entry { keys, extension } in entries {
        let certificate = account.sign(&[label::DEVICE_CERTIFICATE, &key, keys].concat());
        let len = u16::try_from(extension.len()).unwrap();
        list.extend([&keys[..], &certificate, &len.to_be_bytes(), extension].concat());
    }
    let signature = account.sign(&[label::DEVICE_LIST, &list].concat());
    list.extend(signature);
    list
}

fn code(bytes: &[u8]) -> Result<(), &'static str> {
    DeviceList::parse(bytes).map(drop).map_err(IdentityError::code)
}

fn devices(count: u8) -> Vec<DeviceKeys> {
    (0..count).map(|seed| DeviceSecret::from_bytes(&[seed; 64]).public()).collect()
}

#[test]
fn what_is_forged_like_an_honest_list_is_accepted() {
    let Person { account, secret, .. } = Person::new(&mut TestRng::new(1));
    let forged = forge(&account, 1, &[Entry::of(secret.public().to_bytes())]);
    let honest = DeviceList::issue(&account, None, 7, &[secret.public()]).unwrap();
    assert_eq!(forged, honest.as_bytes());
}

#[test]
fn r_203_a_list_of_none_and_of_too_many() {
    let Person { account, .. } = Person::new(&mut TestRng::new(1));
    let issue = |count| DeviceList::issue(&account, None, 7, &devices(count)).map(drop);
    assert_eq!(issue(0), Err(IdentityError::DeviceCount));
    assert_eq!(issue(5), Ok(()));
    assert_eq!(issue(6), Err(IdentityError::DeviceCount));
    // 256 and one do not wrap around to one.
    let many: Vec<_> = devices(1).into_iter().cycle().take(257).collect();
    let refused = DeviceList::issue(&account, None, 7, &many);
    assert_eq!(refused, Err(IdentityError::DeviceCount));

    let entries: Vec<_> = devices(6).iter().map(|keys| Entry::of(keys.to_bytes())).collect();
    for count in 0..=6u8 {
        let accepted = (1..=MAX_DEVICES).contains(&usize::from(count));
        let expected = if accepted { Ok(()) } else { Err("R-203") };
        assert_eq!(code(&forge(&account, count, &entries[..usize::from(count)])), expected);
    }
}

#[test]
fn r_204_each_key_of_a_device() {
    let Person { account, secret, .. } = Person::new(&mut TestRng::new(1));
    let honest = secret.public().to_bytes();
    let with = |at: usize, key: [u8; 32]| {
        let mut keys = honest;
        keys[at..at + 32].copy_from_slice(&key);
        assert_eq!(DeviceKeys::from_bytes(&keys).err(), Some(IdentityError::InvalidDeviceKey));
        code(&forge(&account, 1, &[Entry::of(keys)]))
    };
    // A point of small order; a second encoding of it.
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(with(0, identity), Err("R-204"));
    assert_eq!(with(0, [0; 32]), Err("R-204"));
    let mut second = [0xff; 32];
    (second[0], second[31]) = (0xee, 0x7f);
    assert_eq!(with(0, second), Err("R-204"));
    assert_eq!(with(32, [0xff; 32]), Err("R-204"));
}

#[test]
fn r_205_one_key_of_two_is_enough() {
    let Person { account, secret, .. } = Person::new(&mut TestRng::new(1));
    let first = secret.public().to_bytes();
    let other = DeviceSecret::from_bytes(&[9; 64]).public().to_bytes();
    let same_signing = [&first[..32], &other[32..]].concat().try_into().unwrap();
    let same_dh = [&other[..32], &first[32..]].concat().try_into().unwrap();
    for (keys, expected) in [(other, Ok(())), (same_signing, Err("R-205")), (same_dh, Err("R-205"))]
    {
        assert_eq!(code(&forge(&account, 2, &[Entry::of(first), Entry::of(keys)])), expected);
        let pair = [first, keys].map(|keys| DeviceKeys::from_bytes(&keys).unwrap());
        let issued = DeviceList::issue(&account, None, 7, &pair);
        assert_eq!(issued.map(drop).map_err(IdentityError::code), expected);
    }
}

#[test]
fn r_210_no_list_goes_on_from_another_accounts() {
    let rng = &mut TestRng::new(1);
    let (alice, bob) = (Person::new(rng), Person::new(rng));
    let record = bob.device.list().record();
    let issued = DeviceList::issue(&alice.account, Some(&record), 7, &[alice.secret.public()]);
    assert_eq!(issued, Err(IdentityError::OtherAccount));
    assert_eq!(alice.device.list().follows(Some(&record)), Err(IdentityError::OtherAccount));
    assert_eq!(IdentityError::OtherAccount.code(), "R-210");
}

#[test]
fn r_211_a_device_that_is_not_on_the_list() {
    let rng = &mut TestRng::new(1);
    let (alice, bob) = (Person::new(rng), Person::new(rng));
    let list = || alice.device.list().clone();
    assert!(LocalDevice::new(DeviceSecret::from_bytes(&alice.secret.to_bytes()), list()).is_ok());
    let refused = LocalDevice::new(bob.secret, list()).err();
    assert_eq!(refused.map(IdentityError::code), Some("R-211"));
    // One of both keys does not make it the device that is listed.
    for half in [0..32, 32..64] {
        let mut keys = alice.secret.to_bytes();
        keys[half].fill(9);
        let refused = LocalDevice::new(DeviceSecret::from_bytes(&keys), list()).err();
        assert_eq!(refused, Some(IdentityError::NotListed));
    }
}

#[test]
fn r_212_an_extension_over_the_bound() {
    let Person { account, secret, .. } = Person::new(&mut TestRng::new(1));
    let with = |len| {
        let entry = Entry { keys: secret.public().to_bytes(), extension: vec![1; len] };
        forge(&account, 1, &[entry])
    };
    let longest = DeviceList::parse(&with(MAX_EXTENSION)).unwrap();
    assert_eq!(longest.devices()[0].extension(), [1; MAX_EXTENSION]);
    assert_eq!(code(&with(MAX_EXTENSION + 1)), Err("R-212"));
    assert_eq!(code(&with(usize::from(u16::MAX))), Err("R-212"));
}
