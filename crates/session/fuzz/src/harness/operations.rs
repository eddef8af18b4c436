//! Sequences of operations, with kills and stores that are put back.

use super::world::{Op, World};

/// Steps that are taken of an input: more make an input slow and find nothing that fewer do not.
const MAX_STEPS: usize = 200;

pub fn operations(data: &[u8]) {
    let Some((seed, steps)) = data.split_first() else { return };
    let mut world = World::new(u64::from(*seed));
    for op in Op::all_of(steps).into_iter().take(MAX_STEPS) {
        world.step(op);
    }
    world.finish();
}
