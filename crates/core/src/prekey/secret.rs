//! The private half of a bundle.

use alloc::boxed::Box;
use alloc::vec::Vec;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::bundle::Fresh;
use super::{Bundle, BundleDigest, BundleError, BundleId, BundleKind};
use crate::bounds::BUNDLE_LIFETIME_DAYS;
use crate::codec::Reader;
use crate::day::Day;
use crate::identity::LocalDevice;
use crate::primitives::dh::DhSecret;
use crate::primitives::kem::{KemSeed, mlkem1024};
use crate::routing::Routing;

/// The version of the stored layout.
const VERSION: u8 = 1;
/// Bytes of a stored prekey.
const LEN: usize = 1 + 1 + 16 + 4 + 32 + 32 + 64;

/// The private keys of one bundle, with what is needed to recognise it.
///
/// A one-time bundle's are deleted in the transaction that accepts its
/// session; all are deleted when expiry plus retention has passed.
#[derive(Debug)]
pub struct PrekeySecret {
    pub(crate) kind: BundleKind,
    pub(crate) id: BundleId,
    pub(crate) expiry: Day,
    pub(crate) digest: BundleDigest,
    /// Boxed, so that a move leaves no copy.
    pub(crate) keys: Box<PrekeyHalves>,
}

/// The X25519 prekey and the seed of the ML-KEM-1024 key.
#[derive(Debug)]
pub(crate) struct PrekeyHalves {
    pub(crate) dh: DhSecret,
    pub(crate) kem: KemSeed,
}

impl PrekeyHalves {
    fn blank() -> Box<Self> {
        Box::new(Self { dh: DhSecret::blank(), kem: KemSeed::blank() })
    }
}

/// Makes a bundle and its private half: a fresh X25519 prekey and a fresh
/// ML-KEM-1024 key, shared with no other bundle, under one signature.
///
/// The last day of its use is `today` and
/// [`BUNDLE_LIFETIME_DAYS`](crate::bounds::BUNDLE_LIFETIME_DAYS): everybody
/// refuses one that is offered for longer, and who wants a shorter
/// life withdraws it. `reply` is where the initiator sends its first
/// envelopes.
pub fn generate_prekey(
    kind: BundleKind,
    me: &LocalDevice,
    today: Day,
    reply: &Routing,
    rng: &mut impl CryptoRng,
) -> (PrekeySecret, Bundle) {
    let expiry = today.plus(BUNDLE_LIFETIME_DAYS);
    let id = BundleId::generate(rng);
    let mut keys = PrekeyHalves::blank();
    rng.fill_bytes(keys.dh.expose_mut());
    rng.fill_bytes(keys.kem.expose_mut());
    let mut private = mlkem1024::PrivateKey::blank();
    private.expand(&keys.kem);
    let (dh, kem) = (keys.dh.public(), private.encapsulation_key());
    let fresh = Fresh { kind, id, expiry, dh, kem, reply };
    let bundle = Bundle::sign(fresh, me);
    let digest = bundle.digest();
    (PrekeySecret { kind, id, expiry, digest, keys }, bundle)
}

impl PrekeySecret {
    /// The stored form, secret: version 1, kind 1, id 16, expiry 4, digest 32,
    /// X25519 key 32, ML-KEM seed 64.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LEN));
        bytes.push(VERSION);
        bytes.push(self.kind.byte());
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.expiry.get().to_be_bytes());
        bytes.extend_from_slice(self.digest.as_bytes());
        bytes.extend_from_slice(self.keys.dh.expose());
        bytes.extend_from_slice(self.keys.kem.expose());
        bytes
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`BundleError::Unreadable`], [`BundleError::Version`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(BundleError::Version);
        }
        let mut secret = Self {
            kind: BundleKind::from_byte(reader.u8()?).ok_or(BundleError::Unreadable)?,
            id: BundleId::from_bytes(*reader.array()?),
            expiry: Day::new(reader.u32()?),
            digest: BundleDigest::from_bytes(*reader.array()?),
            keys: PrekeyHalves::blank(),
        };
        secret.keys.dh.expose_mut().copy_from_slice(reader.take(32)?);
        secret.keys.kem.expose_mut().copy_from_slice(reader.take(64)?);
        reader.finish()?;
        Ok(secret)
    }

    /// The private keys, with their names: what [`to_bytes`](Self::to_bytes)
    /// holds. Only for tests and demonstrations that search other people's
    /// systems for what must not be there.
    pub fn dangerous_secrets(&self) -> [(&'static str, Zeroizing<Vec<u8>>); 2] {
        [
            ("X25519 prekey", Zeroizing::new(self.keys.dh.expose().to_vec())),
            ("ML-KEM seed of a prekey", Zeroizing::new(self.keys.kem.expose().to_vec())),
        ]
    }

    /// The bundle's random name.
    pub fn id(&self) -> BundleId {
        self.id
    }

    /// How often it may be used.
    pub fn kind(&self) -> BundleKind {
        self.kind
    }

    /// The last day on which a session may be started with it.
    pub fn expiry(&self) -> Day {
        self.expiry
    }

    /// What to keep, with id and expiry, after these keys are deleted.
    pub fn digest(&self) -> BundleDigest {
        self.digest
    }
}
