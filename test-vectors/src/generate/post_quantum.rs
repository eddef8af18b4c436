//! Family `post-quantum`.

use serde_json::json;

use super::primitives::set_coefficient;
use super::talk::{Detail, TODAY, Talk};
use super::{Files, about};
use crate::forge;
use crate::form::Phase;
use crate::prim::{Kem, first};
use crate::trace::{EpochSecret, h_ct, h_ek};
use crate::value::hex;

const FAMILY: &str = "post-quantum";

pub(super) fn make(files: &mut Files) {
    epochs(files);
    rooms(files);
    restarted(files);
    offering(files);
    runs(files);
    keys(files);
    last_epoch(files);
}

/// Messages in turns, of this content; returns the epochs in which each was sealed.
fn alternate(talk: &mut Talk, messages: u32, content: usize) -> Vec<u32> {
    let mut epochs = Vec::new();
    for number in 1..=messages {
        let (from, to) = if number % 2 == 1 { ("alice", "bob") } else { ("bob", "alice") };
        let content = json!({ "repeat": "6d", "count": content });
        let envelope = talk.seal_value(from, content);
        if number == 1 {
            talk.receive(&envelope);
        } else {
            talk.open(to, &envelope);
        }
        epochs.push(talk.form(from).epoch);
    }
    epochs
}

/// The numbers of the messages that raised an epoch.
fn raises(epochs: &[u32]) -> Vec<usize> {
    (1..epochs.len()).filter(|i| epochs[*i] > epochs[i - 1]).map(|i| i + 1).collect()
}

fn epochs(files: &mut Files) {
    for (name, messages, content, expected, says) in [
        (
            "alternating-302",
            34,
            302,
            vec![5, 12, 19, 26, 33],
            "Contents of 302 bytes: an epoch at message 5, and then at every seventh.",
        ),
        (
            "alternating-303",
            34,
            303,
            vec![5, 12, 19, 26, 33],
            "One byte more: eighteen blocks in a message.",
        ),
        (
            "alternating-797",
            90,
            797,
            vec![35, 84],
            "Every bucket of 1 KiB is full: three blocks in a message; an epoch at message 35, and then at every 49th.",
        ),
    ] {
        let mut talk = Talk::new(name, Detail::Little);
        talk.begin();
        let epochs = alternate(&mut talk, messages, content);
        if name != "alternating-303" {
            assert_eq!(raises(&epochs), expected, "{name}");
        }
        talk.state("alice");
        talk.state("bob");
        talk.valid(files, &about(FAMILY, name, &["06 §9"], says));
    }

    let mut talk = Talk::new("two-epochs", Detail::Full);
    talk.begin();
    for number in 0..12 {
        let (from, to) = if number % 2 == 0 { ("alice", "bob") } else { ("bob", "alice") };
        let envelope = talk.seal(from, b"m");
        if number == 0 {
            talk.receive(&envelope);
        } else {
            talk.open(to, &envelope);
        }
    }
    assert_eq!(talk.form("alice").epoch + talk.form("bob").epoch, 4);
    talk.state("alice");
    talk.state("bob");
    let says = "Two epochs, each side offering once, with every byte.";
    talk.valid(files, &about(FAMILY, "two-epochs", &["06"], says));

    let mut talk = Talk::new("bursts", Detail::Little);
    talk.begin_confirmed();
    for _ in 0..5 {
        for (from, to) in [("alice", "bob"), ("bob", "alice")] {
            for _ in 0..3 {
                talk.say(from, to);
            }
        }
    }
    assert!(talk.form("alice").epoch >= 3);
    let says = "Several messages in each turn: an object goes out within one.";
    talk.valid(files, &about(FAMILY, "bursts", &["06 §4"], says));

    let mut talk = Talk::new("losses", Detail::Little);
    talk.begin_confirmed();
    for round in 0..20u32 {
        for (from, to) in [("alice", "bob"), ("bob", "alice")] {
            let content = json!({ "repeat": "6d", "count": 700 });
            let lost = talk.seal_value(from, content.clone());
            let kept = talk.seal_value(from, content);
            talk.open(to, if round % 3 == 0 { &lost } else { &kept });
        }
    }
    assert!(talk.form("alice").epoch >= 1);
    talk.state("alice");
    talk.state("bob");
    let says = "Every second envelope is lost: blocks come again until all are there.";
    talk.valid(files, &about(FAMILY, "losses", &["06 §4"], says));

    let mut talk = Talk::new("late-pieces", Detail::Little);
    talk.begin_confirmed();
    let late = talk.seal("alice", b"late");
    for _ in 0..6 {
        talk.say("alice", "bob");
        talk.say("bob", "alice");
    }
    talk.open("bob", &late);
    let step = json!({ "do": "open", "session": "bob", "envelope": late, "today": TODAY });
    talk.refuse("R-511", step);
    let says = "A run of an epoch that has passed arrives late, and is passed over.";
    talk.valid(files, &about(FAMILY, "late-run", &["06 §4"], says));
}

