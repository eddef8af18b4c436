//! The stored form of a session, read and written along
//! `protocol-spec/10-state.md`, so that what a session holds can be looked at,
//! and changed where a vector needs a state that no conversation leads to.

use crate::{Fail, Outcome};

/// A session's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// 0 initiator, 1 responder.
    pub role: u8,
    /// Session id.
    pub id: [u8; 32],
    /// The sealed handshake that is repeated; empty if there is none.
    pub handshake: Vec<u8>,
    /// Root key.
    pub root: [u8; 32],
    /// Epoch.
    pub epoch: u32,
    /// Its tag.
    pub tag: [u8; 8],
    /// Own ratchet key, private.
    pub own: [u8; 32],
    /// The peer's.
    pub remote: Option<[u8; 32]>,
    /// Header key of the next chain to send on.
    pub next_sending: [u8; 32],
    /// Header key of the next chain to receive on.
    pub next_receiving: [u8; 32],
    /// Whether the next send begins a chain.
    pub sending_due: u8,
    /// The chain to send on.
    pub sending: Sending,
    /// The chain to receive on.
    pub receiving: Receiving,
    /// The block that goes out next.
    pub cursor: u8,
    /// The post-quantum ratchet.
    pub phase: Phase,
    /// Old chains.
    pub old: Vec<Old>,
    /// Serial, number, mark.
    pub positions: Vec<(u32, u32, [u8; 8])>,
    /// Serial, number, day, message key.
    pub skipped: Vec<(u32, u32, u32, [u8; 32])>,
}

/// The chain to send on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Header key.
    pub header: [u8; 32],
    /// Chain key.
    pub chain: [u8; 32],
    /// Own ratchet key, public.
    pub public: [u8; 32],
    /// Messages of the chain before it.
    pub previous: u32,
    /// Number of the next message.
    pub next: u32,
}

/// The chain to receive on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiving {
    /// Its serial number; 0 if there is none.
    pub serial: u32,
    /// Header key.
    pub header: [u8; 32],
    /// Chain key.
    pub chain: [u8; 32],
    /// Messages of the chain before it.
    pub previous: u32,
    /// Number of the next message.
    pub next: u32,
    /// Epoch of its headers.
    pub epoch: u32,
    /// Epoch tag of its headers.
    pub tag: [u8; 8],
}

/// A chain that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    /// Its serial number.
    pub serial: u32,
    /// Header key.
    pub header: [u8; 32],
    /// Hash of what its headers have in common.
    pub constants: [u8; 16],
    /// Its length.
    pub end: u32,
    /// The day on which it ended.
    pub day: u32,
}

/// Blocks of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembly {
    /// Object tag.
    pub tag: [u8; 8],
    /// Which blocks are here.
    pub bitmap: u64,
    /// They.
    pub blocks: Vec<u8>,
}

/// Where the post-quantum ratchet stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Offering side, before a key pair.
    Idle,
    /// Offering side, with a key pair.
    Offering {
        /// `d ‖ z`.
        seed: [u8; 64],
        /// H(ek).
        h_ek: [u8; 32],
        /// Whether the peer has the key.
        peer_has_key: u8,
        /// A ciphertext.
        assembly: Option<Assembly>,
    },
    /// Offering side, with the secret.
    Secret {
        /// The secret.
        ss: [u8; 32],
        /// H(ek).
        h_ek: [u8; 32],
        /// H(ct).
        h_ct: [u8; 32],
    },
    /// Answering side, before a key.
    Waiting {
        /// A key.
        assembly: Option<Assembly>,
    },
    /// Answering side, with a key.
    Keyed {
        /// The key.
        ek: Vec<u8>,
    },
    /// Answering side, with a ciphertext.
    Answering {
        /// The secret.
        ss: [u8; 32],
        /// H(ek).
        h_ek: [u8; 32],
        /// The ciphertext.
        ct: Vec<u8>,
        /// Another key.
        assembly: Option<Assembly>,
    },
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Outcome<&'a [u8]> {
        let (head, rest) =
            self.0.split_at_checked(n).ok_or_else(|| Fail::wrong("a state that ends early"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| Fail::wrong("a state that ends early"))
    }

    fn u8(&mut self) -> Outcome<u8> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn u16(&mut self) -> Outcome<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Outcome<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn assembly(&mut self) -> Outcome<Option<Assembly>> {
        if self.u8()? == 0 {
            return Ok(None);
        }
        let tag = self.array()?;
        let bitmap = u64::from_be_bytes(self.array()?);
        let blocks = usize::try_from(bitmap.count_ones()).unwrap_or(0);
        Ok(Some(Assembly { tag, bitmap, blocks: self.take(32 * blocks)?.to_vec() }))
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Outcome<T>) -> Outcome<Vec<T>> {
        (0..self.u16()?).map(|_| one(self)).collect()
    }
}

