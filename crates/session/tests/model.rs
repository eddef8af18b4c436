//! Random sequences of operations of three people, against a reference model: what each has said to
//! whom. Processes are killed at any write, answers and acknowledgements get lost, mailboxes move,
//! envelopes come again, stores are put back.
//!
//! `UNDERTONE_CASES=1000` tries more sequences, `UNDERTONE_STEPS=200` longer ones, `UNDERTONE_SEED=2`
//! others.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

#[path = "../fuzz/src/harness/mod.rs"]
mod harness;

use harness::people::{Kill, Rng};
use harness::relay::Loss;
use harness::world::{Op, PEOPLE, World};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use undertone_core::rand_core::TryRng;

fn from_environment(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

fn is_put_back(op: &Op) -> bool {
    matches!(op, Op::PutBack { .. })
}

fn run(seed: u64, ops: impl IntoIterator<Item = Op>) {
    let mut world = World::new(seed);
    for op in ops {
        world.step(op);
    }
    world.finish();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: from_environment("UNDERTONE_CASES", 24),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(u64::from(from_environment("UNDERTONE_SEED", 1))),
        ..ProptestConfig::default()
    })]

    /// All have the same history, in order, each message once, and know it.
    #[test]
    fn whatever_breaks_all_converge_to_the_same_history(
        seed in any::<u64>(),
        ops in vec(any::<[u8; 2]>().prop_map(Op::of), 1..from_environment("UNDERTONE_STEPS", 90) as usize),
    ) {
        run(seed, ops.into_iter().filter(|op| !is_put_back(op)));
    }

    /// With stores that are put back: nothing twice, nothing that is shown as delivered missing, and
    /// everybody heals with everybody.
    #[test]
    fn stores_that_are_put_back_heal_with_everybody(
        seed in any::<u64>(),
        ops in vec(any::<[u8; 2]>().prop_map(Op::of), 1..from_environment("UNDERTONE_STEPS", 90) as usize),
    ) {
        run(seed, ops);
    }
}

/// A conversation in which the process of whoever acts is killed at every single one of its writes,
/// and behind every commit, each in a world of its own: all of them converge.
#[test]
fn killed_at_every_single_write_they_converge() {
    let mut rng = Rng::new(2);
    let steps = from_environment("UNDERTONE_STEPS", 45);
    let mut world = World::new(1);
    let (mut ops, mut kills) = (0, 0_u64);
    while ops < steps {
        let mut byte = || rng.try_next_u32().unwrap().to_le_bytes()[0];
        let op = Op::of([byte(), byte()]);
        // They kill and put back by themselves.
        if is_put_back(&op) || matches!(op, Op::Kill { .. } | Op::Restart { .. }) {
            continue;
        }
        ops += 1;
        let before = world.writes();
        let fork = world.fork();
        world.step(op);
        let after = world.writes();
        for who in 0..PEOPLE {
            // Each world counts its writes from its beginning.
            for behind in 0..after[who] - before[who] {
                for kill in [Kill::AtWrite(behind), Kill::BehindCommit(behind)] {
                    let mut other = fork.fork();
                    other.kill(who, kill);
                    other.step(op);
                    other.finish();
                    kills += 1;
                }
            }
        }
    }
    world.finish();
    assert!(kills > u64::from(steps), "{kills}");
}

/// What is left of failures that random seeds have found.
fn found(ops: &[Op]) {
    run(0, ops.iter().copied());
}

/// Seed 9: what was sent before the store was put back is answered in a chain that the store does not
/// know, and its owner says nothing.
#[test]
fn a_store_that_was_put_back_and_says_nothing_heals() {
    found(&[
        Op::PutBack { who: 2 },
        Op::Say { from: 2, to: 0 },
        Op::Send { from: 2, to: 0, limit: 4, loss: Loss(2) },
        Op::PutBack { who: 2 },
        Op::Push { to: 0, which: 1, limit: 1, loss: Loss(0) },
        Op::Say { from: 0, to: 2 },
    ]);
}

/// Seed 4: the same, and the contact sends again with their person's consent only.
#[test]
fn a_store_that_was_put_back_heals_with_who_has_verified_it() {
    found(&[
        Op::PutBack { who: 0 },
        Op::PutBack { who: 0 },
        Op::PutBack { who: 0 },
        Op::Say { from: 0, to: 2 },
        Op::Verify { who: 2, of: 0 },
        Op::Send { from: 0, to: 2, limit: 2, loss: Loss(4) },
        Op::PutBack { who: 0 },
    ]);
}

/// Seed 39: behind a move, so that the contact writes where the store does not listen. For an older copy,
/// too, the mailbox has served its time, and what it tells of the next one shows that it is old.
#[test]
fn a_store_that_was_put_back_behind_a_move_heals_when_it_moves() {
    found(&[
        Op::PutBack { who: 2 },
        Op::Move { who: 2 },
        Op::Care { who: 2 },
        Op::Say { from: 1, to: 2 },
        Op::Send { from: 2, to: 1, limit: 2, loss: Loss(0) },
        Op::PutBack { who: 2 },
        Op::Push { to: 1, which: 47, limit: 4, loss: Loss(2) },
    ]);
}
