//! Family `ratchet`.

use serde_json::json;

use super::talk::{Detail, TODAY, Talk};
use super::{Files, about, put};
use crate::forge::{self, Forger};
use crate::trace::Header;
use crate::value::hex;

const FAMILY: &str = "ratchet";

pub(super) fn make(files: &mut Files) {
    order(files);
    lost(files);
    bounds(files);
    expiry(files);
    clocks(files);
    rolled_back(files);
    headers(files);
    chains(files);
    two_rules(files);
    gaps(files);
    last_numbers(files);
    bodies(files);
    largest(files);
    senders(files);
}

fn names(talk: &mut Talk, session: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| talk.seal(session, format!("text {number}").as_bytes())).collect()
}

fn order(files: &mut Files) {
    let mut talk = Talk::new("in-order", Detail::Full);
    talk.begin_confirmed();
    for _ in 0..2 {
        talk.say("alice", "bob");
    }
    talk.say("bob", "alice");
    talk.state("alice");
    talk.state("bob");
    let says = "Messages in order, in both directions.";
    talk.valid(files, &about(FAMILY, "in-order", &["05"], says));

    let mut talk = Talk::new("alternation", Detail::Usual);
    talk.begin_confirmed();
    for _ in 0..6 {
        talk.say("alice", "bob");
        talk.say("bob", "alice");
    }
    talk.state("alice");
    talk.state("bob");
    let says = "The sides take turns: every message begins a chain.";
    talk.valid(files, &about(FAMILY, "alternation", &["05 §3"], says));

    let mut talk = Talk::new("bursts", Detail::Usual);
    talk.begin_confirmed();
    for (from, to, count) in [("alice", "bob", 5), ("bob", "alice", 7), ("alice", "bob", 3)] {
        let envelopes = names(&mut talk, from, count);
        envelopes.iter().for_each(|envelope| talk.open(to, envelope));
    }
    talk.state("alice");
    talk.state("bob");
    let says = "Several messages in each direction.";
    talk.valid(files, &about(FAMILY, "bursts", &["05 §4"], says));

    let mut talk = Talk::new("out-of-order", Detail::Usual);
    talk.begin_confirmed();
    let envelopes = names(&mut talk, "alice", 6);
    for index in [3, 0, 5, 1] {
        talk.open("bob", &envelopes[index]);
    }
    talk.state("bob");
    for index in [4, 2] {
        talk.open("bob", &envelopes[index]);
    }
    talk.state("bob");
    talk.say("bob", "alice");
    let says = "The messages of a chain arrive in another order.";
    talk.valid(files, &about(FAMILY, "out-of-order", &["05 §6.1", "05 §6.4"], says));

    let mut talk = Talk::new("skipped-across-steps", Detail::Usual);
    talk.begin_confirmed();
    let first = names(&mut talk, "alice", 4);
    talk.open("bob", &first[1]);
    talk.say("bob", "alice");
    let second = names(&mut talk, "alice", 4);
    talk.open("bob", &second[2]);
    talk.say("bob", "alice");
    let third = names(&mut talk, "alice", 2);
    talk.open("bob", &third[1]);
    talk.state("bob");
    for envelope in [&first[3], &second[0], &first[0], &third[0], &second[3], &first[2], &second[1]]
    {
        talk.open("bob", envelope);
    }
    talk.state("bob");
    let says = "Messages of ended chains arrive late, across two steps.";
    talk.valid(files, &about(FAMILY, "skipped-across-steps", &["05 §6.2", "05 §6.3"], says));

    let mut talk = Talk::new("crossed", Detail::Usual);
    talk.begin_confirmed();
    for _ in 0..4 {
        let there = talk.seal("alice", b"there");
        let back = talk.seal("bob", b"back");
        talk.open("bob", &there);
        talk.open("alice", &back);
    }
    let says = "Both sides write before they read.";
    talk.valid(files, &about(FAMILY, "crossed", &["05 §3"], says));

    let mut talk = Talk::new("reload", Detail::Usual);
    talk.begin();
    talk.step(json!({ "do": "reload", "session": "alice" }));
    talk.hello();
    let late = talk.seal("alice", b"late");
    for _ in 0..8 {
        for session in ["alice", "bob"] {
            talk.step(json!({ "do": "reload", "session": session }));
        }
        talk.say("bob", "alice");
        talk.say("alice", "bob");
    }
    let step = talk.receive_step(&late);
    talk.step(step);
    let says = "Both sessions are stored and read again before every turn.";
    talk.valid(files, &about(FAMILY, "reloaded", &["10 §1"], says));
}

fn lost(files: &mut Files) {
    let mut talk = Talk::new("lost", Detail::Usual);
    talk.begin_confirmed();
    for round in 0..4 {
        let envelopes = names(&mut talk, "alice", 3);
        talk.open("bob", &envelopes[round % 3]);
        let envelopes = names(&mut talk, "bob", 2);
        talk.open("alice", &envelopes[round % 2]);
    }
    talk.state("alice");
    talk.state("bob");
    let says = "Most messages never arrive.";
    talk.valid(files, &about(FAMILY, "lost", &["05 §6"], says));

    let mut talk = Talk::new("lost-chain", Detail::Usual);
    talk.begin_confirmed();
    names(&mut talk, "bob", 2);
    talk.say("alice", "bob");
    names(&mut talk, "bob", 2);
    talk.say("alice", "bob");
    talk.say("bob", "alice");
    let says = "Whole chains are lost while the other side goes on in its own.";
    talk.valid(files, &about(FAMILY, "lost-chains", &["05 §6.2"], says));

    let mut talk = Talk::new("lost-first", Detail::Usual);
    talk.begin();
    let envelopes = names(&mut talk, "alice", 5);
    talk.receive(&envelopes[4]);
    talk.say("bob", "alice");
    talk.receive(&envelopes[0]);
    let says = "The first messages arrive late.";
    talk.valid(files, &about(FAMILY, "first-messages-late", &["05 §6.2"], says));
}

