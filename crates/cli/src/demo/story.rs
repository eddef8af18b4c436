//! What happens in the demonstration, in order.

use std::path::Path;

use undertone::{Direction, Error, Link, LinkKind, MessageId};
use undertone_relay::operator::StoreDump;

use super::canary::Canaries;
use super::file::Content;
use super::needle::{Class, Needle, Place};
use super::person::Person;
use super::relay::{RelayPlaces, RelayProcess};
use super::search::{Findings, Search};
use super::step::{self, bounded, tell};
use crate::failure::Failure;
use crate::output::Output;

const BOB_GREETS: &str = "Hello Alice, this is Bob: your link worked.";
const ALICE_ANSWERS: &str = "Hello Bob. Nobody between us can read this.";
const BOB_ASKS: &str = "Not even the relay that carries it?";
const ALICE_EXPLAINS: &str = "Not even the relay. See below what it holds.";
const WHILE_OFFLINE: [&str; 2] =
    ["Bob, you are offline now; this waits for you at the relay.", "And so does this."];
const AFTER_FILE: &str = "That was the file.";
const WHILE_DOWN: &str = "Written while the relay was down: it waits on my own disk.";
const BOB_CONFIRMS: &str = "Everything came, in order, and the file with it.";
const STILL_WAITING: &str = "This one is still at the relay when you look at it.";

/// Every text that is written.
const TEXTS: [&str; 10] = [
    BOB_GREETS,
    ALICE_ANSWERS,
    BOB_ASKS,
    ALICE_EXPLAINS,
    WHILE_OFFLINE[0],
    WHILE_OFFLINE[1],
    AFTER_FILE,
    WHILE_DOWN,
    BOB_CONFIRMS,
    STILL_WAITING,
];

/// The demonstration while it runs.
pub(super) struct Story<'a> {
    pub(super) output: &'a Output,
    pub(super) places: RelayPlaces,
    pub(super) canaries: Canaries,
    pub(super) alice: Person,
    pub(super) bob: Person,
    /// What is searched for; grows as keys change.
    pub(super) needles: Vec<Needle>,
    /// What was found.
    pub(super) findings: Findings,
}

/// What happened, to be checked.
pub(super) struct Played {
    /// Everything that each sent, in order: what the other must have.
    pub(super) sent_by_alice: Vec<MessageId>,
    pub(super) sent_by_bob: Vec<MessageId>,
    /// The last one of Alice's, left at the relay on purpose.
    pub(super) left_waiting: MessageId,
    /// The file, as it was sent.
    pub(super) file: MessageId,
    pub(super) content: Content,
    /// The relay's store as it was found after the kill, with envelopes queued.
    pub(super) after_kill: StoreDump,
    /// Messages that were waiting for Bob then.
    pub(super) expected_in_queue: usize,
    /// Where the relay is, with a token.
    pub(super) join: String,
    /// Its port, to start it again.
    pub(super) port: u16,
    /// It runs.
    pub(super) relay: RelayProcess,
}

