//! Devices: a signing key and a DH key of their own.

use alloc::boxed::Box;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{AccountKey, DeviceList, IdentityError};
use crate::codec::Reader;
use crate::primitives::dh::{DhPublic, DhSecret};
use crate::primitives::sign::{SIGNATURE, SignPublic, SignSecret};

/// The private keys of one device.
///
/// Boxed, so that a move leaves no copy.
#[derive(Debug)]
pub struct DeviceSecret(Box<Halves>);

#[derive(Debug)]
struct Halves {
    signing: SignSecret,
    dh: DhSecret,
}

/// The public keys of one device, 64 bytes: signing key, then DH key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceKeys {
    pub(crate) signing: DeviceSigningKey,
    pub(crate) dh: DeviceDhKey,
}

/// A device's Ed25519 key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceSigningKey(pub(crate) SignPublic);

/// A device's X25519 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceDhKey(pub(crate) DhPublic);

impl core::fmt::Debug for DeviceSigningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "DeviceSigningKey({:02x?})", self.0.as_bytes())
    }
}

impl DeviceSecret {
    /// A new device.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut device = Self::blank();
        rng.fill_bytes(device.0.signing.expose_mut());
        rng.fill_bytes(device.0.dh.expose_mut());
        device
    }

    fn blank() -> Self {
        Self(Box::new(Halves { signing: SignSecret::blank(), dh: DhSecret::blank() }))
    }

    /// A device from its stored 64 bytes.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let mut device = Self::blank();
        let (signing, dh) = bytes.split_at(32);
        device.0.signing.expose_mut().copy_from_slice(signing);
        device.0.dh.expose_mut().copy_from_slice(dh);
        device
    }

    /// Ed25519 seed, then X25519 key: 64 bytes for the encrypted store. They
    /// belong in no backup: a restored device is a new one.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 64]> {
        let mut bytes = Zeroizing::new([0; 64]);
        let (signing, dh) = bytes.split_at_mut(32);
        signing.copy_from_slice(self.0.signing.expose());
        dh.copy_from_slice(self.0.dh.expose());
        bytes
    }

    /// The public keys.
    pub fn public(&self) -> DeviceKeys {
        DeviceKeys {
            signing: DeviceSigningKey(self.0.signing.public()),
            dh: DeviceDhKey(self.0.dh.public()),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE] {
        self.0.signing.sign(message)
    }

    pub(crate) fn dh(&self) -> &DhSecret {
        &self.0.dh
    }
}

impl DeviceKeys {
    /// Takes encoded keys.
    ///
    /// # Errors
    /// [`IdentityError::InvalidDeviceKey`].
    pub fn from_bytes(bytes: &[u8; 64]) -> Result<Self, IdentityError> {
        let mut reader = Reader::new(bytes);
        let signing = SignPublic::from_bytes(reader.array()?);
        let dh = DhPublic::from_bytes(reader.array()?);
        match (signing, dh) {
            (Ok(signing), Ok(dh)) => {
                Ok(Self { signing: DeviceSigningKey(signing), dh: DeviceDhKey(dh) })
            }
            _ => Err(IdentityError::InvalidDeviceKey),
        }
    }

    /// Signing key, then DH key.
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let (signing, dh) = bytes.split_at_mut(32);
        signing.copy_from_slice(self.signing.0.as_bytes());
        dh.copy_from_slice(self.dh.0.as_bytes());
        bytes
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE]) -> bool {
        self.signing.0.verify(message, signature).is_ok()
    }
}

/// This device, with the list of its account on which it stands.
#[derive(Debug)]
pub struct LocalDevice {
    secret: DeviceSecret,
    /// Kept, since making them costs two multiplications.
    keys: DeviceKeys,
    list: DeviceList,
    index: u8,
}

impl LocalDevice {
    /// Joins a device's keys and its account's list.
    ///
    /// # Errors
    /// [`IdentityError::NotListed`].
    pub fn new(secret: DeviceSecret, list: DeviceList) -> Result<Self, IdentityError> {
        let keys = secret.public();
        let index = list
            .devices()
            .iter()
            .position(|device| device.keys() == keys)
            .and_then(|index| u8::try_from(index).ok())
            .ok_or(IdentityError::NotListed)?;
        Ok(Self { secret, keys, list, index })
    }

    /// The account's list.
    pub fn list(&self) -> &DeviceList {
        &self.list
    }

    /// The account.
    pub fn account(&self) -> AccountKey {
        self.list.account()
    }

    /// This device's public keys.
    pub fn keys(&self) -> DeviceKeys {
        self.keys
    }

    pub(crate) fn secret(&self) -> &DeviceSecret {
        &self.secret
    }

    pub(crate) fn index(&self) -> u8 {
        self.index
    }
}
