//! Family `bundles`.

use serde_json::{Value, json};

use super::primitives::set_coefficient;
use super::{Files, about, put};
use crate::forge::{self, Entry};
use crate::prim;
use crate::stream::Stream;
use crate::value::{hex, unhex};

const FAMILY: &str = "bundles";
const COUNTER: u64 = 1_700_000_000;
const TODAY: u32 = 20_000;

struct Inviter {
    account: [u8; 32],
    signing: [u8; 32],
    dh: [u8; 32],
    link: [u8; 32],
    list: Vec<u8>,
    fingerprint: [u8; 32],
    stream: Stream,
}

impl Inviter {
    /// Somebody with this many devices, the last of which makes bundles.
    fn new(name: &str, devices: usize, extension: usize) -> Self {
        let mut stream = Stream::named(&format!("bundles {name}"));
        let account = stream.array();
        let mut keys = Vec::new();
        let (mut signing, mut dh) = ([0; 32], [0; 32]);
        for _ in 0..devices {
            (signing, dh) = (stream.array(), stream.array());
            let both = [prim::ed25519_public(&signing), prim::x25519_public(&dh)].concat();
            let mut entry = Entry::of(both.try_into().unwrap());
            entry.extension = vec![0xee; extension];
            keys.push(entry);
        }
        let list = forge::list(&account, COUNTER, &keys);
        let fingerprint = prim::hash("account fingerprint", &[&prim::ed25519_public(&account)]);
        Self { account, signing, dh, link: stream.array(), list, fingerprint, stream }
    }

    fn make_input(&mut self, kind: &str, expiry: u32, route: usize) -> Value {
        let mut draw = |name: &str, n| json!({ "name": name, "value": hex(&self.stream.take(n)) });
        let draws = vec![
            draw("bundle-id", 16),
            draw("prekey", 32),
            draw("prekey-kem-seed", 64),
            draw("card-nonce", 12),
        ];
        json!({
            "signing_secret": hex(&self.signing),
            "dh_secret": hex(&self.dh),
            "list": hex(&self.list),
            "link_secret": hex(&self.link),
            "kind": kind,
            "expiry": expiry,
            "route": if route > 64 { json!({ "repeat": "72", "count": route }) } else { hex(&vec![0x72; route]) },
            "draws": draws,
        })
    }

    fn open_input(&self, sealed: &[u8]) -> Value {
        json!({
            "link_secret": hex(&self.link),
            "sealed": hex(sealed),
            "fingerprint": hex(&self.fingerprint),
            "today": TODAY,
            "record": null,
        })
    }

