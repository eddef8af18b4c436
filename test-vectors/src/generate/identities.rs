//! Family `identity`.

use serde_json::{Value, json};

use super::primitives::{bad_signatures, bad_signing_keys};
use super::{Files, about};
use crate::forge::{self, Entry};
use crate::prim;
use crate::stream::Stream;
use crate::value::{hex, unhex};

const FAMILY: &str = "identity";
const COUNTER: u64 = 1_700_000_000;

struct Account {
    secret: [u8; 32],
    devices: Vec<([u8; 32], [u8; 32])>,
}

impl Account {
    fn new(name: &str, devices: usize) -> Self {
        let mut stream = Stream::named(&format!("identity {name}"));
        let secret = stream.array();
        let devices = (0..devices).map(|_| (stream.array(), stream.array())).collect();
        Self { secret, devices }
    }

    fn keys(&self) -> Vec<[u8; 64]> {
        let both = |(signing, dh): &([u8; 32], [u8; 32])| {
            let both = [prim::ed25519_public(signing), prim::x25519_public(dh)].concat();
            both.try_into().unwrap()
        };
        self.devices.iter().map(both).collect()
    }

    fn entries(&self) -> Vec<Entry> {
        self.keys().into_iter().map(Entry::of).collect()
    }

    fn list(&self, counter: u64) -> Vec<u8> {
        forge::list(&self.secret, counter, &self.entries())
    }

    fn record(&self, counter: u64) -> Vec<u8> {
        let list = self.list(counter);
        let hash = prim::hash("list hash", &[&list]);
        [&list[..40], &hash].concat()
    }
}

/// That of [`issue`]'s first file.
pub(super) fn example_list() -> Vec<u8> {
    Account::new("alice", 1).list(COUNTER)
}

pub(super) fn make(files: &mut Files) {
    keys(files);
    issue(files);
    read(files);
    read_refused(files);
    follow(files);
    local(files);
    safety(files);
}

fn keys(files: &mut Files) {
    let alice = Account::new("alice", 1);
    let text = "An account's key and fingerprint.";
    let input = json!({ "account_secret": hex(&alice.secret) });
    files.valid(&about(FAMILY, "account", &["02 §1"], text), "account", input);
    let example = "8bd557bdcc78d0c23fd826588d4853953472ce02902efd0283565d8079dfc870";
    let text = "The example of the specification.";
    let input = json!({ "account": example });
    files.valid(&about(FAMILY, "account-key-example", &["02 §1"], text), "account-key", input);
    for (name, key, text) in bad_signing_keys() {
        let name = format!("account-key-{name}");
        let input = json!({ "account": hex(&key) });
        files.refused(
            &about(FAMILY, &name, &["02 §1", "01 §2.2"], text),
            "R-202",
            "read",
            "account-key",
            input,
        );
    }
    let (signing, dh) = alice.devices[0];
    let input = json!({ "signing_secret": hex(&signing), "dh_secret": hex(&dh) });
    let text = "A device's public keys, and the stored form of the private ones.";
    files.valid(&about(FAMILY, "device", &["02 §2"], text), "device", input);
}

