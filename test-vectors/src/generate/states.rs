//! Family `state`.

use serde_json::json;

use super::talk::{Detail, Talk};
use super::{Files, about};
use crate::form::{Assembly, Form, Old, Phase};
use crate::prim::Kem;
use crate::value::hex;

const FAMILY: &str = "state";

/// States of a conversation, by what they show.
fn states() -> Vec<(&'static str, &'static str, Form)> {
    let mut talk = Talk::new("states", Detail::Little);
    talk.begin();
    let mut out =
        vec![("fresh-initiator", "An initiator that has sent nothing.", talk.form("alice"))];
    let late = talk.seal("alice", b"late");
    out.push((
        "offering",
        "An initiator that has sent: Offering, with a handshake to repeat.",
        talk.form("alice"),
    ));
    talk.hello();
    out.push(("keyed", "A responder that has a whole key, and a skipped key.", talk.form("bob")));
    let reply = talk.seal("bob", b"reply");
    out.push(("answering", "A responder that has answered: Answering.", talk.form("bob")));
    talk.open("alice", &reply);
    out.push(("peer-has-key", "Offering, with a part of a ciphertext.", talk.form("alice")));
    talk.say("alice", "bob");
    talk.say("bob", "alice");
    out.push(("secret", "Offering no longer: Secret.", talk.form("alice")));
    talk.say("alice", "bob");
    out.push(("waiting", "The answering side by now: Waiting, in epoch 1.", talk.form("alice")));
    out.push(("idle", "The offering side by now: Idle, in epoch 1.", talk.form("bob")));
    let step = talk.receive_step(&late);
    talk.step(step);
    out.push(("old-chains", "Old chains, positions, no skipped key.", talk.form("bob")));
    let mut talk = Talk::new("states-long", Detail::Little);
    talk.person_with("alice", 5, 4);
    let bob = talk.person("bob");
    talk.link("link");
    talk.bundle("bundle", "link", "last-resort");
    let step = talk.initiate_step("alice", "bundle", &bob);
    talk.step(step);
    out.push(("long-handshake", "A long handshake to repeat.", talk.form("alice")));
    out
}

pub(super) fn make(files: &mut Files) {
    let spec = &["10 §1"];
    let states = states();
    for (name, says, form) in &states {
        let input = json!({ "stored": hex(&form.write()) });
        files.valid(&about(FAMILY, name, spec, says), "state-read", input);
    }
    let get = |wanted: &str| states.iter().find(|(name, ..)| *name == wanted).unwrap().2.clone();
    full(files, &get("old-chains"));
    let mut low = get("idle");
    low.remote = Some([0; 32]);
    let input = json!({ "stored": hex(&low.write()) });
    let says = "A remote key of low order is read; a step on it is refused (R-503).";
    files.valid(&about(FAMILY, "remote-key-low-order", spec, says), "state-read", input);
    let mut far = get("idle");
    far.cursor = 255;
    let input = json!({ "stored": hex(&far.write()) });
    let says = "A cursor above any object is read, and counts as one that has gone out in order.";
    let about = about(FAMILY, "cursor-above-the-object", &["10 §1.6", "06 §4"], says);
    files.valid(&about, "state-read", input);
    refused(files, &get);
}

