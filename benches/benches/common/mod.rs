//! What both benches run: two people, a contact, a pair of sessions of ours
//! and of vodozemac's, and the primitives that one message can't do without.
#![allow(
    clippy::unwrap_used,
    clippy::unreachable,
    dead_code,
    reason = "a bench may panic, and each uses a part"
)]

use std::convert::Infallible;
use std::time::Duration;

use getrandom::SysRng;
use rand_core::UnwrapErr;
use rustix::time::{ClockId, clock_gettime};
use undertone_core::*;
use vodozemac::olm;

pub(crate) const TODAY: Day = Day::new(20_000);
/// Content that fills an envelope of 1 KiB.
pub(crate) const CONTENT: [u8; 797] = [7; 797];

pub(crate) fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

pub(crate) struct Person {
    pub(crate) account: AccountSecret,
    pub(crate) device: LocalDevice,
}

pub(crate) fn person() -> Person {
    let account = AccountSecret::generate(&mut rng());
    let device = DeviceSecret::generate(&mut rng());
    let list = DeviceList::issue(&account, None, 1, &[device.public()]).unwrap();
    Person { account, device: LocalDevice::new(device, list).unwrap() }
}

pub(crate) struct Contact {
    pub(crate) alice: Person,
    pub(crate) bob: Person,
    pub(crate) link: LinkSecret,
    pub(crate) prekey: PrekeySecret,
    pub(crate) sealed: Vec<u8>,
}

pub(crate) fn contact() -> Contact {
    let (alice, bob) = (person(), person());
    let link = LinkSecret::generate(&mut rng());
    let reply = Routing::new(&[1; 100]).unwrap();
    let (prekey, bundle) =
        generate_prekey(BundleKind::OneTime, &bob.device, TODAY, &reply, &mut rng());
    let sealed = bundle.seal(&link.card_key(), &mut rng());
    Contact { alice, bob, link, prekey, sealed }
}

impl Contact {
    pub(crate) fn initiate(&self) -> Session {
        let expected = self.bob.account.public().fingerprint();
        let bundle = Bundle::open(&self.link.card_key(), &self.sealed, &expected, TODAY).unwrap();
        let reply = Routing::new(&[2; 100]).unwrap();
        initiate(&self.alice.device, bundle.check(None).unwrap(), &self.link, &reply, &mut rng())
            .unwrap()
    }

    pub(crate) fn accept(&self, envelope: &[u8]) -> Session {
        Greeting::open(&self.link.hello_key(), envelope)
            .unwrap()
            .accept(&self.bob.device, &self.prekey, &self.link, TODAY, |_| false)
            .unwrap()
            .open(None, TODAY)
            .unwrap()
            .commit(|_| Ok::<_, Infallible>(()))
            .unwrap()
    }
}

pub(crate) fn seal(session: &mut Session, content: &[u8]) -> Vec<u8> {
    session.seal(content, &mut rng()).unwrap().commit(|_, _| Ok::<_, Infallible>(())).unwrap()
}

pub(crate) fn open(session: &mut Session, envelope: &[u8]) -> zeroize::Zeroizing<Vec<u8>> {
    session.open(envelope, TODAY).unwrap().commit(|_| Ok::<_, Infallible>(())).unwrap()
}

/// Two confirmed sessions, Alice about to go on in a chain of hers.
pub(crate) fn pair() -> (Session, Session) {
    let contact = contact();
    let mut alice = contact.initiate();
    let mut bob = contact.accept(&seal(&mut alice, b"hello"));
    let reply = seal(&mut bob, b"hi");
    open(&mut alice, &reply);
    let next = seal(&mut alice, b"chain");
    open(&mut bob, &next);
    (alice, bob)
}

pub(crate) fn olm_pair() -> (olm::Session, olm::Session) {
    let alice = olm::Account::new();
    let mut bob = olm::Account::new();
    bob.generate_one_time_keys(1);
    let key = *bob.one_time_keys().values().next().unwrap();
    let config = olm::SessionConfig::default();
    let mut session = alice.create_outbound_session(config, bob.curve25519_key(), key).unwrap();
    let olm::OlmMessage::PreKey(hello) = session.encrypt("hello").unwrap() else { unreachable!() };
    let inbound = bob
        .create_inbound_session(olm::SessionConfig::default(), alice.curve25519_key(), &hello)
        .unwrap();
    let mut bob = inbound.session;
    let reply = bob.encrypt("hi").unwrap();
    session.decrypt(&reply).unwrap();
    let next = session.encrypt("chain").unwrap();
    bob.decrypt(&next).unwrap();
    (session, bob)
}

/// How long this thread has been on a processor: unlike the time of day, it
/// stands still while something else runs there.
pub(crate) fn on_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.try_into().unwrap()
}

/// Makes inputs in batches outside the measured time.
pub(crate) fn timed<T>(n: u64, mut make: impl FnMut() -> T, mut use_it: impl FnMut(T)) -> Duration {
    let mut total = Duration::ZERO;
    let mut left = n;
    while left > 0 {
        let batch = left.min(256);
        let inputs: Vec<T> = (0..batch).map(|_| make()).collect();
        let start = on_cpu();
        for input in inputs {
            use_it(input);
        }
        total += on_cpu() - start;
        left -= batch;
    }
    total
}

/// What one message of 1 KiB can't do without: chain and message key, body
/// key, header and body under AES-256-GCM, 12 random bytes (sealing only).
pub(crate) mod primitives {
    use aes_gcm::aead::{AeadInOut, KeyInit};
    use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
    use hkdf::Hkdf;
    use sha2::Sha256;

    fn keys(nonce: &[u8; 12]) -> [u8; 32] {
        let mut chain = [0; 64];
        Hkdf::<Sha256>::from_prk(&[3; 32])
            .unwrap()
            .expand(b"Undertone v1 chain", &mut chain)
            .unwrap();
        let mut body = [0; 32];
        Hkdf::<Sha256>::from_prk(&chain[32..])
            .unwrap()
            .expand_multi_info(&[b"Undertone v1 body", nonce], &mut body)
            .unwrap();
        body
    }

    pub(crate) fn seal(header: &mut [u8; 53], body: &mut [u8; 927]) -> (Tag, Tag) {
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).unwrap();
        let head = Aes256Gcm::new(&Key::<Aes256Gcm>::from([1; 32]));
        let first = head
            .encrypt_inout_detached(&Nonce::from(nonce), &[0; 32], header.as_mut_slice().into())
            .unwrap();
        let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(keys(&nonce)));
        let second = cipher
            .encrypt_inout_detached(&Nonce::default(), &[0; 101], body.as_mut_slice().into())
            .unwrap();
        (first, second)
    }

    pub(crate) fn open(header: &mut [u8; 53], body: &mut [u8; 927]) -> (bool, bool) {
        let head = Aes256Gcm::new(&Key::<Aes256Gcm>::from([1; 32]));
        let tag = Tag::from([0; 16]);
        let first = head
            .decrypt_inout_detached(&Nonce::default(), &[0; 32], header.as_mut_slice().into(), &tag)
            .is_ok();
        let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(keys(&[0; 12])));
        // A wrong tag would skip the decryption: run the keystream in both.
        let second = cipher
            .encrypt_inout_detached(&Nonce::default(), &[0; 101], body.as_mut_slice().into())
            .is_ok();
        (first, second)
    }
}
