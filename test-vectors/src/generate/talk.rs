//! Conversations, step by step, as they are written into a file.

use serde_json::{Value, json};

use super::{About, Files, head, put};
use crate::conversation::World;
use crate::forge::{Call, Forger};
use crate::form::Form;
use crate::stream::Stream;
use crate::value::{digest, hex, unhex};
use crate::{Fail, prim};

/// The day on which conversations take place.
pub const TODAY: u32 = 20_000;

/// How much of a conversation is written down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Envelopes in full, and every value on the way.
    Full,
    /// Hashes of envelopes; values on the way.
    Usual,
    /// Hashes of envelopes; values on the way where there is a half-step.
    Little,
}

/// A conversation that is being written.
pub struct Talk {
    pub world: World,
    /// Secrets of people and links, and the forger's randomness.
    pub stream: Stream,
    pub steps: Vec<Value>,
    detail: Detail,
    today: u32,
    /// Counts envelopes.
    count: u32,
}

/// Somebody's secrets.
pub struct Secrets {
    pub account: [u8; 32],
    pub signing: [u8; 32],
    pub dh: [u8; 32],
    pub list: Vec<u8>,
    pub fingerprint: Value,
    pub record: Value,
}

impl Talk {
    /// Begins a conversation; its name is where its randomness comes from.
    pub fn new(name: &str, detail: Detail) -> Self {
        let mut stream = Stream::named(&format!("conversation {name}"));
        let mut world = World::new();
        world.traced = true;
        world.seed(stream.array());
        Self { world, stream, steps: Vec::new(), detail, today: TODAY, count: 0 }
    }

    /// What day it is from now on.
    pub fn day(&mut self, today: u32) {
        self.today = today;
    }

    /// A step that succeeds; returns its results.
    pub fn step(&mut self, step: Value) -> Value {
        let result = self
            .world
            .step(&step)
            .unwrap_or_else(|error| panic!("{error}: step {} {step}", self.steps.len()));
        let mut whole = step;
        let (kind, full) = (whole["do"].as_str().unwrap().to_owned(), self.detail == Detail::Full);
        for (name, value) in result.as_object().unwrap() {
            if ["person", "link"].contains(&kind.as_str())
                && !["account", "fingerprint", "list", "record"].contains(&name.as_str())
                || kind == "bundle" && name == "bundle"
            {
                continue;
            }
            let bytes = || unhex(value.as_str().unwrap()).unwrap();
            let value = match (kind.as_str(), name.as_str()) {
                (_, "intermediate")
                    if self.detail == Detail::Little && value.get("half_step").is_none() =>
                {
                    continue;
                }
                ("bundle", "sealed") => digest(&bytes()),
                ("seal", "bytes") | ("state", "stored") if !full => digest(&bytes()),
                ("open" | "receive", "content") if bytes().len() > 64 => digest(&bytes()),
                _ => value.clone(),
            };
            put(&mut whole, name, value);
        }
        self.steps.push(whole);
        result
    }

    /// A step that is refused.
    pub fn refuse(&mut self, rule: &str, step: Value) {
        let result = self.world.step(&step);
        let number = self.steps.len();
        assert_eq!(result, Err(Fail::refused(rule)), "step {number} {step}");
        let mut whole = step;
        put(&mut whole, "refused", json!(rule));
        self.steps.push(whole);
    }

    pub fn person(&mut self, name: &str) -> Secrets {
        self.person_with(name, 1, 0)
    }

    /// Somebody with several devices.
    pub fn person_with(&mut self, name: &str, devices: usize, device: usize) -> Secrets {
        let account: [u8; 32] = self.stream.array();
        let keys: Vec<[[u8; 32]; 2]> =
            (0..devices).map(|_| [self.stream.array(), self.stream.array()]).collect();
        let described: Vec<Value> = keys
            .iter()
            .map(|[signing, dh]| json!({ "signing_secret": hex(signing), "dh_secret": hex(dh) }))
            .collect();
        let result = self.step(json!({
            "do": "person",
            "person": name,
            "account_secret": hex(&account),
            "devices": described,
            "device": device,
            "counter": 1_700_000_000,
        }));
        let [signing, dh] = keys[device];
        Secrets {
            account,
            signing,
            dh,
            list: unhex(result["list"].as_str().unwrap()).unwrap(),
            fingerprint: result["fingerprint"].clone(),
            record: result["record"].clone(),
        }
    }

    pub fn link(&mut self, name: &str) -> [u8; 32] {
        let secret = self.stream.array();
        self.step(json!({ "do": "link", "link": name, "link_secret": hex(&secret) }));
        secret
    }

    /// A bundle of Bob's; returns it open.
    pub fn bundle(&mut self, name: &str, link: &str, kind: &str) -> Vec<u8> {
        let result = self.step(json!({
            "do": "bundle",
            "bundle": name,
            "person": "bob",
            "link": link,
            "kind": kind,
            "expiry": self.today + 30,
            "route": hex(b"where Bob listens"),
        }));
        unhex(result["bundle"].as_str().unwrap()).unwrap()
    }

