//! The ratchet against the sum of its primitives and against vodozemac, in
//! one run. `cargo bench -p undertone-benches`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::unreachable,
    missing_docs,
    reason = "a bench may panic"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use undertone_core::*;

mod common;
use common::*;

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
