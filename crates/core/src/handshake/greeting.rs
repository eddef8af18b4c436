//! The responder's side. Each stage is a type; none changes anything until
//! the message inside has opened and the caller's transaction has stored it.

use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::identity_block::{self, Claimed};
use super::schedule::{Anonymous, SessionKeys};
use super::{HandshakeError, SEALED_HANDSHAKE_LONG, SEALED_HANDSHAKE_SHORT, Transcript};
use crate::bounds::RETENTION_DAYS;
use crate::codec::Reader;
use crate::day::Day;
use crate::envelope::Bucket;
use crate::identity::{AccountKey, DeviceKeys, DeviceList, ListRecord, LocalDevice};
use crate::label;
use crate::link::{HelloKey, LinkSecret};
use crate::prekey::{BundleDigest, BundleId, BundleKind, PrekeySecret};
use crate::primitives::aead::{self, NONCE, TAG};
use crate::primitives::dh::DhPublic;
use crate::primitives::kem::{KemSecret, mlkem1024};
use crate::ratchet::{Session, SessionId, StateView};
use crate::routing::Routing;

/// A handshake that was sealed for one of our links, and the ratchet's
/// envelope behind it. Whoever holds the link can have made it.
pub struct Greeting<'e> {
    bundle: BundleId,
    ephemeral: DhPublic,
    ciphertext: [u8; mlkem1024::CIPHERTEXT],
    /// The encrypted identity with its tag.
    identity: Vec<u8>,
    envelope: &'e [u8],
}

impl<'e> Greeting<'e> {
    /// Opens the seal of a first-contact envelope.
    ///
    /// # Errors
    /// [`HandshakeError::NotSealedForThisLink`]: try the envelope on
    /// the mailbox's sessions. [`HandshakeError::InvalidEphemeral`].
    pub fn open(hello: &HelloKey, envelope: &'e [u8]) -> Result<Self, HandshakeError> {
        if Bucket::of_len(envelope.len()).is_none() {
            return Err(HandshakeError::NotSealedForThisLink);
        }
        [SEALED_HANDSHAKE_SHORT, SEALED_HANDSHAKE_LONG]
            .into_iter()
            .find_map(|len| {
                let (sealed, envelope) = envelope.split_at_checked(len)?;
                Some((unseal(hello, sealed)?, envelope))
            })
            .ok_or(HandshakeError::NotSealedForThisLink)
            .and_then(|(handshake, envelope)| Self::read(&handshake, envelope))
    }

    fn read(handshake: &[u8], envelope: &'e [u8]) -> Result<Self, HandshakeError> {
        let mut reader = Reader::new(handshake);
        Ok(Self {
            bundle: BundleId::from_bytes(*reader.array()?),
            ephemeral: DhPublic::from_bytes(reader.array()?)
                .map_err(|_| HandshakeError::InvalidEphemeral)?,
            ciphertext: *reader.array()?,
            identity: reader.rest().to_vec(),
            envelope,
        })
    }

    /// The bundle that the initiator used.
    pub fn bundle_id(&self) -> BundleId {
        self.bundle
    }

    /// The session that this handshake makes, known without any private key:
    /// a repeat goes to that session, an unknown one on a consumed one-time
    /// bundle means that the link was used twice.
    pub fn session_id(&self, digest: &BundleDigest) -> SessionId {
        let transcript = self.anonymous_transcript(digest).identity(&self.identity);
        SessionId::from_bytes(*transcript.as_bytes())
    }

    /// The ratchet's envelope behind the handshake, for
    /// [`Session::open`] of the session that this repeats.
    pub fn envelope(&self) -> &'e [u8] {
        self.envelope
    }

    /// Decrypts the initiator's identity. Changes nothing.
    ///
    /// `accepted` says whether a session of this id was accepted before, by
    /// the replay record: the ids of all sessions accepted on this bundle,
    /// kept until its expiry and the longest retention have passed, even if
    /// the session was deleted. A repeat goes to its session by
    /// [`envelope`](Self::envelope) instead.
    ///
    /// # Errors
    /// for the device list.
    pub fn accept(
        self,
        me: &LocalDevice,
        prekey: &PrekeySecret,
        link: &LinkSecret,
        today: Day,
        accepted: impl FnOnce(&SessionId) -> bool,
    ) -> Result<Introduction<'e>, HandshakeError> {
        if prekey.id != self.bundle {
            return Err(HandshakeError::OtherBundle);
        }
        if accepted(&self.session_id(&prekey.digest)) {
            return Err(HandshakeError::Replayed);
        }
        if today > prekey.expiry.plus(RETENTION_DAYS) {
            return Err(HandshakeError::Expired);
        }
        let mut shared = KemSecret::blank();
        let mut private = mlkem1024::PrivateKey::blank();
        private.expand(&prekey.keys.kem);
        private.decapsulate(&self.ciphertext, &mut shared);
        let stage = Anonymous::new(
            &link.psk(),
            &shared,
            &prekey.keys.dh.exchange(&self.ephemeral)?,
            &me.secret().dh().exchange(&self.ephemeral)?,
            self.anonymous_transcript(&prekey.digest),
        );
        let claimed = open_identity(&stage, &self.identity)?;
        if claimed.device == me.keys() {
            return Err(HandshakeError::Oneself);
        }
        let stage = stage.name(&self.identity);
        let (keys, id) = stage.finish(&prekey.keys.dh.exchange(&claimed.device.dh.0)?);
        let session = Session::responder(id, &keys, &prekey.keys.dh);
        drop::<SessionKeys>(keys);
        let until = prekey.expiry.plus(RETENTION_DAYS);
        let used = UsedBundle { id: prekey.id, kind: prekey.kind, until };
        Ok(Introduction { used, claimed, session, envelope: self.envelope })
    }

    fn anonymous_transcript(&self, digest: &BundleDigest) -> Transcript {
        Transcript::resume(digest).ephemeral(&self.ephemeral).ciphertext(&self.ciphertext)
    }
}

