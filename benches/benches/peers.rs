//! The core against the sum of its primitives and against vodozemac, in turns
//! of some milliseconds and by processor time, so that whatever else the
//! machine does meets all of them alike. `cargo bench -p undertone-benches --bench peers`;
//! with `-- alternation`, say, the races alone whose title has that word.
//!
//! Prints the median of each and the median of the ratios within a turn. For
//! single figures with their spread there is the bench `ratchet`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may panic")]

use std::hint::black_box;
use std::time::Duration;

mod common;
use common::*;

/// Turns of each race. Odd, so that a median is a measured value.
const TURNS: usize = 101;
/// How long a contender runs in one turn, about.
const TURN: Duration = Duration::from_millis(8);
/// Alternation of vodozemac on the machine on which libsignal was measured
/// (encrypt and decrypt, microseconds): what libsignal's figures, which are
/// for orientation, are scaled by.
const REFERENCE_ALTERNATION: f64 = 107.0;
/// libsignal there: alternation, initiate and first message, accept.
const LIBSIGNAL: [f64; 3] = [133.0, 429.0, 384.0];

/// Runs something `n` times and says how long the measured part took.
type Run<'a> = Box<dyn FnMut(u64) -> Duration + 'a>;

struct Contender<'a> {
    name: &'static str,
    run: Run<'a>,
}

fn contender<'a>(name: &'static str, run: impl FnMut(u64) -> Duration + 'a) -> Contender<'a> {
    Contender { name, run: Box::new(run) }
}

fn every<'a>(name: &'static str, mut one: impl FnMut() + 'a) -> Contender<'a> {
    contender(name, move |n| {
        let start = on_cpu();
        for _ in 0..n {
            one();
        }
        on_cpu() - start
    })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn microseconds(total: Duration, n: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a few thousand runs")]
    let n = n as f64;
    total.as_secs_f64() * 1e6 / n
}

/// Whether a race was asked for.
fn is_wanted(title: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| title.contains(&word))
}

/// Times all contenders in turns; returns their medians in microseconds, or
/// nothing where nobody asked.
fn race(title: &str, mut contenders: Vec<Contender<'_>>) -> Vec<f64> {
    if !is_wanted(title) {
        return Vec::new();
    }
    let mut counts = Vec::new();
    for contender in &mut contenders {
        // Warm up until a turn's length is known.
        let mut n = 1;
        while (contender.run)(n) < TURN && n < 1 << 20 {
            n *= 2;
        }
        counts.push(n);
    }
    let mut times = vec![Vec::with_capacity(TURNS); contenders.len()];
    for _ in 0..TURNS {
        for ((contender, n), times) in contenders.iter_mut().zip(&counts).zip(&mut times) {
            times.push(microseconds((contender.run)(*n), *n));
        }
    }
    let base = times.first().cloned().unwrap_or_default();
    println!("{title}");
    let mut medians = Vec::new();
    for (contender, times) in contenders.iter().zip(&mut times) {
        let mut ratios: Vec<f64> = times.iter().zip(&base).map(|(t, b)| t / b).collect();
        let ratio = median(&mut ratios);
        let time = median(times);
        println!("  {:<42} {time:>9.2} us {ratio:>7.2}x", contender.name);
        medians.push(time);
    }
    medians
}

fn same_chain() {
    let (mut header, mut body) = ([0; 53], [0; 927]);
    let (mut ours, mut theirs) = (pair(), olm_pair());
    race(
        "same chain, seal 1 KiB",
        vec![
            every("sum of the primitives", || {
                black_box(primitives::seal(black_box(&mut header), black_box(&mut body)));
            }),
            every("undertone", || drop(black_box(seal(&mut ours.0, black_box(&CONTENT))))),
            every("vodozemac", || drop(black_box(theirs.0.encrypt(black_box(CONTENT)).unwrap()))),
        ],
    );
    let (mut header, mut body) = ([0; 53], [0; 927]);
    race(
        "same chain, open 1 KiB",
        vec![
            every("sum of the primitives", || {
                black_box(primitives::open(black_box(&mut header), black_box(&mut body)));
            }),
            contender("undertone", |n| {
                let (mut alice, mut bob) = pair();
                timed(n, || seal(&mut alice, &CONTENT), |e| drop(black_box(open(&mut bob, &e))))
            }),
            contender("vodozemac", |n| {
                let (mut alice, mut bob) = olm_pair();
                timed(
                    n,
                    || alice.encrypt(CONTENT).unwrap(),
                    |m| drop(black_box(bob.decrypt(&m).unwrap())),
                )
            }),
        ],
    );
}

