//! The bundle: signed by the device, sealed for the link, of one size.

use alloc::vec::Vec;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::BundleError;
use crate::bounds::{BUNDLE_LIFETIME_DAYS, CLOCK_SLACK_DAYS, MAX_ROUTING, SEALED_BUNDLE};
use crate::codec::{Reader, is_zero, put_short};
use crate::day::Day;
use crate::handshake::Transcript;
use crate::identity::{
    AccountFingerprint, DeviceKeys, DeviceList, IdentityError, ListRecord, LocalDevice, MAX_LIST,
};
use crate::label;
use crate::link::CardKey;
use crate::primitives::aead::{self, NONCE, TAG};
use crate::primitives::dh::DhPublic;
use crate::primitives::kem::mlkem1024;
use crate::primitives::sign::SIGNATURE;
use crate::routing::Routing;

/// Bytes of a bundle before it is sealed.
pub(crate) const BUNDLE: usize = SEALED_BUNDLE - NONCE - TAG;

const _: () = assert!(
    1 + 16 + 1 + 4 + 32 + mlkem1024::KEY + 2 + MAX_LIST + 2 + MAX_ROUTING + SIGNATURE <= BUNDLE,
    "the largest list and route fit"
);

/// How often a bundle may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleKind {
    /// Handed out once; its private keys go with the session it starts.
    OneTime,
    /// Handed out when no other is left, any number of times.
    LastResort,
}

/// The random name of a bundle, 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId([u8; 16]);

/// The running transcript over a whole signed bundle, 32 bytes. Kept, with
/// id and expiry, longer than the private keys: it lets a repeated handshake
/// be recognised without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleDigest([u8; 32]);

/// A verified bundle: signed by a device that its account certified, not
/// expired, from the account that the link names.
pub struct Bundle {
    /// Holds the write capability to answer to.
    bytes: Zeroizing<Vec<u8>>,
    pub(crate) kind: BundleKind,
    pub(crate) id: BundleId,
    pub(crate) device: DeviceKeys,
    pub(crate) expiry: Day,
    pub(crate) dh: DhPublic,
    pub(crate) kem: mlkem1024::EncapsulationKey,
    pub(crate) list: DeviceList,
    pub(crate) reply: Routing,
}

/// A bundle whose device list was compared with what is known of the account:
/// what [`initiate`](crate::initiate) takes.
#[derive(Debug)]
pub struct CheckedBundle(pub(crate) Bundle);

impl BundleKind {
    const fn to_byte(self) -> u8 {
        match self {
            Self::OneTime => 1,
            Self::LastResort => 2,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::OneTime),
            2 => Some(Self::LastResort),
            _ => None,
        }
    }

    pub(crate) const fn byte(self) -> u8 {
        self.to_byte()
    }
}

impl BundleId {
    pub(crate) fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        Self(id)
    }

    /// An id from the store.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl BundleDigest {
    /// A digest from the store.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What is new in a bundle that is being made.
pub(crate) struct Fresh<'a> {
    pub(crate) kind: BundleKind,
    pub(crate) id: BundleId,
    pub(crate) expiry: Day,
    pub(crate) dh: DhPublic,
    pub(crate) kem: mlkem1024::EncapsulationKey,
    pub(crate) reply: &'a Routing,
}

impl Bundle {
    pub(crate) fn sign(fresh: Fresh<'_>, me: &LocalDevice) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(BUNDLE));
        bytes.push(fresh.kind.to_byte());
        bytes.extend_from_slice(&fresh.id.0);
        bytes.push(me.index());
        bytes.extend_from_slice(&fresh.expiry.get().to_be_bytes());
        bytes.extend_from_slice(fresh.dh.as_bytes());
        bytes.extend_from_slice(fresh.kem.as_bytes());
        put_short(&mut bytes, me.list().as_bytes());
        put_short(&mut bytes, fresh.reply.as_bytes());
        bytes.resize(BUNDLE - SIGNATURE, 0);
        let signature = me.secret().sign(&message(&bytes));
        bytes.extend_from_slice(&signature);
        Self {
            bytes,
            kind: fresh.kind,
            id: fresh.id,
            device: me.keys(),
            expiry: fresh.expiry,
            dh: fresh.dh,
            kem: fresh.kem,
            list: me.list().clone(),
            reply: Routing::clone_of(fresh.reply),
        }
    }