fn rooms(files: &mut Files) {
    // Content lengths for which a body of 1 KiB holds n blocks and not one more.
    let mut talk = Talk::new("rooms-small", Detail::Little);
    talk.begin_confirmed();
    // Key of Alice's, epoch 1: Bob has it since the first message; he answers
    // with a ciphertext, in runs of every length.
    for blocks in (3..=28).rev() {
        let longest: usize = 925 - 15 - 32 * blocks;
        for content in [longest.min(797), longest.saturating_sub(31)] {
            let envelope = talk.seal_value("bob", json!({ "repeat": "6d", "count": content }));
            drop(envelope);
        }
    }
    let says = "A ciphertext goes out in runs of every length that 1 KiB has room for; the longest and the shortest content for each.";
    talk.state("bob");
    talk.valid(files, &about(FAMILY, "rooms-of-1-kib", &["06 §4"], says));

    let mut talk = Talk::new("rooms-large", Detail::Little);
    talk.begin_confirmed();
    for content in [798, 1821, 1822, 3869, 3870, 7965, 16_157, 32_541, 61_249] {
        let envelope = talk.seal_value("bob", json!({ "repeat": "6d", "count": content }));
        talk.open("alice", &envelope);
        if talk.form("alice").epoch > 0 {
            break;
        }
    }
    let says = "Runs beside contents at the edges of larger buckets.";
    talk.state("alice");
    talk.state("bob");
    talk.valid(files, &about(FAMILY, "rooms-of-larger-buckets", &["06 §4", "07 §3"], says));

    for (name, contents, says) in [
        (
            "pieces-of-three",
            vec![797; 20],
            "An object in runs of three blocks, which wrap around its end.",
        ),
        (
            "pieces-mixed",
            vec![797, 300, 500, 797, 1, 640, 797, 700, 33],
            "An object in runs of several lengths.",
        ),
    ] {
        let mut talk = Talk::new(name, Detail::Little);
        talk.begin_confirmed();
        for content in contents {
            let envelope = talk.seal_value("bob", json!({ "repeat": "6d", "count": content }));
            talk.open("alice", &envelope);
        }
        talk.say("alice", "bob");
        talk.state("alice");
        talk.state("bob");
        assert_eq!(talk.form("bob").epoch, 1);
        talk.valid(files, &about(FAMILY, name, &["06 §4"], says));
    }

    let mut talk = Talk::new("first-contact-rooms", Detail::Little);
    talk.begin();
    for content in [0, 280, 1441, 1442, 5537, 5538, 61_249] {
        let envelope = talk.seal_value("alice", json!({ "repeat": "6d", "count": content }));
        talk.receive(&envelope);
    }
    talk.state("bob");
    let says = "Runs beside a handshake, with contents at the edges of buckets.";
    talk.valid(files, &about(FAMILY, "rooms-beside-a-handshake", &["06 §4", "07 §3"], says));
}

/// A conversation of which Bob waits for a key: he has raised nothing yet and
/// Alice's first key did not come whole. Returns Alice's forger.
fn waiting(name: &str) -> (Talk, forge::Forger) {
    let mut talk = Talk::new(name, Detail::Usual);
    talk.begin();
    // Three blocks of the key, and then a reply.
    let envelope = talk.seal_value("alice", json!({ "repeat": "6d", "count": 1441 }));
    talk.receive(&envelope);
    talk.say("bob", "alice");
    let mut forger = talk.forger("alice");
    let ratchet = talk.stream.array();
    forger.begin(ratchet, None).unwrap();
    (talk, forger)
}