/// Alice's next messages, made without her session so that many of them need
/// no lines in the file.
struct Far {
    forger: Forger,
}

impl Far {
    fn new(talk: &mut Talk) -> Self {
        let mut forger = talk.forger("alice");
        let ratchet = talk.stream.array();
        forger.begin(ratchet, None).unwrap();
        Self { forger }
    }

    /// The message of this number; those before it are passed over.
    fn message(&mut self, talk: &mut Talk, number: u32) -> Vec<u8> {
        self.forger.skip(number - self.forger.form.sending.next).unwrap();
        let header = self.forger.header();
        let body = forge::body(b"far", &[], 0, 1024);
        self.forger.message(&talk.stream.array(), &header, &body).unwrap()
    }

    /// The message of this number and no other: the chain stays where it is.
    fn aside(&self, talk: &mut Talk, number: u32) -> Vec<u8> {
        Self { forger: Forger::new(self.forger.form.clone()) }.message(talk, number)
    }
}

fn bounds(files: &mut Files) {
    let mut talk = Talk::new("gap-2000", Detail::Usual);
    talk.begin_confirmed();
    let mut far = Far::new(&mut talk);
    let late = far.aside(&mut talk, 0);
    let last = far.aside(&mut talk, 1999);
    let message = far.message(&mut talk, 2000);
    talk.open_forged("bob", &message, None);
    talk.state("bob");
    talk.open_forged("bob", &last, None);
    talk.open_forged("bob", &late, None);
    let says = "Two thousand messages are missing, as many as may be.";
    talk.valid(files, &about(FAMILY, "gap-of-2000", &["05 §6.2"], says));

    let mut talk = Talk::new("oldest-skipped-keys", Detail::Usual);
    talk.begin_confirmed();
    let mut far = Far::new(&mut talk);
    let (dropped, kept) = (far.aside(&mut talk, 0), far.aside(&mut talk, 1));
    for number in [2000, 4001, 4003] {
        let message = far.message(&mut talk, number);
        talk.open_forged("bob", &message, None);
    }
    talk.state("bob");
    talk.open_forged("bob", &dropped, Some("R-512"));
    talk.open_forged("bob", &kept, None);
    let says = "There are 4,001 skipped keys: the first goes.";
    talk.refused(files, &about(FAMILY, "skipped-key-dropped", &["05 §7"], says), "R-512", "header");

    let mut talk = Talk::new("remembered", Detail::Little);
    talk.begin_confirmed();
    let envelopes = names(&mut talk, "alice", 34);
    for envelope in &envelopes {
        talk.open("bob", envelope);
    }
    talk.open_refused("bob", &envelopes[33], "R-511");
    talk.open_refused("bob", &envelopes[2], "R-511");
    talk.open_refused("bob", &envelopes[1], "R-512");
    talk.state("bob");
    let says = "A repeat is known as one among the last 32 positions; behind them its key is gone.";
    talk.refused(files, &about(FAMILY, "repeat-forgotten", &["05 §6.4"], says), "R-512", "header");

    let mut talk = Talk::new("duplicate", Detail::Usual);
    talk.begin_confirmed();
    let envelopes = names(&mut talk, "alice", 3);
    talk.open("bob", &envelopes[2]);
    talk.open_refused("bob", &envelopes[2], "R-511");
    talk.open("bob", &envelopes[0]);
    talk.open_refused("bob", &envelopes[0], "R-511");
    talk.say("bob", "alice");
    talk.say("alice", "bob");
    talk.open_refused("bob", &envelopes[2], "R-511");
    talk.open("bob", &envelopes[1]);
    let says =
        "A message comes again: in its chain, after it was late, and after its chain has ended.";
    talk.refused(files, &about(FAMILY, "repeat", &["05 §6.4"], says), "R-511", "header");

    let mut talk = Talk::new("old-chains", Detail::Usual);
    talk.begin_confirmed();
    let mut late = Vec::new();
    for _ in 0..10 {
        let envelopes = names(&mut talk, "alice", 2);
        talk.open("bob", &envelopes[1]);
        late.push(envelopes[0].clone());
        talk.say("bob", "alice");
    }
    talk.state("bob");
    talk.open_refused("bob", &late[0], "R-501");
    talk.open("bob", &late[1]);
    talk.open("bob", &late[9]);
    let says = "Eight old chains are kept. With the ninth the oldest goes, and the skipped keys that only its header key could name.";
    talk.refused(
        files,
        &about(FAMILY, "old-chain-dropped", &["05 §6", "05 §7"], says),
        "R-501",
        "header",
    );
}

