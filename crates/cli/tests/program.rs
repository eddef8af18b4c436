//! The built program, run as a person runs it, against a real relay.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use undertone_relay::{Config, Relay, RunningRelay};

const PASSPHRASE: &str = "correct horse battery staple";

/// A relay in this process, and a directory for profiles.
struct World {
    runtime: Runtime,
    root: TempDir,
    relay: Option<RunningRelay>,
    join: String,
    port: u16,
}

impl World {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let root = tempfile::tempdir().unwrap();
        let relay = start(&runtime, &root.path().join("relay"), 0);
        let join = relay.join_address().unwrap().to_text().to_string();
        let port = relay.address().port();
        Self { runtime, root, relay: Some(relay), join, port }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Ends the relay without closing its store.
    fn kill(&mut self) {
        self.runtime.block_on(self.relay.take().unwrap().kill());
    }

    /// Starts a relay at the known port, in this directory.
    fn restart(&mut self, directory: &str) {
        let relay = start(&self.runtime, &self.path(directory), self.port);
        self.relay = Some(relay);
    }

    fn run(&self, who: &str, words: &[&str]) -> Run {
        let mut command = program(words);
        command.arg("--profile").arg(self.path(who));
        run(command, None)
    }

    fn ok(&self, who: &str, words: &[&str]) -> Vec<Value> {
        let run = self.run(who, &[words, &["--json"]].concat());
        assert_eq!(run.code, 0, "{who} {words:?}: {}", run.err);
        run.lines()
    }

    fn init(&self, who: &str) {
        self.ok(who, &["init", "--relay", &self.join, "--name", who]);
    }

    fn link(&self, who: &str) -> String {
        self.ok(who, &["invite"])[0]["link"].as_str().unwrap().to_owned()
    }

    /// Alice and Bob, who know each other: Bob has used Alice's link.
    fn introduced() -> (Self, String) {
        let world = Self::new();
        world.init("alice");
        world.init("bob");
        let link = world.link("alice");
        world.ok("bob", &["add", &link]);
        world.ok("alice", &["receive"]);
        world.ok("bob", &["receive"]);
        (world, link)
    }
}

fn start(runtime: &Runtime, directory: &Path, port: u16) -> RunningRelay {
    let mut config = Config::new(directory.to_path_buf());
    config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    runtime.block_on(Relay::start(config)).unwrap()
}

struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn program(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_undertone"));
    command
        .args(words)
        // Nothing answers on a dead port of loopback; a second is long there.
        .args(["--network-timeout", "2"])
        .env("UNDERTONE_PASSPHRASE", PASSPHRASE)
        .env_remove("UNDERTONE_PROFILE");
    command
}