impl Story<'_> {
    /// Plays it. Ends with the relay running, one message waiting there, and Bob offline.
    pub(super) async fn play(&mut self, file: &Path) -> Result<Played, Failure> {
        let content = Content::of(file).map_err(|error| Error::FileUnreadable {
            path: file.to_path_buf(),
            reason: error.to_string(),
        })?;
        self.needles.extend(self.texts_and_file(file, &content)?);

        let relay = RelayProcess::start(&self.places, 0, None).await?;
        let port = relay.port;
        tell(self.output, &format!("the relay runs: {}", relay.address));
        let join = relay.join.clone();
        let join = join.ok_or_else(|| step::failed("the relay gave no join address".into()))?;
        self.needles.push(Needle::new("join address", Class::Capability, join.as_bytes()));

        self.meet(&join).await?;
        let (mut sent_by_alice, mut sent_by_bob) = self.talk().await?;
        let (offline, file_id) = self.send_to_offline_bob(file).await?;
        let expected_in_queue = offline.len();
        sent_by_alice.extend(offline);

        relay.kill()?;
        let after_kill = self.places.stored()?;
        self.search_killed(&after_kill)?;
        tell(self.output, "the relay is killed (SIGKILL), with messages for Bob in its queue");
        sent_by_alice.push(self.alice.write(WHILE_DOWN).await?);

        let canary = self.canaries.log_text();
        let relay = RelayProcess::start(&self.places, port, Some(&canary)).await?;
        tell(self.output, "the relay is started again, on the same store");
        self.alice.sync().await?;

        self.bob.open().await?;
        self.bob.sync().await?;
        tell(self.output, "Bob is back and has fetched what waited");
        self.collect().await?;
        sent_by_bob.push(self.bob.write(BOB_CONFIRMS).await?);
        self.bob.sync().await?;
        self.alice.sync().await?;
        self.bob.sync().await?;
        self.collect().await?;
        self.bob.close().await;

        let left_waiting = self.alice.write(STILL_WAITING).await?;
        self.alice.sync().await?;
        // To be asked what he has, and to fetch nothing meanwhile.
        self.bob.open_offline().await?;
        self.collect().await?;
        Ok(Played {
            sent_by_alice,
            sent_by_bob,
            left_waiting,
            file: file_id,
            content,
            after_kill,
            expected_in_queue,
            join,
            port,
            relay,
        })
    }

    fn texts_and_file(&self, file: &Path, content: &Content) -> Result<Vec<Needle>, Failure> {
        let mut needles = super::file::needles(file, content).map_err(|error| {
            Error::FileUnreadable { path: file.to_path_buf(), reason: error.to_string() }
        })?;
        for text in TEXTS {
            needles.push(Needle::new(format!("the text \"{text}\""), Class::Plaintext, text));
        }
        needles.extend(self.canaries.needles());
        Ok(needles)
    }

    /// Two profiles, and first contact by a link for one person.
    async fn meet(&mut self, join: &str) -> Result<(), Failure> {
        self.alice.create(join).await?;
        self.bob.create(join).await?;
        tell(self.output, "Alice and Bob have created their profiles");
        let invitation = bounded(
            "Alice makes a link",
            self.alice.client()?.invite(LinkKind::SingleUse, Some("for the demonstration".into())),
        )
        .await?;
        let text = invitation.link.to_text();
        self.needles.push(Needle::new("the link", Class::Secret, text.as_bytes()));
        self.needles.push(Needle::new("link secret", Class::Secret, *invitation.link.secret()));
        // Handed over as text, as people do.
        let link: Link = text
            .parse()
            .map_err(|error| step::failed(format!("the link can't be read: {error}")))?;
        self.collect().await?;
        bounded("Bob uses the link", self.bob.client()?.add(&link, None)).await?;
        self.bob.sync().await?;
        self.alice.sync().await?;
        tell(self.output, "Bob has used Alice's link: they are contacts");
        self.collect().await
    }

    async fn talk(&mut self) -> Result<(Vec<MessageId>, Vec<MessageId>), Failure> {
        let (mut from_alice, mut from_bob) = (Vec::new(), Vec::new());
        for (asked, answered) in [(BOB_GREETS, ALICE_ANSWERS), (BOB_ASKS, ALICE_EXPLAINS)] {
            from_bob.push(self.bob.write(asked).await?);
            self.bob.sync().await?;
            self.alice.sync().await?;
            from_alice.push(self.alice.write(answered).await?);
            self.alice.sync().await?;
            self.bob.sync().await?;
            self.collect().await?;
        }
        tell(self.output, "texts have gone both ways");
        Ok((from_alice, from_bob))
    }

    async fn send_to_offline_bob(
        &mut self,
        file: &Path,
    ) -> Result<(Vec<MessageId>, MessageId), Failure> {
        self.bob.close().await;
        let mut sent = Vec::new();
        for text in WHILE_OFFLINE {
            sent.push(self.alice.write(text).await?);
        }
        let file_id = self.alice.attach(file).await?;
        sent.push(file_id);
        sent.push(self.alice.write(AFTER_FILE).await?);
        let report = self.alice.sync().await?;
        if report.queued > 0 {
            return Err(step::failed(format!(
                "the relay should have accepted everything; {} messages did not go out",
                report.queued
            )));
        }
        tell(self.output, "Bob is offline; Alice has sent three texts and a file");
        self.collect().await?;
        Ok((sent, file_id))
    }

    /// Searches what a crash leaves, before the next run of the relay changes it.
    fn search_killed(&mut self, stored: &StoreDump) -> Result<(), Failure> {
        let search = self.search()?;
        search
            .rows(stored, &mut self.findings)
            .and_then(|()| {
                search.directory(Place::Files, &self.places.directory, &mut self.findings)
            })
            .map_err(step::failed)
    }

    /// A search for everything that is known so far.
    pub(super) fn search(&self) -> Result<Search, Failure> {
        let clients: Vec<_> =
            [&self.alice, &self.bob].into_iter().filter_map(|person| person.address).collect();
        Search::new(&self.needles, &clients).map_err(step::failed)
    }

    /// Adds what those who are online know now: keys change with every message.
    async fn collect(&mut self) -> Result<(), Failure> {
        for person in [&self.alice, &self.bob] {
            if person.client().is_ok() {
                self.needles.extend(person.needles().await?);
            }
        }
        Ok(())
    }
}

/// Ids of a direction, in the order of the history.
pub(super) fn ids(messages: &[undertone::Message], direction: Direction) -> Vec<MessageId> {
    messages
        .iter()
        .filter(|message| message.direction == direction)
        .map(|message| message.id)
        .collect()
}
