//! The daemon as a process: what it says, and what signals do.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Daemon {
    child: Child,
    out: Receiver<String>,
    log: Receiver<String>,
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

/// The first line that contains the text.
fn wait(lines: &Receiver<String>, text: &str) -> String {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let line = lines.recv_timeout(left).unwrap_or_else(|_| panic!("no line with {text:?}"));
        if line.contains(text) {
            return line;
        }
    }
}

impl Daemon {
    fn start(config: &Path) -> Self {
        Self::start_with(config, |_| {})
    }

    fn start_with(config: &Path, more: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_undertone-relay"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("UNDERTONE_RELAY_")) {
            command.env_remove(name);
        }
        command.env_remove("JOURNAL_STREAM").env_remove("container");
        command.arg("run").arg("--config").arg(config);
        more(&mut command);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, log) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self { child, out: lines(out), log: lines(log) }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_join_address_does_not_go_to_a_journal() {
    use std::os::unix::fs::PermissionsExt as _;
    for log in ["JOURNAL_STREAM", "container"] {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("relay.toml");
        let data = directory.path().join("data");
        std::fs::write(&config, format!("dir = {data:?}\nlisten = \"127.0.0.1:0\"\n")).unwrap();
        let mut daemon = Daemon::start_with(&config, |command| {
            command.env(log, "8:12345");
        });
        wait(&daemon.log, "serving");
        daemon.signal("TERM");
        wait(&daemon.log, "stopped");
        assert!(daemon.child.wait().unwrap().success());
        let said: Vec<_> = daemon.out.iter().collect();
        assert!(said.iter().any(|line| line.contains("join-address")), "{said:?}");
        assert!(said.iter().all(|line| !line.contains("ut-join:")), "{said:?}");
        let file = data.join("join-address");
        assert!(std::fs::read_to_string(&file).unwrap().starts_with("ut-join:127.0.0.1:"));
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn it_does_not_run_in_another_user_s_directory() {
    let place = tempfile::tempdir().unwrap();
    // Whoever runs this: the root of the file system is root's, and root may give away.
    let mut data = std::path::PathBuf::from("/");
    let mine = place.path().join("data");
    std::fs::create_dir(&mine).unwrap();
    if std::os::unix::fs::chown(&mine, Some(12_345), None).is_ok() {
        data = mine.clone();
    }
    let config = place.path().join("relay.toml");
    std::fs::write(&config, format!("dir = {data:?}\nlisten = \"127.0.0.1:0\"\n")).unwrap();
    let mut daemon = Daemon::start(&config);
    wait(&daemon.log, "belongs to another user");
    assert!(!daemon.child.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(&mine).unwrap().count(), 0, "something was left there");
}

#[test]
fn it_starts_reloads_and_stops() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("relay.toml");
    let data = directory.path().join("data");
    let write = |more: &str| {
        let text = format!("dir = {data:?}\nlisten = \"127.0.0.1:0\"\n{more}");
        std::fs::write(&config, text).unwrap();
    };
    write("");
    let mut daemon = Daemon::start(&config);
    let address = wait(&daemon.out, "Address:");
    assert!(address.contains("ut-relay:127.0.0.1:"), "{address}");
    assert!(wait(&daemon.out, "ut-join:").starts_with("ut-join:127.0.0.1:"));
    wait(&daemon.log, "serving");
    write("host = \"relay.example.org\"\n[log]\nlevel = \"debug\"\n[limits]\nconnections = 7\n");
    daemon.signal("HUP");
    let line = wait(&daemon.log, "reloaded");
    assert!(line.contains("\"log.level\"") && line.contains("\"limits.connections\""), "{line}");
    assert!(wait(&daemon.log, "next start").contains("\"host\""));
    write("[limits]\nconections = 7\n");
    daemon.signal("HUP");
    let line = wait(&daemon.log, "the configuration is not good");
    assert!(line.contains("relay.toml:4: there is no setting"), "{line}");
    wait(&daemon.log, "what held before holds");
    daemon.signal("TERM");
    wait(&daemon.log, "stopped");
    assert!(daemon.child.wait().unwrap().success());
    // What is not good keeps it from starting, with an exit code of its own.
    let mut daemon = Daemon::start(&config);
    assert!(wait(&daemon.log, "did you mean").contains("limits.connections"));
    assert_eq!(daemon.child.wait().unwrap().code(), Some(2));
}

#[test]
fn it_tells_systemd_when_it_serves_and_when_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_undertone-relay"));
    command.args(["run", "--listen", "127.0.0.1:0", "--dir"]).arg(directory.path().join("data"));
    command.env("NOTIFY_SOCKET", &path).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let log = lines(child.stderr.take().unwrap());
    let daemon = Daemon { child, out: channel().1, log };
    let told = || {
        let mut text = [0; 64];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    assert_eq!(told(), "READY=1");
    daemon.signal("INT");
    assert_eq!(told(), "STOPPING=1");
    wait(&daemon.log, "stopped");
}

/// What a command prints, and whether it succeeded.
fn command(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_undertone-relay"));
    let output = command.arg("--dir").arg(directory).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn a_restored_relay_can_be_looked_at_before_it_is_started() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    let backup = directory.path().join("backup");
    let (done, text) = command(&first, &["token", "list"]);
    assert!(!done && text.contains("there is no relay in"), "{text}");
    let config = directory.path().join("relay.toml");
    std::fs::write(&config, format!("dir = {first:?}\nlisten = \"127.0.0.1:0\"\n")).unwrap();
    let daemon = Daemon::start(&config);
    wait(&daemon.log, "serving");
    assert!(command(&first, &["backup", "--to", backup.to_str().unwrap()]).0);
    let (done, text) = command(&second, &["restore", "--from", backup.to_str().unwrap()]);
    assert!(done, "{text}");
    for arguments in
        [["check"].as_slice(), &["audit", "verify"], &["inventory"], &["token", "list"]]
    {
        let (done, text) = command(&second, arguments);
        assert!(done, "{arguments:?}: {text}");
    }
    for arguments in [["token", "add"].as_slice(), &["address"]] {
        let (done, text) = command(&second, arguments);
        assert!(!done && text.contains("has not been started"), "{arguments:?}: {text}");
    }
    let (done, text) = command(&second, &["root", "rotate", "--destroy"]);
    assert!(done && text.contains("is followed by"), "{text}");
    let (_, text) = command(&second, &["audit", "show"]);
    assert!(text.contains("root: replaced by another one") && text.contains("restore"), "{text}");
}