impl Form {
    /// Reads a stored form.
    ///
    /// # Errors
    /// If it is none. What `R-1002` and the rules behind it say of its values
    /// is not looked at.
    pub fn read(stored: &[u8]) -> Outcome<Self> {
        let mut r = Reader(stored);
        if r.u16()? != 1 {
            return Err(Fail::wrong("a state of another version"));
        }
        let role = r.u8()?;
        let id = r.array()?;
        let handshake = match r.u8()? {
            0 => 0,
            1 => 2428,
            _ => 4060,
        };
        let handshake = r.take(handshake)?.to_vec();
        let (root, epoch, tag, own) = (r.array()?, r.u32()?, r.array()?, r.array()?);
        let (has_remote, remote) = (r.u8()?, r.array()?);
        let form = Self {
            role,
            id,
            handshake,
            root,
            epoch,
            tag,
            own,
            remote: (has_remote != 0).then_some(remote),
            next_sending: r.array()?,
            next_receiving: r.array()?,
            sending_due: r.u8()?,
            sending: Sending {
                header: r.array()?,
                chain: r.array()?,
                public: r.array()?,
                previous: r.u32()?,
                next: r.u32()?,
            },
            receiving: Receiving {
                serial: r.u32()?,
                header: r.array()?,
                chain: r.array()?,
                previous: r.u32()?,
                next: r.u32()?,
                epoch: r.u32()?,
                tag: r.array()?,
            },
            cursor: r.u8()?,
            phase: Phase::read(&mut r)?,
            old: r.list(|r| {
                Ok(Old {
                    serial: r.u32()?,
                    header: r.array()?,
                    constants: r.array()?,
                    end: r.u32()?,
                    day: r.u32()?,
                })
            })?,
            positions: r.list(|r| Ok((r.u32()?, r.u32()?, r.array()?)))?,
            skipped: r.list(|r| Ok((r.u32()?, r.u32()?, r.u32()?, r.array()?)))?,
        };
        if r.0.is_empty() { Ok(form) } else { Err(Fail::wrong("a state that goes on")) }
    }

    /// Writes it.
    pub fn write(&self) -> Vec<u8> {
        let mut out = vec![0, 1, self.role];
        out.extend(self.id);
        out.push(match self.handshake.len() {
            0 => 0,
            2428 => 1,
            _ => 2,
        });
        out.extend(&self.handshake);
        out.extend(self.root);
        out.extend(self.epoch.to_be_bytes());
        out.extend(self.tag);
        out.extend(self.own);
        out.push(u8::from(self.remote.is_some()));
        out.extend(self.remote.unwrap_or_default());
        out.extend(self.next_sending);
        out.extend(self.next_receiving);
        out.push(self.sending_due);
        let Sending { header, chain, public, previous, next } = &self.sending;
        out.extend([*header, *chain, *public].concat());
        out.extend(previous.to_be_bytes());
        out.extend(next.to_be_bytes());
        let Receiving { serial, header, chain, previous, next, epoch, tag } = &self.receiving;
        out.extend(serial.to_be_bytes());
        out.extend([*header, *chain].concat());
        for number in [previous, next, epoch] {
            out.extend(number.to_be_bytes());
        }
        out.extend(tag);
        out.push(self.cursor);
        self.phase.write(&mut out);
        put_list(&mut out, &self.old, |out, old| {
            out.extend(old.serial.to_be_bytes());
            out.extend(old.header);
            out.extend(old.constants);
            out.extend(old.end.to_be_bytes());
            out.extend(old.day.to_be_bytes());
        });
        put_list(&mut out, &self.positions, |out, (serial, number, mark)| {
            out.extend(serial.to_be_bytes());
            out.extend(number.to_be_bytes());
            out.extend(mark);
        });
        put_list(&mut out, &self.skipped, |out, (serial, number, day, key)| {
            for number in [serial, number, day] {
                out.extend(number.to_be_bytes());
            }
            out.extend(key);
        });
        out
    }
}

impl Phase {
    fn read(r: &mut Reader<'_>) -> Outcome<Self> {
        Ok(match r.u8()? {
            0 => Self::Idle,
            1 => Self::Offering {
                seed: r.array()?,
                h_ek: r.array()?,
                peer_has_key: r.u8()?,
                assembly: r.assembly()?,
            },
            2 => Self::Secret { ss: r.array()?, h_ek: r.array()?, h_ct: r.array()? },
            3 => Self::Waiting { assembly: r.assembly()? },
            4 => Self::Keyed { ek: r.take(1184)?.to_vec() },
            5 => Self::Answering {
                ss: r.array()?,
                h_ek: r.array()?,
                ct: r.take(1088)?.to_vec(),
                assembly: r.assembly()?,
            },
            other => return Err(Fail::wrong(format!("no phase {other}"))),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Idle => out.push(0),
            Self::Offering { seed, h_ek, peer_has_key, assembly } => {
                out.push(1);
                out.extend(seed);
                out.extend(h_ek);
                out.push(*peer_has_key);
                put_assembly(out, assembly.as_ref());
            }
            Self::Secret { ss, h_ek, h_ct } => {
                out.push(2);
                out.extend([*ss, *h_ek, *h_ct].concat());
            }
            Self::Waiting { assembly } => {
                out.push(3);
                put_assembly(out, assembly.as_ref());
            }
            Self::Keyed { ek } => {
                out.push(4);
                out.extend(ek);
            }
            Self::Answering { ss, h_ek, ct, assembly } => {
                out.push(5);
                out.extend([*ss, *h_ek].concat());
                out.extend(ct);
                put_assembly(out, assembly.as_ref());
            }
        }
    }
}

fn put_assembly(out: &mut Vec<u8>, assembly: Option<&Assembly>) {
    out.push(u8::from(assembly.is_some()));
    if let Some(Assembly { tag, bitmap, blocks }) = assembly {
        out.extend(tag);
        out.extend(bitmap.to_be_bytes());
        out.extend(blocks);
    }
}

fn put_list<T>(out: &mut Vec<u8>, list: &[T], mut one: impl FnMut(&mut Vec<u8>, &T)) {
    out.extend(u16::try_from(list.len()).unwrap_or(u16::MAX).to_be_bytes());
    for item in list {
        one(out, item);
    }
}