fn run(mut command: Command, input: Option<&str>) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    if let Some(input) = input {
        stdin.write_all(input.as_bytes()).unwrap();
    }
    drop(stdin);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    Run {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// One sentence for people, one object for programs, and the exit code that belongs to it.
fn fails(world: &World, who: &str, words: &[&str], code: i32, name: &str) {
    let plain = world.run(who, words);
    assert_eq!(plain.code, code, "{words:?}: {}", plain.err);
    assert!(plain.err.starts_with("undertone: ") && plain.out.is_empty(), "{}", plain.err);
    let json = world.run(who, &[words, &["--json"]].concat());
    let value: Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!((value["error"].as_str(), json.code), (Some(name), code), "{value}");
}

fn texts(messages: &[Value]) -> Vec<&str> {
    messages.iter().filter_map(|message| message["text"].as_str()).collect()
}

#[test]
fn two_people_talk() {
    let (world, _) = World::introduced();
    world.ok("bob", &["send", "alice", "hello"]);
    let received = world.ok("alice", &["receive"]);
    let received: Vec<_> = received.iter().map(|event| event["message"].clone()).collect();
    assert_eq!(texts(&received), ["hello"]);
    // Printed once.
    assert!(world.ok("alice", &["receive"]).iter().all(|event| event["message"].is_null()));

    let mut command = program(&["send", "bob", "-", "--wait", "accepted", "--json"]);
    command.arg("--profile").arg(world.path("alice"));
    let sent = run(command, Some("from standard input"));
    assert_eq!(sent.code, 0, "{}", sent.err);
    assert_eq!(sent.lines()[0]["state"], "accepted");
    world.ok("bob", &["receive"]);
    let history = world.ok("bob", &["history", "alice"]);
    assert_eq!(texts(&history), ["hello", "from standard input"]);

    let renamed = world.ok("bob", &["rename", "alice", "Alice at home"]);
    assert_eq!(renamed[0]["name"], "Alice at home");
    let shown = world.run("bob", &["contacts"]);
    assert!(shown.out.contains("Alice at home") && shown.out.contains("calls themselves alice"));
}

#[test]
fn safety_numbers_are_compared() {
    let (world, _) = World::introduced();
    let number = |who: &str, of: &str| {
        world.ok(who, &["verify", of])[0]["safety_number"].as_str().unwrap().to_owned()
    };
    let digits = number("alice", "bob");
    assert_eq!(digits, number("bob", "alice"));
    let wrong = digits.replace(['1', '2'], "3");
    fails(&world, "alice", &["verify", "bob", "--scanned", &wrong], 20, "numbers-differ");
    assert_eq!(world.ok("alice", &["contacts"])[0]["verified"], false);
    let verified = world.ok("alice", &["verify", "bob", "--scanned", &digits]);
    assert_eq!(verified[0]["verified"], true);
    assert_eq!(world.ok("bob", &["verify", "alice", "--confirm"])[0]["verified"], true);
}

#[test]
fn offline_and_killed_and_nothing_is_lost() {
    let (mut world, _) = World::introduced();
    // 5 MiB that no two blocks of are the same.
    let content: Vec<u8> = (0..5_u32 << 18).flat_map(u32::to_le_bytes).collect();
    let path = world.path("large.bin");
    std::fs::write(&path, &content).unwrap();
    for text in ["one", "two", "three"] {
        assert_eq!(world.ok("alice", &["send", "bob", text])[0]["state"], "accepted");
    }
    let path = path.to_str().unwrap();
    assert_eq!(world.ok("alice", &["send", "bob", "--file", path])[0]["state"], "accepted");
    world.kill();

    // Not reached: queued, said so, and no failure.
    assert_eq!(world.ok("alice", &["send", "bob", "four"])[0]["state"], "queued");
    let said = world.run("alice", &["send", "bob", "five"]);
    assert!(said.code == 0 && said.out.starts_with("Queued"), "{}", said.out);
    fails(&world, "bob", &["receive"], 5, "unreachable");
    fails(&world, "bob", &["invite"], 5, "unreachable");

    world.restart("relay");
    world.ok("alice", &["receive"]);
    let events = world.ok("bob", &["receive"]);
    let saved: Vec<_> = events.iter().filter(|event| event["event"] == "file-received").collect();
    assert_eq!(saved.len(), 1);
    assert_eq!(std::fs::read(saved[0]["path"].as_str().unwrap()).unwrap(), content);
    let history = world.ok("bob", &["history", "alice"]);
    assert_eq!(texts(&history), ["one", "two", "three", "four", "five"]);
    assert_eq!(history[3]["kind"], "file");
    assert_eq!(history.len(), 6);
}

#[test]
fn messages_are_reacted_to_edited_read_and_taken_back() {
    let (world, _) = World::introduced();
    let typo = world.ok("bob", &["send", "alice", "see you at eihgt"]);
    let id = typo[0]["id"].as_str().unwrap().to_owned();
    let received = world.ok("alice", &["receive", "--keep-unread"]);
    let message = received.iter().find(|event| event["event"] == "message-received").unwrap();
    let number = message["message"]["seq"].to_string();
    assert_eq!(world.ok("alice", &["read", "bob"])[0]["read"], 1);
    assert_eq!(world.ok("alice", &["read", "bob", "--up-to", "last"])[0]["read"], 0);

    let edited = world.ok("bob", &["edit", "alice", "last", "see you at eight"]);
    assert_eq!(edited[0]["text"], "see you at eight");
    assert!(edited[0]["edited_at_claimed_ms"].is_u64());
    let reacted = world.ok("alice", &["react", "bob", &number, "\u{1f44d}"]);
    assert_eq!(reacted[0]["reactions"][0]["emoji"], "\u{1f44d}");
    assert_eq!(reacted[0]["reactions"][0]["by"], "outgoing");
    let told = world.run("bob", &["receive"]);
    assert!(told.out.contains("reacts to message"), "{}", told.out);
    let told = world.run("alice", &["receive"]);
    let line = format!("edited message {number}: see you at eight");
    assert!(told.out.contains(&line), "{}", told.out);
    let shown = world.run("alice", &["history", "bob"]).out;
    assert!(shown.contains("see you at eight  (edited)  you: \u{1f44d}"), "{shown}");
    assert!(shown.trim_start().starts_with(&number), "{shown}");
    let found = world.ok("alice", &["search", "EIGHT", "--contact", "bob"]);
    assert_eq!(texts(&found), ["see you at eight"]);
    assert!(world.ok("alice", &["search", "eihgt"]).is_empty());
    assert!(world.ok("alice", &["react", "bob", &number, "--remove"])[0]["reactions"].is_null());

    // Only its author edits a message or takes it back.
    fails(&world, "alice", &["edit", "bob", &number, "mine"], 32, "not-yours");
    fails(&world, "alice", &["delete", "bob", "--message", &number], 32, "not-yours");
    fails(&world, "alice", &["react", "bob", "4711", "x"], 33, "unknown-message");
    fails(&world, "alice", &["react", "bob", "nonsense", "x"], 2, "usage");
    assert_eq!(world.ok("bob", &["delete", "alice", "--message", &id])[0]["kind"], "deleted");
    let events = world.ok("alice", &["receive"]);
    assert!(events.iter().any(|event| event["event"] == "message-deleted"), "{events:?}");
    fails(&world, "bob", &["edit", "alice", &id, "again"], 32, "not-changeable");
    let history = world.ok("alice", &["history", "bob"]);
    assert_eq!((history.len(), &history[0]["kind"]), (1, &Value::from("deleted")));
    world.ok("alice", &["delete", "bob", "--message", &number, "--here-only"]);
    assert!(world.ok("alice", &["history", "bob"]).is_empty());
    assert!(world.ok("alice", &["search", "eight"]).is_empty());
}

#[test]
fn timers_receipts_names_and_readers() {
    let (world, _) = World::introduced();
    assert_eq!(world.ok("alice", &["timer", "bob"])[0]["timer_seconds"], 0);
    assert_eq!(world.ok("alice", &["timer", "bob", "8h"])[0]["timer_seconds"], 28_800);
    let told = world.run("bob", &["receive"]);
    assert!(told.out.contains("lets new messages disappear after 8 hours"), "{}", told.out);
    assert_eq!(world.ok("bob", &["contacts"])[0]["timer_seconds"], 28_800);
    assert_eq!(world.run("alice", &["timer", "bob", "soon"]).code, 2);

    assert_eq!(world.ok("bob", &["receipts"])[0]["read_receipts"], false);
    assert_eq!(world.ok("bob", &["receipts", "on"])[0]["read_receipts"], true);
    assert_eq!(world.ok("bob", &["status"])[0]["read_receipts"], true);
    let sent = world.ok("alice", &["send", "bob", "read this"]);
    assert_eq!(
        (&sent[0]["state"], &sent[0]["timer_seconds"]),
        (&"accepted".into(), &28_800.into())
    );
    assert!(sent[0]["disappears_at_ms"].is_u64());
    world.ok("bob", &["receive"]);
    // The receipt is owed since, and goes out with the next command that connects.
    world.ok("bob", &["receive"]);
    world.ok("alice", &["receive"]);
    assert_eq!(world.ok("alice", &["history", "bob"])[0]["state"], "read");

    assert_eq!(world.ok("alice", &["name", "Alice L."])[0]["name"], "Alice L.");
    world.ok("bob", &["receive"]);
    assert_eq!(world.ok("bob", &["contacts"])[0]["name"], "Alice L.");
    let poll = world.ok("bob", &["send", "1", "--custom", "com.example.poll", "lunch?"]);
    assert_eq!(
        (&poll[0]["kind"], &poll[0]["custom_kind"]),
        (&"custom".into(), &"com.example.poll".into())
    );

    let readers = world.ok("bob", &["cursors"]);
    assert_eq!((readers.len(), &readers[0]["name"]), (1, &"cli-receive".into()));
    assert!(world.ok("bob", &["cursors", "--drop", "cli-receive"]).is_empty());
    fails(&world, "bob", &["cursors", "--drop", "cli-receive"], 2, "usage");
}

#[test]
fn each_failure_has_its_exit_code_and_does_no_damage() {
    let (mut world, link) = World::introduced();
    fails(&world, "nobody", &["contacts"], 3, "profile-absent");
    fails(&world, "alice", &["init", "--relay", &world.join, "--name", "x"], 14, "profile-exists");
    fails(&world, "alice", &["send", "carol", "hi"], 9, "unknown-contact");
    fails(&world, "alice", &["send", "bob", "--file", "/no/such/file"], 10, "file-unreadable");
    fails(&world, "alice", &["add", &link[..link.len() - 9]], 8, "link-truncated");
    fails(&world, "alice", &["add", "https://example.org/"], 8, "link-malformed");
    fails(&world, "alice", &["add", &link], 15, "link-own");
    fails(&world, "alice", &["send", "bob", ""], 2, "message-empty");
    let cut = &world.join[..world.join.len() - 3];
    fails(&world, "dave", &["init", "--relay", cut, "--name", "x"], 21, "address-malformed");
    fails(&world, "alice", &["contacts", "--passphrase-file", "/no"], 22, "passphrase-missing");
    // The link was Bob's; the relay says so to Carol, who holds it, too.
    world.init("carol");
    fails(&world, "carol", &["add", &link], 7, "link-used-up");

    let mut wrong = program(&["contacts"]);
    wrong.arg("--profile").arg(world.path("alice")).env("UNDERTONE_PASSPHRASE", "wrong");
    let wrong = run(wrong, None);
    assert_eq!(wrong.code, 4, "{}", wrong.err);

    // Another relay at the same address.
    world.kill();
    world.restart("other-relay");
    fails(&world, "alice", &["invite"], 6, "relay-pin-mismatch");
    fails(&world, "alice", &["send", "bob", "kept"], 6, "relay-pin-mismatch");

    // After all this both go on where they were. Alice sent "kept" twice, once for each form.
    world.kill();
    world.restart("relay");
    world.ok("alice", &["receive"]);
    world.ok("bob", &["receive"]);
    assert_eq!(texts(&world.ok("bob", &["history", "alice"])), ["kept", "kept"]);
    assert_eq!(world.ok("alice", &["contacts"]).len(), 1);
}

#[test]
fn a_profile_in_use_or_damaged_is_not_touched() {
    let world = World::new();
    world.init("alice");
    let directory = world.path("alice");
    let secret = undertone::Secret::passphrase(PASSPHRASE);
    let open = undertone::Client::builder(&directory).secret(secret).open();
    let client = world.runtime.block_on(open).unwrap();
    fails(&world, "alice", &["contacts"], 12, "store-locked");
    world.runtime.block_on(client.close());
    world.ok("alice", &["contacts"]);

    let store = directory.join("store.db");
    let mut bytes = std::fs::read(&store).unwrap();
    for byte in bytes.iter_mut().take(8192) {
        *byte ^= 0x55;
    }
    std::fs::write(&store, &bytes).unwrap();
    fails(&world, "alice", &["contacts"], 13, "store-corrupt");
    assert_eq!(std::fs::read(&store).unwrap(), bytes);
}

#[test]
fn usage_errors_and_help() {
    let run = |words: &[&str]| run(program(words), None);
    assert_eq!(run(&["--help"]).code, 0);
    assert!(run(&["--help"]).out.contains("Exit codes:"));
    assert_eq!(run(&["no-such-command"]).code, 2);
    let json = run(&["no-such-command", "--json"]);
    let value: Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!((json.code, &value["error"]), (2, &Value::from("usage")));
}

#[test]
fn the_demonstration_passes() {
    let run = run(program(&["demo", "--json"]), None);
    assert_eq!(run.code, 0, "{}\n{}", run.out, run.err);
    let report = &run.lines()[0];
    assert_eq!(report["ok"], true);
    for place in report["search"]["places"].as_array().unwrap() {
        assert!(place["bytes"].as_u64().unwrap() > 0 && place["canary_found"] == true, "{place}");
    }
    assert_eq!(report["search"]["found"].as_array().unwrap().len(), 0);
    // Both profiles' keys, as they change: many more than these.
    let sought = |class: &str| report["search"]["needles"][class].as_u64().unwrap();
    assert!(sought("secret") > 50 && sought("capability") > 3, "{}", report["search"]["needles"]);
    assert!(sought("identity") > 5 && sought("plaintext") > 10);
    let queued = |row: &&Value| !row["fields"]["(envelope)"].is_null();
    let rows = report["relay"].as_array().unwrap();
    assert!(rows.iter().filter(queued).count() >= 1);
    // It leaves nothing behind.
    assert!(!Path::new(report["directory"].as_str().unwrap()).exists());
}

#[test]
fn a_demonstration_with_a_file_that_is_not_there() {
    let run = run(program(&["demo", "--file", "/no/such/file"]), None);
    assert_eq!(run.code, 10, "{}", run.err);
}

/// Ended with the test, however the test ends.
#[cfg(unix)]
struct Kept(std::process::Child);

#[cfg(unix)]
impl Kept {
    /// Its lines as they come. A line that does not come ends the test.
    fn lines(&mut self) -> impl FnMut() -> Value + use<> {
        use std::io::{BufRead, BufReader};
        let out = BufReader::new(self.0.stdout.take().unwrap());
        let (to, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|l| to.send(l)));
        move || {
            let line = lines.recv_timeout(std::time::Duration::from_secs(120)).unwrap();
            serde_json::from_str(&line).unwrap()
        }
    }

    /// Ctrl-C.
    fn interrupt(&mut self) -> std::process::ExitStatus {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.0.wait().unwrap()
    }
}

