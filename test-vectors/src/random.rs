//! The accumulated hashes over random conversations (`test-vectors/README.md`).

use core::convert::Infallible;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use undertone_core::{
    AccountSecret, Bundle, BundleKind, Day, DeviceList, DeviceSecret, Greeting, HandshakeError,
    LinkSecret, ListRecord, LocalDevice, PrekeySecret, Routing, Session, SessionId,
    generate_prekey, initiate,
};

use crate::stream::{Draws, Stream};
use crate::value::{Args, hex};
use crate::{Fail, Outcome};

const LABEL: &[u8] = b"Undertone vectors conversation";

/// What conversations can end in beside a rule.
const DROPPED: &str = "dropped";
const USED_TWICE: &str = "used-twice";

/// The operation of a file.
///
/// # Errors
/// If the input is not that of the operation.
pub fn run(args: &Args<'_>) -> Outcome<Value> {
    let mut hashes = Hashes::default();
    for number in 0..args.number("count")? {
        play(number, &mut hashes)?;
    }
    let Hashes { conversations, states } = hashes;
    Ok(json!({
        "conversations": hex(&conversations.finalize()),
        "states": hex(&states.finalize()),
    }))
}

#[derive(Default)]
struct Hashes {
    conversations: Sha256,
    states: Sha256,
}

fn absorb(hash: &mut Sha256, data: &[u8]) {
    hash.update(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    hash.update(data);
}

impl Hashes {
    fn tell(&mut self, tag: u8, data: &[u8]) {
        self.conversations.update([tag]);
        absorb(&mut self.conversations, data);
    }

    fn opened(&mut self, result: Result<Vec<u8>, &'static str>) {
        match result {
            Ok(content) => self.tell(2, &content),
            Err(rule) => self.tell(3, rule.as_bytes()),
        }
    }
}

/// Bob, before and after he has accepted Alice.
struct Bob {
    device: LocalDevice,
    link: LinkSecret,
    prekey: Option<PrekeySecret>,
    digest: undertone_core::BundleDigest,
    session: Option<Session>,
    accepted: Option<SessionId>,
    record: Option<ListRecord>,
}

fn device(stream: &mut Stream) -> Outcome<(AccountSecret, LocalDevice)> {
    let account = AccountSecret::from_bytes(&stream.array());
    let device = DeviceSecret::from_bytes(&stream.array());
    let list = DeviceList::issue(&account, None, 1_700_000_000, &[device.public()])
        .map_err(|error| Fail::refused(error.code()))?;
    let device = LocalDevice::new(device, list).map_err(|error| Fail::refused(error.code()))?;
    Ok((account, device))
}

fn route(stream: &mut Stream) -> Outcome<Routing> {
    let length = usize::from(stream.byte());
    Routing::new(&stream.take(length)).map_err(|error| Fail::refused(error.code()))
}

/// Draws from the stream, which goes on behind.
fn with<T>(stream: &mut Stream, draw: impl FnOnce(&mut Draws) -> T) -> T {
    let mut draws = Draws::stream(stream.clone());
    let out = draw(&mut draws);
    if let Some(rest) = draws.into_stream() {
        *stream = rest;
    }
    out
}

fn play(number: u64, hashes: &mut Hashes) -> Outcome<()> {
    let seed = Sha256::new_with_prefix(LABEL).chain_update(number.to_be_bytes()).finalize();
    let stream = &mut Stream::new(seed.into());
    let (_, alice) = device(stream)?;
    let (account, bobs) = device(stream)?;
    let link: [u8; 32] = stream.array();
    let link = LinkSecret::from_bytes(&link);
    let reply = route(stream)?;
    let made = Day::new(20_000);
    let (prekey, sealed) = with(stream, |draws| {
        let (prekey, bundle) = generate_prekey(BundleKind::OneTime, &bobs, made, &reply, draws);
        (prekey, bundle.seal(&link.card_key(), draws))
    });
    let reply = route(stream)?;
    let mut today = Day::new(20_000);
    let bundle = Bundle::open(&link.card_key(), &sealed, &account.public().fingerprint(), today)
        .map_err(|error| Fail::refused(error.code()))?
        .check(None)
        .map_err(|error| Fail::refused(error.code()))?;
    let mut session = with(stream, |draws| initiate(&alice, bundle, &link, &reply, draws))
        .map_err(|error| Fail::refused(error.code()))?;
    let digest = prekey.digest();
    let mut bob = Bob {
        device: bobs,
        link,
        prekey: Some(prekey),
        digest,
        session: None,
        accepted: None,
        record: None,
    };
    let mut queues: [Vec<Vec<u8>>; 2] = Default::default();
    for _ in 0..8 + usize::from(stream.byte() % 25) {
        let choice = stream.byte();
        let (to_alice, operation) = (choice.is_multiple_of(2), choice / 2 % 16);
        let [for_alice, for_bob] = &mut queues;
        let (own, others) = if to_alice { (for_alice, for_bob) } else { (for_bob, for_alice) };
        match operation {
            0..=6 => {
                let limit = if operation == 6 { 6000 } else { 600 };
                let length = u16::from_be_bytes(stream.array()) % limit;
                let content = stream.take(usize::from(length));
                let sender = if to_alice { Some(&mut session) } else { bob.session.as_mut() };
                match sender.map_or(Err("R-515"), |session| seal(session, &content, stream)) {
                    Ok(envelope) => {
                        hashes.tell(1, &envelope);
                        others.push(envelope);
                    }
                    Err(rule) => hashes.tell(3, rule.as_bytes()),
                }
            }
            15 => today = today.plus(u32::from(stream.byte() % 12)),
            _ if own.is_empty() => {}
            _ => {
                let at = usize::from(stream.byte()) % own.len();
                let mut envelope = if operation <= 12 {
                    own.remove(at)
                } else {
                    own.get(at).cloned().unwrap_or_default()
                };
                if operation == 14 {
                    let place = usize::from(u16::from_be_bytes(stream.array())) % envelope.len();
                    let bit = 1 << (stream.byte() % 8);
                    if let Some(byte) = envelope.get_mut(place) {
                        *byte ^= bit;
                    }
                }
                hashes.opened(if to_alice {
                    open(&mut session, &envelope, today)
                } else {
                    bob.receive(&envelope, today)
                });
            }
        }
    }
    absorb(&mut hashes.states, &session.to_bytes());
    let stored = bob.session.map(|session| session.to_bytes());
    absorb(&mut hashes.states, stored.as_ref().map_or(&[], |stored| stored.as_slice()));
    Ok(())
}

fn seal(
    session: &mut Session,
    content: &[u8],
    stream: &mut Stream,
) -> Result<Vec<u8>, &'static str> {
    with(stream, |draws| {
        let pending = session.seal(content, draws).map_err(|error| error.code())?;
        Ok(keep(pending.commit(|_, _| Ok(()))))
    })
}