fn issue(files: &mut Files) {
    let spec = &["02 §4"];
    let (alice, five, six) =
        (Account::new("alice", 1), Account::new("five", 5), Account::new("six", 6));
    let input = |account: &Account, at: u64, previous: Option<Vec<u8>>| {
        json!({
            "account_secret": hex(&account.secret),
            "devices": account.keys().iter().map(|keys| hex(keys)).collect::<Vec<_>>(),
            "unix_seconds": at,
            "previous": previous.map(|record| hex(&record)),
        })
    };
    for (name, text, input) in [
        (
            "list-issue-first",
            "The counter of a first list is the time.",
            input(&alice, COUNTER, None),
        ),
        (
            "list-issue-time-is-ahead",
            "The counter is the time where that is ahead of the last one plus one.",
            input(&alice, COUNTER + 100, Some(alice.record(COUNTER))),
        ),
        (
            "list-issue-same-second",
            "The counter is the last one plus one where the time is not ahead.",
            input(&alice, COUNTER, Some(alice.record(COUNTER))),
        ),
        (
            "list-issue-clock-went-back",
            "The counter never falls behind the last one.",
            input(&alice, 5, Some(alice.record(COUNTER))),
        ),
        (
            "list-issue-five-devices",
            "The most devices that an account has.",
            input(&five, COUNTER, None),
        ),
        (
            "list-issue-last-counter",
            "The counter before the last can still rise.",
            input(&alice, 0, Some(alice.record(u64::MAX - 1))),
        ),
    ] {
        files.valid(&about(FAMILY, name, spec, text), "list-issue", input);
    }
    let mut none = input(&alice, COUNTER, None);
    super::put(&mut none, "devices", json!([]));
    let twice = |keys: Vec<[u8; 64]>| {
        let mut value = input(&alice, COUNTER, None);
        super::put(&mut value, "devices", keys.iter().map(|keys| hex(keys)).collect());
        value
    };
    let own = alice.keys()[0];
    let (mut same_signing, mut same_dh) = (five.keys()[1], five.keys()[2]);
    same_signing[..32].copy_from_slice(&own[..32]);
    same_dh[32..].copy_from_slice(&own[32..]);
    for (name, rule, stage, text, input) in [
        ("list-issue-no-device", "R-203", "make", "A list of none.", none),
        (
            "list-issue-six-devices",
            "R-203",
            "make",
            "One device too many.",
            input(&six, COUNTER, None),
        ),
        (
            "list-issue-device-twice",
            "R-205",
            "make",
            "The same device twice.",
            twice(vec![own, own]),
        ),
        (
            "list-issue-signing-key-twice",
            "R-205",
            "make",
            "Two devices share a signing key.",
            twice(vec![own, same_signing]),
        ),
        (
            "list-issue-dh-key-twice",
            "R-205",
            "make",
            "Two devices share an X25519 key.",
            twice(vec![own, same_dh]),
        ),
        (
            "list-issue-counter-exhausted",
            "R-213",
            "make",
            "The counter can't rise.",
            input(&alice, COUNTER, Some(alice.record(u64::MAX))),
        ),
        (
            "list-issue-other-accounts-record",
            "R-210",
            "make",
            "The record to go on from is another account's.",
            input(&alice, COUNTER, Some(five.record(COUNTER))),
        ),
    ] {
        files.refused(&about(FAMILY, name, spec, text), rule, stage, "list-issue", input);
    }
}

fn read(files: &mut Files) {
    let spec = &["02 §4"];
    let (alice, two, five) =
        (Account::new("alice", 1), Account::new("two", 2), Account::new("five", 5));
    let mut extended = two.entries();
    extended[0].extension = vec![0xab; 256];
    extended[1].extension = vec![1, 2, 3];
    let mut largest = five.entries();
    largest.iter_mut().for_each(|entry| entry.extension = vec![0xcd; 256]);
    for (name, text, list) in [
        ("list-read-one-device", "The shortest list.", alice.list(COUNTER)),
        ("list-read-five-devices", "The most devices that an account has.", five.list(COUNTER)),
        ("list-read-counter-zero", "The lowest counter.", alice.list(0)),
        ("list-read-counter-largest", "The highest counter.", alice.list(u64::MAX)),
        (
            "list-read-extensions",
            "Extensions of another version are passed over.",
            forge::list(&two.secret, COUNTER, &extended),
        ),
        ("list-read-largest", "The longest list.", forge::list(&five.secret, COUNTER, &largest)),
    ] {
        let input = json!({ "list": hex(&list) });
        files.valid(&about(FAMILY, name, spec, text), "list-read", input);
    }
}

