//! Whether what happened is what should have happened.

use serde_json::{Value, json};
use undertone::{Direction, Message, MessageKind, MessageState};

use super::file::Content;
use super::holdings::queued;
use super::needle::{Class, Place};
use super::search::{Findings, Search};
use super::step::{self, bounded};
use super::story::{Played, Story, ids};
use crate::failure::Failure;

/// One claim and whether it holds.
pub(super) struct Check {
    /// Stable name.
    name: &'static str,
    pub(super) ok: bool,
    /// What was found, in a sentence.
    pub(super) detail: String,
}

impl Check {
    pub(super) const fn new(name: &'static str, ok: bool, detail: String) -> Self {
        Self { name, ok, detail }
    }

    /// `check`, `ok`, `detail`.
    pub(super) fn json(&self) -> Value {
        json!({ "check": self.name, "ok": self.ok, "detail": self.detail })
    }
}

/// What the two have, compared with what was sent. Bob is online and has not fetched the last one.
pub(super) async fn conversation(
    story: &Story<'_>,
    played: &Played,
    alice: &[Message],
    bob: &[Message],
) -> Result<Vec<Check>, Failure> {
    let at_bob = ids(bob, Direction::Incoming);
    let at_alice = ids(alice, Direction::Incoming);
    let reported_to_bob = story.bob.reported().await?;
    let reported_to_alice = story.alice.reported().await?;
    let complete = at_bob == played.sent_by_alice && at_alice == played.sent_by_bob;
    let once = reported_to_bob == played.sent_by_alice && reported_to_alice == played.sent_by_bob;
    Ok(vec![
        identities(story).await?,
        Check::new(
            "relay-killed-with-queue",
            queued(&played.after_kill) >= played.expected_in_queue,
            format!(
                "the killed relay's store held {} envelopes, among them the {} that Alice had just sent",
                queued(&played.after_kill),
                played.expected_in_queue
            ),
        ),
        Check::new(
            "nothing-lost-order-kept",
            complete,
            format!(
                "Bob has {} of {} messages, Alice {} of {}, in the order of sending",
                at_bob.len(),
                played.sent_by_alice.len(),
                at_alice.len(),
                played.sent_by_bob.len()
            ),
        ),
        Check::new(
            "nothing-twice",
            once,
            format!(
                "each was reported once: {} to Bob, {} to Alice",
                reported_to_bob.len(),
                reported_to_alice.len()
            ),
        ),
        file(played, bob),
        left_waiting(played, alice, bob),
    ])
}

/// Each knows the other's account, and both see the same safety number.
async fn identities(story: &Story<'_>) -> Result<Check, Failure> {
    let (alice, bob) = (story.alice.client()?, story.bob.client()?);
    let (of_alice, of_bob) = (story.alice.contact().await?, story.bob.contact().await?);
    let here = bounded("the safety number", alice.safety_number(of_alice.id)).await?;
    let there = bounded("the safety number", bob.safety_number(of_bob.id)).await?;
    let ok = of_alice.account == bob.me().account
        && of_bob.account == alice.me().account
        && here == there;
    Ok(Check::new("same-safety-number", ok, format!("both see the safety number {}", here.digits)))
}

fn file(played: &Played, bob: &[Message]) -> Check {
    let path = bob.iter().find(|message| message.id == played.file).and_then(|message| {
        match &message.kind {
            MessageKind::File(file) => file.path.clone(),
            _ => None,
        }
    });
    let (ok, detail) = match path.as_deref().map(Content::of) {
        Some(Ok(content)) if content == played.content => {
            (true, format!("the file arrived bit for bit, {} bytes", content.size))
        }
        Some(Ok(content)) => {
            (false, format!("the file that arrived differs, {} bytes", content.size))
        }
        Some(Err(error)) => (false, format!("the file that arrived can't be read: {error}")),
        None => (false, "the file did not arrive".to_owned()),
    };
    Check::new("file-bit-for-bit", ok, detail)
}

fn left_waiting(played: &Played, alice: &[Message], bob: &[Message]) -> Check {
    let sent = alice.iter().find(|message| message.id == played.left_waiting);
    let accepted = sent.is_some_and(|message| message.state == MessageState::Accepted);
    let arrived = bob.iter().any(|message| message.id == played.left_waiting);
    Check::new(
        "last-message-waits",
        accepted && !arrived,
        "the last message is accepted and waits at the relay for Bob".into(),
    )
}

/// Whether the search had everything to search for that it should have. A system with a single
/// loopback address has no addresses to search for, which the report says.
pub(super) fn coverage(search: &Search, own_addresses: bool) -> Check {
    let missing: Vec<&str> = Class::SOUGHT
        .into_iter()
        .filter(|class| search.count(*class) < fewest(*class))
        .filter(|class| own_addresses || *class != Class::Address)
        .map(Class::name)
        .collect();
    let detail = if missing.is_empty() {
        "the search had enough of every class to look for".to_owned()
    } else {
        format!("the search had too little to look for of class {}", missing.join(", "))
    };
    Check::new("search-covers-all", missing.is_empty(), detail)
}

/// How much there must be of a class. A run lists about 70 different secrets: two profiles with a
/// session each, asked after every exchange. Far fewer would mean that the list broke.
const fn fewest(class: Class) -> usize {
    match class {
        Class::Secret => 50,
        Class::Capability => 4,
        Class::Identity => 6,
        Class::Name | Class::Address => 2,
        Class::Plaintext => 10,
        Class::Canary(_) => 1,
    }
}

/// What the search says: nothing found, and every canary found.
pub(super) fn search(findings: &Findings) -> Vec<Check> {
    Place::ALL
        .into_iter()
        .flat_map(|place| {
            let (clean_name, canary_name) = match place {
                Place::Rows => ("rows-clean", "rows-canary"),
                Place::Files => ("files-clean", "files-canary"),
                Place::Log => ("log-clean", "log-canary"),
                Place::Frames => ("frames-clean", "frames-canary"),
            };
            let leaks = findings.leaks.iter().filter(|leak| leak.place == place).count();
            let bytes = findings.bytes.get(&place).copied().unwrap_or_default();
            let name = place.name();
            let canary = findings.canaries.contains(&place);
            [
                Check::new(
                    clean_name,
                    leaks == 0 && bytes > 0,
                    format!("{name}: {leaks} finds in {bytes} bytes"),
                ),
                Check::new(
                    canary_name,
                    canary,
                    if canary {
                        format!("{name}: what was planted there was found")
                    } else {
                        format!("{name}: what was planted there was NOT found: the search failed")
                    },
                ),
            ]
        })
        .collect()
}

/// Searches everything that the relay has and has served.
pub(super) fn look_everywhere(
    search: &Search,
    story: &Story<'_>,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let places = &story.places;
    let stored = places.stored()?;
    search
        .rows(&stored, findings)
        .and_then(|()| search.directory(Place::Files, &places.directory, findings))
        .and_then(|()| search.file(Place::Log, &places.log, findings))
        .and_then(|()| search.file(Place::Log, &places.errors, findings))
        .and_then(|()| search.file(Place::Frames, &places.frames, findings))
        .map_err(step::failed)
}
