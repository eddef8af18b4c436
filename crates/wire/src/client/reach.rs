//! Finding a way to a relay: all its addresses, over QUIC and over TCP, the first that works.
//!
//! Attempts begin one after the other, a moment apart, and run side by side (RFC 8305, adapted).
//! The preferred carrier has a head start, so that the other one is only used where it is needed.

use core::time::Duration;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Carriers, ClientError, Options};
use crate::address::RelayAddress;
use crate::ids::RootFingerprint;
use crate::transport::{Carrier, Channel, Lost, connect_quic, connect_tcp};

/// How long the preferred carrier is tried alone: a handshake over a slow path takes two round
/// trips of 250 ms.
const HEAD_START: Duration = Duration::from_millis(500);

/// Pause between attempts at two addresses (RFC 8305 §5).
const PAUSE: Duration = Duration::from_millis(250);

/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 8;

/// One way to the relay, and when to try it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Attempt {
    delay: Duration,
    address: SocketAddr,
    carrier: Carrier,
}

pub(super) async fn reach(
    relay: &RelayAddress,
    options: &Options,
) -> Result<Arc<dyn Channel>, ClientError> {
    let mut worst = None;
    let racing = async {
        let found = tokio::net::lookup_host((relay.host(), relay.port()))
            .await
            .map_err(|_| ClientError::Unreachable)?;
        let plan = plan(found, options.bind, options.carriers);
        race(plan, *relay.root(), options.bind, &mut worst).await
    };
    match tokio::time::timeout(options.timeout, racing).await {
        Ok(result) => result,
        Err(_) => Err(telling(worst).into()),
    }
}

/// The attempts, in the order in which they begin.
fn plan(
    found: impl Iterator<Item = SocketAddr>,
    bind: Option<IpAddr>,
    carriers: Carriers,
) -> Vec<Attempt> {
    let mut addresses = Vec::new();
    for address in found {
        // A local address can only reach its own family.
        let reachable = bind.is_none_or(|from| from.is_ipv4() == address.is_ipv4());
        if reachable && addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let order: &[(Carrier, Duration)] = match carriers {
        Carriers::QuicFirst => &[(Carrier::Quic, Duration::ZERO), (Carrier::Tcp, HEAD_START)],
        Carriers::TcpFirst => &[(Carrier::Tcp, Duration::ZERO), (Carrier::Quic, HEAD_START)],
        Carriers::QuicOnly => &[(Carrier::Quic, Duration::ZERO)],
        Carriers::TcpOnly => &[(Carrier::Tcp, Duration::ZERO)],
    };
    let mut plan = Vec::new();
    for (carrier, start) in order {
        let mut delay = *start;
        for address in &addresses {
            plan.push(Attempt { delay, address: *address, carrier: *carrier });
            delay = delay.saturating_add(PAUSE);
        }
    }
    plan.sort_by_key(|attempt| attempt.delay);
    plan
}

/// Runs the attempts; `worst` is what the failed ones say, for a caller that gives up waiting.
async fn race(
    plan: Vec<Attempt>,
    root: RootFingerprint,
    bind: Option<IpAddr>,
    worst: &mut Option<Lost>,
) -> Result<Arc<dyn Channel>, ClientError> {
    let started = Instant::now();
    let mut waiting = plan.into_iter().peekable();
    // Dropped with the first success: what is still under way ends.
    let mut running = JoinSet::new();
    loop {
        let begin = match waiting.peek() {
            // Nothing else is going on: no reason to wait.
            Some(_) if running.is_empty() => started,
            Some(next) => started + next.delay,
            None if running.is_empty() => return Err(telling(*worst).into()),
            None => started,
        };
        tokio::select! {
            biased;
            Some(result) = running.join_next() => match result {
                Ok(Ok(channel)) => return Ok(channel),
                Ok(Err(lost)) => *worst = Some(telling_of(*worst, lost)),
                // It cannot be cancelled here; it panicked.
                Err(_) => *worst = Some(telling_of(*worst, Lost::Protocol)),
            },
            () = tokio::time::sleep_until(begin), if waiting.peek().is_some() => {
                if let Some(next) = waiting.next() {
                    running.spawn(attempt(next, root, bind));
                }
            }
        }
    }
}

async fn attempt(
    attempt: Attempt,
    root: RootFingerprint,
    bind: Option<IpAddr>,
) -> Result<Arc<dyn Channel>, Lost> {
    Ok(match attempt.carrier {
        Carrier::Tcp => Arc::new(connect_tcp(attempt.address, root, bind).await?),
        _ => Arc::new(connect_quic(attempt.address, root, bind).await?),
    })
}

fn telling(worst: Option<Lost>) -> Lost {
    worst.unwrap_or(Lost::Unreachable)
}

/// Of two failures, the one that the person has to know of.
fn telling_of(before: Option<Lost>, lost: Lost) -> Lost {
    let weight = |lost| match lost {
        Lost::PinMismatch => 5,
        Lost::Certificate => 4,
        Lost::Busy | Lost::ShuttingDown => 3,
        Lost::Protocol => 2,
        Lost::TimedOut | Lost::Closed => 1,
        Lost::Unreachable => 0,
    };
    match before {
        Some(before) if weight(before) >= weight(lost) => before,
        _ => lost,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn addresses() -> Vec<SocketAddr> {
        ["[::1]:1", "127.0.0.1:1", "127.0.0.1:1"].map(|text| text.parse().unwrap()).into()
    }

    #[test]
    fn the_preferred_carrier_has_a_head_start_at_every_address() {
        let plan = plan(addresses().into_iter(), None, Carriers::QuicFirst);
        let order: Vec<_> = plan.iter().map(|a| (a.carrier, a.address.is_ipv6())).collect();
        let (quic, tcp) = (Carrier::Quic, Carrier::Tcp);
        assert_eq!(order, [(quic, true), (quic, false), (tcp, true), (tcp, false)]);
        assert_eq!(plan[1].delay, PAUSE);
        assert_eq!(plan[2].delay, HEAD_START);
        let other = super::plan(addresses().into_iter(), None, Carriers::TcpFirst);
        assert_eq!(other[0].carrier, tcp);
    }

    #[test]
    fn a_local_address_tries_its_own_family_only() {
        let bind = Some("127.0.0.1".parse().unwrap());
        let plan = plan(addresses().into_iter(), bind, Carriers::TcpOnly);
        assert_eq!(plan.len(), 1);
        assert!(plan[0].address.is_ipv4());
    }

    #[test]
    fn the_failure_that_matters_is_told() {
        let first = telling_of(None, Lost::PinMismatch);
        assert_eq!(telling_of(Some(first), Lost::Unreachable), Lost::PinMismatch);
        assert_eq!(telling_of(Some(Lost::Unreachable), Lost::Busy), Lost::Busy);
    }
}