/// A run of blocks of an object.
fn run(kind: u8, epoch: u32, object: &[u8], tag: [u8; 8], first: usize, count: usize) -> Vec<u8> {
    let blocks = object.len() / 32;
    let mut out = vec![kind];
    out.extend(epoch.to_be_bytes());
    out.extend([first as u8, count as u8]);
    out.extend(tag);
    for index in first..first + count {
        let at = index % blocks * 32;
        out.extend(&object[at..at + 32]);
    }
    out
}

/// Bob receives a message of Alice's forger with this run.
fn give(talk: &mut Talk, forger: &mut forge::Forger, run: &[u8], rule: Option<&str>) {
    let header = forger.header();
    // So much content that a whole key has room beside it.
    let length = if run.len() > 400 { 1822 } else { 302 };
    let bucket = forge::bucket(length, 0);
    let body = forge::body(&vec![0x6d; length], run, 0, bucket);
    let before = (forger.form.sending.chain, forger.form.sending.next);
    let bytes = forger.message(&talk.stream.array(), &header, &body).unwrap();
    if rule.is_some() {
        (forger.form.sending.chain, forger.form.sending.next) = before;
    }
    talk.open_forged("bob", &bytes, rule);
}

fn restarted(files: &mut Files) {
    let (mut talk, mut forger) = waiting("restarted");
    let (one, other) = (Kem::Kem768.generate(&[1; 64]), Kem::Kem768.generate(&[2; 64]));
    let (tag, other_tag) = (first(&h_ek(&one)), first(&h_ek(&other)));
    give(&mut talk, &mut forger, &run(1, 1, &one, tag, 0, 19), None);
    talk.state("bob");
    give(&mut talk, &mut forger, &run(1, 1, &other, other_tag, 5, 19), None);
    talk.state("bob");
    give(&mut talk, &mut forger, &run(1, 1, &one, tag, 19, 18), None);
    talk.state("bob");
    give(&mut talk, &mut forger, &run(1, 1, &one, tag, 36, 20), None);
    talk.state("bob");
    assert!(matches!(talk.form("bob").phase, Phase::Keyed { .. }));
    let says = "Another object tag begins the assembly anew: blocks of the first are forgotten.";
    talk.valid(files, &about(FAMILY, "assembly-restarted", &["06 §5"], says));

    let (mut talk, mut forger) = waiting("mixed");
    give(&mut talk, &mut forger, &run(1, 1, &one, tag, 0, 19), None);
    give(&mut talk, &mut forger, &run(1, 1, &other, tag, 19, 18), None);
    talk.state("bob");
    assert_eq!(talk.form("bob").phase, Phase::Waiting { assembly: None });
    give(&mut talk, &mut forger, &run(1, 1, &one, tag, 0, 37), None);
    assert!(matches!(talk.form("bob").phase, Phase::Keyed { .. }));
    talk.state("bob");
    let says =
        "Blocks of two keys under one tag: the hash does not fit, and the assembly is dropped.";
    talk.valid(files, &about(FAMILY, "assembly-mixed", &["06 §5"], says));

    let (mut talk, mut forger) = waiting("overwritten");
    give(&mut talk, &mut forger, &run(1, 1, &other, tag, 0, 3), None);
    give(&mut talk, &mut forger, &run(1, 1, &one, tag, 0, 3), None);
    talk.state("bob");
    give(&mut talk, &mut forger, &run(1, 1, &one, tag, 0, 19), None);
    give(&mut talk, &mut forger, &run(1, 1, &one, tag, 19, 18), None);
    talk.state("bob");
    let says = "A run of which every block is here is not added; one with a new block overwrites the others.";
    talk.valid(files, &about(FAMILY, "assembly-overwritten", &["06 §5"], says));

    let (mut talk, mut forger) = waiting("other-epochs");
    for epoch in [0, 2, u32::MAX] {
        give(&mut talk, &mut forger, &run(1, epoch, &one, tag, 0, 19), None);
    }
    give(&mut talk, &mut forger, &run(2, 1, &one[..1088], tag, 0, 19), None);
    talk.state("bob");
    let says = "Runs of other epochs, and a ciphertext where a key is awaited, are passed over.";
    talk.valid(files, &about(FAMILY, "runs-passed-over", &["06 §4", "06 §5"], says));

    // Keyed, and then another key.
    let (mut talk, mut forger) = waiting("keyed");
    give(&mut talk, &mut forger, &run(1, 1, &one, tag, 0, 37), None);
    give(&mut talk, &mut forger, &run(1, 1, &one, tag, 3, 3), None);
    talk.state("bob");
    give(&mut talk, &mut forger, &run(1, 1, &other, other_tag, 0, 3), None);
    talk.state("bob");
    assert!(matches!(talk.form("bob").phase, Phase::Waiting { assembly: Some(_) }));
    let says = "Another key drops the one that was whole; the same one changes nothing.";
    talk.valid(files, &about(FAMILY, "keyed-and-another-key", &["06 §5"], says));

    // Answering, and then another key.
    let (mut talk, mut forger) = waiting("answering");
    give(&mut talk, &mut forger, &run(1, 1, &one, tag, 0, 37), None);
    talk.seal("bob", b"with a ciphertext");
    assert!(matches!(talk.form("bob").phase, Phase::Answering { .. }));
    give(&mut talk, &mut forger, &run(1, 1, &one, tag, 0, 19), None);
    talk.state("bob");
    give(&mut talk, &mut forger, &run(1, 1, &other, other_tag, 0, 19), None);
    talk.state("bob");
    talk.seal("bob", b"still the first ciphertext");
    give(&mut talk, &mut forger, &run(1, 1, &other, other_tag, 19, 18), None);
    talk.state("bob");
    assert!(matches!(talk.form("bob").phase, Phase::Keyed { .. }));
    talk.seal("bob", b"another ciphertext");
    talk.state("bob");
    let says = "A peer that was rolled back offers another key: once it is whole it takes the place of the one that was answered.";
    talk.valid(files, &about(FAMILY, "answering-and-another-key", &["06 §5"], says));

    let mut talk = Talk::new("peer-lost-the-key", Detail::Usual);
    talk.begin();
    let envelope = talk.seal("alice", b"the whole key");
    talk.copy("alice", "alice-before");
    talk.receive(&envelope);
    talk.copy("bob", "bob-before");
    let reply = talk.seal("bob", b"with a ciphertext");
    talk.open("alice", &reply);
    assert!(matches!(talk.form("alice").phase, Phase::Offering { peer_has_key: 1, .. }));
    talk.state("alice");
    talk.say("alice", "bob");
    // Bob's next chain carries no blocks.
    let mut forger = talk.forger("bob");
    let ratchet = talk.stream.array();
    forger.begin(ratchet, None).unwrap();
    let header = forger.header();
    let body = forge::body(b"no blocks", &[], 0, 1024);
    let bytes = forger.message(&talk.stream.array(), &header, &body).unwrap();
    talk.open_forged("alice", &bytes, None);
    assert!(matches!(talk.form("alice").phase, Phase::Offering { peer_has_key: 0, .. }));
    talk.state("alice");
    talk.seal("alice", b"the key again");
    talk.state("alice");
    let says = "A new chain without blocks says that the peer has lost the key: it is sent again, and the assembly stays.";
    talk.valid(files, &about(FAMILY, "peer-lost-the-key", &["06 §5"], says));
}