    /// The step by which Alice begins.
    pub fn initiate_step(&self, session: &str, bundle: &str, bob: &Secrets) -> Value {
        json!({
            "do": "initiate",
            "session": session,
            "person": "alice",
            "link": "link",
            "bundle": bundle,
            "fingerprint": bob.fingerprint,
            "today": self.today,
            "record": null,
            "route": hex(b"where Alice listens"),
        })
    }

    /// Alice, Bob, a link, a one-time bundle, and Alice's session.
    pub fn begin(&mut self) -> (Secrets, Secrets) {
        let alice = self.person("alice");
        let bob = self.person("bob");
        self.link("link");
        self.bundle("bundle", "link", "one-time");
        let step = self.initiate_step("alice", "bundle", &bob);
        self.step(step);
        (alice, bob)
    }

    /// The same, and a first message each way: both sides have a session
    /// that is confirmed.
    pub fn begin_confirmed(&mut self) -> (Secrets, Secrets) {
        let both = self.begin();
        self.hello();
        self.say("bob", "alice");
        both
    }

    /// Alice's first message, which Bob receives.
    pub fn hello(&mut self) {
        let envelope = self.seal("alice", b"hello");
        self.receive(&envelope);
    }

    /// The next envelope's name.
    pub fn name(&mut self) -> String {
        self.count += 1;
        format!("e{}", self.count)
    }

    pub fn seal(&mut self, session: &str, content: &[u8]) -> String {
        self.seal_value(session, hex(content))
    }

    pub fn seal_value(&mut self, session: &str, content: Value) -> String {
        let name = self.name();
        self.step(json!({
            "do": "seal", "session": session, "content": content, "envelope": name,
        }));
        name
    }

    pub fn receive_step(&self, envelope: &str) -> Value {
        json!({
            "do": "receive",
            "person": "bob",
            "link": "link",
            "envelope": envelope,
            "today": self.today,
            "record": null,
            "session": "bob",
        })
    }

    pub fn receive(&mut self, envelope: &str) -> Value {
        let step = self.receive_step(envelope);
        self.step(step)
    }

    pub fn open(&mut self, session: &str, envelope: &str) {
        let today = self.today;
        self.step(json!({
            "do": "open", "session": session, "envelope": envelope, "today": today,
        }));
    }

    pub fn open_refused(&mut self, session: &str, envelope: &str, rule: &str) {
        let today = self.today;
        self.refuse(
            rule,
            json!({ "do": "open", "session": session, "envelope": envelope, "today": today }),
        );
    }

    /// Bytes that nobody sealed are given to a session.
    pub fn open_forged(&mut self, session: &str, bytes: &[u8], rule: Option<&str>) {
        let step = json!({
            "do": "open", "session": session, "bytes": hex(bytes), "today": self.today,
        });
        match rule {
            Some(rule) => self.refuse(rule, step),
            None => drop(self.step(step)),
        }
    }

    /// A message from one session to another.
    pub fn say(&mut self, from: &str, to: &str) {
        let number = self.count;
        let envelope = self.seal(from, format!("message {number}").as_bytes());
        self.open(to, &envelope);
    }

    pub fn state(&mut self, session: &str) {
        self.step(json!({ "do": "state", "session": session }));
    }

    pub fn form(&self, session: &str) -> Form {
        Form::read(&self.world.stored(session).unwrap()).unwrap()
    }

    pub fn forger(&self, session: &str) -> Forger {
        Forger::new(self.form(session))
    }

    pub fn copy(&mut self, session: &str, name: &str) {
        self.step(json!({ "do": "copy", "session": session, "as": name }));
    }

    /// A handshake of somebody's own making.
    pub fn call<'a>(
        &mut self,
        link_secret: [u8; 32],
        bundle: &'a [u8],
        bob: &Secrets,
        alice: &Secrets,
        block: &'a [u8],
    ) -> Call<'a> {
        Call {
            link_secret,
            bundle,
            device_dh: prim::x25519_public(&bob.dh),
            ephemeral: self.stream.array(),
            sent_ephemeral: None,
            message: self.stream.array(),
            block,
            identity: alice.dh,
            nonce: self.stream.array(),
        }
    }

    /// Ends a conversation in which nothing, or nothing of importance, is refused.
    pub fn valid(self, files: &mut Files, about: &About<'_>) {
        let mut file = head(about, "valid", "conversation");
        put(&mut file, "steps", Value::Array(self.steps));
        files.add(about, file);
    }

    /// Ends a conversation whose last refusal is what it is about.
    pub fn refused(self, files: &mut Files, about: &About<'_>, rule: &str, stage: &str) {
        let last = self.steps.iter().rev().find_map(|step| step.get("refused"));
        assert_eq!(last, Some(&json!(rule)), "{}", about.name);
        let mut file = head(about, "refused", "conversation");
        put(&mut file, "rule", json!(rule));
        put(&mut file, "stage", json!(stage));
        put(&mut file, "steps", Value::Array(self.steps));
        files.add(about, file);
    }
}

/// What is compared by hash and what by value is the same to a reader.
#[cfg(test)]
#[test]
fn digests_agree() {
    use crate::value::agrees;
    let bytes = [7; 100];
    assert!(agrees(&digest(&bytes), &hex(&bytes)));
    assert!(!agrees(&digest(&bytes), &hex(&bytes[1..])));
}
