//! The test transport, which only a build with `--cfg undertone_test_transport` has:
//!
//! ```text
//! RUSTFLAGS="--cfg undertone_test_transport" cargo test -p undertone-relay --test test_transport
//! ```
//!
//! Other builds run the one test that shows that they do not have it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// A relay as a program, with the variable that asks for the test transport; its address on
/// standard error, if it says one before it says where it listens.
struct Program {
    process: Child,
    said: Vec<String>,
    _directory: tempfile::TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start() -> Program {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_undertone-relay"))
        .args(["--dir", directory.path().to_str().unwrap()])
        .args(["run", "--listen", "127.0.0.1:0"])
        .env("UNDERTONE_TEST_TRANSPORT", "127.0.0.1:0")
        // Wherever this runs, what it prints is read here.
        .env_remove("JOURNAL_STREAM")
        .env_remove("container")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The join address is the last thing that a first run prints.
    let out = BufReader::new(process.stdout.take().unwrap());
    let mut said: Vec<String> = Vec::new();
    for line in out.lines() {
        let line = line.unwrap();
        let last = line.trim_start().starts_with("ut-join:");
        said.push(line.trim().to_owned());
        if last {
            break;
        }
    }
    if cfg!(undertone_test_transport) {
        let err = BufReader::new(process.stderr.take().unwrap());
        for line in err.lines() {
            let line = line.unwrap();
            let last = line.contains("WARNING");
            said.push(line);
            if last {
                break;
            }
        }
    }
    Program { process, said, _directory: directory }
}

#[cfg(not(undertone_test_transport))]
#[test]
fn an_ordinary_build_has_no_test_transport() {
    use std::io::Read as _;
    let mut program = start();
    let _ = program.process.kill();
    let mut errors = String::new();
    program.process.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(!errors.contains("test transport"), "{errors}");
    assert!(program.said.iter().any(|line| line.starts_with("ut-join:")));
}

#[cfg(undertone_test_transport)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_frames_run_over_plain_tcp_on_loopback() {
    use std::sync::Arc;
    use undertone_wire::client::{Connection, Options};
    use undertone_wire::frame::*;
    use undertone_wire::transport::{Carrier, Channel as _, connect_test};
    use undertone_wire::*;

    let program = start();
    assert!(program.said.iter().any(|line| line.contains("IT PROTECTS NOTHING")));
    let at = program.said.iter().find_map(|line| line.strip_prefix("test transport on "));
    let at = at.expect("the address").parse().unwrap();
    let join = program.said.iter().find(|line| line.starts_with("ut-join:")).unwrap();
    let join: JoinAddress = join.parse().unwrap();
    let channel = connect_test(at).await.unwrap();
    assert_eq!(channel.exporter().unwrap().as_bytes(), b"undertone/1 test transport only!");
    let connection = Connection::over(Arc::new(channel), &Options::default()).await.unwrap();
    assert_eq!(connection.carrier(), Carrier::Test);
    let owner = MailboxSecret::from_seed(&[1; 32]);
    let write = WriteCapability::from_bytes([2; 32]);
    let create = OwnerOperation::CreateMailbox {
        key: owner.public(),
        token: join.token().duplicate(),
        kind: MailboxKind::Queue,
        limits: None,
        capabilities: Bounded::one(write.hash()),
    };
    connection.owner(create, &[&owner]).await.unwrap();
    let mut pushes = connection.pushes().unwrap();
    let states = connection.subscribe(&[&owner], 8).await.unwrap();
    let other = Arc::new(connect_test(at).await.unwrap());
    let sender = Connection::over(other, &Options::default()).await.unwrap();
    sender.deliver(&write, vec![3; 1024]).await.unwrap();
    let Some(Push::Envelope { mailbox, incarnation, seq, .. }) = pushes.next().await else {
        panic!("no envelope")
    };
    let floor = seq.into();
    connection.acknowledge(vec![Acknowledgement { mailbox, incarnation, floor }]).await.unwrap();
    assert_eq!(states.len(), 1);
}