fn open(session: &mut Session, part: &[u8], today: Day) -> Result<Vec<u8>, &'static str> {
    let pending = session.open(part, today).map_err(|error| error.code())?;
    Ok(keep(pending.commit(|_| Ok(()))).to_vec())
}

fn keep<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

impl Bob {
    fn receive(&mut self, envelope: &[u8], today: Day) -> Result<Vec<u8>, &'static str> {
        let greeting = match Greeting::open(&self.link.hello_key(), envelope) {
            Ok(greeting) => greeting,
            Err(HandshakeError::NotSealedForThisLink) => {
                let session = self.session.as_mut().ok_or("R-401")?;
                return open(session, envelope, today);
            }
            Err(error) => return Err(error.code()),
        };
        let id = greeting.session_id(&self.digest);
        if let Some(session) = self.session.as_mut().filter(|session| session.id() == id) {
            return open(session, greeting.envelope(), today);
        }
        if self.accepted == Some(id) {
            return Err(DROPPED);
        }
        let Some(prekey) = &self.prekey else { return Err(USED_TWICE) };
        let pending = greeting
            .accept(&self.device, prekey, &self.link, today, |_| false)
            .and_then(|introduction| introduction.open(self.record.as_ref(), today))
            .map_err(|error| error.code())?;
        let content = pending.content().to_vec();
        self.record = Some(pending.peer().record());
        self.accepted = Some(id);
        self.session = Some(keep(pending.commit(|_| Ok(()))));
        self.prekey = None;
        Ok(content)
    }
}
