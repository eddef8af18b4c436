//! Steps with messages and with stored sessions.

use core::convert::Infallible;

use serde_json::{Value, json};
use undertone_core::{Day, Greeting, HandshakeError, Session};

use super::setup::record;
use super::{Held, World, traced, with_names};
use crate::form::Form;
use crate::trace;
use crate::value::{Args, hex};
use crate::{Fail, Outcome};

fn keep<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// Opens an envelope, with what a trace needs: the state before and after.
fn open(session: &mut Session, part: &[u8], today: Day) -> Outcome<(Vec<u8>, [Vec<u8>; 2])> {
    let before = session.to_bytes().to_vec();
    let opened = session.open(part, today).map(|pending| {
        let mut stored = Vec::new();
        let content = keep(pending.commit(|state| {
            stored = state.to_bytes().to_vec();
            Ok(())
        }));
        (content.to_vec(), stored)
    });
    match opened {
        Ok((content, stored)) => {
            let after = session.to_bytes().to_vec();
            if stored != after {
                return Err(Fail::wrong(
                    "the state that was to be stored is not the one that holds",
                ));
            }
            Ok((content, [before, after]))
        }
        Err(error) => {
            if *session.to_bytes() != before {
                return Err(Fail::wrong(format!("{} changed the state", error.code())));
            }
            Err(Fail::refused(error.code()))
        }
    }
}

impl World {
    pub(super) fn seal(&mut self, args: &Args<'_>) -> Outcome<Value> {
        let (name, content) = (args.str("session")?, args.bytes("content")?);
        let mut draws = self.draws(args)?;
        let traced = self.traced;
        let held = self.held_mut(name)?;
        let before = held.session.to_bytes().to_vec();
        let mut after = Vec::new();
        let sealed = match held.session.seal(&content, &mut draws) {
            Ok(pending) => {
                let drawn = draws.finish()?;
                let envelope = keep(pending.commit(|state, _| {
                    after = state.to_bytes().to_vec();
                    Ok(())
                }));
                Ok((drawn, envelope))
            }
            Err(error) => {
                after.clone_from(&before);
                draws.forget();
                Err(Fail::refused(error.code()))
            }
        };
        if *held.session.to_bytes() != after {
            return Err(Fail::wrong("the state that was to be stored is not the one that holds"));
        }
        self.drawn(draws);
        let (drawn, envelope) = sealed?;
        let before = Form::read(&before)?;
        let mut names = Vec::new();
        if before.sending_due == 1 {
            names.push("ratchet-key");
        }
        for value in drawn.iter().skip(names.len()) {
            names.push(match value.len() {
                64 => "ratchet-kem-seed",
                32 => "ratchet-kem-message",
                2 => "first-block",
                _ => "envelope-random",
            });
        }
        let mut out = json!({ "bytes": hex(&envelope), "draws": with_names(&names, &drawn)? });
        if traced {
            let trace = trace::sealed(&before, &Form::read(&after)?, &envelope, &drawn)?;
            trace::put(&mut out, "intermediate", trace);
        }
        if args.has("envelope") {
            self.envelopes.insert(args.str("envelope")?.to_owned(), envelope);
        }
        Ok(out)
    }

    pub(super) fn open(&mut self, args: &Args<'_>) -> Outcome<Value> {
        let part = self.named_envelope(args)?;
        self.open_part(args.str("session")?, &part, Day::new(args.u32("today")?))
    }

    fn open_part(&mut self, name: &str, part: &[u8], today: Day) -> Outcome<Value> {
        let traced = self.traced;
        let (content, [before, after]) = open(&mut self.held_mut(name)?.session, part, today)?;
        let mut out = json!({ "content": hex(&content) });
        if traced {
            let trace = trace::opened(&Form::read(&before)?, &Form::read(&after)?, part)?;
            trace::put(&mut out, "intermediate", trace);
        }
        Ok(out)
    }

