//! Replays the committed corpora of `fuzz/` through the very functions that the fuzz targets run.
//!
//! `cargo test -p undertone-session --test corpora -- --ignored` writes the seeds.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

#[path = "../fuzz/src/harness/mod.rs"]
mod harness;

use std::fs;
use std::path::{Path, PathBuf};

use harness::backups::{export, of_plaintext, plaintext};
use harness::people::{Rng, relay_address};
use harness::world::World;
use undertone_session::backup::RecoveryKey;
use undertone_session::content::{Body, Content, Reaction, Route};
use undertone_session::ids::{MessageId, UnixMillis};
use undertone_session::link::{Link, LinkKind};
use undertone_session::routing::Routing;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

#[test]
fn every_input_of_every_corpus_keeps_the_promises() {
    for (target, run) in harness::TARGETS {
        let mut paths: Vec<_> =
            fs::read_dir(corpus(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "no corpus for {target}");
        for path in paths {
            run(&fs::read(path).unwrap());
        }
    }
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    fs::create_dir_all(corpus(target)).unwrap();
    fs::write(corpus(target).join(name), bytes).unwrap();
}

#[test]
#[ignore = "writes the seeds"]
fn write_seeds() {
    let pairs = |steps: &[[u8; 2]]| {
        let mut bytes = vec![1];
        bytes.extend(steps.iter().flatten());
        bytes
    };
    let talk = [[0, 0], [3, 0], [6, 1], [9, 1], [3, 1], [6, 0], [0, 5], [4, 2], [7, 0]];
    write("operations", "talk", &pairs(&talk));
    write("operations", "loss", &pairs(&talk.map(|[op, arg]| [op + 128, arg])));
    let mut kills = Vec::new();
    let mut back = Vec::new();
    for (n, step) in (0_u8..).zip(talk) {
        kills.extend([[11, 7 * n], step]);
        back.extend([[14, n], step]);
    }
    write("operations", "kills", &pairs(&kills));
    write("operations", "put-back", &pairs(&back));
    let rest = [[10, 0], [13, 1], [10, 1], [15, 4], [143, 9], [12, 2], [141, 3], [14, 0], [14, 0]];
    write("operations", "the-rest", &pairs(&rest));

    for at in 0..24_u8 {
        write("rows", &format!("{at:02}"), &[0, at * 5, at % 2, 1, 2, 3]);
    }

    let link = Link::new(LinkKind::Reusable, [1; 32], [2; 32], relay_address());
    write("links", "link", link.to_text().as_bytes());
    let capability = undertone_wire::WriteCapability::from_bytes([3; 32]);
    write("links", "route", &Routing { relay: relay_address(), capability }.to_bytes());
    write("links", "recovery-key", RecoveryKey::generate(&mut Rng::new(1)).to_text().as_bytes());

    let id = MessageId::from_bytes([4; 16]);
    let bodies = [
        ("text", Body::Text("hello".into())),
        ("delivered", Body::DeliveryAck(vec![id, id])),
        ("read", Body::ReadReceipt(vec![id])),
        ("reaction", Body::Reaction(Reaction { target: id, emoji: "!".into(), removed: false })),
        ("typing", Body::Typing(true)),
        ("profile", Body::Profile { name: "Ada".into() }),
        ("move", Body::MailboxMove(Route::from_bytes(&[5; 40]))),
        ("notice", Body::ResetNotice { cause: 4, sessions: vec![[6; 32]] }),
        ("custom", Body::Custom { name: "app".into(), payload: vec![7; 9] }),
        ("unknown", Body::Unknown { kind: 99, payload: vec![8; 9] }),
    ];
    for (name, body) in bodies {
        let content = Content { id, sent_at: UnixMillis::new(1_700_000_000_000), body };
        write("content", name, &content.encode().unwrap());
    }

    let mut world = World::new(1);
    for op in harness::world::Op::all_of(talk.as_flattened()) {
        world.step(op);
    }
    let backup = export(world.person(0));
    let plain = plaintext(&backup);
    assert_eq!(plaintext(&of_plaintext(&plain)), plain);
    write("backups", "whole", &[&[1], plain.as_slice()].concat());
    write("backups", "cut", &[&[1], &plain[..plain.len() / 2]].concat());
    write("backups", "head", &[&[0], &backup[..200]].concat());
}
