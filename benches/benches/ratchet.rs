//! The ratchet against the sum of its primitives and against vodozemac, in
//! one run. `cargo bench -p undertone-benches`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::unreachable,
    missing_docs,
    reason = "a bench may panic"
)]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use getrandom::SysRng;
use rand_core::UnwrapErr;
use undertone_core::*;
use vodozemac::olm;

const TODAY: Day = Day::new(20_000);
/// Content that fills an envelope of 1 KiB.
const CONTENT: [u8; 797] = [7; 797];

fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

struct Person {
    account: AccountSecret,
    device: LocalDevice,
}

fn person() -> Person {
    let account = AccountSecret::generate(&mut rng());
    let device = DeviceSecret::generate(&mut rng());
    let list = DeviceList::issue(&account, None, 1, &[device.public()]).unwrap();
    Person { account, device: LocalDevice::new(device, list).unwrap() }
}

struct Contact {
    alice: Person,
    bob: Person,
    link: LinkSecret,
    prekey: PrekeySecret,
    sealed: Vec<u8>,
}

fn contact() -> Contact {
    let (alice, bob) = (person(), person());
    let link = LinkSecret::generate(&mut rng());
    let reply = Routing::new(&[1; 100]).unwrap();
    let (prekey, bundle) =
        generate_prekey(BundleKind::OneTime, &bob.device, TODAY.plus(30), &reply, &mut rng());
    let sealed = bundle.seal(&link.card_key(), &mut rng());
    Contact { alice, bob, link, prekey, sealed }
}

impl Contact {
    fn initiate(&self) -> Session {
        let expected = self.bob.account.public().fingerprint();
        let bundle = Bundle::open(&self.link.card_key(), &self.sealed, &expected, TODAY).unwrap();
        let reply = Routing::new(&[2; 100]).unwrap();
        initiate(&self.alice.device, bundle.check(None).unwrap(), &self.link, &reply, &mut rng())
            .unwrap()
    }

