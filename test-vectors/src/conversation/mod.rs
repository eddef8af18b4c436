//! Conversations: what the steps of `test-vectors/README.md` do, carried out
//! with sessions of the core.

mod messages;
mod setup;
mod traced;

pub(crate) use setup::{device_secret, kind, made_on, record, route};
pub(crate) use traced::{fresh, identity_block};

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use undertone_core::{LinkSecret, LocalDevice, PrekeySecret, Session};

use crate::stream::{Draws, Stream};
use crate::value::{Args, hex, unhex};
use crate::{Fail, Outcome};

/// Everybody and everything that the steps have named so far.
#[derive(Default)]
pub struct World {
    people: BTreeMap<String, Person>,
    links: BTreeMap<String, [u8; 32]>,
    bundles: BTreeMap<String, Published>,
    sessions: BTreeMap<String, Held>,
    envelopes: BTreeMap<String, Vec<u8>>,
    /// Counts the sessions that were accepted.
    accepted: u64,
    stream: Option<Stream>,
    /// Whether results carry `intermediate`.
    pub traced: bool,
}

struct Person {
    device: LocalDevice,
    /// Signing seed and X25519 key: what traces need.
    secret: [u8; 64],
    /// The replay record.
    accepted: BTreeSet<[u8; 32]>,
}

struct Published {
    person: String,
    id: [u8; 16],
    digest: undertone_core::BundleDigest,
    one_time: bool,
    /// How many were made before it.
    made: usize,
    secret: Option<PrekeySecret>,
    sealed: Vec<u8>,
}

struct Held {
    session: Session,
    person: String,
    /// The link over which it was accepted, and the how manieth it was.
    accepted: Option<(String, u64)>,
}

impl World {
    /// Nobody and nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is drawn from now on where a step has no draws.
    pub fn seed(&mut self, seed: [u8; 32]) {
        self.stream = Some(Stream::new(seed));
    }

    /// Forgets everything but the stream.
    pub fn reset(&mut self) {
        *self = Self { stream: self.stream.take(), traced: self.traced, ..Self::default() };
    }

    /// Carries out a step, and returns its results.
    ///
    /// # Errors
    /// [`Fail::Refused`], or [`Fail::Wrong`] for what is no step. Nothing has
    /// changed then.
    pub fn step(&mut self, step: &Value) -> Outcome<Value> {
        let args = Args::of(step)?;
        match args.str("do")? {
            "person" => self.person(&args),
            "link" => self.link(&args),
            "bundle" => self.bundle(&args),
            "initiate" => self.initiate(&args),
            "seal" => self.seal(&args),
            "receive" => self.receive(&args),
            "open" => self.open(&args),
            "expire" => self.expire(&args),
            "state" => self.state(&args),
            "reload" => self.reload(&args),
            "copy" => self.copy(&args),
            "load" => self.load(&args),
            "delete" => self.delete(&args),
            "edit" => self.edit(&args),
            "forget" => self.forget(&args),
            other => Err(Fail::wrong(format!("no such step: {other}"))),
        }
    }

    /// The stored form of a session.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn stored(&self, session: &str) -> Outcome<Vec<u8>> {
        Ok(self.held(session)?.session.to_bytes().to_vec())
    }

    /// The bytes of an envelope.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn envelope(&self, name: &str) -> Outcome<&[u8]> {
        let found = self.envelopes.get(name).map(Vec::as_slice);
        found.ok_or_else(|| Fail::wrong(format!("no envelope {name}")))
    }

    fn held(&self, name: &str) -> Outcome<&Held> {
        self.sessions.get(name).ok_or_else(|| Fail::wrong(format!("no session {name}")))
    }

    fn held_mut(&mut self, name: &str) -> Outcome<&mut Held> {
        self.sessions.get_mut(name).ok_or_else(|| Fail::wrong(format!("no session {name}")))
    }

    fn somebody(&self, name: &str) -> Outcome<&Person> {
        self.people.get(name).ok_or_else(|| Fail::wrong(format!("nobody is called {name}")))
    }

    fn link_secret(&self, name: &str) -> Outcome<LinkSecret> {
        let secret = self.links.get(name).map(LinkSecret::from_bytes);
        secret.ok_or_else(|| Fail::wrong(format!("no link {name}")))
    }

    fn named_envelope(&self, args: &Args<'_>) -> Outcome<Vec<u8>> {
        if args.has("bytes") {
            return args.bytes("bytes");
        }
        Ok(self.envelope(args.str("envelope")?)?.to_vec())
    }

    fn draws(&mut self, args: &Args<'_>) -> Outcome<Draws> {
        if let Some(draws) = args.optional("draws") {
            return listed(draws).map(Draws::list);
        }
        Ok(self.stream.clone().map_or_else(Draws::nothing, Draws::stream))
    }

    /// The stream goes on behind what was drawn.
    fn drawn(&mut self, draws: Draws) {
        if let Some(stream) = draws.into_stream() {
            self.stream = Some(stream);
        }
    }
}

/// Draws as a file or a line of the pipe lists them.
pub(crate) fn listed(draws: &Value) -> Outcome<Vec<Vec<u8>>> {
    let list = draws.as_array().ok_or_else(|| Fail::wrong("draws are no list"))?;
    list.iter()
        .map(|draw| match draw {
            Value::String(text) => unhex(text),
            other => Args::of(other)?.hex("value"),
        })
        .collect()
}

/// Draws with their names.
pub(crate) fn with_names(names: &[&str], values: &[Vec<u8>]) -> Outcome<Value> {
    if names.len() != values.len() {
        return Err(Fail::wrong("another number of draws than the specification says"));
    }
    let draw = |(name, value): (&&str, &Vec<u8>)| json!({ "name": name, "value": hex(value) });
    Ok(Value::Array(names.iter().zip(values).map(draw).collect()))
}