    /// What arrives in the first-contact mailbox of a link, 04 §6.
    pub(super) fn receive(&mut self, args: &Args<'_>) -> Outcome<Value> {
        let (person, link_name) = (args.str("person")?, args.str("link")?);
        let today = Day::new(args.u32("today")?);
        let envelope = self.named_envelope(args)?;
        let link = self.link_secret(link_name)?;
        let greeting = match Greeting::open(&link.hello_key(), &envelope) {
            Ok(greeting) => greeting,
            Err(HandshakeError::NotSealedForThisLink) => {
                let last = self
                    .sessions
                    .iter()
                    .filter(|(_, held)| held.person == person)
                    .filter_map(|(name, held)| Some((held.accepted.as_ref()?, name)))
                    .filter(|((link, _), _)| link == link_name)
                    .max_by_key(|((_, count), _)| *count)
                    .map(|(_, name)| name.clone());
                let name = last.ok_or_else(|| Fail::refused("R-401"))?;
                return self.open_for("ordinary", &name, &envelope, today);
            }
            Err(error) => return Err(Fail::refused(error.code())),
        };
        let lookup = !args.has("lookup") || args.flag("lookup")?;
        let id = *greeting.bundle_id().as_bytes();
        let own = self.bundles.values().filter(|bundle| bundle.person == person);
        let bundle = if lookup {
            own.into_iter().find(|bundle| bundle.id == id)
        } else {
            own.max_by_key(|bundle| bundle.made)
        };
        let me = self.somebody(person)?;
        let Some(bundle) = bundle else {
            return Ok(json!({ "outcome": "dropped" }));
        };
        let id = greeting.session_id(&bundle.digest);
        if lookup {
            let same = |held: &Held| held.person == person && held.session.id() == id;
            let of_id = self.sessions.iter().find(|(_, held)| same(held));
            if let Some(name) = of_id.map(|(name, _)| name.clone()) {
                let part = greeting.envelope().to_vec();
                return self.open_for("repeat", &name, &part, today);
            }
            if me.accepted.contains(id.as_bytes()) {
                return Ok(json!({ "outcome": "dropped" }));
            }
            if bundle.secret.is_none() {
                let outcome = if bundle.one_time { "used-twice" } else { "dropped" };
                return Ok(json!({ "outcome": outcome }));
            }
        }
        let Some(secret) = &bundle.secret else {
            return Err(Fail::wrong("the private keys of this bundle are gone"));
        };
        let known = record(args)?;
        let part = greeting.envelope().to_vec();
        let seen = |id: &undertone_core::SessionId| me.accepted.contains(id.as_bytes());
        let pending = greeting
            .accept(&me.device, secret, &link, today, seen)
            .and_then(|introduction| introduction.open(known.as_ref(), today))
            .map_err(|error| Fail::refused(error.code()))?;
        let mut out = json!({
            "outcome": "accepted",
            "id": hex(pending.session_id().as_bytes()),
            "account": hex(pending.peer().account().as_bytes()),
            "device_keys": hex(&pending.peer_device().to_bytes()),
            "route": hex(pending.reply().as_bytes()),
            "content": hex(pending.content()),
        });
        let session = keep(pending.commit(|_| Ok(())));
        if self.traced {
            let trace = traced::accepted(me, secret, &link, &envelope, &part, &session)?;
            trace::put(&mut out, "intermediate", trace);
        }
        let bundle_id = bundle.id;
        let name = args.str("session")?.to_owned();
        if let Some(me) = self.people.get_mut(person) {
            me.accepted.insert(*id.as_bytes());
        }
        for bundle in self.bundles.values_mut().filter(|b| b.one_time && b.id == bundle_id) {
            bundle.secret = None;
        }
        self.accepted = self.accepted.saturating_add(1);
        let accepted = Some((link_name.to_owned(), self.accepted));
        self.sessions.insert(name, Held { session, person: person.to_owned(), accepted });
        Ok(out)
    }

    fn open_for(&mut self, outcome: &str, name: &str, part: &[u8], today: Day) -> Outcome<Value> {
        let mut out = self.open_part(name, part, today)?;
        trace::put(&mut out, "outcome", json!(outcome));
        trace::put(&mut out, "session", json!(name));
        Ok(out)
    }

    pub(super) fn expire(&mut self, args: &Args<'_>) -> Outcome<Value> {
        let today = Day::new(args.u32("today")?);
        let session = &mut self.held_mut(args.str("session")?)?.session;
        let mut stored = Vec::new();
        keep(session.expire(today, |state| {
            stored = state.to_bytes().to_vec();
            Ok(())
        }));
        if *session.to_bytes() != stored {
            return Err(Fail::wrong("the state that was to be stored is not the one that holds"));
        }
        Ok(json!({}))
    }

    pub(super) fn state(&mut self, args: &Args<'_>) -> Outcome<Value> {
        Ok(json!({ "stored": hex(&self.stored(args.str("session")?)?) }))
    }

    pub(super) fn reload(&mut self, args: &Args<'_>) -> Outcome<Value> {
        let held = self.held_mut(args.str("session")?)?;
        held.session = read(&held.session.to_bytes())?;
        Ok(json!({}))
    }

    pub(super) fn copy(&mut self, args: &Args<'_>) -> Outcome<Value> {
        let held = self.held(args.str("session")?)?;
        // Nobody's, so that what arrives for the session is never given to its copy.
        let copy = Held {
            session: read(&held.session.to_bytes())?,
            person: String::new(),
            accepted: None,
        };
        self.sessions.insert(args.str("as")?.to_owned(), copy);
        Ok(json!({}))
    }

    pub(super) fn load(&mut self, args: &Args<'_>) -> Outcome<Value> {
        let session = read(&args.bytes("stored")?)?;
        let person =
            if args.has("person") { args.str("person")?.to_owned() } else { String::new() };
        self.sessions
            .insert(args.str("session")?.to_owned(), Held { session, person, accepted: None });
        Ok(json!({}))
    }

    pub(super) fn delete(&mut self, args: &Args<'_>) -> Outcome<Value> {
        let name = args.str("session")?;
        self.held(name)?;
        self.sessions.remove(name);
        Ok(json!({}))
    }

    pub(super) fn edit(&mut self, args: &Args<'_>) -> Outcome<Value> {
        let mut copy = self.envelope(args.str("of")?)?.to_vec();
        let (xor, at) = (args.hex("xor")?, args.size("at")?);
        let end = at.checked_add(xor.len());
        let range = end.and_then(|end| copy.get_mut(at..end));
        for (byte, xor) in
            range.ok_or_else(|| Fail::wrong("beyond the envelope"))?.iter_mut().zip(xor)
        {
            *byte ^= xor;
        }
        self.envelopes.insert(args.str("envelope")?.to_owned(), copy);
        Ok(json!({}))
    }

    pub(super) fn forget(&mut self, args: &Args<'_>) -> Outcome<Value> {
        let name = args.str("bundle")?;
        let bundle = self.bundles.get_mut(name);
        bundle.ok_or_else(|| Fail::wrong(format!("no bundle {name}")))?.secret = None;
        Ok(json!({}))
    }
}

fn read(stored: &[u8]) -> Outcome<Session> {
    Session::from_bytes(stored).map_err(|error| Fail::refused(error.code()))
}