#[cfg(unix)]
impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
#[test]
fn a_demonstration_that_is_kept_can_be_gone_on_with_by_hand() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = program(&["demo", "--keep", "--json"]);
    command.env("TMPDIR", temporary.path()).stdout(Stdio::piped());
    let mut kept = Kept(command.spawn().unwrap());
    let report = kept.lines()();
    assert_eq!(report["ok"], true, "{report}");

    let by_hand = |index: usize| {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(report["commands"][index].as_str().unwrap());
        shell.env_remove("UNDERTONE_PASSPHRASE").env_remove("UNDERTONE_PROFILE");
        run(shell, None)
    };
    // Bob fetches the message that was left at the relay, and writes.
    let received = by_hand(0);
    assert_eq!(received.code, 0, "{}", received.err);
    assert!(received.out.contains("still at the relay"), "{}", received.out);
    let sent = by_hand(1);
    assert!(sent.code == 0 && sent.out.contains("Accepted"), "{} {}", sent.out, sent.err);
    let verified = by_hand(3);
    assert_eq!(verified.code, 0, "{}", verified.err);

    assert!(kept.interrupt().success());
    assert!(Path::new(report["directory"].as_str().unwrap()).join("bob").exists());
}

#[cfg(unix)]
#[test]
fn following_prints_what_comes_until_it_is_interrupted() {
    let (world, _) = World::introduced();
    let mut command = program(&["receive", "--follow", "--json"]);
    command.arg("--profile").arg(world.path("alice")).stdout(Stdio::piped());
    let mut following = Kept(command.spawn().unwrap());
    let mut next = following.lines();
    let connected = std::iter::repeat_with(&mut next)
        .find(|line| line["event"] == "connection" && line["state"] == "connected")
        .unwrap();
    assert_eq!(connected["relay"], format!("127.0.0.1:{}", world.port));
    assert_eq!((&connected["over"], &connected["refused"]), (&"quic".into(), &Value::Null));
    for text in ["one", "two"] {
        world.ok("bob", &["send", "alice", text]);
        let event = std::iter::repeat_with(&mut next)
            .find(|event| event["event"] == "message-received")
            .unwrap();
        assert_eq!(event["message"]["text"], text);
    }
    assert!(following.interrupt().success());
    // What was printed is not printed again.
    let later = world.ok("alice", &["receive"]);
    assert!(later.iter().all(|event| event["event"] != "message-received"), "{later:?}");
}