fn expiry(files: &mut Files) {
    let mut talk = Talk::new("expiry", Detail::Usual);
    talk.begin_confirmed();
    let first = names(&mut talk, "alice", 3);
    talk.open("bob", &first[2]);
    talk.day(TODAY + 30);
    talk.open("bob", &first[0]);
    talk.day(TODAY + 31);
    talk.open_refused("bob", &first[1], "R-512");
    talk.day(TODAY + 30);
    talk.open("bob", &first[1]);
    let says = "A skipped key serves for thirty days, and not on the next. A refusal changes nothing, so that a clock that went back finds it again.";
    talk.refused(
        files,
        &about(FAMILY, "skipped-key-expired", &["05 §6.4", "05 §7"], says),
        "R-512",
        "header",
    );

    let mut talk = Talk::new("chain-expiry", Detail::Usual);
    talk.begin_confirmed();
    let first = names(&mut talk, "alice", 2);
    talk.open("bob", &first[1]);
    talk.say("bob", "alice");
    talk.day(TODAY + 5);
    let second = names(&mut talk, "alice", 2);
    talk.open("bob", &second[1]);
    talk.day(TODAY + 36);
    talk.open_refused("bob", &first[0], "R-501");
    talk.open_refused("bob", &second[0], "R-512");
    talk.open_refused("bob", &first[1], "R-501");
    let third = talk.seal("alice", b"third");
    talk.open("bob", &third);
    talk.state("bob");
    let says = "An old chain is tried for thirty days after its end. The next message drops what has expired.";
    talk.refused(
        files,
        &about(FAMILY, "old-chain-expired", &["05 §6", "05 §7"], says),
        "R-501",
        "header",
    );

    let mut talk = Talk::new("daily", Detail::Usual);
    talk.begin_confirmed();
    let first = names(&mut talk, "alice", 2);
    talk.open("bob", &first[1]);
    for (day, session) in [(TODAY + 30, "bob"), (TODAY + 31, "bob")] {
        talk.step(json!({ "do": "expire", "session": session, "today": day }));
        talk.state(session);
    }
    talk.open_refused("bob", &first[0], "R-512");
    talk.say("bob", "alice");
    talk.say("alice", "bob");
    let says = "The daily look drops what has expired, for good: a clock that goes back brings nothing again.";
    talk.refused(files, &about(FAMILY, "daily-look", &["05 §7"], says), "R-512", "header");
}

/// Days that do not follow each other, and the last ones.
fn clocks(files: &mut Files) {
    let mut talk = Talk::new("days-out-of-order", Detail::Usual);
    talk.begin_confirmed();
    let round = |talk: &mut Talk, day: u32| {
        talk.day(day);
        let envelopes = names(talk, "alice", 2);
        talk.open("bob", &envelopes[1]);
        talk.say("bob", "alice");
        envelopes[0].clone()
    };
    let first = round(&mut talk, TODAY + 10);
    let second = round(&mut talk, TODAY + 10);
    let third = round(&mut talk, TODAY);
    round(&mut talk, TODAY + 31);
    talk.state("bob");
    talk.open("bob", &first);
    talk.open_refused("bob", &second, "R-501");
    talk.open_refused("bob", &third, "R-512");
    let form = talk.form("bob");
    let lone = |serial: u32| form.old.iter().all(|old| old.serial != serial);
    assert!(form.skipped.iter().any(|key| key.0 != form.receiving.serial && lone(key.0)));
    let says = "The clock went back in between: what has expired is dropped wherever it stands, and the chain that expires takes no key of another day with it.";
    talk.refused(files, &about(FAMILY, "days-out-of-order", &["05 §6"], says), "R-512", "header");

    let mut talk = Talk::new("expired-before-the-bound", Detail::Usual);
    talk.begin_confirmed();
    let days = [TODAY + 10; 8].into_iter().chain([TODAY, TODAY + 31]);
    let late: Vec<String> = days.map(|day| round(&mut talk, day)).collect();
    talk.state("bob");
    assert_eq!(talk.form("bob").old.len(), 8);
    talk.open("bob", &late[0]);
    let says =
        "A ninth old chain while one of the eight has expired: that one goes, and not the first.";
    talk.valid(files, &about(FAMILY, "old-chain-expired-before-the-bound", &["05 §6"], says));

    let mut talk = Talk::new("last-days", Detail::Usual);
    talk.begin_confirmed();
    talk.day(u32::MAX - 10);
    let envelopes = names(&mut talk, "alice", 3);
    talk.open("bob", &envelopes[2]);
    talk.day(u32::MAX);
    talk.step(json!({ "do": "expire", "session": "bob", "today": u32::MAX }));
    talk.state("bob");
    talk.open("bob", &envelopes[1]);
    talk.say("bob", "alice");
    talk.say("alice", "bob");
    talk.open("bob", &envelopes[0]);
    talk.state("bob");
    let says = "Within thirty days of the last day the sum stays there: nothing expires.";
    talk.valid(files, &about(FAMILY, "last-days", &["01 §5", "05 §7"], says));
}