/// What an offering side makes of other runs than those of a ciphertext for the next epoch.
fn offering(files: &mut Files) {
    let key = Kem::Kem768.generate(&[1; 64]);
    let mut talk = Talk::new("offering-and-other-runs", Detail::Usual);
    talk.begin();
    talk.hello();
    talk.say("bob", "alice");
    talk.say("alice", "bob");
    talk.copy("alice", "alice-other");
    let mut forger = talk.forger("bob");
    let ratchet = talk.stream.array();
    forger.begin(ratchet, None).unwrap();
    let Phase::Offering { peer_has_key: 1, assembly: Some(parts), .. } = talk.form("alice").phase
    else {
        panic!()
    };
    assert_eq!(parts.bitmap & 7, 7);
    let ciphertext = [0x55; 1088];
    let behind = [
        ("alice-other", run(2, 2, &ciphertext, parts.tag, 0, 3)),
        ("alice", run(1, 1, &key, first(&h_ek(&key)), 0, 3)),
        ("alice", run(2, 1, &ciphertext, parts.tag, 0, 3)),
        ("alice", run(2, 1, &[0x66; 1088], parts.tag, 0, 3)),
    ];
    for (number, (session, run)) in behind.into_iter().enumerate() {
        let mut header = forger.header();
        let before = (forger.form.sending.chain, forger.form.sending.next);
        let body = forge::body(b"forged", &run, 0, 1024);
        header.number = before.1;
        let bytes = forger.message(&talk.stream.array(), &header, &body).unwrap();
        if session == "alice-other" {
            (forger.form.sending.chain, forger.form.sending.next) = before;
        }
        talk.open_forged(session, &bytes, None);
        talk.state(session);
        let Phase::Offering { peer_has_key, assembly: Some(now), .. } = talk.form(session).phase
        else {
            panic!()
        };
        assert_eq!(peer_has_key, u8::from(number > 1));
        assert_eq!(now.blocks.starts_with(&[0x55; 96]), number > 1);
    }
    let says = "In a new chain a run for another epoch, and one of a key, say as little as none: the peer has lost the key. The next ciphertext's run overwrites, even where every block is here; one behind it is not added.";
    talk.valid(files, &about(FAMILY, "offering-and-other-runs", &["06 §5"], says));

    // Answering, and two keys under one tag.
    let (one, other) = (&key, Kem::Kem768.generate(&[2; 64]));
    let (tag, other_tag) = (first(&h_ek(one)), first(&h_ek(&other)));
    let (mut talk, mut forger) = waiting("answering-mixed");
    give(&mut talk, &mut forger, &run(1, 1, one, tag, 0, 37), None);
    talk.seal("bob", b"with a ciphertext");
    give(&mut talk, &mut forger, &run(1, 1, &other, other_tag, 0, 19), None);
    assert!(matches!(talk.form("bob").phase, Phase::Answering { assembly: Some(_), .. }));
    give(&mut talk, &mut forger, &run(1, 1, one, other_tag, 19, 18), None);
    assert!(matches!(talk.form("bob").phase, Phase::Answering { assembly: None, .. }));
    talk.state("bob");
    talk.seal("bob", b"still the first ciphertext");
    talk.state("bob");
    let says = "Blocks of two keys under one tag while another key was answered: the assembly is dropped, and the answer stays.";
    talk.valid(files, &about(FAMILY, "answering-and-a-mixture", &["06 §5"], says));
}

