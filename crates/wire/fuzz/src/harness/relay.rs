//! Tickets and the configuration: any bytes, and what must hold for them.
//!
//! `relay/tests/corpora.rs` includes this file by path and replays the committed corpora.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a harness panics to report"
)]

use std::path::PathBuf;
use std::sync::OnceLock;

use undertone_relay::settings::Layers;
use undertone_relay::tickets::{Tickets, read_content};
use undertone_wire::limits::{MAX_MAILBOXES_PER_TICKET, MAX_TICKET, TICKET_SECONDS};
use undertone_wire::{Day, Incarnation};

pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const TARGETS: [(&str, Target); 2] = [("tickets", tickets), ("configuration", configuration)];

const NOW: u64 = 20_000 * 86_400;

fn directory() -> PathBuf {
    let directory = std::env::temp_dir().join(format!("undertone-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn issuer() -> &'static Tickets {
    static ISSUER: OnceLock<Tickets> = OnceLock::new();
    ISSUER.get_or_init(|| {
        let path = directory().join("tickets.key");
        let incarnation = Incarnation::from_bytes([1; 16]);
        Tickets::open(&path, incarnation, Day::from_unix_seconds(NOW)).unwrap()
    })
}

/// Bytes as a ticket, which nobody can forge; then as what a ticket's seal protects: what can be
/// read can be issued, opened and is the same.
pub fn tickets(data: &[u8]) {
    assert!(issuer().open_ticket(NOW, data).is_err());
    let Some((expiry, opened)) = read_content(data) else { return };
    assert!(opened.mailboxes.len() <= MAX_MAILBOXES_PER_TICKET);
    let sealed = issuer().issue(NOW, opened.session, &opened.mailboxes).unwrap();
    assert!(sealed.len() <= MAX_TICKET);
    assert_eq!(issuer().open_ticket(NOW, &sealed).unwrap(), opened);
    assert!(issuer().open_ticket(NOW + u64::from(TICKET_SECONDS), &sealed).is_err());
    // A clock that somebody moved: good only within the day before it ends.
    let later = NOW.wrapping_add(expiry % (2 * u64::from(TICKET_SECONDS)));
    assert_eq!(
        issuer().open_ticket(later, &sealed).is_ok(),
        later < NOW + u64::from(TICKET_SECONDS)
    );
    // One bit, anywhere.
    let mut changed = sealed;
    let at = usize::try_from(expiry).unwrap_or(usize::MAX) % changed.len();
    changed[at] ^= 1;
    assert!(issuer().open_ticket(NOW, &changed).is_err());
}

/// Bytes as a configuration file: settings or a list of what is wrong, never a panic; and what was
/// read, written out, is read as the same.
pub fn configuration(data: &[u8]) {
    let read = |bytes: &[u8]| {
        let path = directory().join("relay.toml");
        std::fs::write(&path, bytes).unwrap();
        Layers { file: Some(path), ..Layers::default() }.load()
    };
    match read(data) {
        Ok(loaded) => {
            let again = read(loaded.as_toml().as_bytes()).unwrap();
            assert_eq!(again.settings, loaded.settings);
        }
        Err(problems) => assert!(!problems.is_empty()),
    }
}