    fn record(&self, counter: u64) -> Vec<u8> {
        let head = [&self.list[..32], &counter.to_be_bytes()].concat();
        [&head[..], &prim::hash("list hash", &[&self.list])].concat()
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    unhex(value.as_str().unwrap()).unwrap()
}

pub(super) fn make(files: &mut Files) {
    let spec = &["03-prekeys §2", "03-prekeys §3"];
    let mut made = Vec::new();
    for (name, devices, extension, kind, route, says) in [
        ("one-time", 1, 0, "one-time", 50, "A one-time bundle."),
        ("last-resort", 1, 0, "last-resort", 50, "A last-resort bundle."),
        ("empty-route", 1, 0, "one-time", 0, "A route of no byte is for the core a route."),
        (
            "largest",
            5,
            256,
            "one-time",
            320,
            "The longest list and the longest route, made by the last device.",
        ),
    ] {
        let mut bob = Inviter::new(name, devices, extension);
        let input = bob.make_input(kind, TODAY + 30, route);
        let about_make = format!("make-{name}");
        let output = files.valid(&about(FAMILY, &about_make, spec, says), "bundle-make", input);
        let sealed = bytes(&output["sealed"]);
        let about_open = format!("open-{name}");
        files.valid(
            &about(FAMILY, &about_open, spec, says),
            "bundle-open",
            bob.open_input(&sealed),
        );
        made.push((bob, bytes(&output["bundle"]), sealed, bytes(&output["stored"])));
    }
    let mut over = Inviter::new("route-over-the-bound", 1, 0);
    let input = over.make_input("one-time", TODAY + 30, 321);
    let says = "A route over the bound is refused where it is made.";
    files.refused(
        &about(FAMILY, "make-route-over-the-bound", &["01 §6"], says),
        "R-110",
        "make",
        "bundle-make",
        input,
    );
    let mut input = over.make_input("one-time", TODAY + 30, 10);
    put(&mut input, "dh_secret", hex(&[4; 32]));
    let says = "A device that is not on its account's list makes no bundle.";
    files.refused(
        &about(FAMILY, "make-device-not-on-the-list", &["02 §4"], says),
        "R-211",
        "make",
        "bundle-make",
        input,
    );
    let (bob, open, sealed, stored) = made.remove(0);
    days(files, &bob, &open);
    records(files, &bob, &sealed);
    refused(files, &bob, &open, &sealed);
    prekeys(files, &stored, &made.remove(0).3);
}

/// A bundle that was changed before it was signed, or behind it.
fn forged(bob: &Inviter, open: &[u8], edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut open = open.to_vec();
    edit(&mut open);
    let mut stream = Stream::named("bundles forged");
    forge::bundle(&bob.signing, &bob.link, &stream.array(), &open).unwrap().1
}

fn days(files: &mut Files, bob: &Inviter, open: &[u8]) {
    let at = |expiry: u32| {
        bob.open_input(&forged(bob, open, |b| b[18..22].copy_from_slice(&expiry.to_be_bytes())))
    };
    let spec = &["03-prekeys §3"];
    for (name, expiry, says) in [
        ("open-last-day", TODAY, "The last day of use."),
        ("open-longest-lifetime", TODAY + 32, "As late an expiry as clocks may differ."),
    ] {
        files.valid(&about(FAMILY, name, spec, says), "bundle-open", at(expiry));
    }
    for (name, rule, expiry, says) in [
        ("open-expired", "R-356", TODAY - 1, "It expired yesterday."),
        ("open-expired-long-ago", "R-356", 0, "It expired on the first day of all."),
        ("open-lives-too-long", "R-358", TODAY + 33, "It would live for 33 days."),
        ("open-lives-for-ever", "R-358", u32::MAX, "It would live for ever."),
    ] {
        files.refused(&about(FAMILY, name, spec, says), rule, "compare", "bundle-open", at(expiry));
    }
}

fn records(files: &mut Files, bob: &Inviter, sealed: &[u8]) {
    let spec = &["03-prekeys §3", "02 §5"];
    let with = |record: &[u8]| {
        let mut input = bob.open_input(sealed);
        put(&mut input, "record", hex(record));
        input
    };
    let says = "An older list is on record.";
    files.valid(
        &about(FAMILY, "open-newer-list", spec, says),
        "bundle-open",
        with(&bob.record(COUNTER - 1)),
    );
    let says = "This list is on record.";
    let same = about(FAMILY, "open-same-list", spec, says);
    files.valid(&same, "bundle-open", with(&bob.record(COUNTER)));
    let mut fork = bob.record(COUNTER);
    fork[50] ^= 1;
    let other = Inviter::new("other", 1, 0);
    for (name, rule, says, record) in [
        ("open-older-list", "R-208", "A newer list is on record.", bob.record(COUNTER + 1)),
        ("open-forked-list", "R-209", "Another list with this counter is on record.", fork),
        ("open-other-accounts-record", "R-210", "Another account is on record.", other.record(1)),
    ] {
        files.refused(
            &about(FAMILY, name, spec, says),
            rule,
            "compare",
            "bundle-open",
            with(&record),
        );
    }
}

fn refused(files: &mut Files, bob: &Inviter, open: &[u8], sealed: &[u8]) {
    let spec = &["03-prekeys §3"];
    let mut refuse = |name: &str, rule: &str, stage: &str, says: &str, input: Value| {
        files.refused(&about(FAMILY, name, spec, says), rule, stage, "bundle-open", input);
    };
    let whole = |bytes: &[u8]| bob.open_input(bytes);
    refuse("open-empty", "R-350", "read", "Nothing.", whole(&[]));
    refuse("open-short", "R-350", "read", "A byte is missing.", whole(&sealed[..4095]));
    refuse("open-long", "R-350", "read", "A byte too many.", whole(&[sealed, &[0]].concat()));
    for (name, at, says) in [
        ("open-nonce-altered", 0, "A bit of the nonce is changed."),
        ("open-ciphertext-altered", 2000, "A bit of the ciphertext is changed."),
        ("open-tag-altered", 4095, "A bit of the tag is changed."),
    ] {
        let mut altered = sealed.to_vec();
        altered[at] ^= 1;
        refuse(name, "R-351", "unseal", says, whole(&altered));
    }
    let mut other = whole(sealed);
    put(&mut other, "link_secret", hex(&[3; 32]));
    refuse("open-other-link", "R-351", "unseal", "The bundle of another link.", other);

    let l = bob.list.len();
    let route_at = 1624 + l;
    let edit = |edit: &dyn Fn(&mut Vec<u8>)| whole(&forged(bob, open, edit));
    let put16 = |b: &mut [u8], at: usize, n: u16| b[at..at + 2].copy_from_slice(&n.to_be_bytes());
    let len = u16::try_from(l).unwrap();
    refuse("open-kind-0", "R-352", "read", "There is no kind 0.", edit(&|b| b[0] = 0));
    refuse("open-kind-3", "R-352", "read", "There is no kind 3.", edit(&|b| b[0] = 3));
    refuse(
        "open-index-1",
        "R-352",
        "read",
        "The list has no device at the index.",
        edit(&|b| b[17] = 1),
    );
    refuse(
        "open-list-beyond",
        "R-352",
        "read",
        "The list's length goes beyond the bundle.",
        edit(&|b| put16(b, 1622, 65_535)),
    );
    refuse(
        "open-route-beyond",
        "R-352",
        "read",
        "The route's length goes beyond the bundle.",
        edit(&|b| put16(b, route_at, 65_535)),
    );
    refuse(
        "open-route-too-long",
        "R-352",
        "read",
        "The route is longer than 320 bytes.",
        edit(&|b| put16(b, route_at, 321)),
    );
    refuse(
        "open-padding-first",
        "R-352",
        "read",
        "The first byte of the padding is not zero.",
        edit(&|b| b[route_at + 2 + 50] = 1),
    );
    refuse(
        "open-padding-last",
        "R-352",
        "read",
        "The last byte of the padding is not zero.",
        edit(&|b| b[4003] = 0x80),
    );
    refuse(
        "open-list-short",
        "R-201",
        "read",
        "The list's length is one too low.",
        edit(&|b| put16(b, 1622, len - 1)),
    );
    refuse(
        "open-list-long",
        "R-201",
        "read",
        "The list's length is one too high.",
        edit(&|b| put16(b, 1622, len + 1)),
    );
    refuse(
        "open-list-altered",
        "R-207",
        "verify",
        "The list's counter is changed.",
        edit(&|b| b[1624 + 39] ^= 1),
    );
    refuse(
        "open-certificate-altered",
        "R-206",
        "verify",
        "The device's certificate is changed.",
        edit(&|b| b[1624 + 41 + 64] ^= 1),
    );
    refuse(
        "open-prekey-not-canonical",
        "R-353",
        "read",
        "The X25519 prekey is not canonical.",
        edit(&|b| b[53] |= 0x80),
    );
    refuse(
        "open-kem-key-modulus",
        "R-354",
        "read",
        "A coefficient of the ML-KEM-1024 key is the modulus.",
        edit(&|b| set_coefficient(&mut b[54..1622], 5, 3329)),
    );
    refuse(
        "open-both-prekeys-bad",
        "R-353",
        "read",
        "The X25519 key is looked at before the ML-KEM key.",
        edit(&|b| {
            b[53] |= 0x80;
            set_coefficient(&mut b[54..1622], 5, 3329);
        }),
    );
    let low = edit(&|b| b[22..54].fill(0));
    files.valid(
        &about(
            FAMILY,
            "open-prekey-low-order",
            &["03-prekeys §3", "04 §5"],
            "A prekey of low order is canonical: the exchange refuses it (R-403), not the reader.",
        ),
        "bundle-open",
        low,
    );
    let mut refuse = |name: &str, rule: &str, stage: &str, says: &str, input: Value| {
        files.refused(&about(FAMILY, name, spec, says), rule, stage, "bundle-open", input);
    };
    let reseal = |open: &[u8]| whole(&forge::seal_bundle(&bob.link, &[5; 12], open).unwrap());
    let mut altered = open.to_vec();
    altered[4067] ^= 0x10;
    refuse(
        "open-signature-altered",
        "R-355",
        "verify",
        "A bit of the signature is changed.",
        reseal(&altered),
    );
    let mut altered = open.to_vec();
    altered[5] ^= 1;
    refuse(
        "open-id-altered",
        "R-355",
        "verify",
        "The id was changed after signing.",
        reseal(&altered),
    );
    let by_account = forge::bundle(&bob.account, &bob.link, &[6; 12], open).unwrap().1;
    refuse(
        "open-signed-by-the-account",
        "R-355",
        "verify",
        "The account signed, not the device.",
        whole(&by_account),
    );
    let unlabelled = [&open[..4004], &prim::sign(&bob.signing, &open[..4004])].concat();
    refuse(
        "open-signed-without-label",
        "R-355",
        "verify",
        "The signature leaves out the label.",
        reseal(&unlabelled),
    );
    let mut other = whole(sealed);
    put(&mut other, "fingerprint", hex(&[2; 32]));
    refuse("open-other-account", "R-357", "compare", "The link names another account.", other);
    let expired = forged(bob, open, |b| b[18..22].copy_from_slice(&1u32.to_be_bytes()));
    let mut both = whole(&expired);
    put(&mut both, "fingerprint", hex(&[2; 32]));
    refuse(
        "open-other-account-and-expired",
        "R-357",
        "compare",
        "The account is looked at before the day.",
        both,
    );
}

fn prekeys(files: &mut Files, one_time: &[u8], last_resort: &[u8]) {
    let spec = &["10 §2"];
    for (name, stored) in [("prekey-one-time", one_time), ("prekey-last-resort", last_resort)] {
        let input = json!({ "stored": hex(stored) });
        files.valid(
            &about(FAMILY, name, spec, "The stored form of a private prekey."),
            "prekey-read",
            input,
        );
    }
    let with = |at: usize, value: u8| {
        let mut stored = one_time.to_vec();
        stored[at] = value;
        stored
    };
    for (name, rule, says, stored) in [
        ("prekey-version-2", "R-359", "Another version.", with(0, 2)),
        (
            "prekey-version-2-longer",
            "R-359",
            "The version is looked at before the length.",
            [&with(0, 2)[..], &[0; 9]].concat(),
        ),
        ("prekey-empty", "R-352", "Nothing.", vec![]),
        ("prekey-short", "R-352", "A byte is missing.", one_time[..149].to_vec()),
        ("prekey-long", "R-352", "A byte too many.", [one_time, &[0]].concat()),
        ("prekey-kind-0", "R-352", "There is no kind 0.", with(1, 0)),
        ("prekey-kind-3", "R-352", "There is no kind 3.", with(1, 3)),
    ] {
        let input = json!({ "stored": hex(&stored) });
        files.refused(&about(FAMILY, name, spec, says), rule, "read", "prekey-read", input);
    }
}
