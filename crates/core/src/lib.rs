//! The cryptographic core of Undertone: identity, links and prekeys, the
//! handshake, the double ratchet with header encryption, the post-quantum
//! ratchet that travels in the padding, envelopes, and file encryption.
//!
//! The crate is *sans-IO*: it opens no socket, reads no clock and asks no
//! operating system for randomness. Time arrives as a [`Day`], randomness as
//! a [`rand_core::CryptoRng`], bytes as slices.
//!
//! The normative text is `protocol-spec/`; item documentation names the
//! section and the number of every rejection rule (`R-101`, say).
//!
//! # The shape of the API
//!
//! * A session comes only out of a handshake: [`initiate`] or
//!   [`Greeting::accept`]. There is nothing to send on before.
//! * [`Session::seal`] and [`Session::open`] return a *pending* value. Its
//!   `commit` hands the new state (and the envelope) to the caller's
//!   transaction and releases the result only if that succeeded. Dropping the
//!   pending value, or failing in the transaction, leaves the session as it
//!   was.
//! * Secrets are newtypes that wipe themselves on drop, do not print, compare
//!   in constant time and cannot be cloned.
//! * The stored form is the one way to a second copy of a session, and a way
//!   that is not to be gone: [`Session::to_bytes`] says what follows.
//! * Methods that begin with `dangerous_` hand out secrets by name, for searches
//!   that look for leaks. Nothing else needs them.
//!
//! ```
//! use undertone_core::*;
//! # use rand_core::{TryRng, TryCryptoRng};
//! # struct Fixed(u64);
//! # impl TryRng for Fixed {
//! #     type Error = core::convert::Infallible;
//! #     fn try_next_u32(&mut self) -> Result<u32, Self::Error> { Ok(self.try_next_u64()? as u32) }
//! #     fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
//! #         self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
//! #         Ok(self.0 ^ (self.0 >> 29))
//! #     }
//! #     fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
//! #         for b in out { *b = (self.try_next_u64()? >> 32) as u8; }
//! #         Ok(())
//! #     }
//! # }
//! # impl TryCryptoRng for Fixed {}
//! # let mut rng = Fixed(7); // in an application: the operating system's generator
//! # fn store<T>(_: T) -> Result<(), core::convert::Infallible> { Ok(()) }
//! let today = Day::new(20_000);
//!
//! // Bob publishes a prekey bundle under a link.
//! let bob_account = AccountSecret::generate(&mut rng);
//! let bob_device = DeviceSecret::generate(&mut rng);
//! let bob_list = DeviceList::issue(&bob_account, None, 1_700_000_000, &[bob_device.public()])?;
//! let bob = LocalDevice::new(bob_device, bob_list)?;
//! let link = LinkSecret::generate(&mut rng);
//! let answer_to = Routing::new(b"where Bob listens")?;
//! let (prekey, bundle) =
//!     generate_prekey(BundleKind::OneTime, &bob, today, &answer_to, &mut rng);
//! let sealed = bundle.seal(&link.card_key(), &mut rng);
//!
//! // Alice, who was given the link, opens the bundle and says hello.
//! # let alice_account = AccountSecret::generate(&mut rng);
//! # let alice_device = DeviceSecret::generate(&mut rng);
//! # let alice_list = DeviceList::issue(&alice_account, None, 1_700_000_000, &[alice_device.public()])?;
//! # let alice = LocalDevice::new(alice_device, alice_list)?;
//! let bundle = Bundle::open(&link.card_key(), &sealed, &bob_account.public().fingerprint(), today)?;
//! let peer = bundle.check(None)?;
//! let reply_to = Routing::new(b"where Alice listens")?;
//! let mut alices = initiate(&alice, peer, &link, &reply_to, &mut rng)?;
//! let envelope = alices
//!     .seal(b"hello", &mut rng)?
//!     .commit(|state, envelope| store((state.to_bytes(), envelope)))?;
//!
//! // Bob accepts; nothing changes until the message inside has opened.
//! let greeting = Greeting::open(&link.hello_key(), &envelope)?;
//! let introduction = greeting.accept(&bob, &prekey, &link, today, |_| false)?;
//! let pending = introduction.open(None, today)?;
//! assert_eq!(pending.content(), b"hello");
//! let bobs = pending.commit(|state| store(state.to_bytes()))?;
//! assert_eq!(bobs.id(), alices.id());
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # What does not compile
//!
//! A session, or any secret, in two places:
//! ```compile_fail,E0277
//! fn two<T: Clone>() {}
//! two::<undertone_core::Session>();
//! ```
//! Sending before there is a session:
//! ```compile_fail,E0599
//! fn early(bundle: undertone_core::CheckedBundle) {
//!     bundle.seal(b"hello");
//! }
//! ```
//! An envelope that was not stored:
//! ```compile_fail,E0616
//! fn unstored(pending: undertone_core::PendingSeal<'_>) -> Vec<u8> {
//!     pending.envelope
//! }
//! ```
//! A message that is committed twice, or two messages at one place:
//! ```compile_fail,E0382
//! fn twice(pending: undertone_core::PendingSeal<'_>) {
//!     let _ = pending.commit(|_, _| Ok::<(), ()>(()));
//!     let _ = pending.commit(|_, _| Ok::<(), ()>(()));
//! }
//! ```
//! ```compile_fail,E0499
//! # use undertone_core::{Session, rand_core::CryptoRng};
//! fn both(session: &mut Session, rng: &mut impl CryptoRng) {
//!     let one = session.seal(b"one", rng);
//!     let two = session.seal(b"two", rng);
//!     drop((one, two));
//! }
//! ```
//! What a stranger wrote before it is known that they wrote it:
//! ```compile_fail,E0599
//! fn believed(introduction: undertone_core::Introduction<'_>) -> Vec<u8> {
//!     introduction.content().to_vec()
//! }
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[macro_use]
mod secret;

mod backup;
pub mod bounds;
mod codec;
mod day;
mod envelope;
mod file;
mod handshake;
mod identity;
mod label;
mod link;
mod prekey;
mod primitives;
mod ratchet;
mod routing;
#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]
mod testing;

pub use backup::{
    BackupCipher, BackupSealer, BackupSecret, ChunkPlace, SEALED_BACKUP_CHUNK, backup_head_check,
};
pub use day::Day;
pub use envelope::Bucket;
pub use file::{FileError, FileKey, FileOpener, FileSealer, blob_len, padded_len};
pub use handshake::{Greeting, HandshakeError, Introduction, PendingAccept, UsedBundle, initiate};
pub use identity::{
    AccountFingerprint, AccountKey, AccountSecret, Device, DeviceKeys, DeviceList, DeviceSecret,
    IdentityError, ListRecord, LocalDevice, SafetyNumber,
};
pub use link::{CardKey, FetchCapability, HelloKey, LinkSecret};
pub use prekey::{
    Bundle, BundleDigest, BundleError, BundleId, BundleKind, CheckedBundle, PrekeySecret,
    generate_prekey,
};
pub use rand_core;
pub use ratchet::{
    NamedSecret, OpenError, PendingOpen, PendingSeal, Role, RollbackSign, SealError, Session,
    SessionId, StateError, StateView,
};
pub use routing::{Routing, RoutingTooLong};
pub use zeroize;
