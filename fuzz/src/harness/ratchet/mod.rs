//! Two sessions, and an adversary between them who holds every envelope: it
//! delivers, withholds, repeats, reorders and alters them, puts one side back
//! to an older copy of its state, and breaks off whatever was begun.

mod deliver;
mod model;
pub mod ops;
mod world;

pub use ops::ratchet_ops;