    fn accept(&self, envelope: &[u8]) -> Session {
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

fn seal(session: &mut Session, content: &[u8]) -> Vec<u8> {
    session.seal(content, &mut rng()).unwrap().commit(|_, _| Ok::<_, Infallible>(())).unwrap()
}

fn open(session: &mut Session, envelope: &[u8]) -> zeroize_content::Content {
    session.open(envelope, TODAY).unwrap().commit(|_| Ok::<_, Infallible>(())).unwrap()
}

mod zeroize_content {
    pub(crate) type Content = undertone_core::zeroize::Zeroizing<Vec<u8>>;
}

/// Two confirmed sessions, Alice about to go on in a chain of hers.
fn pair() -> (Session, Session) {
    let contact = contact();
    let mut alice = contact.initiate();
    let mut bob = contact.accept(&seal(&mut alice, b"hello"));
    let reply = seal(&mut bob, b"hi");
    open(&mut alice, &reply);
    let next = seal(&mut alice, b"chain");
    open(&mut bob, &next);
    (alice, bob)
}

fn olm_pair() -> (olm::Session, olm::Session) {
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

/// What one message of 1 KiB can't do without: chain and message key, body
/// key, header and body under AES-256-GCM, 12 random bytes (sealing only).
mod primitives {
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

fn same_chain(c: &mut Criterion) {
    let mut group = c.benchmark_group("same chain, 1 KiB");
    group.bench_function("primitives seal", |b| {
        let (mut header, mut body) = ([0; 53], [0; 927]);
        b.iter(|| primitives::seal(black_box(&mut header), black_box(&mut body)));
    });
    group.bench_function("undertone seal", |b| {
        let (mut alice, _) = pair();
        b.iter(|| black_box(seal(&mut alice, black_box(&CONTENT))));
    });
    group.bench_function("vodozemac seal", |b| {
        let (mut alice, _) = olm_pair();
        b.iter(|| black_box(alice.encrypt(black_box(CONTENT)).unwrap()));
    });
    group.bench_function("primitives open", |b| {
        let (mut header, mut body) = ([0; 53], [0; 927]);
        b.iter(|| primitives::open(black_box(&mut header), black_box(&mut body)));
    });
    group.bench_function("undertone open", |b| {
        b.iter_custom(|n| {
            let (mut alice, mut bob) = pair();
            timed(
                n,
                || seal(&mut alice, &CONTENT),
                |envelope| {
                    black_box(open(&mut bob, black_box(&envelope)));
                },
            )
        });
    });
    group.bench_function("vodozemac open", |b| {
        b.iter_custom(|n| {
            let (mut alice, mut bob) = olm_pair();
            timed(
                n,
                || alice.encrypt(CONTENT).unwrap(),
                |message| {
                    black_box(bob.decrypt(black_box(&message)).unwrap());
                },
            )
        });
    });
    group.finish();
}

/// Makes inputs in batches outside the measured time.
fn timed<T>(n: u64, mut make: impl FnMut() -> T, mut use_it: impl FnMut(T)) -> Duration {
    let mut total = Duration::ZERO;
    let mut left = n;
    while left > 0 {
        let batch = left.min(256);
        let inputs: Vec<T> = (0..batch).map(|_| make()).collect();
        let start = Instant::now();
        for input in inputs {
            use_it(input);
        }
        total += start.elapsed();
        left -= batch;
    }
    total
}

fn alternation(c: &mut Criterion) {
    let mut group = c.benchmark_group("alternation, seal + open, 1 KiB");
    group.bench_function("undertone with post-quantum ratchet", |b| {
        let (mut alice, mut bob) = pair();
        let text = [7; 280];
        b.iter(|| {
            let envelope = seal(&mut alice, &text);
            open(&mut bob, &envelope);
            std::mem::swap(&mut alice, &mut bob);
        });
    });
    group.bench_function("vodozemac without", |b| {
        let (mut alice, mut bob) = olm_pair();
        b.iter(|| {
            let message = alice.encrypt([7; 280]).unwrap();
            bob.decrypt(&message).unwrap();
            std::mem::swap(&mut alice, &mut bob);
        });
    });
    group.finish();
}

fn handshake(c: &mut Criterion) {
    let contact = contact();
    let mut group = c.benchmark_group("handshake with ML-KEM-1024");
    group.bench_function("initiate and seal", |b| {
        b.iter(|| {
            let mut alice = contact.initiate();
            seal(&mut alice, b"hello")
        });
    });
    let envelope = seal(&mut contact.initiate(), b"hello");
    group.bench_function("accept and open", |b| b.iter(|| contact.accept(&envelope)));
    let reply = Routing::new(&[1; 100]).unwrap();
    group.bench_function("make and seal a bundle", |b| {
        b.iter(|| {
            let (secret, bundle) = generate_prekey(
                BundleKind::OneTime,
                &contact.bob.device,
                TODAY,
                &reply,
                &mut rng(),
            );
            (secret, bundle.seal(&contact.link.card_key(), &mut rng()))
        });
    });
    group.finish();
}

fn reverse(c: &mut Criterion) {
    let mut group = c.benchmark_group("1,000 messages in reverse order");
    group.sample_size(10);
    group.bench_function("undertone, after the first", |b| {
        b.iter_custom(|n| {
            let mut total = Duration::ZERO;
            for _ in 0..n {
                let (mut alice, mut bob) = pair();
                let envelopes: Vec<_> = (0..1000).map(|_| seal(&mut alice, &CONTENT)).collect();
                open(&mut bob, &envelopes[999]);
                let start = Instant::now();
                for envelope in envelopes.iter().rev().skip(1) {
                    black_box(open(&mut bob, envelope));
                }
                total += start.elapsed() / 999;
            }
            total
        });
    });
    group.finish();
}

fn state(c: &mut Criterion) {
    let (alice, _) = pair();
    let bytes = alice.to_bytes();
    println!("stored session in the middle of a KEM exchange: {} bytes", bytes.len());
    let mut group = c.benchmark_group("stored form");
    group.bench_function("write", |b| b.iter(|| black_box(alice.to_bytes())));
    group.bench_function("read", |b| {
        b.iter_batched(
            || bytes.clone(),
            |bytes| Session::from_bytes(&bytes).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, same_chain, alternation, handshake, reverse, state);
criterion_main!(benches);