/// As many of everything as there may be.
fn full(files: &mut Files, form: &Form) {
    let spec = &["10 §1"];
    let mut form = form.clone();
    form.receiving.serial = 100;
    form.receiving.next = 5000;
    let old = |serial: u32| Old {
        serial,
        header: [serial as u8; 32],
        constants: [1; 16],
        end: 9,
        day: 20_000,
    };
    form.old = (1..=8).map(old).collect();
    form.positions = (0..32).map(|number| (100, number, [2; 8])).collect();
    form.skipped = (0..4000).map(|number| (100, number, 20_000, [3; 32])).collect();
    let write = |form: &Form| {
        let stored = form.write();
        // Four thousand equal keys compress well as a description.
        let (head, keys) = stored.split_at(stored.len() - 44 * form.skipped.len());
        let mut parts = vec![hex(head)];
        parts.extend([hex(keys)]);
        json!({ "stored": { "concat": parts } })
    };
    let small = {
        let mut small = form.clone();
        small.skipped.truncate(40);
        small
    };
    let says = "Eight old chains, 32 positions, many skipped keys.";
    files.valid(&about(FAMILY, "full", spec, says), "state-read", write(&small));
    for (name, says, form) in [
        (
            "nine-old-chains",
            "One old chain too many.",
            Form { old: (1..=9).map(old).collect(), ..small.clone() },
        ),
        (
            "thirty-three-positions",
            "One position too many.",
            Form {
                positions: (0..33).map(|number| (100, number, [2; 8])).collect(),
                ..small.clone()
            },
        ),
    ] {
        files.refused(
            &about(FAMILY, name, &["10 §1.6"], says),
            "R-1003",
            "read",
            "state-read",
            write(&form),
        );
    }
    // The count alone is judged, before anything behind it is read.
    let stored = small.write();
    let (head, _) = stored.split_at(stored.len() - 44 * small.skipped.len() - 2);
    let input = json!({ "stored": hex(&[head, &4001u16.to_be_bytes()].concat()) });
    let says = "A count of skipped keys above the bound; none of them is there.";
    files.refused(
        &about(FAMILY, "too-many-skipped-keys", &["10 §1.6"], says),
        "R-1003",
        "read",
        "state-read",
        input,
    );
}