fn alternation() -> (f64, f64) {
    let (mut ours, mut theirs) = (pair(), olm_pair());
    let medians = race(
        "alternation, seal and open 280 bytes",
        vec![
            every("vodozemac, no post-quantum ratchet", || {
                let message = theirs.0.encrypt([7; 280]).unwrap();
                theirs.1.decrypt(&message).unwrap();
                std::mem::swap(&mut theirs.0, &mut theirs.1);
            }),
            every("undertone, post-quantum ratchet included", || {
                let envelope = seal(&mut ours.0, &[7; 280]);
                open(&mut ours.1, &envelope);
                std::mem::swap(&mut ours.0, &mut ours.1);
            }),
        ],
    );
    match medians.as_slice() {
        [theirs, ours] => (*theirs, *ours),
        _ => (f64::NAN, f64::NAN),
    }
}

fn handshake() -> Vec<f64> {
    let contact = contact();
    let envelope = seal(&mut contact.initiate(), b"hello");
    let mut theirs = olm_pair();
    race(
        "handshake with ML-KEM-1024",
        vec![
            every("vodozemac, one alternation (the measure)", || {
                let message = theirs.0.encrypt([7; 280]).unwrap();
                theirs.1.decrypt(&message).unwrap();
                std::mem::swap(&mut theirs.0, &mut theirs.1);
            }),
            every("undertone, open a bundle, initiate and seal", || {
                drop(black_box(seal(&mut contact.initiate(), b"hello")));
            }),
            every("undertone, accept and open", || drop(black_box(contact.accept(&envelope)))),
        ],
    )
}

/// A thousand messages of one chain, the last first: how many are lost, and
/// what each of the others costs after the first, which steps over them all.
fn reverse() {
    let title = "1,000 messages in reverse order, 1 KiB";
    if !is_wanted(title) {
        return;
    }
    println!("{title}");
    let line = |name: &str, opened: usize, times: &mut [f64]| {
        let lost = 1000 - opened;
        println!("  {name:<42} {:>9.2} us each, {lost} lost", median(times));
    };
    let (mut times, mut opened) = (Vec::new(), 0);
    for _ in 0..21 {
        let (mut alice, mut bob) = pair();
        let envelopes: Vec<_> = (0..1000).map(|_| seal(&mut alice, &CONTENT)).collect();
        let mut late = envelopes.iter().rev();
        open(&mut bob, late.next().unwrap());
        let start = on_cpu();
        late.for_each(|envelope| drop(black_box(open(&mut bob, envelope))));
        times.push(microseconds(on_cpu() - start, 999));
        // Whatever did not open would have stopped the bench.
        opened = 1000 - bob.skipped_keys();
    }
    line("undertone", opened, &mut times);
    times.clear();
    for _ in 0..21 {
        let (mut alice, mut bob) = olm_pair();
        let messages: Vec<_> = (0..1000).map(|_| alice.encrypt(CONTENT).unwrap()).collect();
        let mut late = messages.iter().rev();
        bob.decrypt(late.next().unwrap()).unwrap();
        let start = on_cpu();
        opened = 1 + late.filter(|message| bob.decrypt(message).is_ok()).count();
        times.push(microseconds(on_cpu() - start, 999));
    }
    line("vodozemac", opened, &mut times);
}

fn main() {
    same_chain();
    let (vodozemac, ours) = alternation();
    let handshake = handshake();
    reverse();
    println!("against libsignal's published figures, scaled by vodozemac's alternation");
    let [alternating, initiating, accepting] = LIBSIGNAL;
    let line = |name: &str, ours: f64, vodozemac: f64, theirs: f64| {
        if ours.is_nan() {
            return;
        }
        let scaled = ours * REFERENCE_ALTERNATION / vodozemac;
        println!("  {name:<42} {scaled:>9.2} us against {theirs:.0} ({:.2}x)", scaled / theirs);
    };
    line("alternation", ours, vodozemac, alternating);
    if let [vodozemac, initiate, accept] = *handshake.as_slice() {
        line("initiate and seal", initiate, vodozemac, initiating);
        line("accept and open", accept, vodozemac, accepting);
    }
}