fn runs(files: &mut Files) {
    let key = Kem::Kem768.generate(&[1; 64]);
    let tag = first(&h_ek(&key));
    let honest = run(1, 1, &key, tag, 0, 3);
    let with = |at: usize, value: u8| {
        let mut run = honest.clone();
        run[at] = value;
        run
    };
    let mut ciphertext = with(0, 2);
    ciphertext[5] = 34;
    for (name, run, says) in [
        ("run-kind-3", with(0, 3), "There is no kind 3."),
        ("run-kind-255", with(0, 255), "There is no kind 255."),
        ("run-first-37", with(5, 37), "A key has 37 blocks, the last with index 36."),
        ("run-first-255", with(5, 255), "No object has as many blocks."),
        (
            "run-first-34-of-a-ciphertext",
            ciphertext,
            "A ciphertext has 34 blocks, the last with index 33.",
        ),
        ("run-count-0", with(6, 0), "A run has at least one block."),
        ("run-count-38", with(6, 38), "A run has at most the whole object."),
        ("run-beyond-the-body", with(6, 37), "The run goes beyond the body."),
        (
            "run-of-4-where-3-have-room",
            with(6, 4),
            "The run has a block more than the body has room for.",
        ),
    ] {
        let (mut talk, mut forger) = waiting(name);
        // Beside the largest content of a bucket three blocks have room.
        let length = if name.ends_with("room") { 797 } else { 302 };
        let body = forge::body(&vec![0x6d; length], &run, 0, 1024);
        let header = forger.header();
        let bytes = forger.message(&talk.stream.array(), &header, &body).unwrap();
        talk.open_forged("bob", &bytes, Some("R-601"));
        talk.say("alice", "bob");
        talk.refused(files, &about(FAMILY, name, &["06 §7", "07 §2"], says), "R-601", "body");
    }
    let (mut talk, mut forger) = waiting("run-padding");
    let mut body = forge::body(&[0x6d; 302], &honest, 0, 1024);
    body[2 + 302 + honest.len()] = 1;
    let header = forger.header();
    let bytes = forger.message(&talk.stream.array(), &header, &body).unwrap();
    talk.open_forged("bob", &bytes, Some("R-704"));
    talk.say("alice", "bob");
    let says = "The byte behind the run is not zero.";
    talk.refused(
        files,
        &about(FAMILY, "run-and-padding", &["07 §2", "07 §4"], says),
        "R-704",
        "body",
    );
}