/// A profile is backed up, lost, and restored on what is a new device; both directions go on.
#[test]
fn a_backup_is_made_once_and_brings_a_lost_profile_back() {
    let (world, _) = World::introduced();
    world.ok("alice", &["receive"]);
    world.ok("bob", &["receive"]);
    world.ok("alice", &["send", "bob", "before"]);
    world.ok("bob", &["receive"]);
    world.ok("alice", &["receive"]);
    let file = world.path("bob.backup");
    let file = file.to_str().unwrap();
    let made = &world.ok("bob", &["backup", "export", file])[0];
    assert_eq!((&made["contacts"], &made["messages"]), (&1.into(), &1.into()));
    let key = made["recovery_key"].as_str().unwrap().to_owned();
    let key_file = world.path("key");
    std::fs::write(&key_file, key.to_lowercase().replace('-', " ")).unwrap();
    let key_file = key_file.to_str().unwrap();
    let with_key = ["--recovery-key-file", key_file];

    let again = world.run("bob", &["backup", "export", file]);
    assert_eq!(again.code, 31, "{}", again.err);
    let second = world.path("second.backup");
    let words = ["backup", "export", second.to_str().unwrap()];
    let second = &world.ok("bob", &[&words[..], &with_key].concat())[0];
    assert!(second.get("recovery_key").is_none(), "a key that is known is not shown again");
    assert_eq!(
        world.ok("x", &[&["backup", "check", file][..], &with_key].concat())[0]["whole"],
        true
    );

    std::fs::write(world.path("typo"), key.replacen(&key[..4], "0000", 1)).unwrap();
    let typo = world.path("typo");
    let words = ["backup", "check", file, "--recovery-key-file", typo.to_str().unwrap()];
    let refused = world.run("x", &words);
    assert_eq!(refused.code, 30);
    assert!(refused.err.contains("line 1"), "{}", refused.err);
    std::fs::write(world.path("cut"), &std::fs::read(file).unwrap()[..5000]).unwrap();
    let cut = world.path("cut");
    let words = ["backup", "import", cut.to_str().unwrap()];
    assert_eq!(world.run("new", &[&words[..], &with_key].concat()).code, 29);
    assert!(!world.path("new").exists());
    let words = [&["backup", "import", file][..], &with_key].concat();
    assert_eq!(world.run("bob", &words).code, 14);

    std::fs::remove_dir_all(world.path("bob")).unwrap();
    world.ok("alice", &["send", "bob", "where are you"]);
    let back = &world.ok("bob", &words)[0];
    assert_eq!(back["messages"], 1);
    for _ in 0..3 {
        world.ok("bob", &["receive"]);
        world.ok("alice", &["receive"]);
    }
    let history = world.ok("bob", &["history", "alice"]);
    let texts: Vec<_> = history.iter().map(|message| message["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["before", "where are you"]);
    world.ok("bob", &["send", "alice", "here", "--wait", "accepted"]);
    assert!(world.ok("alice", &["receive"]).iter().any(|event| event["message"]["text"] == "here"));
}

#[test]
fn health_says_whether_the_encryption_works() {
    let (world, _) = World::introduced();
    world.ok("alice", &["receive"]);
    for _ in 0..4 {
        for (from, to) in [("alice", "bob"), ("bob", "alice")] {
            world.ok(from, &["send", to, "hello"]);
            world.ok(to, &["receive"]);
        }
    }
    let health = &world.ok("bob", &["health"])[0];
    assert_eq!(health["post_quantum_share"], 1.0);
    assert_eq!((&health["unopenable"], &health["unverified"]), (&0.into(), &1.into()));
    assert!(health["conversations"][0]["epochs"].as_u64().unwrap() > 0);
    assert!(health["seal_us"]["median"].as_u64().unwrap() > 0);
    let said = world.run("bob", &["health"]);
    assert!(said.out.contains("1 of 1 conversations"), "{}", said.out);
}
