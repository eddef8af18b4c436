//! The signed list of an account's devices, and its counter rules.

use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::{AccountKey, AccountSecret, DeviceKeys, IdentityError};
use crate::bounds::{MAX_DEVICES, MAX_EXTENSION};
use crate::codec::{Reader, put_short};
use crate::label;
use crate::primitives::hash::sha256;
use crate::primitives::sign::SIGNATURE;

/// Bytes of the largest list.
pub(crate) const MAX_LIST: usize =
    32 + 8 + 1 + MAX_DEVICES * (64 + SIGNATURE + 2 + MAX_EXTENSION) + SIGNATURE;

/// A device as its account lists it.
#[derive(Clone, PartialEq, Eq)]
pub struct Device {
    keys: DeviceKeys,
    extension: Zeroizing<Vec<u8>>,
}

impl core::fmt::Debug for Device {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // An extension may come to hold a capability.
        write!(f, "Device({:?}, {} more bytes)", self.keys, self.extension.len())
    }
}

impl Device {
    /// Its public keys.
    pub fn keys(&self) -> DeviceKeys {
        self.keys
    }

    /// What the entry carries beside keys and certificate (for a later
    /// version: capability and link of that device); at most
    /// [`MAX_EXTENSION`] bytes.
    pub fn extension(&self) -> &[u8] {
        &self.extension
    }
}

/// A device list whose signatures were verified; no other exists.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceList {
    bytes: Zeroizing<Vec<u8>>,
    account: AccountKey,
    counter: u64,
    devices: Vec<Device>,
}

/// What is remembered of a list to notice an older or a forked one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRecord {
    account: AccountKey,
    counter: u64,
    hash: [u8; 32],
}

impl core::fmt::Debug for DeviceList {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { bytes: _, account, counter, devices } = self;
        f.debug_struct("DeviceList")
            .field("account", account)
            .field("counter", counter)
            .field("devices", devices)
            .finish()
    }
}

impl DeviceList {
    /// Signs a list of `devices`. Its counter is the greater of `previous`
    /// plus one and `unix_seconds`, so that an account that was restored from
    /// an old backup never falls behind what its contacts have seen.
    ///
    /// # Errors
    /// [`IdentityError::DeviceCount`], [`IdentityError::DuplicateDevice`],
    /// [`IdentityError::OtherAccount`] where `previous` is another account's,
    /// [`IdentityError::CounterExhausted`].
    pub fn issue(
        account: &AccountSecret,
        previous: Option<&ListRecord>,
        unix_seconds: u64,
        devices: &[DeviceKeys],
    ) -> Result<Self, IdentityError> {
        let key = account.public();
        let counter = next_counter(&key, previous, unix_seconds)?;
        // Checked before anything is signed: what the account has signed, it
        // has signed.
        let count = u8::try_from(devices.len()).map_err(|_| IdentityError::DeviceCount)?;
        if devices.is_empty() || devices.len() > MAX_DEVICES {
            return Err(IdentityError::DeviceCount);
        }
        if devices
            .iter()
            .enumerate()
            .any(|(i, keys)| devices.iter().take(i).any(|k| overlap(k, keys)))
        {
            return Err(IdentityError::DuplicateDevice);
        }
        let mut bytes = Vec::with_capacity(MAX_LIST);
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(&counter.to_be_bytes());
        bytes.push(count);
        for keys in devices {
            bytes.extend_from_slice(&keys.to_bytes());
            bytes.extend_from_slice(&account.sign(&certificate_message(&key, keys)));
            put_short(&mut bytes, &[]);
        }
        let signature = account.sign(&list_message(&bytes));
        bytes.extend_from_slice(&signature);
        // What was made must be what everybody else accepts.
        Self::parse(&bytes)
    }

    /// Reads a list and verifies every signature in it.
    ///
    /// # Errors
    ///
    pub fn parse(bytes: &[u8]) -> Result<Self, IdentityError> {
        let mut reader = Reader::new(bytes);
        let account = AccountKey::from_bytes(reader.array()?)?;
        let counter = reader.u64()?;
        let count = usize::from(reader.u8()?);
        if count == 0 || count > MAX_DEVICES {
            return Err(IdentityError::DeviceCount);
        }
        let mut devices = Vec::with_capacity(count);
        for _ in 0..count {
            devices.push(read_device(&mut reader, &account, &devices)?);
        }
        let signature: &[u8; SIGNATURE] = reader.array()?;
        reader.finish()?;
        let signed = bytes.len().checked_sub(SIGNATURE).and_then(|end| bytes.get(..end));
        let message = list_message(signed.ok_or(IdentityError::Unreadable)?);
        if !account.verify(&message, signature) {
            return Err(IdentityError::ListSignature);
        }
        Ok(Self { bytes: Zeroizing::new(bytes.to_vec()), account, counter, devices })
    }

