//! The program on the pipe: two parties that pass each other only bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// Answers to lines, by the program itself.
fn ask(lines: &[Value]) -> Vec<Value> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_undertone-vectors-pipe"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    // The answers are small enough for the pipe to hold while we still write.
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_conversation_over_bytes_alone() {
    let seed = json!({ "do": "seed", "seed": "07".repeat(32) });
    let bobs_start = vec![
        seed.clone(),
        json!({ "do": "person", "person": "bob" }),
        json!({ "do": "link", "link": "l" }),
        json!({
            "do": "bundle", "bundle": "b", "person": "bob", "link": "l", "kind": "one-time",
            "expiry": 20_030, "route": "aa",
        }),
    ];
    let bob = ask(&bobs_start);
    assert!(bob.iter().all(|answer| answer["ok"] == true), "{bob:?}");
    let alice = ask(&[
        json!({ "do": "seed", "seed": "08".repeat(32) }),
        json!({ "do": "person", "person": "alice", "count": 2 }),
        json!({ "do": "link", "link": "l", "link_secret": bob[2]["link_secret"] }),
        json!({
            "do": "initiate", "session": "s", "person": "alice", "link": "l",
            "sealed": bob[3]["sealed"], "fingerprint": bob[1]["fingerprint"], "today": 20_000,
            "record": null, "route": "bb",
        }),
        json!({ "do": "seal", "session": "s", "content": "6869" }),
        json!({ "do": "state", "session": "s" }),
    ]);
    assert!(alice.iter().all(|answer| answer["ok"] == true), "{alice:?}");
    // The same seed makes the same Bob, so that his program may end in between.
    let mut later = bobs_start;
    let receive = json!({
        "do": "receive", "person": "bob", "link": "l", "bytes": alice[4]["bytes"],
        "today": 20_000, "record": null, "session": "s",
    });
    later.push(receive.clone());
    later.push(receive);
    later.push(json!({ "do": "seal", "session": "s", "content": "796f" }));
    let bob = ask(&later);
    assert_eq!((&bob[4]["outcome"], &bob[4]["content"]), (&json!("accepted"), &json!("6869")));
    assert_eq!(bob[5], json!({ "ok": false, "refused": "R-511" }));
    let alice = ask(&[
        json!({ "do": "load", "session": "s", "stored": alice[5]["stored"] }),
        json!({ "do": "open", "session": "s", "bytes": bob[6]["bytes"], "today": 20_000 }),
    ]);
    assert_eq!(alice[1]["content"], "796f");
}

#[test]
fn lines_that_are_no_steps_are_said_to_be_none() {
    let answers = ask(&[
        json!({ "do": "dance" }),
        json!({ "do": "state", "session": "nobody's" }),
        json!({ "do": "person", "person": "bob" }),
        json!([]),
        json!({ "do": "seed", "seed": "00" }),
        json!({ "do": "link", "link": "l", "link_secret": "zz" }),
        json!({ "do": "reset" }),
    ]);
    for answer in &answers[..6] {
        assert!(answer["error"].is_string() && answer["ok"] == false, "{answer}");
    }
    assert_eq!(answers[6], json!({ "ok": true }));
}