fn read_refused(files: &mut Files) {
    let spec = &["02 §4"];
    let (alice, two, six) =
        (Account::new("alice", 1), Account::new("two", 2), Account::new("six", 6));
    let honest = alice.list(COUNTER);
    let mut refuse = |name: &str, rule: &str, stage: &str, text: &str, list: &[u8]| {
        let input = json!({ "list": hex(list) });
        files.refused(&about(FAMILY, name, spec, text), rule, stage, "list-read", input);
    };
    for (name, length) in [
        ("list-read-empty", 0),
        ("list-read-cut-in-the-account", 31),
        ("list-read-cut-before-the-count", 40),
        ("list-read-cut-in-a-certificate", 120),
        ("list-read-cut-in-the-signature", honest.len() - 1),
    ] {
        refuse(name, "R-201", "read", "The list ends early.", &honest[..length]);
    }
    refuse(
        "list-read-byte-behind",
        "R-201",
        "read",
        "A byte stands behind the signature.",
        &[&honest[..], &[0]].concat(),
    );
    for (name, key, text) in bad_signing_keys() {
        let list = [&key[..], &honest[32..]].concat();
        refuse(&format!("list-read-account-{name}"), "R-202", "read", text, &list);
    }
    refuse(
        "list-read-no-device",
        "R-203",
        "read",
        "A signed list of none.",
        &forge::list(&alice.secret, COUNTER, &[]),
    );
    refuse(
        "list-read-six-devices",
        "R-203",
        "read",
        "One device too many, all of them certified.",
        &six.list(COUNTER),
    );
    for (name, key, text) in bad_signing_keys() {
        let mut keys = alice.keys()[0];
        keys[..32].copy_from_slice(&key);
        let list = forge::list(&alice.secret, COUNTER, &[Entry::of(keys)]);
        refuse(&format!("list-read-signing-key-{name}"), "R-204", "read", text, &list);
    }
    let mut keys = alice.keys()[0];
    keys[63] |= 0x80;
    let list = forge::list(&alice.secret, COUNTER, &[Entry::of(keys)]);
    refuse(
        "list-read-dh-key-not-canonical",
        "R-204",
        "read",
        "A device's X25519 key is not canonical.",
        &list,
    );
    let mut long = alice.entries();
    long[0].extension = vec![0; 257];
    refuse(
        "list-read-extension-too-long",
        "R-212",
        "read",
        "An extension of one byte too many.",
        &forge::list(&alice.secret, COUNTER, &long),
    );
    let twice: Vec<Entry> = alice.entries().into_iter().chain(alice.entries()).collect();
    refuse(
        "list-read-device-twice",
        "R-205",
        "compare",
        "The same device twice.",
        &forge::list(&alice.secret, COUNTER, &twice),
    );
    let mut shared = two.entries();
    let first = shared[0].keys;
    shared[1].keys[..32].copy_from_slice(&first[..32]);
    refuse(
        "list-read-signing-key-twice",
        "R-205",
        "compare",
        "Two devices share a signing key.",
        &forge::list(&two.secret, COUNTER, &shared),
    );
    let mut shared = two.entries();
    shared[1].keys[32..].copy_from_slice(&first[32..]);
    refuse(
        "list-read-dh-key-twice",
        "R-205",
        "compare",
        "Two devices share an X25519 key.",
        &forge::list(&two.secret, COUNTER, &shared),
    );
    let account = prim::ed25519_public(&alice.secret);
    let message = [&prim::label("device certificate")[..], &account, &alice.keys()[0]].concat();
    for (name, signature, text) in bad_signatures(&alice.secret, &message) {
        let mut entries = alice.entries();
        entries[0].certificate = Some(signature);
        let list = forge::list(&alice.secret, COUNTER, &entries);
        refuse(&format!("list-read-certificate-{name}"), "R-206", "verify", text, &list);
    }
    let mut entries = alice.entries();
    let stranger = [
        &prim::label("device certificate")[..],
        &prim::ed25519_public(&two.secret),
        &alice.keys()[0],
    ]
    .concat();
    entries[0].certificate = Some(prim::sign(&two.secret, &stranger));
    refuse(
        "list-read-certificate-of-another-account",
        "R-206",
        "verify",
        "Another account certified the device.",
        &forge::list(&alice.secret, COUNTER, &entries),
    );
    let unsigned = &honest[..honest.len() - 64];
    let message = [&prim::label("device list")[..], unsigned].concat();
    for (name, signature, text) in bad_signatures(&alice.secret, &message) {
        let list = [unsigned, &signature].concat();
        refuse(&format!("list-read-signature-{name}"), "R-207", "verify", text, &list);
    }
    let mut raised = honest.clone();
    raised[39] ^= 1;
    refuse(
        "list-read-counter-altered",
        "R-207",
        "verify",
        "The counter was changed after signing.",
        &raised,
    );
}

