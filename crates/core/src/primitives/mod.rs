//! The primitives, each behind the only interface that the protocol uses.

pub(crate) mod aead;
pub(crate) mod dh;
pub(crate) mod hash;
pub(crate) mod kdf;
pub(crate) mod kem;
pub(crate) mod sign;
#[cfg(test)]
mod vectors;

/// Overwrites what an operation left on the stack. The libraries take secrets
/// by value, keep digits of them, and clean up after themselves in neither
/// case. What is overwritten is the stack below the caller: the operation must
/// have run there, in a function that is not inlined.
#[inline(never)]
fn burn_stack<const DEPTH: usize>() {
    core::hint::black_box(&mut [0u8; DEPTH]);
}
