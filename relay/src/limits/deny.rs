//! Whom and what the operator refuses.

use core::fmt;
use core::str::FromStr;
use std::collections::HashSet;
use std::net::IpAddr;

use undertone_wire::{BlobId, DepotId, MailboxId, WriteCapabilityHash};

use super::Prefix;

/// 32 bytes in hexadecimal: an id or a hash, as `inspect` shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 32]);

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        crate::operator::hex(text).map(Self).ok_or_else(|| {
            format!("{text:?} is no id; an id is 64 hexadecimal digits, as `inspect` shows it")
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is refused. Clients are told the same as if it did not exist; networks are told nothing.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Deny {
    /// Networks whose packets are not answered.
    pub prefixes: Vec<Prefix>,
    /// Mailboxes for whose owners there is nothing, not even a new mailbox under the same key.
    pub mailboxes: Vec<Id>,
    /// Hashes of write capabilities that deliver nowhere.
    pub capabilities: Vec<Id>,
    /// Depots that nobody fills or takes from.
    pub depots: Vec<Id>,
    /// Blobs that nobody reads or uploads.
    pub blobs: Vec<Id>,
}

/// [`Deny`], to be asked for each request.
#[derive(Default)]
pub(crate) struct Denied {
    prefixes: Vec<Prefix>,
    mailboxes: HashSet<[u8; 32]>,
    capabilities: HashSet<[u8; 32]>,
    depots: HashSet<[u8; 32]>,
    blobs: HashSet<[u8; 32]>,
}

impl Denied {
    pub(crate) fn new(deny: &Deny) -> Self {
        let set = |ids: &[Id]| ids.iter().map(|id| id.0).collect();
        Self {
            prefixes: deny.prefixes.clone(),
            mailboxes: set(&deny.mailboxes),
            capabilities: set(&deny.capabilities),
            depots: set(&deny.depots),
            blobs: set(&deny.blobs),
        }
    }

    pub(crate) fn address(&self, address: IpAddr) -> bool {
        self.prefixes.iter().any(|prefix| prefix.contains(address))
    }

    pub(crate) fn mailbox(&self, id: MailboxId) -> bool {
        self.mailboxes.contains(id.as_bytes())
    }

    pub(crate) fn capability(&self, hash: WriteCapabilityHash) -> bool {
        self.capabilities.contains(hash.as_bytes())
    }

    pub(crate) fn depot(&self, id: DepotId) -> bool {
        self.depots.contains(id.as_bytes())
    }

    pub(crate) fn blob(&self, id: BlobId) -> bool {
        self.blobs.contains(id.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_is_64_digits() {
        let text = "00ff".repeat(16);
        assert_eq!(text.parse::<Id>().unwrap().to_string(), text);
        for wrong in ["", "00", &"g".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
            assert!(wrong.parse::<Id>().is_err(), "{wrong}");
        }
    }
}