    /// The list in the bytes that were signed, with the signature.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whose list it is.
    pub fn account(&self) -> AccountKey {
        self.account
    }

    /// Its counter.
    pub fn counter(&self) -> u64 {
        self.counter
    }

    /// One to [`MAX_DEVICES`] devices.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// What to remember of it.
    pub fn record(&self) -> ListRecord {
        ListRecord {
            account: self.account,
            counter: self.counter,
            hash: sha256(label::DEVICE_LIST_HASH, &[&self.bytes]),
        }
    }

    /// Checks the list against what is remembered of the same account.
    ///
    /// # Errors
    /// [`IdentityError::OtherAccount`], [`IdentityError::LowerCounter`]
    /// [`IdentityError::ForkedList`].
    pub fn follows(&self, known: Option<&ListRecord>) -> Result<(), IdentityError> {
        let Some(known) = known else { return Ok(()) };
        if known.account != self.account {
            return Err(IdentityError::OtherAccount);
        }
        match self.counter.cmp(&known.counter) {
            core::cmp::Ordering::Less => Err(IdentityError::LowerCounter),
            core::cmp::Ordering::Equal if self.record().hash != known.hash => {
                Err(IdentityError::ForkedList)
            }
            _ => Ok(()),
        }
    }
}

impl ListRecord {
    /// Bytes of a stored record.
    pub const LEN: usize = 72;

    /// Account key 32, counter 8, hash 32.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (account, rest) = bytes.split_at_mut(32);
        let (counter, hash) = rest.split_at_mut(8);
        account.copy_from_slice(self.account.as_bytes());
        counter.copy_from_slice(&self.counter.to_be_bytes());
        hash.copy_from_slice(&self.hash);
        bytes
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// [`IdentityError::InvalidAccountKey`].
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, IdentityError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            account: AccountKey::from_bytes(reader.array()?)?,
            counter: reader.u64()?,
            hash: *reader.array()?,
        })
    }

    /// The account it is about.
    pub fn account(&self) -> AccountKey {
        self.account
    }

    /// The counter that was seen.
    pub fn counter(&self) -> u64 {
        self.counter
    }
}

fn next_counter(
    account: &AccountKey,
    previous: Option<&ListRecord>,
    unix_seconds: u64,
) -> Result<u64, IdentityError> {
    let Some(previous) = previous else {
        return Ok(unix_seconds);
    };
    if previous.account != *account {
        return Err(IdentityError::OtherAccount);
    }
    let next = previous.counter.checked_add(1).ok_or(IdentityError::CounterExhausted)?;
    Ok(next.max(unix_seconds))
}

fn read_device(
    reader: &mut Reader<'_>,
    account: &AccountKey,
    before: &[Device],
) -> Result<Device, IdentityError> {
    let keys = DeviceKeys::from_bytes(reader.array()?)?;
    let certificate: &[u8; SIGNATURE] = reader.array()?;
    let extension_len = usize::from(reader.u16()?);
    if extension_len > MAX_EXTENSION {
        return Err(IdentityError::ExtensionTooLong);
    }
    let extension = Zeroizing::new(reader.take(extension_len)?.to_vec());
    if before.iter().any(|other| overlap(&other.keys, &keys)) {
        return Err(IdentityError::DuplicateDevice);
    }
    if !account.verify(&certificate_message(account, &keys), certificate) {
        return Err(IdentityError::CertificateSignature);
    }
    Ok(Device { keys, extension })
}

/// Whether two devices share a key.
fn overlap(one: &DeviceKeys, other: &DeviceKeys) -> bool {
    one.signing == other.signing || one.dh == other.dh
}

fn certificate_message(account: &AccountKey, keys: &DeviceKeys) -> Vec<u8> {
    [label::DEVICE_CERTIFICATE, account.as_bytes(), &keys.to_bytes()].concat()
}

