//! Family `handshake`.

use serde_json::{Value, json};

use super::talk::{Detail, Secrets, TODAY, Talk};
use super::{Files, about, put};
use crate::conversation::identity_block;
use crate::forge::{self, Call, Entry};
use crate::prim;
use crate::trace::Opened;
use crate::value::hex;

const FAMILY: &str = "handshake";

pub(super) fn make(files: &mut Files) {
    one_time(files);
    last_resort(files);
    repeated(files);
    replayed(files);
    sizes(files);
    days(files);
    ordinary(files);
    records(files);
    initiator_refuses(files);
    responder_refuses(files);
    blocks(files);
}

fn one_time(files: &mut Files) {
    let mut talk = Talk::new("one-time", Detail::Full);
    talk.begin();
    talk.state("alice");
    talk.hello();
    talk.state("alice");
    talk.state("bob");
    talk.say("bob", "alice");
    talk.state("alice");
    talk.say("alice", "bob");
    let says =
        "A one-time bundle, a first message, a reply: after it no envelope carries the handshake.";
    talk.valid(files, &about(FAMILY, "one-time", &["04"], says));
}

fn last_resort(files: &mut Files) {
    let mut talk = Talk::new("last-resort", Detail::Usual);
    talk.person("alice");
    let bob = talk.person("bob");
    talk.link("link");
    talk.bundle("bundle", "link", "last-resort");
    for (session, theirs) in [("first", "bob-first"), ("second", "bob-second")] {
        let step = talk.initiate_step(session, "bundle", &bob);
        talk.step(step);
        let envelope = talk.seal(session, b"hello");
        let mut step = talk.receive_step(&envelope);
        put(&mut step, "session", json!(theirs));
        talk.step(step);
    }
    talk.say("bob-first", "first");
    talk.say("bob-second", "second");
    let says = "Two sessions on one last-resort bundle.";
    talk.valid(files, &about(FAMILY, "last-resort", &["04 §6"], says));
}

fn repeated(files: &mut Files) {
    let mut talk = Talk::new("repeated", Detail::Usual);
    talk.begin();
    let envelopes: Vec<String> =
        (0..4).map(|number| talk.seal("alice", format!("text {number}").as_bytes())).collect();
    talk.receive(&envelopes[2]);
    for index in [0, 3, 1] {
        let result = talk.receive(&envelopes[index]);
        assert_eq!(result["outcome"], "repeat");
    }
    talk.say("bob", "alice");
    talk.say("alice", "bob");
    let says = "Every envelope before the first reply repeats the handshake: any of them establishes the session, the others go to it.";
    talk.valid(files, &about(FAMILY, "repeated", &["04 §5", "04 §6"], says));

    let mut talk = Talk::new("repeated-after-the-reply", Detail::Usual);
    talk.begin();
    let first = talk.seal("alice", b"first");
    let late = talk.seal("alice", b"late");
    talk.receive(&first);
    talk.say("bob", "alice");
    talk.say("alice", "bob");
    let result = talk.receive(&late);
    assert_eq!(result["outcome"], "repeat");
    let says = "An envelope with the handshake arrives after envelopes without.";
    talk.valid(files, &about(FAMILY, "repeated-after-the-reply", &["04 §6"], says));

    let mut talk = Talk::new("repeated-twice", Detail::Usual);
    talk.begin();
    let first = talk.seal("alice", b"hello");
    talk.receive(&first);
    let step = talk.receive_step(&first);
    talk.refuse("R-511", step);
    talk.say("bob", "alice");
    let says = "The very envelope that established the session comes again.";
    talk.refused(
        files,
        &about(FAMILY, "repeated-identical", &["04 §6", "05 §6.4"], says),
        "R-511",
        "header",
    );
}