fn follow(files: &mut Files) {
    let spec = &["02 §5"];
    let (alice, two) = (Account::new("alice", 1), Account::new("two", 2));
    let list = alice.list(COUNTER);
    let input = |record: Value| json!({ "list": hex(&list), "record": record });
    let mut fork = alice.record(COUNTER);
    fork[71] ^= 1;
    for (name, text, record) in [
        ("list-follow-first", "Nothing is on record.", Value::Null),
        (
            "list-follow-higher",
            "The counter rises, by however much.",
            hex(&alice.record(COUNTER - 1_000)),
        ),
        ("list-follow-same", "The very list that is on record.", hex(&alice.record(COUNTER))),
    ] {
        files.valid(&about(FAMILY, name, spec, text), "list-follow", input(record));
    }
    for (name, rule, text, record) in [
        ("list-follow-lower", "R-208", "A newer list is on record.", alice.record(COUNTER + 1)),
        ("list-follow-fork", "R-209", "Another list with this counter is on record.", fork),
        ("list-follow-other-account", "R-210", "Another account is on record.", two.record(1)),
    ] {
        files.refused(
            &about(FAMILY, name, spec, text),
            rule,
            "compare",
            "list-follow",
            input(hex(&record)),
        );
    }
}

fn local(files: &mut Files) {
    let spec = &["02 §4"];
    let five = Account::new("five", 5);
    let list = hex(&five.list(COUNTER));
    let input = |signing: &[u8; 32], dh: &[u8; 32]| json!({ "signing_secret": hex(signing), "dh_secret": hex(dh), "list": list });
    for index in [0, 4] {
        let (signing, dh) = five.devices[index];
        let name = format!("local-device-{index}");
        let text = "A device finds itself on its account's list.";
        files.valid(&about(FAMILY, &name, spec, text), "local-device", input(&signing, &dh));
    }
    let (one, other) = (five.devices[0], five.devices[1]);
    for (name, text, input) in [
        ("local-device-missing", "This device is not on the list.", input(&[9; 32], &[8; 32])),
        (
            "local-device-other-dh-key",
            "Only the signing key is on the list.",
            input(&one.0, &[8; 32]),
        ),
        (
            "local-device-mixed",
            "Both keys are on the list, in two entries.",
            input(&one.0, &other.1),
        ),
    ] {
        files.refused(&about(FAMILY, name, spec, text), "R-211", "make", "local-device", input);
    }
}

fn safety(files: &mut Files) {
    let spec = &["02 §6"];
    let (alice, bob) = (Account::new("alice", 1), Account::new("two", 2));
    let (alice, bob) = (prim::ed25519_public(&alice.secret), prim::ed25519_public(&bob.secret));
    let low = "069d8d6980eaf1bca2e4118bc612a13f23791bf2c60ceef2692b581d27b0a159";
    let high = "8bd557bdcc78d0c23fd826588d4853953472ce02902efd0283565d8079dfc870";
    let (low, high) = (unhex(low).unwrap(), unhex(high).unwrap());
    let input = |one: &[u8], other: &[u8]| json!({ "one": hex(one), "other": hex(other) });
    for (name, text, input) in [
        ("safety-number-example", "The example of the specification.", input(&low, &high)),
        ("safety-number-example-turned", "The same from the other side.", input(&high, &low)),
        ("safety-number-oneself", "With oneself.", input(&alice, &alice)),
    ] {
        files.valid(&about(FAMILY, name, spec, text), "safety-number", input);
    }
    let text = "Two other accounts.";
    let output = files.valid(
        &about(FAMILY, "safety-number", spec, text),
        "safety-number",
        input(&alice, &bob),
    );
    let qr = unhex(output["qr"].as_str().unwrap()).unwrap();
    let mut altered = qr.clone();
    altered[64] ^= 1;
    let mut version = qr.clone();
    version[0] = 2;
    for (name, text, scanned) in [
        ("qr-match", "The code of the other side.", qr.clone()),
        ("qr-match-altered", "One bit differs.", altered),
        ("qr-match-other-version", "Another version of the layout.", version),
        ("qr-match-short", "A byte is missing.", qr[..64].to_vec()),
        ("qr-match-long", "A byte too many.", [&qr[..], &[0]].concat()),
        ("qr-match-empty", "Nothing.", vec![]),
    ] {
        let mut input = input(&alice, &bob);
        super::put(&mut input, "scanned", hex(&scanned));
        let output = files.valid(&about(FAMILY, name, spec, text), "qr-match", input);
        assert_eq!(output["matches"], json!(name == "qr-match"));
    }
}