fn unseal(hello: &HelloKey, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE>()?;
    let (body, tag) = rest.split_last_chunk::<TAG>()?;
    let mut body = body.to_vec();
    aead::open(hello.expose(), nonce, label::HELLO_SEAL, &mut body, tag).ok()?;
    Some(body)
}

fn open_identity(stage: &Anonymous, sealed: &[u8]) -> Result<Claimed, HandshakeError> {
    let (block, tag) = sealed.split_last_chunk::<TAG>().ok_or(HandshakeError::Unreadable)?;
    let mut block = Zeroizing::new(block.to_vec());
    stage.open_identity(&mut block, tag).map_err(|_| HandshakeError::IdentitySealed)?;
    identity_block::read(&block)
}

/// Who claims to have sent a greeting. The claim holds once the message
/// inside opens, since its key needs the initiator's private DH key.
pub struct Introduction<'e> {
    used: UsedBundle,
    claimed: Claimed,
    session: Session,
    envelope: &'e [u8],
}

impl Introduction<'_> {
    /// The account that the initiator claims: what to look up for
    /// [`open`](Self::open).
    pub fn account(&self) -> AccountKey {
        self.claimed.list.account()
    }

    /// Opens the message inside, and checks the device list against what is
    /// known of the account. Changes nothing.
    ///
    /// `known` is what the caller's store returns for
    /// [`account`](Self::account), `None` where it has no record of it, as for
    /// [`Bundle::check`](crate::Bundle::check).
    ///
    /// # Errors
    /// for the list; [`HandshakeError::Message`].
    pub fn open(
        mut self,
        known: Option<&ListRecord>,
        today: Day,
    ) -> Result<PendingAccept, HandshakeError> {
        let content = self
            .session
            .open(self.envelope, today)
            .map_err(HandshakeError::Message)?
            .commit(|_| Ok::<_, core::convert::Infallible>(()))
            .unwrap_or_else(|never| match never {});
        // Only now it is the initiator who says so: before, anybody with the
        // link could have shown an old list in somebody else's name.
        self.claimed.list.follows(known)?;
        Ok(PendingAccept { used: self.used, claimed: self.claimed, session: self.session, content })
    }
}

/// The bundle that a handshake used, and what follows from that in the
/// transaction that accepts the session (`protocol-spec/03-prekeys.md`,
/// section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedBundle {
    id: BundleId,
    kind: BundleKind,
    until: Day,
}

impl UsedBundle {
    /// The bundle.
    pub fn id(&self) -> BundleId {
        self.id
    }

    /// Whether its private keys MUST be deleted in the same transaction: those
    /// of a one-time bundle.
    pub fn ends(&self) -> bool {
        self.kind == BundleKind::OneTime
    }

    /// The last day on which the session's id is kept in the replay record.
    pub fn remember_until(&self) -> Day {
        self.until
    }
}

/// A session that is about to be accepted, and its first message.
#[must_use = "nothing is accepted until this is committed"]
pub struct PendingAccept {
    used: UsedBundle,
    claimed: Claimed,
    session: Session,
    content: Zeroizing<Vec<u8>>,
}

impl PendingAccept {
    /// The session's id: it goes into the replay record, for as long as
    /// [`bundle`](Self::bundle) says.
    pub fn session_id(&self) -> SessionId {
        self.session.id()
    }

    /// What the transaction that accepts the session has to do with the bundle
    /// that it was started with.
    pub fn bundle(&self) -> UsedBundle {
        self.used
    }

    /// The initiator's device list: remember its
    /// [`record`](DeviceList::record).
    pub fn peer(&self) -> &DeviceList {
        &self.claimed.list
    }

    /// The device that the session is with.
    pub fn peer_device(&self) -> DeviceKeys {
        self.claimed.device
    }

    /// Where to answer.
    pub fn reply(&self) -> &Routing {
        &self.claimed.reply
    }

    /// The first message.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Accepts the session in the caller's transaction: `store` must keep the
    /// state, the message, the replay record and, for a one-time bundle, the
    /// deletion of its private keys, all together.
    ///
    /// # Errors
    /// Whatever `store` returns; then nothing is accepted here. Where the
    /// caller can't know whether the transaction went through, it MUST look in
    /// the store before it goes on.
    pub fn commit<E>(
        self,
        store: impl FnOnce(&StateView<'_>) -> Result<(), E>,
    ) -> Result<Session, E> {
        store(&self.session.view())?;
        Ok(self.session)
    }
}
