//! The session: what a handshake leads to.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::day::Day;
use crate::envelope::Preamble;
use crate::handshake::{SEALED_HANDSHAKE_SHORT, SessionKeys};
use crate::primitives::dh::{DhPublic, DhSecret};

use super::core::Core;
use super::double::Double;
use super::old::OldChains;
use super::open::Delta;
use super::pq::{EpochTag, KeyMemo, Phase, Pq};
use super::recent::Recent;
use super::skipped::{Skipped, lives};
use super::state::StateView;

/// The id of a session, 32 bytes: the handshake's final transcript hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 32]);

/// Which side of the handshake this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Fetched the other's bundle. Offers the first encapsulation key.
    Initiator,
    /// Published the bundle.
    Responder,
}

/// A session between two devices.
///
/// [`seal`](Self::seal) and [`open`](Self::open) prepare a candidate state;
/// it becomes the session's only through `commit`, after the caller's store
/// has it. A session is neither `Clone` nor printable; its stored form is
/// [`to_bytes`](Self::to_bytes).
pub struct Session {
    pub(crate) inner: Box<Inner>,
}

/// Boxed, so that moving a session moves no secret.
pub(crate) struct Inner {
    pub(crate) id: SessionId,
    pub(crate) role: Role,
    /// The sealed handshake, until the first reply has been opened.
    pub(crate) preamble: Option<Vec<u8>>,
    pub(crate) core: Double<Core>,
    pub(crate) pq: Double<Pq>,
    pub(crate) memo: KeyMemo,
    pub(crate) old: OldChains,
    pub(crate) recent: Recent,
    pub(crate) skipped: Skipped,
    /// The day for which expired keys were last looked for.
    pub(crate) expired_on: Option<Day>,
    /// What the message that is being opened will change beside core and pq.
    pub(crate) delta: Delta,
}

impl SessionId {
    /// An id from the store.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl ::core::fmt::Debug for SessionId {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.write_str("SessionId(")?;
        for byte in self.0.iter().take(8) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…)")
    }
}

impl Inner {
    pub(crate) fn blank(id: SessionId, role: Role) -> Box<Self> {
        let first = match role {
            Role::Initiator => Phase::Idle,
            Role::Responder => Phase::Waiting { incoming: None },
        };
        Box::new(Self {
            id,
            role,
            preamble: None,
            core: Double::new(Core::blank(), Core::blank()),
            pq: Double::new(Pq::new(first), Pq::new(first)),
            memo: KeyMemo::blank(),
            old: OldChains::new(),
            recent: Recent::new(),
            skipped: Skipped::new(),
            expired_on: None,
            delta: Delta::new(),
        })
    }

    /// Drops what may not be kept on `today`. Looked for once a day.
    pub(crate) fn expire(&mut self, today: Day) {
        if self.expired_on != Some(today) {
            self.old.expire(today);
            self.skipped.expire(today);
            self.expired_on = Some(today);
        }
    }

    pub(crate) fn preamble_kind(&self) -> Preamble {
        match self.preamble.as_ref().map(Vec::len) {
            None => Preamble::None,
            Some(SEALED_HANDSHAKE_SHORT) => Preamble::Short,
            Some(_) => Preamble::Long,
        }
    }
}

impl Session {
    /// The initiator's session: the first remote ratchet key is the bundle's
    /// prekey, and the first send begins the first chain.
    pub(crate) fn initiator(
        id: SessionId,
        keys: &SessionKeys,
        prekey: &DhPublic,
        preamble: Vec<u8>,
    ) -> Self {
        let mut inner = Inner::blank(id, Role::Initiator);
        inner.preamble = Some(preamble);
        let core = inner.core.live_mut();
        let [root, ours, theirs] = keys.parts();
        core.root.expose_mut().copy_from_slice(root);
        core.next_sending.expose_mut().copy_from_slice(ours);
        core.next_receiving.expose_mut().copy_from_slice(theirs);
        core.remote = Some(*prekey);
        core.sending_due = true;
        core.tag = EpochTag::first(&id);
        Self { inner }
    }

    /// The responder's session: its first ratchet key is the prekey.
    pub(crate) fn responder(id: SessionId, keys: &SessionKeys, prekey: &DhSecret) -> Self {
        let mut inner = Inner::blank(id, Role::Responder);
        let core = inner.core.live_mut();
        let [root, theirs, ours] = keys.parts();
        core.root.expose_mut().copy_from_slice(root);
        core.next_sending.expose_mut().copy_from_slice(ours);
        core.next_receiving.expose_mut().copy_from_slice(theirs);
        core.own.expose_mut().copy_from_slice(prekey.expose());
        core.tag = EpochTag::first(&id);
        Self { inner }
    }

    /// Its id.
    pub fn id(&self) -> SessionId {
        self.inner.id
    }

    /// Which side of the handshake this is.
    pub fn role(&self) -> Role {
        self.inner.role
    }

    /// Whether the peer is known to have the session: always in a responder,
    /// after the first reply in an initiator. Until then every envelope
    /// repeats the handshake.
    pub fn confirmed(&self) -> bool {
        self.inner.preamble.is_none()
    }

    /// How often a post-quantum secret has been mixed in.
    pub fn epoch(&self) -> u32 {
        self.inner.core.live().epoch
    }

    /// Keys that wait for messages which have not arrived.
    pub fn skipped_keys(&self) -> usize {
        self.inner.skipped.len()
    }

    /// Header keys that an envelope may have to be tried with: at most ten.
    /// The caller adds them up over the sessions of a mailbox and stops at
    /// [`MAX_HEADER_TRIALS`](crate::bounds::MAX_HEADER_TRIALS).
    pub fn header_keys(&self) -> usize {
        1 + usize::from(self.inner.core.live().receiving.exists()) + self.inner.old.iter().count()
    }

    /// Whether keys of lost messages and past chains are held that may not be
    /// kept on `today`. Opening a message drops them; a session in which
    /// nothing comes in needs [`expire`](Self::expire) once a day.
    pub fn has_expired(&self, today: Day) -> bool {
        self.inner.old.iter().any(|chain| !chain.facts.lives(today))
            || self.inner.skipped.iter().any(|(_, _, day)| !lives(day, today))
    }

    /// Drops what may not be kept on `today`, once `store` has the state
    /// without it.
    ///
    /// # Errors
    /// Whatever `store` returns; the session is then unchanged here. Where the
    /// caller can't know whether the transaction went through, it MUST read the
    /// session from the store again.
    pub fn expire<E>(
        &mut self,
        today: Day,
        store: impl FnOnce(&StateView<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.inner.forget_candidates();
        self.inner.delta.today = today;
        store(&StateView::expired(&self.inner))?;
        self.inner.expire(today);
        Ok(())
    }

    /// The state as it is, to be stored.
    pub fn view(&self) -> StateView<'_> {
        StateView::live(&self.inner)
    }
}

impl ::core::fmt::Debug for Session {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        let Self { inner } = self;
        f.debug_struct("Session")
            .field("id", &inner.id)
            .field("role", &inner.role)
            .field("confirmed", &self.confirmed())
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}