fn replayed(files: &mut Files) {
    for kind in ["one-time", "last-resort"] {
        let mut talk = Talk::new(&format!("replayed {kind}"), Detail::Usual);
        talk.person("alice");
        let bob = talk.person("bob");
        talk.link("link");
        talk.bundle("bundle", "link", kind);
        let step = talk.initiate_step("alice", "bundle", &bob);
        talk.step(step);
        let first = talk.seal("alice", b"hello");
        let second = talk.seal("alice", b"hello again");
        talk.receive(&first);
        talk.step(json!({ "do": "delete", "session": "bob" }));
        for envelope in [&first, &second] {
            let result = talk.receive(envelope);
            assert_eq!(result["outcome"], "dropped");
        }
        let name = format!("replayed-after-deletion-{kind}");
        let says = "The session was deleted; the replay record still knows it.";
        if kind == "last-resort" {
            let mut step = talk.receive_step(&first);
            put(&mut step, "lookup", json!(false));
            talk.refuse("R-410", step);
            let about = about(
                FAMILY,
                "replayed-without-looking",
                &["04 §6"],
                "As replayed-after-deletion-last-resort; and nobody looks into the replay record before the prekey is used.",
            );
            talk.refused(files, &about, "R-410", "compare");
        } else {
            talk.valid(files, &about(FAMILY, &name, &["04 §6", "03-prekeys §4"], says));
        }
    }

    let mut talk = Talk::new("used-twice", Detail::Usual);
    let (_, bob) = talk.begin();
    let step = talk.initiate_step("other", "bundle", &bob);
    talk.step(step);
    let first = talk.seal("alice", b"hello");
    let second = talk.seal("other", b"me too");
    talk.receive(&first);
    let result = talk.receive(&second);
    assert_eq!(result["outcome"], "used-twice");
    talk.say("bob", "alice");
    let says = "Another session on a one-time bundle whose keys are gone: the link was used twice.";
    talk.valid(files, &about(FAMILY, "used-twice", &["04 §6"], says));
}

fn sizes(files: &mut Files) {
    for (name, devices, route, says) in [
        (
            "identity-block-short-full",
            2,
            768 - 5 - 105 - 2 * 130,
            "List and route fill the short identity block exactly.",
        ),
        ("identity-block-long-least", 2, 320, "The longest route beside two devices."),
        ("identity-block-long", 5, 320, "Five devices and the longest route."),
    ] {
        let mut talk = Talk::new(name, Detail::Usual);
        talk.person_with("alice", devices, devices - 1);
        let bob = talk.person_with("bob", 3, 1);
        talk.link("link");
        talk.bundle("bundle", "link", "one-time");
        let mut step = talk.initiate_step("alice", "bundle", &bob);
        let route = usize::min(route, 320);
        put(&mut step, "route", json!({ "repeat": "72", "count": route }));
        talk.step(step);
        talk.hello();
        talk.say("bob", "alice");
        talk.say("alice", "bob");
        talk.valid(files, &about(FAMILY, name, &["04 §2", "04 §5"], says));
    }
    let mut talk = Talk::new("empty-route", Detail::Usual);
    talk.person("alice");
    let bob = talk.person("bob");
    talk.link("link");
    talk.bundle("bundle", "link", "one-time");
    let mut step = talk.initiate_step("alice", "bundle", &bob);
    put(&mut step, "route", json!(""));
    talk.step(step);
    talk.hello();
    talk.valid(
        files,
        &about(FAMILY, "empty-route", &["01 §6"], "A route of no byte is for the core a route."),
    );
}

fn days(files: &mut Files) {
    let mut talk = Talk::new("last-day", Detail::Usual);
    talk.begin();
    let hello = talk.seal("alice", b"hello");
    talk.day(TODAY + 60);
    talk.receive(&hello);
    let says = "Accepted on the last day: expiry and thirty days.";
    talk.valid(files, &about(FAMILY, "accepted-on-the-last-day", &["04 §6"], says));

    let mut talk = Talk::new("too-late", Detail::Usual);
    talk.begin();
    let hello = talk.seal("alice", b"hello");
    talk.day(TODAY + 61);
    let step = talk.receive_step(&hello);
    talk.refuse("R-405", step);
    talk.day(TODAY + 60);
    talk.receive(&hello);
    let says = "A day after the last one.";
    talk.refused(files, &about(FAMILY, "expired", &["04 §6"], says), "R-405", "compare");
}