fn list_message(unsigned: &[u8]) -> Vec<u8> {
    [label::DEVICE_LIST, unsigned].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::DeviceSecret;
    use crate::testing::TestRng;

    fn account(seed: u64) -> (AccountSecret, DeviceSecret) {
        let mut rng = TestRng::new(seed);
        (AccountSecret::generate(&mut rng), DeviceSecret::generate(&mut rng))
    }

    #[test]
    fn counter_is_the_greater_of_predecessor_and_time() {
        let (secret, device) = account(1);
        let first = DeviceList::issue(&secret, None, 1_000, &[device.public()]).unwrap();
        assert_eq!(first.counter(), 1_000);
        let next = |now| {
            DeviceList::issue(&secret, Some(&first.record()), now, &[device.public()]).unwrap()
        };
        assert_eq!(next(500).counter(), 1_001);
        assert_eq!(next(2_000).counter(), 2_000);
    }

    #[test]
    fn r_201_every_truncation_and_extension() {
        let (secret, device) = account(1);
        let list = DeviceList::issue(&secret, None, 1, &[device.public()]).unwrap();
        for end in 0..list.as_bytes().len() {
            assert_eq!(DeviceList::parse(&list.as_bytes()[..end]), Err(IdentityError::Unreadable));
        }
        let longer = [list.as_bytes(), &[0]].concat();
        assert_eq!(DeviceList::parse(&longer), Err(IdentityError::Unreadable));
    }

    #[test]
    fn r_202_to_r_207_altered_lists() {
        let (secret, device) = account(1);
        let list = DeviceList::issue(&secret, None, 1, &[device.public()]).unwrap();
        let altered = |at: usize, value: u8| {
            let mut bytes = list.as_bytes().to_vec();
            bytes[at] ^= value;
            DeviceList::parse(&bytes).unwrap_err()
        };
        let mut weak = list.as_bytes().to_vec();
        weak[..32].fill(0);
        assert_eq!(DeviceList::parse(&weak), Err(IdentityError::InvalidAccountKey));
        assert_eq!(altered(39, 1), IdentityError::ListSignature);
        assert_eq!(altered(40, 1), IdentityError::DeviceCount);
        assert_eq!(altered(40, 7), IdentityError::DeviceCount);
        assert_eq!(altered(41 + 63, 0x80), IdentityError::InvalidDeviceKey);
        assert_eq!(altered(41 + 64, 1), IdentityError::CertificateSignature);
        assert_eq!(altered(list.as_bytes().len() - 1, 0x40), IdentityError::ListSignature);
    }

    #[test]
    fn r_205_duplicate_device() {
        let (secret, device) = account(1);
        let twice = [device.public(), device.public()];
        let refused = DeviceList::issue(&secret, None, 1, &twice);
        assert_eq!(refused, Err(IdentityError::DuplicateDevice));
    }

    #[test]
    fn r_208_r_209_r_210_counter_rules() {
        let (secret, device) = account(1);
        let (other, second) = account(2);
        let list =
            |at, devices: &[DeviceKeys]| DeviceList::issue(&secret, None, at, devices).unwrap();
        let seen = list(10, &[device.public()]).record();
        assert_eq!(
            list(9, &[device.public()]).follows(Some(&seen)),
            Err(IdentityError::LowerCounter)
        );
        assert_eq!(list(10, &[device.public()]).follows(Some(&seen)), Ok(()));
        assert_eq!(
            list(10, &[second.public()]).follows(Some(&seen)),
            Err(IdentityError::ForkedList)
        );
        assert_eq!(list(11, &[second.public()]).follows(Some(&seen)), Ok(()));
        let foreign = DeviceList::issue(&other, None, 11, &[second.public()]).unwrap();
        assert_eq!(foreign.follows(Some(&seen)), Err(IdentityError::OtherAccount));
        let record = ListRecord::from_bytes(&seen.to_bytes()).unwrap();
        assert_eq!(record, seen);
    }

    #[test]
    fn r_213_counter_exhausted() {
        let (secret, device) = account(1);
        let last = DeviceList::issue(&secret, None, u64::MAX, &[device.public()]).unwrap();
        let next = DeviceList::issue(&secret, Some(&last.record()), 1, &[device.public()]);
        assert_eq!(next, Err(IdentityError::CounterExhausted));
    }
}