fn keys(files: &mut Files) {
    let mut bad = Kem::Kem768.generate(&[1; 64]);
    set_coefficient(&mut bad, 100, 3329);
    let tag = first(&h_ek(&bad));
    let (mut talk, mut forger) = waiting("key-modulus");
    give(&mut talk, &mut forger, &run(1, 1, &bad, tag, 0, 37), Some("R-602"));
    talk.say("alice", "bob");
    let says = "A whole key whose hash fits, with a coefficient that is the modulus.";
    talk.refused(files, &about(FAMILY, "key-modulus", &["06 §7"], says), "R-602", "body");

    let (mut talk, mut forger) = waiting("key-modulus-in-pieces");
    give(&mut talk, &mut forger, &run(1, 1, &bad, tag, 0, 36), None);
    give(&mut talk, &mut forger, &run(1, 1, &bad, tag, 36, 1), Some("R-602"));
    give(&mut talk, &mut forger, &run(1, 1, &bad, tag, 0, 3), None);
    talk.state("bob");
    let says = "The last block makes the key whole: only that message is refused.";
    talk.refused(files, &about(FAMILY, "key-modulus-in-pieces", &["06 §7"], says), "R-602", "body");

    let (mut talk, mut forger) = waiting("key-modulus-while-answering");
    let good = Kem::Kem768.generate(&[1; 64]);
    give(&mut talk, &mut forger, &run(1, 1, &good, first(&h_ek(&good)), 0, 37), None);
    talk.seal("bob", b"with a ciphertext");
    give(&mut talk, &mut forger, &run(1, 1, &bad, tag, 0, 37), Some("R-602"));
    talk.state("bob");
    let says = "The same while another key was answered.";
    talk.refused(
        files,
        &about(FAMILY, "key-modulus-while-answering", &["06 §5", "06 §7"], says),
        "R-602",
        "body",
    );

    // A rolled-back side whose epoch fell behind.
    let mut talk = Talk::new("epoch-fell-behind", Detail::Little);
    talk.begin();
    for number in 1..=4 {
        let (from, to) = if number % 2 == 1 { ("alice", "bob") } else { ("bob", "alice") };
        let envelope = talk.seal(from, b"m");
        if number == 1 {
            talk.receive(&envelope);
        } else {
            talk.open(to, &envelope);
        }
    }
    talk.copy("bob", "bob-old");
    talk.say("alice", "bob");
    talk.say("bob", "alice");
    talk.say("alice", "bob");
    let old = talk.seal("bob-old", b"another history");
    let step = json!({ "do": "open", "session": "alice", "envelope": old, "today": TODAY });
    talk.refuse("R-507", step);
    let says = "A side that was rolled back to the epoch before goes on in a chain that has ended.";
    talk.refused(files, &about(FAMILY, "rolled-back-epoch", &["05 §9"], says), "R-507", "header");

    // The tag of the raised epoch is of another ciphertext.
    let mut talk = Talk::new("raised-with-another-tag", Detail::Usual);
    talk.begin();
    talk.hello();
    talk.say("bob", "alice");
    talk.say("alice", "bob");
    talk.say("bob", "alice");
    assert!(matches!(talk.form("alice").phase, Phase::Secret { .. }));
    let Phase::Secret { ss, h_ek, h_ct } = talk.form("alice").phase else { panic!() };
    for (offset, flip) in [(1, true), (2, false)] {
        let mut forger = talk.forger("alice");
        let epoch = crate::trace::EpochSecret { epoch: forger.form.epoch + offset, ss, h_ek, h_ct };
        forger.begin(talk.stream.array(), Some(&epoch)).unwrap();
        let mut header = forger.header();
        header.tag[3] ^= u8::from(flip);
        let body = forge::body(b"forged", &[], 0, 1024);
        let bytes = forger.message(&talk.stream.array(), &header, &body).unwrap();
        talk.open_forged("bob", &bytes, Some("R-509"));
    }
    talk.say("alice", "bob");
    assert_eq!(talk.form("bob").epoch, 1);
    let says =
        "The next epoch with a tag that is not this ciphertext's, and the epoch after the next.";
    talk.refused(
        files,
        &about(FAMILY, "raised-with-another-tag", &["05 §6.2", "06 §6"], says),
        "R-509",
        "header",
    );

    // A secret of another ciphertext under the right tag: the body does not open.
    let mut talk = Talk::new("raised-with-another-secret", Detail::Usual);
    talk.begin();
    talk.hello();
    talk.say("bob", "alice");
    talk.say("alice", "bob");
    talk.say("bob", "alice");
    let Phase::Secret { h_ek, h_ct, .. } = talk.form("alice").phase else { panic!() };
    let epoch = crate::trace::EpochSecret { epoch: 1, ss: [9; 32], h_ek, h_ct };
    let mut forger = talk.forger("alice");
    forger.begin(talk.stream.array(), Some(&epoch)).unwrap();
    let header = forger.header();
    let body = forge::body(b"forged", &[], 0, 1024);
    let bytes = forger.message(&talk.stream.array(), &header, &body).unwrap();
    talk.open_forged("bob", &bytes, Some("R-513"));
    talk.say("alice", "bob");
    assert_eq!(talk.form("bob").epoch, 1);
    let says = "The right tag, but another secret in the step: the body does not open, and the epoch is not raised.";
    talk.refused(
        files,
        &about(FAMILY, "raised-with-another-secret", &["06 §6"], says),
        "R-513",
        "body",
    );
}

