//! What the unit tests share.

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

use crate::day::Day;
use crate::identity::{AccountSecret, DeviceList, DeviceSecret, LocalDevice};

#[cfg(target_os = "linux")]
#[path = "../tests/common/memory.rs"]
pub(crate) mod memory;

/// The complement of the signed digits, base 16, with which curve25519-dalek
/// multiplies a point, so that what this function found is none of the
/// occurrences.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn digits(scalar: &[u8; 32]) -> std::vec::Vec<u8> {
    let mut digits: std::vec::Vec<i8> =
        scalar.iter().flat_map(|byte| [byte & 15, byte >> 4]).map(u8::cast_signed).collect();
    for at in 0..63 {
        let carry = (digits[at] + 8) >> 4;
        digits[at] -= carry << 4;
        digits[at + 1] += carry;
    }
    let needle = digits.iter().map(|digit| !digit.cast_unsigned()).collect();
    std::hint::black_box(&mut digits).fill(0);
    needle
}

/// The day on which everything happens.
pub(crate) const TODAY: Day = Day::new(20_000);

/// An account with one device, and copies of that device's keys: what
/// somebody needs who signs what the public functions would not.
pub(crate) struct Person {
    pub(crate) account: AccountSecret,
    pub(crate) secret: DeviceSecret,
    pub(crate) device: LocalDevice,
}

impl Person {
    pub(crate) fn new(rng: &mut TestRng) -> Self {
        let account = AccountSecret::generate(rng);
        let secret = DeviceSecret::generate(rng);
        let list = DeviceList::issue(&account, None, 1_000, &[secret.public()]).unwrap();
        let copy = DeviceSecret::from_bytes(&secret.to_bytes());
        Self { account, secret, device: LocalDevice::new(copy, list).unwrap() }
    }

    /// A copy.
    pub(crate) fn again(&self) -> Self {
        let copy = || DeviceSecret::from_bytes(&self.secret.to_bytes());
        let list = DeviceList::parse(self.device.list().as_bytes()).unwrap();
        Self {
            account: AccountSecret::from_bytes(&self.account.to_bytes()),
            secret: copy(),
            device: LocalDevice::new(copy(), list).unwrap(),
        }
    }
}

/// A reproducible generator: SHA-256 over seed and counter. A clone yields the
/// same bytes again, as the generator of a copied machine would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestRng {
    seed: u64,
    counter: u64,
}

impl TestRng {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, counter: 0 }
    }
}

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(32) {
            let block = Sha256::new()
                .chain_update(self.seed.to_be_bytes())
                .chain_update(self.counter.to_be_bytes())
                .finalize();
            self.counter += 1;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}
