//! What the scenario tests share: a reproducible generator and two parties.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a test may panic"
)]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};
use undertone_core::*;

/// A reproducible generator: SHA-256 over seed and counter.
pub struct TestRng {
    seed: u64,
    counter: u64,
}

impl TestRng {
    pub fn new(seed: u64) -> Self {
        Self { seed, counter: 0 }
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.try_next_u64().unwrap() % bound
    }
}

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(32) {
            let block = Sha256::new()
                .chain_update(self.seed.to_be_bytes())
                .chain_update(self.counter.to_be_bytes())
                .finalize();
            self.counter += 1;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}

pub const TODAY: Day = Day::new(20_000);

/// A person with one device.
pub struct Person {
    pub account: AccountSecret,
    pub device: LocalDevice,
}

impl Person {
    pub fn new(rng: &mut TestRng) -> Self {
        let account = AccountSecret::generate(rng);
        let device = DeviceSecret::generate(rng);
        let list = DeviceList::issue(&account, None, 1_700_000_000, &[device.public()]).unwrap();
        Self { account, device: LocalDevice::new(device, list).unwrap() }
    }
}

/// A link of Bob's, a bundle under it, and what Alice makes of it.
pub struct FirstContact {
    pub alice: Person,
    pub bob: Person,
    pub link: LinkSecret,
    pub prekey: PrekeySecret,
    pub sealed: Vec<u8>,
    pub session: Session,
}

pub fn first_contact(rng: &mut TestRng, kind: BundleKind) -> FirstContact {
    let (alice, bob) = (Person::new(rng), Person::new(rng));
    let link = LinkSecret::generate(rng);
    let reply = Routing::new(b"bob's mailbox").unwrap();
    let (prekey, bundle) = generate_prekey(kind, &bob.device, TODAY, &reply, rng);
    let sealed = bundle.seal(&link.card_key(), rng);
    let session = start(&alice, &bob, &link, &sealed, rng);
    FirstContact { alice, bob, link, prekey, sealed, session }
}

pub fn start(
    alice: &Person,
    bob: &Person,
    link: &LinkSecret,
    sealed: &[u8],
    rng: &mut TestRng,
) -> Session {
    let fingerprint = bob.account.public().fingerprint();
    let bundle = Bundle::open(&link.card_key(), sealed, &fingerprint, TODAY).unwrap();
    let reply = Routing::new(b"alice's mailbox").unwrap();
    initiate(&alice.device, bundle.check(None).unwrap(), link, &reply, rng).unwrap()
}

/// Seals and commits.
pub fn seal(session: &mut Session, content: &[u8], rng: &mut TestRng) -> Vec<u8> {
    let mut stored = None;
    let envelope = session
        .seal(content, rng)
        .unwrap()
        .commit(|state, _| {
            stored = Some(state.to_bytes());
            Ok::<_, Infallible>(())
        })
        .unwrap();
    assert_eq!(stored.unwrap(), session.to_bytes(), "what was stored is what is");
    envelope
}

/// Opens and commits.
pub fn open(session: &mut Session, envelope: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut stored = None;
    let content = session
        .open(envelope, TODAY)?
        .commit(|state| {
            stored = Some(state.to_bytes());
            Ok::<_, Infallible>(())
        })
        .unwrap();
    assert_eq!(stored.unwrap(), session.to_bytes(), "what was stored is what is");
    Ok(content.to_vec())
}

/// Accepts a first-contact envelope.
pub fn accept(
    contact: &FirstContact,
    envelope: &[u8],
) -> Result<(Session, Vec<u8>), HandshakeError> {
    let greeting = Greeting::open(&contact.link.hello_key(), envelope)?;
    let pending = greeting
        .accept(&contact.bob.device, &contact.prekey, &contact.link, TODAY, |_| false)?
        .open(None, TODAY)?;
    let content = pending.content().to_vec();
    let session = pending.commit(|_| Ok::<_, Infallible>(())).unwrap();
    Ok((session, content))
}

/// Two confirmed sessions of one handshake: Alice's and Bob's.
pub fn pair(rng: &mut TestRng) -> (Session, Session) {
    let mut contact = first_contact(rng, BundleKind::OneTime);
    let hello = seal(&mut contact.session, b"hello", rng);
    let (mut bob, _) = accept(&contact, &hello).unwrap();
    let reply = seal(&mut bob, b"hi", rng);
    open(&mut contact.session, &reply).unwrap();
    (contact.session, bob)
}