fn ordinary(files: &mut Files) {
    let mut talk = Talk::new("ordinary", Detail::Usual);
    talk.begin_confirmed();
    let envelope = talk.seal("alice", b"without the handshake");
    let result = talk.receive(&envelope);
    assert_eq!(result["outcome"], "ordinary");
    let says = "An envelope without a handshake in the mailbox of the link goes to the session.";
    talk.valid(files, &about(FAMILY, "ordinary-in-the-links-mailbox", &["04 §6"], says));

    let mut talk = Talk::new("junk", Detail::Usual);
    let (_, bob) = talk.begin();
    let hello = talk.seal("alice", b"hello");
    for length in [0usize, 1, 100, 1024, 4095, 4096, 4097, 65_536, 131_072] {
        let mut step = talk.receive_step("");
        step.as_object_mut().unwrap().remove("envelope");
        let junk = json!({ "stream": hex(&[3; 32]), "length": length });
        put(&mut step, "bytes", if length == 0 { json!("") } else { junk });
        talk.refuse("R-401", step);
    }
    for at in [0, 11, 12, 2000, 2411, 2427] {
        let name = talk.name();
        talk.step(json!({ "do": "edit", "envelope": name, "of": hello, "xor": "04", "at": at }));
        let step = talk.receive_step(&name);
        talk.refuse("R-401", step);
    }
    talk.link("other");
    let mut step = talk.receive_step(&hello);
    put(&mut step, "link", json!("other"));
    talk.refuse("R-401", step);
    talk.receive(&hello);
    drop(bob);
    let says = "Junk of all lengths, and a changed bit in every part of the sealed handshake, while there is no session.";
    talk.refused(files, &about(FAMILY, "no-handshake", &["04 §6"], says), "R-401", "unseal");
}

fn records(files: &mut Files) {
    for (name, rule, seconds, says) in [
        (
            "older-list",
            "R-208",
            1_700_000_001u64,
            "A newer list of the initiator's account is on record.",
        ),
        ("forked-list", "R-209", 1_700_000_000, "Another list with this counter is on record."),
        ("other-accounts-record", "R-210", 0, "Another account is on record."),
    ] {
        let mut talk = Talk::new(name, Detail::Usual);
        let (alice, bob) = talk.begin();
        let hello = talk.seal("alice", b"hello");
        let record = if seconds == 0 {
            bob.record.clone()
        } else {
            let head = [&alice.list[..32], &seconds.to_be_bytes()].concat();
            let other = prim::hash("list hash", &[&alice.list, b"other"]);
            hex(&[&head[..], &other].concat())
        };
        let mut step = talk.receive_step(&hello);
        put(&mut step, "record", record.clone());
        talk.refuse(rule, step);
        // An envelope whose message does not open says nothing of the record.
        let altered = talk.name();
        talk.step(
            json!({ "do": "edit", "envelope": altered, "of": hello, "xor": "01", "at": 4095 }),
        );
        let mut step = talk.receive_step(&altered);
        put(&mut step, "record", record.clone());
        talk.refuse("R-513", step);
        let mut step = talk.receive_step(&hello);
        put(&mut step, "record", record);
        talk.refuse(rule, step);
        let mut step = talk.receive_step(&hello);
        put(&mut step, "record", alice.record.clone());
        talk.step(step);
        talk.refused(files, &about(FAMILY, name, &["04 §6", "02 §5"], says), rule, "compare");
    }
}

fn initiator_refuses(files: &mut Files) {
    let mut talk = Talk::new("initiator-itself", Detail::Usual);
    let bob = talk.person("bob");
    talk.link("link");
    talk.bundle("bundle", "link", "one-time");
    let mut step = talk.initiate_step("bob-with-himself", "bundle", &bob);
    put(&mut step, "person", json!("bob"));
    put(&mut step, "draws", draws(&mut talk));
    talk.refuse("R-408", step);
    let says = "A device uses its own link.";
    talk.refused(
        files,
        &about(FAMILY, "initiator-meets-itself", &["04 §5"], says),
        "R-408",
        "make",
    );

    let mut talk = Talk::new("initiator-low-order", Detail::Usual);
    talk.person("alice");
    let bob = talk.person("bob");
    let link = talk.link("link");
    let mut open = talk.bundle("bundle", "link", "one-time");
    open[22..54].fill(0);
    let nonce = talk.stream.array();
    let (_, sealed) = forge::bundle(&bob.signing, &link, &nonce, &open).unwrap();
    let mut step = talk.initiate_step("alice", "", &bob);
    step.as_object_mut().unwrap().remove("bundle");
    put(&mut step, "sealed", hex(&sealed));
    put(&mut step, "draws", draws(&mut talk));
    talk.refuse("R-403", step);
    let says = "The bundle's prekey has low order.";
    talk.refused(
        files,
        &about(FAMILY, "initiator-low-order-prekey", &["04 §5"], says),
        "R-403",
        "exchange",
    );

    let mut talk = Talk::new("initiator-low-order-device", Detail::Usual);
    talk.person("alice");
    let bob = talk.person("bob");
    let link = talk.link("link");
    let open = talk.bundle("bundle", "link", "one-time");
    let signing = prim::ed25519_public(&bob.signing);
    let keys: [u8; 64] = [signing, [0; 32]].concat().try_into().unwrap();
    let list = forge::list(&bob.account, 1_700_000_000, &[Entry::of(keys)]);
    let mut open = open;
    open[1624..1624 + list.len()].copy_from_slice(&list);
    let nonce = talk.stream.array();
    let (_, sealed) = forge::bundle(&bob.signing, &link, &nonce, &open).unwrap();
    let mut step = talk.initiate_step("alice", "", &bob);
    step.as_object_mut().unwrap().remove("bundle");
    put(&mut step, "sealed", hex(&sealed));
    put(&mut step, "draws", draws(&mut talk));
    talk.refuse("R-403", step);
    let says = "The device that signed the bundle has an X25519 key of low order.";
    talk.refused(
        files,
        &about(FAMILY, "initiator-low-order-device-key", &["04 §5"], says),
        "R-403",
        "exchange",
    );

    let mut talk = Talk::new("initiator-expired", Detail::Usual);
    talk.person("alice");
    let bob = talk.person("bob");
    talk.link("link");
    talk.bundle("bundle", "link", "one-time");
    talk.day(TODAY + 31);
    let mut step = talk.initiate_step("alice", "bundle", &bob);
    put(&mut step, "draws", draws(&mut talk));
    talk.refuse("R-356", step);
    talk.day(TODAY + 30);
    let step = talk.initiate_step("alice", "bundle", &bob);
    talk.step(step);
    let says = "The bundle expired yesterday; on its last day it serves.";
    talk.refused(
        files,
        &about(FAMILY, "initiator-expired-bundle", &["03-prekeys §3"], says),
        "R-356",
        "compare",
    );
}

