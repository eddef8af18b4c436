//! Accounts, devices, device lists and safety numbers
//! (`protocol-spec/02-identity.md`).

mod account;
mod device;
mod error;
mod list;
mod safety_number;
#[cfg(test)]
mod tests;

pub use account::{AccountFingerprint, AccountKey, AccountSecret};
pub use device::{DeviceKeys, DeviceSecret, LocalDevice};
pub use error::IdentityError;
pub use list::{Device, DeviceList, ListRecord};
pub use safety_number::SafetyNumber;

pub(crate) use list::MAX_LIST;
