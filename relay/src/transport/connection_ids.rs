//! The ids of QUIC connections: never twice the same, and known as this relay's even after a restart.

use std::time::Duration;

use aws_lc_rs::hmac;
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid, RandomConnectionIdGenerator};

/// Random bytes of an id. Two clients who are told one id in a retry, or one that a connection has,
/// can't be told apart by it: the packets of the later one go to the connection of the other, and it
/// waits in vain until it gives up. quinn's own generator that knows its ids has three such bytes, and
/// a connection has several ids: of 5,000 clients who came back at once, about four met somebody.
const RANDOM: usize = 8;

/// Bytes that show that an id is of this relay.
const MARK: usize = 4;

/// Makes ids and knows them.
pub(crate) struct ConnectionIds {
    random: RandomConnectionIdGenerator,
    key: hmac::Key,
}

impl ConnectionIds {
    pub(crate) fn new(key: hmac::Key) -> Self {
        Self { random: RandomConnectionIdGenerator::new(RANDOM), key }
    }

    fn mark(&self, random: &[u8]) -> [u8; MARK] {
        hmac::sign(&self.key, random).as_ref().first_chunk().copied().unwrap_or_default()
    }
}

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let random = self.random.generate_cid();
        ConnectionId::new(&[&*random, &self.mark(&random)].concat())
    }

    /// Whoever asks wants to know whether to answer, not to be let in: a guess in four thousand
    /// million is no harm.
    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        match id.split_last_chunk::<MARK>() {
            Some((random, mark)) if *mark == self.mark(random) => Ok(()),
            _ => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        RANDOM + MARK
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn ids(key: u8) -> ConnectionIds {
        ConnectionIds::new(hmac::Key::new(hmac::HMAC_SHA256, &[key; 32]))
    }

    #[test]
    fn a_relay_knows_its_ids_after_a_restart_and_no_others() {
        let id = ids(1).generate_cid();
        assert_eq!(id.len(), ids(1).cid_len());
        assert!(ids(1).validate(&id).is_ok());
        assert!(ids(2).validate(&id).is_err());
        for place in 0..id.len() {
            let mut other = id.to_vec();
            if let Some(byte) = other.get_mut(place) {
                *byte ^= 1;
            }
            assert!(ids(1).validate(&ConnectionId::new(&other)).is_err());
        }
        for short in 0..id.len() {
            assert!(
                ids(1).validate(&ConnectionId::new(id.get(..short).unwrap_or_default())).is_err()
            );
        }
    }

    /// A relay with 20,000 clients has more than that in use.
    #[test]
    fn of_a_hundred_thousand_ids_no_two_are_the_same() {
        let mut ids = ids(1);
        let all: HashSet<_> = (0..100_000).map(|_| ids.generate_cid().to_vec()).collect();
        assert_eq!(all.len(), 100_000);
    }
}