fn rolled_back(files: &mut Files) {
    let mut talk = Talk::new("rolled-back-same-position", Detail::Usual);
    talk.begin_confirmed();
    talk.say("alice", "bob");
    talk.copy("alice", "alice-old");
    let new = talk.seal("alice", b"one history");
    let old = talk.seal("alice-old", b"another history");
    talk.open("bob", &new);
    talk.open_refused("bob", &old, "R-505");
    talk.say("alice", "bob");
    let says = "A rolled-back sender seals at a position that was received: another nonce, so another header.";
    talk.refused(
        files,
        &about(FAMILY, "rolled-back-at-a-received-position", &["05 §9"], says),
        "R-505",
        "header",
    );

    let mut talk = Talk::new("rolled-back-key", Detail::Usual);
    talk.begin_confirmed();
    talk.copy("alice", "alice-old");
    let new = talk.seal("alice", b"one history");
    let old = talk.seal("alice-old", b"another history");
    talk.open("bob", &new);
    talk.open_refused("bob", &old, "R-504");
    talk.say("bob", "alice");
    talk.say("alice", "bob");
    talk.open_refused("bob", &old, "R-504");
    talk.say("alice", "bob");
    let says = "A rolled-back sender begins a chain again, with another ratchet key: in the current chain, and in one that has ended.";
    talk.refused(
        files,
        &about(FAMILY, "rolled-back-begins-a-chain-again", &["05 §9"], says),
        "R-504",
        "header",
    );

    let mut talk = Talk::new("rolled-back-end", Detail::Usual);
    talk.begin_confirmed();
    talk.say("alice", "bob");
    talk.copy("alice", "alice-old");
    talk.say("bob", "alice");
    talk.say("alice", "bob");
    let old = talk.seal("alice-old", b"another history");
    talk.open_refused("bob", &old, "R-507");
    talk.say("alice", "bob");
    let says = "A rolled-back sender goes on in a chain that has ended.";
    talk.refused(
        files,
        &about(FAMILY, "rolled-back-beyond-the-end", &["05 §9"], says),
        "R-507",
        "header",
    );

    let mut talk = Talk::new("rolled-back-receiver", Detail::Usual);
    talk.begin_confirmed();
    talk.copy("bob", "bob-old");
    for _ in 0..2 {
        talk.say("alice", "bob");
        talk.say("bob", "alice");
    }
    let next = talk.seal("alice", b"next");
    talk.open_refused("bob-old", &next, "R-501");
    talk.open("bob", &next);
    let says = "The receiver was rolled back: it has no header key for the new chain.";
    talk.refused(
        files,
        &about(FAMILY, "rolled-back-receiver", &["05 §9"], says),
        "R-501",
        "header",
    );

    let mut talk = Talk::new("rolled-back-unreceived", Detail::Usual);
    talk.begin_confirmed();
    talk.say("alice", "bob");
    talk.copy("alice", "alice-old");
    let new = talk.seal("alice", b"one history");
    let old = talk.seal("alice-old", b"another history");
    let older = talk.seal("alice-old", b"and on");
    talk.open("bob", &old);
    talk.open("bob", &older);
    talk.open_refused("bob", &new, "R-505");
    let says = "Of two envelopes at one position the first that arrives is accepted.";
    talk.refused(
        files,
        &about(FAMILY, "rolled-back-first-wins", &["05 §9"], says),
        "R-505",
        "header",
    );
}

/// A scene in which Bob has a receiving chain of Alice's, and Alice's forger
/// stands behind her last message.
fn scene(name: &str) -> (Talk, Forger) {
    let mut talk = Talk::new(name, Detail::Usual);
    talk.begin_confirmed();
    talk.say("alice", "bob");
    let forger = talk.forger("alice");
    (talk, forger)
}

/// The same, before a new chain of Alice's.
fn turned(name: &str) -> (Talk, Forger) {
    let (mut talk, _) = scene(name);
    talk.say("bob", "alice");
    let forger = talk.forger("alice");
    (talk, forger)
}

fn plain() -> Vec<u8> {
    forge::body(b"forged", &[], 0, 1024)
}

/// Forges one message, which is refused; an honest one follows.
fn refuse(
    files: &mut Files,
    (name, rule, stage): (&str, &str, &str),
    (spec, says): (&str, &str),
    (mut talk, mut forger): (Talk, Forger),
    edit: impl FnOnce(&mut Header),
) {
    let mut header = forger.header();
    edit(&mut header);
    let bytes = forger.message(&talk.stream.array(), &header, &plain()).unwrap();
    talk.open_forged("bob", &bytes, Some(rule));
    talk.say("alice", "bob");
    talk.refused(files, &about(FAMILY, name, &[spec], says), rule, stage);
}

fn headers(files: &mut Files) {
    let (mut talk, mut forger) = scene("without-defect");
    let header = forger.header();
    let bytes = forger.message(&talk.stream.array(), &header, &plain()).unwrap();
    talk.open_forged("bob", &bytes, None);
    let says = "What the refused envelopes of this family are made like, without a defect.";
    talk.valid(files, &about(FAMILY, "without-defect", &["05 §6"], says));

    let step1 = "05 §6.1";
    for flags in [1, 0x80] {
        let name = format!("flags-{flags}");
        refuse(
            files,
            (&name, "R-502", "header"),
            ("05 §6", "A flag that this version does not know."),
            scene(&name),
            |h| h.flags = flags,
        );
    }
    refuse(
        files,
        ("current-chain-other-key", "R-504", "header"),
        (step1, "Another ratchet key in the same chain."),
        scene("current-key"),
        |h| h.key[0] ^= 1,
    );
    refuse(
        files,
        ("current-chain-other-previous", "R-504", "header"),
        (step1, "Another length of the previous chain."),
        scene("current-previous"),
        |h| h.previous += 1,
    );
    refuse(
        files,
        ("current-chain-other-epoch", "R-504", "header"),
        (step1, "Another epoch in the same chain."),
        scene("current-epoch"),
        |h| h.epoch += 1,
    );
    refuse(
        files,
        ("current-chain-other-tag", "R-504", "header"),
        (step1, "Another epoch tag in the same chain."),
        scene("current-tag"),
        |h| h.tag[7] ^= 1,
    );
    refuse(
        files,
        ("flags-before-chain", "R-502", "header"),
        ("05 §6", "Flags are looked at before what the chain says."),
        scene("flags-first"),
        |h| {
            h.flags = 1;
            h.key[0] ^= 1;
        },
    );

    for (name, at, says) in [
        ("altered-nonce", 0, "A bit of the nonce is changed."),
        ("altered-header", 12, "A bit of the sealed header is changed."),
        ("altered-header-tag", 80, "A bit of the header's tag is changed."),
    ] {
        let (mut talk, _) = scene(name);
        let envelope = talk.seal("alice", b"text");
        let altered = talk.name();
        talk.step(
            json!({ "do": "edit", "envelope": altered, "of": envelope, "xor": "01", "at": at }),
        );
        talk.open_refused("bob", &altered, "R-501");
        talk.open("bob", &envelope);
        talk.refused(files, &about(FAMILY, name, &["05 §6"], says), "R-501", "header");
    }
    for (name, at, says) in [
        ("altered-body", 81, "The first bit of the body is changed."),
        ("altered-body-tag", 1023, "A bit of the body's tag is changed."),
    ] {
        let (mut talk, _) = scene(name);
        let envelope = talk.seal("alice", b"text");
        let altered = talk.name();
        talk.step(
            json!({ "do": "edit", "envelope": altered, "of": envelope, "xor": "80", "at": at }),
        );
        talk.open_refused("bob", &altered, "R-513");
        talk.open("bob", &envelope);
        // A body can be altered by anybody: that is no sign of a rollback.
        talk.open_refused("bob", &altered, "R-511");
        talk.say("alice", "bob");
        let says =
            format!("{says} After the honest one it is a repeat, since anybody can alter a body.");
        let about = about(FAMILY, name, &["05 §6", "05 §7"], &says);
        talk.refused(files, &about, "R-511", "header");
    }
    let (mut talk, _) = turned("altered-body-of-a-new-chain");
    let envelope = talk.seal("alice", b"text");
    let altered = talk.name();
    talk.step(json!({ "do": "edit", "envelope": altered, "of": envelope, "xor": "80", "at": 500 }));
    talk.open_refused("bob", &altered, "R-513");
    talk.state("bob");
    talk.open("bob", &envelope);
    let says = "A body that does not open undoes the step that its header began.";
    talk.refused(
        files,
        &about(FAMILY, "altered-body-of-a-new-chain", &["05 §6"], says),
        "R-513",
        "body",
    );

    let mut talk = Talk::new("other-session", Detail::Usual);
    talk.begin_confirmed();
    let foreign = {
        let mut other = Talk::new("another-session", Detail::Usual);
        other.begin_confirmed();
        let name = other.seal("alice", b"not for you");
        other.world.envelope(&name).unwrap().to_vec()
    };
    talk.open_forged("bob", &foreign, Some("R-501"));
    let own = talk.seal("bob", b"one's own");
    talk.open_refused("bob", &own, "R-501");
    for length in [1024, 2048, 65_536, 1668, 4132] {
        let step = json!({
            "do": "open", "session": "bob", "today": TODAY,
            "bytes": { "stream": hex(&[4; 32]), "length": length },
        });
        talk.refuse("R-501", step);
    }
    let says = "An envelope of another session, one's own, and junk.";
    talk.refused(
        files,
        &about(FAMILY, "not-for-this-session", &["05 §6"], says),
        "R-501",
        "header",
    );
}