fn refused(files: &mut Files, get: &dyn Fn(&str) -> Form) {
    let spec = &["10 §1.6"];
    let mut refuse = |name: &str, rule: &str, says: &str, stored: Vec<u8>| {
        let input = json!({ "stored": hex(&stored) });
        files.refused(&about(FAMILY, name, spec, says), rule, "read", "state-read", input);
    };
    let idle = get("idle");
    let stored = idle.write();
    let with = |at: usize, value: u8| {
        let mut stored = stored.clone();
        stored[at] = value;
        stored
    };
    refuse("version-0", "R-1001", "Version 0.", with(1, 0));
    refuse("version-2", "R-1001", "Version 2.", with(1, 2));
    refuse("version-256", "R-1001", "A version in the first byte.", with(0, 1));
    refuse("empty", "R-1002", "Nothing.", vec![]);
    refuse("cut-in-the-version", "R-1002", "One byte.", vec![0]);
    refuse("cut-in-the-core", "R-1002", "It ends in the root key.", stored[..50].to_vec());
    refuse(
        "cut-by-a-byte",
        "R-1002",
        "The last byte is missing.",
        stored[..stored.len() - 1].to_vec(),
    );
    refuse("byte-behind", "R-1002", "A byte stands behind it.", [&stored[..], &[0]].concat());
    refuse("role-2", "R-1002", "A role that is no flag.", with(2, 2));
    refuse("handshake-kind-3", "R-1002", "A kind of handshake that there is not.", with(35, 3));
    refuse("remote-flag-2", "R-1002", "The remote key's flag is none.", with(36 + 76, 2));
    refuse(
        "remote-flag-0-with-a-key",
        "R-1002",
        "There is no remote key, and it is not zero.",
        with(36 + 76, 0),
    );
    refuse("sending-due-2", "R-1002", "A flag that is none.", with(36 + 173, 2));
    let mut chainless = get("keyed");
    chainless.sending_due = 0;
    refuse(
        "no-step-due-and-no-sending-chain",
        "R-1002",
        "There is a remote key and no sending chain, and none is to begin.",
        chainless.write(),
    );
    refuse("phase-6", "R-1002", "A phase that there is not.", with(403, 6));
    let offering = get("offering");
    let mut flag = offering.clone();
    let Phase::Offering { peer_has_key, .. } = &mut flag.phase else { panic!() };
    *peer_has_key = 2;
    refuse("peer-has-key-2", "R-1002", "A flag of the phase that is none.", flag.write());
    let assembly = |bitmap: u64, ciphertext: bool| {
        let blocks = vec![4; 32 * bitmap.count_ones() as usize];
        let assembly = Some(Assembly { tag: [5; 8], bitmap, blocks });
        let phase = if ciphertext {
            Phase::Offering { seed: [6; 64], h_ek: [7; 32], peer_has_key: 1, assembly }
        } else {
            Phase::Waiting { assembly }
        };
        Form { phase, ..idle.clone() }.write()
    };
    refuse("bitmap-of-a-key-too-high", "R-1002", "A key has 37 blocks.", assembly(1 << 37, false));
    refuse(
        "bitmap-of-a-ciphertext-too-high",
        "R-1002",
        "A ciphertext has 34 blocks.",
        assembly(1 << 34, true),
    );
    refuse(
        "bitmap-of-a-key-whole",
        "R-1002",
        "A whole key is no assembly.",
        assembly((1 << 37) - 1, false),
    );
    refuse(
        "bitmap-of-a-ciphertext-whole",
        "R-1002",
        "A whole ciphertext is no assembly.",
        assembly((1 << 34) - 1, true),
    );
    refuse("bitmap-highest-bit", "R-1002", "A bit that no object has.", assembly(1 << 63, false));
    let mut cut = idle.clone();
    cut.phase =
        Phase::Waiting { assembly: Some(Assembly { tag: [5; 8], bitmap: 3, blocks: vec![1; 32] }) };
    cut.old.clear();
    cut.positions.clear();
    cut.skipped.clear();
    refuse(
        "assembly-with-a-block-too-few",
        "R-1002",
        "The bitmap names two blocks, one of them is here.",
        cut.write(),
    );
    let keyed = get("keyed");
    let mut twice = keyed.clone();
    let first = twice.skipped[0];
    twice.skipped.push(first);
    refuse("skipped-key-twice", "R-1002", "Two skipped keys at one place.", twice.write());
    let chains = get("old-chains");
    let edit = |edit: &dyn Fn(&mut Form)| {
        let mut form = chains.clone();
        edit(&mut form);
        form.write()
    };
    assert!(!chains.old.is_empty());
    refuse(
        "old-chain-serial-0",
        "R-1002",
        "An old chain with serial 0.",
        edit(&|f| f.old[0].serial = 0),
    );
    refuse(
        "old-chain-serial-of-the-current",
        "R-1002",
        "An old chain with the receiving chain's serial.",
        edit(&|f| f.old.last_mut().unwrap().serial = f.receiving.serial),
    );
    refuse(
        "old-chains-not-rising",
        "R-1002",
        "Two old chains with one serial.",
        edit(&|f| {
            let again = f.old[0].clone();
            f.old.insert(0, again);
        }),
    );
    refuse(
        "position-serial-0",
        "R-1002",
        "A position of serial 0.",
        edit(&|f| f.positions[0].0 = 0),
    );
    refuse(
        "position-serial-too-high",
        "R-1002",
        "A position of a chain that is not there yet.",
        edit(&|f| f.positions[0].0 = f.receiving.serial + 1),
    );
    refuse(
        "position-not-received-yet",
        "R-1002",
        "A position of the receiving chain at its next number.",
        edit(&|f| f.positions[0] = (f.receiving.serial, f.receiving.next, [0; 8])),
    );
    refuse(
        "skipped-key-serial-0",
        "R-1002",
        "A skipped key of serial 0.",
        edit(&|f| f.skipped = vec![(0, 0, 20_000, [1; 32])]),
    );
    refuse(
        "skipped-key-not-passed-yet",
        "R-1002",
        "A skipped key of the receiving chain at its next number.",
        edit(&|f| f.skipped = vec![(f.receiving.serial, f.receiving.next, 20_000, [1; 32])]),
    );
    let mut top = [0; 32];
    top[31] = 0x80;
    refuse(
        "remote-key-not-canonical",
        "R-1004",
        "The remote ratchet key is not canonical.",
        edit(&|f| f.remote = Some(top)),
    );
    let mut both = edit(&|f| f.remote = Some(top));
    both[36 + 76] = 0;
    refuse(
        "remote-key-not-canonical-and-not-there",
        "R-1004",
        "That it is canonical is checked first.",
        both,
    );
    let mut bad = Kem::Kem768.generate(&[1; 64]);
    super::primitives::set_coefficient(&mut bad, 3, 3329);
    let key = Form { phase: Phase::Keyed { ek: bad }, ..keyed };
    refuse(
        "kem-key-modulus",
        "R-1004",
        "The key of phase Keyed fails the modulus check.",
        key.write(),
    );
}
