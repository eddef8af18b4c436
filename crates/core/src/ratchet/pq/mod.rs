//! The post-quantum ratchet: ML-KEM-768 keys and ciphertexts that travel in
//! pieces, in the space that padding would waste
//! (`protocol-spec/06-pq-ratchet.md`).
//!
//! ```text
//!  offering side                            answering side
//!  Idle                                     Waiting
//!   | next send: new key pair                 |
//!  Offering --- blocks of the key ----------> | whole, hash and modulus fit
//!   |                                       Keyed
//!   |                                         | next send: encapsulate
//!   | <----------- blocks of the ciphertext  Answering
//!  Secret                                     |
//!   | next sending half-step: mix in          |
//!  (answering: Waiting) -- epoch + 1 in the header --> receiving half-step:
//!                                             mix in (offering: Idle)
//! ```

mod assembly;
mod epoch;
mod memo;
mod phase;
mod piece;

pub(crate) use assembly::Assembly;
#[cfg(test)]
pub(crate) use epoch::key_hash;
pub(crate) use epoch::{EpochInfo, EpochTag};
pub(crate) use memo::KeyMemo;
pub(crate) use phase::{Phase, Pq, RemoteKey, answering, keyed};
pub(crate) use piece::{Outgoing, Run, read as read_run};