fn chains(files: &mut Files) {
    let step2 = "05 §6.2";
    let begin = |talk: &mut Talk, forger: &mut Forger| {
        forger.begin(talk.stream.array(), None).unwrap();
    };
    let chain = |name: &str| {
        let (mut talk, mut forger) = turned(name);
        begin(&mut talk, &mut forger);
        (talk, forger)
    };
    let mut top = [0; 32];
    (top[0], top[31]) = (9, 0x80);
    refuse(
        files,
        ("new-chain-key-not-canonical", "R-503", "header"),
        (step2, "The ratchet key is not canonical."),
        chain("chain-key"),
        |h| h.key = top,
    );
    refuse(
        files,
        ("new-chain-key-low-order", "R-503", "exchange"),
        (step2, "The ratchet key has low order."),
        chain("chain-low"),
        |h| h.key = [0; 32],
    );
    refuse(
        files,
        ("new-chain-previous-too-short", "R-506", "header"),
        (step2, "The previous chain was shorter, it says, than what was received of it."),
        chain("chain-short"),
        |h| h.previous -= 1,
    );
    refuse(
        files,
        ("new-chain-other-tag", "R-509", "header"),
        (step2, "An epoch tag that is not the current one."),
        chain("chain-tag"),
        |h| h.tag[0] ^= 1,
    );
    refuse(
        files,
        ("new-chain-epoch-too-high", "R-509", "header"),
        (step2, "An epoch that can't follow."),
        chain("chain-epoch"),
        |h| h.epoch += 2,
    );
    refuse(
        files,
        ("new-chain-next-epoch", "R-509", "header"),
        (step2, "The next epoch, which nobody has a secret for."),
        chain("chain-next-epoch"),
        |h| h.epoch += 1,
    );
    refuse(
        files,
        ("new-chain-previous-largest", "R-514", "header"),
        (step2, "A length that no chain has."),
        chain("chain-previous-largest"),
        |h| h.previous = u32::MAX,
    );
    refuse(
        files,
        ("new-chain-number-largest", "R-514", "header"),
        (step2, "A number that no message has."),
        chain("chain-number-largest"),
        |h| h.number = u32::MAX,
    );
    refuse(
        files,
        ("current-chain-number-largest", "R-514", "header"),
        ("05 §6.1", "A number that no message has."),
        scene("number-largest"),
        |h| h.number = u32::MAX,
    );

    let (talk, mut forger) = turned("chain-same-key");
    let same = forger.form.own;
    forger.begin(same, None).unwrap();
    refuse(
        files,
        ("new-chain-same-key", "R-508", "header"),
        (step2, "The ratchet key of the chain before."),
        (talk, forger),
        |_| (),
    );

    // An old chain: Bob has received a new one.
    let old = |name: &str| {
        let (mut talk, forger) = scene(name);
        talk.say("bob", "alice");
        talk.say("alice", "bob");
        (talk, forger)
    };
    let step3 = "05 §6.3";
    refuse(
        files,
        ("old-chain-at-the-end", "R-507", "header"),
        (step3, "The number that would have been the next when the chain ended."),
        old("old-end"),
        |_| (),
    );
    refuse(
        files,
        ("old-chain-beyond-the-end", "R-507", "header"),
        (step3, "A number far behind the end."),
        old("old-beyond"),
        |h| h.number = u32::MAX,
    );
    refuse(
        files,
        ("old-chain-other-key", "R-504", "header"),
        (step3, "Another ratchet key under the header key of an old chain."),
        old("old-key"),
        |h| h.key[5] ^= 1,
    );
    refuse(
        files,
        ("old-chain-other-previous", "R-504", "header"),
        (step3, "Another length under the header key of an old chain."),
        old("old-previous"),
        |h| h.previous += 1,
    );
    refuse(
        files,
        ("old-chain-other-epoch", "R-504", "header"),
        (step3, "Another epoch under the header key of an old chain."),
        old("old-epoch"),
        |h| h.epoch += 1,
    );
    refuse(
        files,
        ("old-chain-other-tag", "R-504", "header"),
        (step3, "Another epoch tag under the header key of an old chain."),
        old("old-tag"),
        |h| h.tag[1] ^= 1,
    );

    // The first chain of all.
    for (name, rule, says, edit) in [
        (
            "first-chain-previous-1",
            "R-506",
            "There was a chain before, it says, where nothing was received.",
            (|h: &mut Header| h.previous = 1) as fn(&mut Header),
        ),
        (
            "first-chain-previous-largest",
            "R-506",
            "As before; the comparison with what was received comes first.",
            |h| h.previous = u32::MAX,
        ),
        ("first-chain-epoch-1", "R-509", "The first chain is of epoch 0.", |h| h.epoch = 1),
        (
            "first-chain-gap",
            "R-510",
            "More than two thousand messages are missing before the first that arrives.",
            |h| h.number = 2001,
        ),
        ("first-chain-flags", "R-502", "A flag in the first header.", |h| h.flags = 2),
    ] {
        let mut talk = Talk::new(name, Detail::Usual);
        talk.begin();
        let mut forger = talk.forger("alice");
        forger.begin(talk.stream.array(), None).unwrap();
        let mut header = forger.header();
        edit(&mut header);
        let body = forge::body(b"forged", &[], 2428, 4096);
        let bytes = forger.message(&talk.stream.array(), &header, &body).unwrap();
        let mut step = talk.receive_step("");
        step.as_object_mut().unwrap().remove("envelope");
        put(&mut step, "bytes", hex(&bytes));
        talk.refuse(rule, step);
        talk.hello();
        talk.say("bob", "alice");
        talk.refused(files, &about(FAMILY, name, &[step2, "04 §6"], says), rule, "header");
    }
    let (mut talk, _) = scene("serial-exhausted");
    talk.say("bob", "alice");
    let mut form = talk.form("bob");
    form.receiving.serial = u32::MAX;
    form.old.clear();
    form.positions.clear();
    form.skipped.clear();
    talk.step(json!({ "do": "load", "session": "bob-late", "stored": hex(&form.write()) }));
    let envelope = talk.seal("alice", b"one chain too many");
    talk.open_refused("bob-late", &envelope, "R-514");
    talk.open("bob", &envelope);
    let says = "The receiving chain has the last serial number: no further one can be counted.";
    talk.refused(files, &about(FAMILY, "serial-exhausted", &["05 §8"], says), "R-514", "header");
}

