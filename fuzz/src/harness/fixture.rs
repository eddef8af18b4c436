//! Real values, made once from a fixed seed.

use std::sync::OnceLock;

use undertone_core::{
    AccountSecret, BundleKind, DeviceList, DeviceSecret, FileSealer, Greeting, LinkSecret,
    LocalDevice, PrekeySecret, Session,
};

use crate::common::{FirstContact, TestRng, accept, first_contact, open, seal};

/// Two people, a link, and the first message over it. Secrets as bytes, since
/// every run makes sessions of its own from them.
pub struct Fixture {
    pub alice: Person,
    pub bob: Person,
    pub link: [u8; 32],
    pub prekey: Vec<u8>,
    pub sealed_bundle: Vec<u8>,
    /// Alice's session after her first message, and the envelope.
    pub greeted: Vec<u8>,
    pub hello: Vec<u8>,
    /// Bytes of handshake in front of it.
    pub handshake: usize,
    /// Bob's session after that.
    pub accepted: Vec<u8>,
    pub states: Vec<Sample>,
    pub file_key: [u8; 32],
    pub file_commitment: [u8; 32],
    pub file_content: Vec<u8>,
    pub file_chunks: Vec<Vec<u8>>,
}

/// The secrets of a person with one device.
pub struct Person {
    pub account: [u8; 32],
    pub device: [u8; 64],
    pub list: Vec<u8>,
}

/// A stored session, and envelopes that are on the way to it.
pub struct Sample {
    pub state: Vec<u8>,
    pub coming: Vec<Vec<u8>>,
}

pub const HELLO: &[u8] = b"hello";

impl Person {
    fn of(person: &crate::common::Person, device: &[u8; 64]) -> Self {
        Self {
            account: *person.account.to_bytes(),
            device: *device,
            list: person.device.list().as_bytes().to_vec(),
        }
    }

    pub fn local(&self) -> LocalDevice {
        let list = DeviceList::parse(&self.list).unwrap();
        LocalDevice::new(DeviceSecret::from_bytes(&self.device), list).unwrap()
    }

    pub fn account(&self) -> AccountSecret {
        AccountSecret::from_bytes(&self.account)
    }

    /// The seed with which the device signs.
    pub fn signing(&self) -> &[u8; 32] {
        self.device.first_chunk().unwrap()
    }
}

impl Fixture {
    pub fn link(&self) -> LinkSecret {
        LinkSecret::from_bytes(&self.link)
    }

    pub fn prekey(&self) -> PrekeySecret {
        PrekeySecret::from_bytes(&self.prekey).unwrap()
    }
}

/// The fixture; made at the first call.
pub fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(make)
}

fn make() -> Fixture {
    // The devices' secrets are drawn by the same generator from the same
    // seed, since a local device does not hand them out.
    let seeds = device_secrets();
    let rng = &mut TestRng::new(1);
    let mut contact = first_contact(rng, BundleKind::OneTime);
    let hello = seal(&mut contact.session, HELLO, rng);
    let (bob, _) = accept(&contact, &hello).unwrap();
    let content: Vec<u8> = (0..66_000u32).map(|i| (i % 251) as u8).collect();
    let (mut sealer, file_key) = FileSealer::new(66_000, &mut TestRng::new(7)).unwrap();
    let mut chunks = Vec::new();
    let mut rest = &content[..];
    while sealer.remaining_chunks() > 0 {
        let (now, later) = rest.split_at(sealer.next_len());
        chunks.push(sealer.seal_next(now).unwrap());
        rest = later;
    }
    Fixture {
        alice: Person::of(&contact.alice, &seeds[0]),
        bob: Person::of(&contact.bob, &seeds[1]),
        link: *contact.link.as_bytes(),
        prekey: contact.prekey.to_bytes().to_vec(),
        sealed_bundle: contact.sealed.clone(),
        greeted: contact.session.to_bytes().to_vec(),
        handshake: handshake(&contact, &hello),
        hello,
        accepted: bob.to_bytes().to_vec(),
        states: samples(contact, bob, rng),
        file_key: *file_key.as_bytes(),
        file_commitment: sealer.commitment(),
        file_content: content,
        file_chunks: chunks,
    }
}

fn handshake(contact: &FirstContact, hello: &[u8]) -> usize {
    let greeting = Greeting::open(&contact.link.hello_key(), hello).unwrap();
    hello.len() - greeting.envelope().len()
}

fn device_secrets() -> [[u8; 64]; 2] {
    let rng = &mut TestRng::new(1);
    [(); 2].map(|()| {
        let _ = AccountSecret::generate(rng);
        *DeviceSecret::generate(rng).to_bytes()
    })
}

/// Stored sessions in every phase, taken from one conversation with losses.
fn samples(contact: FirstContact, bob: Session, rng: &mut TestRng) -> Vec<Sample> {
    let mut sides = [contact.session, bob];
    let mut samples = vec![sample(&sides[0], vec![])];
    for round in 0..9usize {
        let from = (round + 1) % 2;
        let mut coming: Vec<_> = (0..4u8).map(|i| seal(&mut sides[from], &[i; 280], rng)).collect();
        let to = &mut sides[1 - from];
        samples.push(sample(to, coming.clone()));
        // The first is lost, the second is late.
        open(to, &coming[2]).unwrap();
        coming.swap_remove(2);
        samples.push(sample(to, coming));
    }
    samples
}

fn sample(session: &Session, coming: Vec<Vec<u8>>) -> Sample {
    Sample { state: session.to_bytes().to_vec(), coming }
}