    /// Seals the bundle for a link: exactly
    /// [`SEALED_BUNDLE`](crate::bounds::SEALED_BUNDLE) bytes that look random.
    pub fn seal(&self, card: &CardKey, rng: &mut impl CryptoRng) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let mut body = self.bytes.to_vec();
        let tag = aead::seal(card.expose(), &nonce, label::CARD_SEAL, &mut body);
        [&nonce[..], &body, &tag].concat()
    }

    /// Opens and verifies a bundle that was fetched over a link, on `today`.
    ///
    /// # Errors
    /// for its device list.
    pub fn open(
        card: &CardKey,
        sealed: &[u8],
        expected: &AccountFingerprint,
        today: Day,
    ) -> Result<Self, BundleError> {
        let sealed: &[u8; SEALED_BUNDLE] = sealed.try_into().map_err(|_| BundleError::Length)?;
        let mut reader = Reader::new(sealed);
        let nonce = reader.array()?;
        let mut bytes = Zeroizing::new(reader.take(BUNDLE)?.to_vec());
        aead::open(card.expose(), nonce, label::CARD_SEAL, &mut bytes, reader.array()?)
            .map_err(|_| BundleError::NotSealedForThisLink)?;
        let bundle = Self::read(bytes)?;
        if bundle.list.account().fingerprint() != *expected {
            return Err(BundleError::OtherAccount);
        }
        if today > bundle.expiry {
            return Err(BundleError::Expired);
        }
        if bundle.expiry > today.plus(BUNDLE_LIFETIME_DAYS + CLOCK_SLACK_DAYS) {
            return Err(BundleError::Lifetime);
        }
        Ok(bundle)
    }

    fn read(bytes: Zeroizing<Vec<u8>>) -> Result<Self, BundleError> {
        let mut reader = Reader::new(&bytes);
        let kind = BundleKind::from_byte(reader.u8()?).ok_or(BundleError::Unreadable)?;
        let id = BundleId(*reader.array()?);
        let index = reader.u8()?;
        let expiry = Day::new(reader.u32()?);
        let dh = DhPublic::from_bytes(reader.array()?).map_err(|_| BundleError::InvalidDhKey)?;
        let kem = mlkem1024::EncapsulationKey::from_bytes(reader.array()?)
            .map_err(|_| BundleError::InvalidKemKey)?;
        let list_len = usize::from(reader.u16()?);
        let list = DeviceList::parse(reader.take(list_len)?)?;
        let reply_len = usize::from(reader.u16()?);
        let reply = Routing::new(reader.take(reply_len)?).map_err(|_| BundleError::Unreadable)?;
        let rest = reader.rest();
        let (padding, signature) =
            rest.split_last_chunk::<SIGNATURE>().ok_or(BundleError::Unreadable)?;
        if !is_zero(padding) {
            return Err(BundleError::Unreadable);
        }
        let device = list.devices().get(usize::from(index)).ok_or(BundleError::Unreadable)?.keys();
        let signed = bytes.get(..BUNDLE - SIGNATURE).ok_or(BundleError::Unreadable)?;
        if !device.verify(&message(signed), signature) {
            return Err(BundleError::Signature);
        }
        Ok(Self { kind, id, device, expiry, dh, kem, list, reply, bytes })
    }

    /// Compares the bundle's device list with what is known of the account.
    ///
    /// `known` is what the caller's store returns for the account of
    /// [`list`](Self::list), `None` where it has no record of it: the account
    /// was never met. It is no way to leave the check out. With a record at
    /// hand, `None` would let an older list bring a removed device back.
    ///
    /// # Errors
    /// A lower or forked list; another account's: R-210.
    pub fn check(self, known: Option<&ListRecord>) -> Result<CheckedBundle, IdentityError> {
        self.list.follows(known)?;
        Ok(CheckedBundle(self))
    }

    /// Its random name.
    pub fn id(&self) -> BundleId {
        self.id
    }

    /// How often it may be used.
    pub fn kind(&self) -> BundleKind {
        self.kind
    }

    /// The last day on which it may be used.
    pub fn expiry(&self) -> Day {
        self.expiry
    }

    /// Where to send what is started with it.
    pub fn reply(&self) -> &Routing {
        &self.reply
    }

    /// The inviter's device list.
    pub fn list(&self) -> &DeviceList {
        &self.list
    }

    pub(crate) fn digest(&self) -> BundleDigest {
        BundleDigest(*Transcript::of_bundle(&self.bytes).as_bytes())
    }

    /// The device that signed it, and that a session is started with.
    pub fn device(&self) -> DeviceKeys {
        self.device
    }
}

impl CheckedBundle {
    /// The inviter's device list.
    pub fn list(&self) -> &DeviceList {
        &self.0.list
    }

    /// Where to send what is started with it.
    pub fn reply(&self) -> &Routing {
        &self.0.reply
    }
}

impl CheckedBundle {
    /// The device that the session will be with: remember it beside the
    /// session, which closes when that device is removed.
    pub fn device(&self) -> DeviceKeys {
        self.0.device
    }

    /// The last day of the bundle. The handshake is refused once that and the
    /// longest retention have passed: start afresh with another bundle then.
    pub fn expiry(&self) -> Day {
        self.0.expiry
    }
}

impl core::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Bundle")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

/// Wiped: it holds a write capability.
fn message(unsigned: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut message = Zeroizing::new(Vec::with_capacity(label::BUNDLE.len() + BUNDLE));
    message.extend_from_slice(label::BUNDLE);
    message.extend_from_slice(unsigned);
    message
}