/// Headers that break two rules at once: the order of the steps decides.
fn two_rules(files: &mut Files) {
    type Edit = fn(&mut Header);
    let chain = |name: &str| {
        let (mut talk, mut forger) = turned(name);
        let ratchet = talk.stream.array();
        forger.begin(ratchet, None).unwrap();
        (talk, forger)
    };
    let cases: [(&str, &str, &str, Edit); 9] = [
        (
            "order-flags-before-the-key",
            "R-502",
            "An unknown flag and a key that is not canonical.",
            |h| (h.flags, h.key) = (1, [0xff; 32]),
        ),
        (
            "order-key-before-previous",
            "R-503",
            "A key that is not canonical and a previous chain that was shorter than what was received.",
            |h| (h.previous, h.key) = (h.previous - 1, [0xff; 32]),
        ),
        (
            "order-previous-too-short-before-number",
            "R-506",
            "A previous chain that was shorter than what was received, and a number that no message has.",
            |h| (h.previous, h.number) = (h.previous - 1, u32::MAX),
        ),
        (
            "order-previous-largest-before-number",
            "R-514",
            "A length that no chain has, and 2,001 messages missing.",
            |h| (h.previous, h.number) = (u32::MAX, 2001),
        ),
        (
            "order-gap-of-previous-before-number",
            "R-510",
            "2,001 messages missing of the previous chain, and a number that no message has.",
            |h| (h.previous, h.number) = (h.previous + 2001, u32::MAX),
        ),
        (
            "order-number-before-epoch",
            "R-514",
            "A number that no message has, and an epoch that can't follow.",
            |h| (h.number, h.epoch) = (u32::MAX, h.epoch + 2),
        ),
        (
            "order-gap-before-epoch",
            "R-510",
            "2,001 messages missing, and an epoch that can't follow.",
            |h| (h.number, h.epoch) = (2001, h.epoch + 2),
        ),
        (
            "order-epoch-before-exchange",
            "R-509",
            "An epoch tag that is not the current one, and a key of low order.",
            |h| (h.tag[0], h.key) = (h.tag[0] ^ 1, [0; 32]),
        ),
        (
            "order-previous-too-short-before-epoch",
            "R-506",
            "A previous chain that was shorter than what was received, and an epoch that can't follow.",
            |h| (h.previous, h.epoch) = (0, h.epoch + 2),
        ),
    ];
    for (name, rule, says, edit) in cases {
        refuse(files, (name, rule, "header"), ("05 §6.2", says), chain(name), edit);
    }
    refuse(
        files,
        ("order-constants-before-number", "R-504", "header"),
        ("05 §6.1", "Another ratchet key in the same chain, and a number that no message has."),
        scene("order-constants"),
        |h| (h.key[0], h.number) = (h.key[0] ^ 1, u32::MAX),
    );

    let name = "order-same-key-before-previous";
    let (talk, mut forger) = turned(name);
    let same = forger.form.own;
    forger.begin(same, None).unwrap();
    refuse(
        files,
        (name, "R-508", "header"),
        ("05 §6.2", "The ratchet key of the chain before, and a length that no chain has."),
        (talk, forger),
        |h| h.previous = u32::MAX,
    );

    let (mut talk, mut forger) = chain("order-serial");
    let mut form = talk.form("bob");
    form.receiving.serial = u32::MAX;
    form.old.clear();
    form.positions.clear();
    form.skipped.clear();
    talk.step(json!({ "do": "load", "session": "bob-late", "stored": hex(&form.write()) }));
    let mut header = forger.header();
    header.previous -= 1;
    let bytes = forger.message(&talk.stream.array(), &header, &plain()).unwrap();
    talk.open_forged("bob", &bytes, Some("R-506"));
    talk.open_forged("bob-late", &bytes, Some("R-514"));
    talk.say("alice", "bob");
    let says =
        "The last serial number, and a previous chain that was shorter than what was received.";
    talk.refused(
        files,
        &about(FAMILY, "order-serial-before-previous", &["05 §6.2"], says),
        "R-514",
        "header",
    );
}