fn last_epoch(files: &mut Files) {
    let mut talk = Talk::new("last-epoch", Detail::Usual);
    talk.begin_confirmed();
    for (session, name) in [("alice", "alice-late"), ("bob", "bob-late")] {
        let mut form = talk.form(session);
        form.epoch = u32::MAX;
        form.tag = [0xaa; 8];
        if form.receiving.serial != 0 {
            form.receiving.epoch = u32::MAX;
            form.receiving.tag = [0xaa; 8];
        }
        talk.step(json!({ "do": "load", "session": name, "stored": hex(&form.write()) }));
    }
    for _ in 0..4 {
        talk.say("alice-late", "bob-late");
        talk.say("bob-late", "alice-late");
    }
    talk.state("alice-late");
    talk.state("bob-late");
    assert_eq!(talk.form("alice-late").epoch, u32::MAX);
    let says =
        "In the last epoch no run is written and none is raised; the double ratchet goes on.";
    talk.valid(files, &about(FAMILY, "last-epoch", &["06 §6"], says));

    let mut talk = Talk::new("behind-the-last-epoch", Detail::Usual);
    talk.begin_confirmed();
    for session in ["alice", "bob"] {
        let mut form = talk.form(session);
        (form.epoch, form.tag) = (u32::MAX, [0xaa; 8]);
        if form.receiving.serial != 0 {
            (form.receiving.epoch, form.receiving.tag) = (u32::MAX, [0xaa; 8]);
        }
        let name = format!("{session}-late");
        talk.step(json!({ "do": "load", "session": name, "stored": hex(&form.write()) }));
    }
    let Phase::Answering { ss, h_ek: old_key, ct, .. } = talk.form("bob-late").phase else {
        panic!()
    };
    let key = Kem::Kem768.generate(&[1; 64]);
    let mut raising = talk.forger("alice-late");
    let raised = EpochSecret { epoch: 0, ss, h_ek: old_key, h_ct: h_ct(&old_key, &ct) };
    let ratchet = talk.stream.array();
    raising.begin(ratchet, Some(&raised)).unwrap();
    let header = raising.header();
    let body = forge::body(b"forged", &[], 0, 1024);
    let bytes = raising.message(&talk.stream.array(), &header, &body).unwrap();
    talk.open_forged("bob-late", &bytes, Some("R-509"));
    let mut forger = talk.forger("alice-late");
    let ratchet = talk.stream.array();
    forger.begin(ratchet, None).unwrap();
    for epoch in [0, u32::MAX] {
        let header = forger.header();
        let run = run(1, epoch, &key, first(&h_ek(&key)), 0, 19);
        let body = forge::body(b"forged", &run, 0, 1024);
        let bytes = forger.message(&talk.stream.array(), &header, &body).unwrap();
        talk.open_forged("bob-late", &bytes, None);
        talk.state("bob-late");
    }
    let says = "Behind the last epoch nothing follows: a run for epoch 0 is passed over, and a header that raises to it is refused.";
    talk.refused(
        files,
        &about(FAMILY, "behind-the-last-epoch", &["05 §6.2", "06 §6"], says),
        "R-509",
        "header",
    );
}