/// What an initiator may draw before it refuses.
fn draws(talk: &mut Talk) -> Value {
    let names = ["ephemeral-key", "handshake-kem-message", "hello-nonce"];
    let mut draw =
        |(name, n): (&str, usize)| json!({ "name": name, "value": hex(&talk.stream.take(n)) });
    names.into_iter().zip([32, 32, 12]).map(&mut draw).collect()
}

struct Scene {
    talk: Talk,
    alice: Secrets,
    bob: Secrets,
    link: [u8; 32],
    bundle: Vec<u8>,
}

impl Scene {
    fn new(name: &str) -> Self {
        let mut talk = Talk::new(name, Detail::Usual);
        let alice = talk.person("alice");
        let bob = talk.person("bob");
        let link = talk.link("link");
        let bundle = talk.bundle("bundle", "link", "one-time");
        Self { talk, alice, bob, link, bundle }
    }

    fn block(&self) -> Vec<u8> {
        identity_block(0, &self.alice.list, b"where Alice listens")
    }

    /// A first envelope of Alice's own making.
    fn hello(&mut self, block: &[u8], edit: impl FnOnce(&mut Call<'_>)) -> Vec<u8> {
        let Self { talk, alice, bob, link, bundle } = self;
        let mut call = talk.call(*link, bundle, bob, alice, block);
        edit(&mut call);
        let mut forger = call.forger().unwrap();
        let handshake = forger.form.handshake.len();
        forger.begin(talk.stream.array(), None).unwrap();
        let header = forger.header();
        let bucket = forge::bucket(5, handshake);
        let body = forge::body(b"hello", &[], handshake, bucket);
        forger.message(&talk.stream.array(), &header, &body).unwrap()
    }

    /// An honest envelope whose handshake was opened, changed and sealed again.
    fn edited(&mut self, edit: impl FnOnce(&mut Opened)) -> Vec<u8> {
        let block = self.block();
        let envelope = self.hello(&block, |_| ());
        let [hello_key] = prim::keys(&self.link, "link hello", &[]).unwrap();
        let mut opened = Opened::of(&hello_key, &envelope).unwrap();
        edit(&mut opened);
        let sealed = opened.seal(&hello_key, &self.talk.stream.array()).unwrap();
        [&sealed[..], &envelope[opened.length..]].concat()
    }

    fn receive(&self, bytes: &[u8]) -> Value {
        let mut step = self.talk.receive_step("");
        step.as_object_mut().unwrap().remove("envelope");
        put(&mut step, "bytes", hex(bytes));
        step
    }

    fn refuse(
        mut self,
        files: &mut Files,
        (name, rule, stage): (&str, &str, &str),
        says: &str,
        bytes: &[u8],
    ) {
        let step = self.receive(bytes);
        self.talk.refuse(rule, step);
        // The bundle still serves.
        let step = self.talk.initiate_step("alice", "bundle", &self.bob);
        self.talk.step(step);
        self.talk.hello();
        self.talk.refused(files, &about(FAMILY, name, &["04 §6"], says), rule, stage);
    }
}

fn responder_refuses(files: &mut Files) {
    let mut scene = Scene::new("forged-honestly");
    let block = scene.block();
    let envelope = scene.hello(&block, |_| ());
    let step = scene.receive(&envelope);
    scene.talk.step(step);
    let says = "What the refused envelopes of this family are made like, without a defect.";
    scene.talk.valid(files, &about(FAMILY, "without-defect", &["04 §6"], says));

    let mut top = [0; 32];
    (top[0], top[31]) = (9, 0x80);
    let mut prime = [0xff; 32];
    (prime[0], prime[31]) = (0xed, 0x7f);
    for (name, key) in [("top-bit", top), ("prime", prime)] {
        let name = format!("ephemeral-key-{name}");
        let mut scene = Scene::new(&name);
        let bytes = scene.edited(|h| h.ephemeral = key);
        scene.refuse(files, (&name, "R-402", "read"), "EK's public key is not canonical.", &bytes);
    }
    let mut one = [0; 32];
    one[0] = 1;
    for (name, key) in [("zero", [0; 32]), ("one", one)] {
        let name = format!("ephemeral-key-{name}");
        let mut scene = Scene::new(&name);
        let bytes = scene.edited(|h| h.ephemeral = key);
        scene.refuse(files, (&name, "R-403", "exchange"), "EK's public key has low order.", &bytes);
    }
    let mut scene = Scene::new("initiator-key-low-order");
    let signing = prim::ed25519_public(&scene.alice.signing);
    let keys: [u8; 64] = [signing, [0; 32]].concat().try_into().unwrap();
    let list = forge::list(&scene.alice.account, 1_700_000_000, &[Entry::of(keys)]);
    let block = identity_block(0, &list, b"route");
    let bytes = scene.hello(&block, |_| ());
    let says = "The initiator's device has an X25519 key of low order.";
    scene.refuse(files, ("initiator-key-low-order", "R-403", "exchange"), says, &bytes);

    let mut scene = Scene::new("unknown-bundle");
    let bytes = scene.edited(|h| h.bundle[0] ^= 1);
    let step = scene.receive(&bytes);
    let result = scene.talk.step(step);
    assert_eq!(result["outcome"], "dropped");
    let mut step = scene.receive(&bytes);
    put(&mut step, "lookup", json!(false));
    scene.talk.refuse("R-404", step);
    let says = "It names a bundle of which there is no record: it is dropped; and refused where another bundle's prekey is used without looking.";
    scene.talk.refused(
        files,
        &about(FAMILY, "unknown-bundle", &["04 §6"], says),
        "R-404",
        "compare",
    );

    let mut talk = Talk::new("keys-gone", Detail::Usual);
    talk.person("alice");
    let bob = talk.person("bob");
    talk.link("link");
    talk.bundle("bundle", "link", "last-resort");
    let step = talk.initiate_step("alice", "bundle", &bob);
    talk.step(step);
    talk.step(json!({ "do": "forget", "bundle": "bundle" }));
    let envelope = talk.seal("alice", b"too late");
    let result = talk.receive(&envelope);
    assert_eq!(result["outcome"], "dropped");
    let says = "The private keys of a last-resort bundle are gone: it has expired, and nobody used it twice.";
    talk.valid(files, &about(FAMILY, "last-resort-keys-gone", &["04 §6"], says));

    let mut scene = Scene::new("identity-altered");
    let bytes = scene.edited(|h| h.identity[3] ^= 1);
    scene.refuse(
        files,
        ("identity-altered", "R-406", "unseal"),
        "A bit of the sealed identity is changed.",
        &bytes,
    );
    let mut scene = Scene::new("identity-tag-altered");
    let bytes = scene.edited(|h| *h.identity.last_mut().unwrap() ^= 1);
    scene.refuse(
        files,
        ("identity-tag-altered", "R-406", "unseal"),
        "A bit of the identity's tag is changed.",
        &bytes,
    );
    let mut scene = Scene::new("kem-ciphertext-altered");
    let bytes = scene.edited(|h| h.ciphertext[700] ^= 1);
    scene.refuse(
        files,
        ("kem-ciphertext-altered", "R-406", "unseal"),
        "A bit of the KEM's ciphertext is changed: another secret, so the identity does not open.",
        &bytes,
    );
    let mut scene = Scene::new("ephemeral-key-replaced");
    let bytes = scene.edited(|h| h.ephemeral = prim::x25519_public(&[5; 32]));
    scene.refuse(
        files,
        ("ephemeral-key-replaced", "R-406", "unseal"),
        "EK is somebody else's.",
        &bytes,
    );

    let mut scene = Scene::new("identity-key-not-held");
    let block = scene.block();
    let bytes = scene.hello(&block, |call| call.identity = [6; 32]);
    let says = "The initiator does not hold the X25519 key that it names: the message inside does not open.";
    scene.refuse(files, ("identity-key-not-held", "R-501", "header"), says, &bytes);

    let mut scene = Scene::new("responder-meets-itself");
    let block = identity_block(0, &scene.bob.list.clone(), b"route");
    let dh = scene.bob.dh;
    let bytes = scene.hello(&block, |call| call.identity = dh);
    let says = "The initiator names the responder's own device.";
    scene.refuse(files, ("responder-meets-itself", "R-408", "compare"), says, &bytes);

    let mut scene = Scene::new("message-altered");
    let block = scene.block();
    let mut bytes = scene.hello(&block, |_| ());
    bytes[4000] ^= 1;
    scene.refuse(
        files,
        ("message-altered", "R-513", "body"),
        "A bit of the message inside is changed.",
        &bytes,
    );
    let mut scene = Scene::new("header-altered");
    let block = scene.block();
    let mut bytes = scene.hello(&block, |_| ());
    bytes[2450] ^= 1;
    scene.refuse(
        files,
        ("header-altered", "R-501", "header"),
        "A bit of the header inside is changed.",
        &bytes,
    );
}

fn blocks(files: &mut Files) {
    let put16 = |b: &mut [u8], at: usize, n: u16| b[at..at + 2].copy_from_slice(&n.to_be_bytes());
    let list = 235;
    let route = 3 + list;
    type Edit<'a> = &'a dyn Fn(&mut Vec<u8>);
    let cases: [(&str, &str, &str, &str, Edit<'_>); 12] = [
        ("block-index-1", "R-407", "read", "The list has no device at the index.", &|b| b[0] = 1),
        ("block-index-255", "R-407", "read", "The list has no device at the index.", &|b| {
            b[0] = 255
        }),
        ("block-list-beyond", "R-407", "read", "The list's length goes beyond the block.", &|b| {
            put16(b, 1, 65_535)
        }),
        (
            "block-route-beyond",
            "R-407",
            "read",
            "The route's length goes beyond the block.",
            &|b| put16(b, route, 65_535),
        ),
        ("block-route-too-long", "R-407", "read", "The route is longer than 320 bytes.", &|b| {
            put16(b, route, 321)
        }),
        (
            "block-padding-first",
            "R-407",
            "read",
            "The first byte of the padding is not zero.",
            &|b| b[route + 2 + 19] = 1,
        ),
        (
            "block-padding-last",
            "R-407",
            "read",
            "The last byte of the padding is not zero.",
            &|b| b[767] = 0x80,
        ),
        ("block-list-short", "R-201", "read", "The list's length is one too low.", &|b| {
            put16(b, 1, 234)
        }),
        ("block-account-altered", "R-202", "read", "The account's key is of small order.", &|b| {
            b[3..35].fill(0);
            b[3] = 1;
        }),
        (
            "block-certificate-altered",
            "R-206",
            "verify",
            "The device's certificate is changed.",
            &|b| b[3 + 41 + 64] ^= 1,
        ),
        (
            "block-extension-too-long",
            "R-212",
            "read",
            "An extension is longer than 256 bytes.",
            &|b| put16(b, 3 + 41 + 128, 257),
        ),
        ("block-signature-altered", "R-207", "verify", "The list's signature is changed.", &|b| {
            b[3 + 234] ^= 1
        }),
    ];
    for (name, rule, stage, says, edit) in cases {
        let mut scene = Scene::new(name);
        let mut block = scene.block();
        edit(&mut block);
        let bytes = scene.hello(&block, |_| ());
        scene.refuse(files, (name, rule, stage), says, &bytes);
    }
    let mut scene = Scene::new("block-long-without-need");
    let mut block = scene.block();
    block.resize(2400, 0);
    let bytes = scene.hello(&block, |_| ());
    let step = scene.receive(&bytes);
    scene.talk.step(step);
    let says = "A long block that would fit the short one is accepted.";
    scene.talk.valid(files, &about(FAMILY, "block-long-without-need", &["04 §2"], says));
}