/// The end of a chain's numbers, as a receiver sees it.
fn last_numbers(files: &mut Files) {
    let (mut talk, mut forger) = scene("last-number");
    let mut form = talk.form("bob");
    form.receiving.next = u32::MAX - 1;
    talk.step(json!({ "do": "load", "session": "bob-late", "stored": hex(&form.write()) }));
    for (number, rule) in [(u32::MAX - 1, None), (u32::MAX, Some("R-514"))] {
        let mut header = forger.header();
        header.number = number;
        let bytes = forger.message(&talk.stream.array(), &header, &plain()).unwrap();
        talk.open_forged("bob-late", &bytes, rule);
        talk.state("bob-late");
    }
    let says = "The number 2^32 - 2, which nobody sends, is a position like any other; behind it the chain can't go on.";
    talk.refused(
        files,
        &about(FAMILY, "number-behind-the-last", &["05 §4", "05 §6.1"], says),
        "R-514",
        "header",
    );
}

/// Contents that no sender seals, in the largest bucket.
fn largest(files: &mut Files) {
    let (mut talk, mut forger) = scene("no-bucket");
    for (length, rule) in [(65_309, None), (65_310, Some("R-703"))] {
        let body = forge::body(&vec![7; length], &[], 0, 65_536);
        let header = forger.header();
        let bytes = forger.message(&talk.stream.array(), &header, &body).unwrap();
        talk.open_forged("bob", &bytes, rule);
    }
    talk.state("bob");
    let says = "A receiver accepts what a bucket holds beside 128 bytes, and nothing for which no bucket is large enough.";
    talk.refused(
        files,
        &about(FAMILY, "content-without-a-bucket", &["07 §3", "07 §4"], says),
        "R-703",
        "body",
    );
}

fn gaps(files: &mut Files) {
    let chain = |name: &str| {
        let (mut talk, mut forger) = turned(name);
        let ratchet = talk.stream.array();
        forger.begin(ratchet, None).unwrap();
        (talk, forger)
    };
    refuse(
        files,
        ("gap-current-chain", "R-510", "header"),
        ("05 §6.1", "2,001 messages are missing in the current chain."),
        scene("gap-current"),
        |h| h.number += 2001,
    );
    refuse(
        files,
        ("gap-new-chain", "R-510", "header"),
        ("05 §6.2", "2,001 messages are missing at the beginning of a new chain."),
        chain("gap-new"),
        |h| h.number = 2001,
    );
    refuse(
        files,
        ("gap-previous-chain", "R-510", "header"),
        ("05 §6.2", "2,001 messages are missing at the end of the previous chain."),
        chain("gap-previous"),
        |h| h.previous += 2001,
    );
    refuse(
        files,
        ("gap-of-four-thousand-million", "R-510", "header"),
        ("05 §6.1", "No work is done for a number that is far ahead."),
        scene("gap-largest"),
        |h| h.number = u32::MAX - 2,
    );
}

fn bodies(files: &mut Files) {
    let spec = &["07 §4"];
    let mut refuse = |name: &str, rule: &str, says: &str, body: Vec<u8>| {
        let (mut talk, mut forger) = scene(name);
        let header = forger.header();
        let bytes = forger.message(&talk.stream.array(), &header, &body).unwrap();
        talk.open_forged("bob", &bytes, Some(rule));
        talk.say("alice", "bob");
        talk.refused(files, &about(FAMILY, name, spec, says), rule, "body");
    };
    let with = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut body = plain();
        edit(&mut body);
        body
    };
    refuse(
        "content-beyond-the-body",
        "R-702",
        "The content's length goes beyond the body.",
        with(&|b| b[..2].copy_from_slice(&[0xff, 0xff])),
    );
    refuse(
        "content-beyond-by-one",
        "R-702",
        "The content's length is one too high for the body.",
        with(&|b| b[..2].copy_from_slice(&926u16.to_be_bytes())),
    );
    refuse(
        "bucket-too-large",
        "R-703",
        "The content would fit a smaller bucket.",
        forge::body(b"short", &[], 0, 2048),
    );
    refuse(
        "bucket-too-large-by-one",
        "R-703",
        "The largest content of the smaller bucket.",
        forge::body(&[7; 797], &[], 0, 2048),
    );
    refuse(
        "bucket-too-small",
        "R-703",
        "The content leaves fewer than 128 bytes.",
        forge::body(&[7; 798], &[], 0, 1024),
    );
    refuse(
        "bucket-without-room",
        "R-703",
        "The content fills the body.",
        forge::body(&[7; 925], &[], 0, 1024),
    );
    refuse(
        "padding-behind-the-content",
        "R-601",
        "Behind the content stands a byte that is no kind of a run.",
        with(&|b| b[8] = 3),
    );
    refuse(
        "padding-second-byte",
        "R-704",
        "The second byte behind the content is not zero.",
        with(&|b| b[9] = 1),
    );
    refuse(
        "padding-last",
        "R-704",
        "The last byte of the padding is not zero.",
        with(&|b| *b.last_mut().unwrap() = 0x80),
    );

    for (name, length) in [
        ("length-empty", 0),
        ("length-short", 36),
        ("length-1000", 1000),
        ("length-1025", 1025),
        ("length-3000", 3000),
        ("length-long", 131_072),
    ] {
        let (mut talk, _) = scene(name);
        let bytes = json!({ "stream": hex(&[5; 32]), "length": length });
        let bytes = if length == 0 { json!("") } else { bytes };
        let step = json!({ "do": "open", "session": "bob", "today": TODAY, "bytes": bytes });
        talk.refuse("R-701", step);
        talk.say("alice", "bob");
        let says = "A length that no ratchet part has.";
        talk.refused(files, &about(FAMILY, name, spec, says), "R-701", "read");
    }
}

fn senders(files: &mut Files) {
    let mut talk = Talk::new("content-too-long", Detail::Usual);
    talk.begin_confirmed();
    for count in [61_250, 65_535, 65_536] {
        let step = json!({
            "do": "seal", "session": "alice", "envelope": "long",
            "content": { "repeat": "00", "count": count }, "draws": [],
        });
        talk.refuse("R-705", step);
    }
    talk.say("alice", "bob");
    let says = "Content above the largest is refused, and nothing is drawn for it.";
    talk.refused(files, &about(FAMILY, "content-too-long", &["07 §3"], says), "R-705", "make");

    let mut talk = Talk::new("nothing-received", Detail::Usual);
    talk.begin();
    let hello = talk.seal("alice", b"hello");
    talk.copy("alice", "copy");
    let result = talk.receive(&hello);
    assert_eq!(result["outcome"], "accepted");
    let handshake = &result["intermediate"]["handshake"];
    let part = |name: &str| {
        crate::value::unhex(handshake[name].as_str().unwrap()).unwrap().try_into().unwrap()
    };
    let id = talk.form("bob").id;
    let mut form = crate::conversation::fresh(1, id, part("root"));
    (form.next_sending, form.next_receiving, form.own) = (part("hk_b"), part("hk_a"), [8; 32]);
    talk.step(json!({ "do": "load", "session": "bob-before", "stored": hex(&form.write()) }));
    let step = json!({
        "do": "seal", "session": "bob-before", "envelope": "none", "draws": [],
        "content": { "repeat": "00", "count": 61_250 },
    });
    talk.refuse("R-705", step);
    let step = json!({
        "do": "seal", "session": "bob-before", "envelope": "none", "content": "00", "draws": [],
    });
    talk.refuse("R-515", step);
    talk.say("bob", "alice");
    let says = "A responder that has received nothing has no chain to send on: a state that no conversation leaves behind. Content that is too long is refused before that.";
    talk.refused(files, &about(FAMILY, "nothing-received", &["05 §5"], says), "R-515", "make");

    let mut talk = Talk::new("chain-exhausted", Detail::Usual);
    talk.begin_confirmed();
    talk.say("alice", "bob");
    let nonce = json!([{ "name": "envelope-random", "value": hex(&[6; 12]) }]);
    for (next, session) in [(u32::MAX - 2, "last"), (u32::MAX - 1, "exhausted")] {
        let mut form = talk.form("alice");
        form.sending.next = next;
        talk.step(json!({ "do": "load", "session": session, "stored": hex(&form.write()) }));
    }
    talk.step(json!({
        "do": "seal", "session": "last", "envelope": "last", "content": "00",
    }));
    for session in ["last", "exhausted"] {
        let step = json!({
            "do": "seal", "session": session, "envelope": "none", "content": "00", "draws": nonce,
        });
        talk.refuse("R-514", step);
    }
    let says = "The last number of a chain is 2^32 - 3; behind it the chain can't go on.";
    talk.refused(
        files,
        &about(FAMILY, "chain-exhausted", &["05 §4", "05 §5"], says),
        "R-514",
        "make",
    );

    let mut talk = Talk::new("sender-low-order", Detail::Usual);
    talk.begin_confirmed();
    talk.say("alice", "bob");
    let mut form = talk.form("bob");
    assert_eq!(form.sending_due, 1);
    form.remote = Some([0; 32]);
    talk.step(json!({ "do": "load", "session": "bob-low", "stored": hex(&form.write()) }));
    let draws = json!([
        { "name": "ratchet-key", "value": hex(&[7; 32]) },
        { "name": "envelope-random", "value": hex(&[6; 12]) },
    ]);
    let step = json!({
        "do": "seal", "session": "bob-low", "envelope": "none", "content": "00", "draws": draws,
    });
    talk.refuse("R-503", step);
    talk.say("bob", "alice");
    let says =
        "A stored remote key of low order is no broken state, but no step can be made on it.";
    talk.refused(
        files,
        &about(FAMILY, "sender-low-order", &["05 §3", "10 §1.1"], says),
        "R-503",
        "exchange",
    );
}
