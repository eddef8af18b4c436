//! The values on the way, computed from a session's stored form before and
//! after, by primitives alone. Where the core and the text of the
//! specification differed, nothing here would fit.

use serde_json::{Value, json};

use crate::form::{Form, Phase};
use crate::prim::{self, Kem, first, hash, keys, x25519, x25519_public};
use crate::value::hex;
use crate::{Fail, Outcome};

/// Bytes of a nonce.
pub const NONCE: usize = 12;
/// Bytes of a sealed header.
pub const SEALED_HEADER: usize = 69;

/// What a half-step takes in beside the root key.
#[derive(Clone, Debug)]
pub struct EpochSecret {
    /// The epoch that begins.
    pub epoch: u32,
    /// The secret.
    pub ss: [u8; 32],
    /// H(ek).
    pub h_ek: [u8; 32],
    /// H(ct).
    pub h_ct: [u8; 32],
}

impl EpochSecret {
    /// The tag of the epoch.
    pub fn tag(&self) -> [u8; 8] {
        epoch_tag(self.epoch, &self.h_ek, &self.h_ct)
    }
}

/// `root ‖ chain key ‖ next header key`.
///
/// # Errors
/// None that a key of 32 bytes can cause.
pub fn step(
    root: &[u8; 32],
    exchange: &[u8; 32],
    epoch: Option<&EpochSecret>,
) -> Outcome<[[u8; 32]; 3]> {
    match epoch {
        None => keys(&prim::extract(root, exchange), "step", &[]),
        Some(EpochSecret { epoch, ss, h_ek, h_ct }) => {
            let prk = prim::extract(root, &[*exchange, *ss].concat());
            keys(&prk, "epoch step", &[&epoch.to_be_bytes(), h_ek, h_ct])
        }
    }
}

/// The next chain key, and a message key.
///
/// # Errors
/// None that a key of 32 bytes can cause.
pub fn advance(chain: &[u8; 32]) -> Outcome<([u8; 32], [u8; 32])> {
    let [next, message] = keys(chain, "chain", &[])?;
    Ok((next, message))
}

/// What a nonce takes in of the envelope.
pub fn nonce_digest(header: &[u8], body: &[u8]) -> [u8; 32] {
    hash("nonce", &[header, body])
}

/// The nonce of an envelope.
///
/// # Errors
/// None that a key of 32 bytes can cause.
pub fn nonce(message: &[u8; 32], random: &[u8], digest: &[u8; 32]) -> Outcome<[u8; NONCE]> {
    let out = prim::expand(message, "nonce", &[random, digest], NONCE)?;
    out.try_into().map_err(|_| Fail::wrong("a nonce of another length"))
}

/// The key of a body.
///
/// # Errors
/// None that a key of 32 bytes can cause.
pub fn body_key(message: &[u8; 32], nonce: &[u8; NONCE]) -> Outcome<[u8; 32]> {
    let [key] = keys(message, "body", &[nonce])?;
    Ok(key)
}

/// H(ek).
pub fn h_ek(ek: &[u8]) -> [u8; 32] {
    hash("kem key", &[ek])
}

/// H(ct).
pub fn h_ct(h_ek: &[u8; 32], ct: &[u8]) -> [u8; 32] {
    hash("kem ciphertext", &[h_ek, ct])
}

/// The tag of epoch 0.
pub fn first_tag(id: &[u8; 32]) -> [u8; 8] {
    first(&hash("epoch tag", &[&[0; 4], id]))
}

/// The tag of a later epoch.
pub fn epoch_tag(epoch: u32, h_ek: &[u8; 32], h_ct: &[u8; 32]) -> [u8; 8] {
    first(&hash("epoch tag", &[&epoch.to_be_bytes(), h_ek, h_ct]))
}

/// A header, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Ratchet key.
    pub key: [u8; 32],
    /// Messages of the chain before.
    pub previous: u32,
    /// Number of this message.
    pub number: u32,
    /// Epoch.
    pub epoch: u32,
    /// Epoch tag.
    pub tag: [u8; 8],
    /// Flags.
    pub flags: u8,
}

impl Header {
    /// Its 53 bytes.
    pub fn write(&self) -> Vec<u8> {
        let numbers = [self.previous, self.number, self.epoch].map(u32::to_be_bytes).concat();
        [&self.key[..], &numbers, &self.tag, &[self.flags]].concat()
    }

    /// Reads 53 bytes.
    ///
    /// # Errors
    /// If there are not as many.
    pub fn read(bytes: &[u8]) -> Outcome<Self> {
        let wrong = || Fail::wrong("a header of another length");
        let (key, rest) = bytes.split_first_chunk::<32>().ok_or_else(wrong)?;
        let (previous, rest) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
        let (number, rest) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
        let (epoch, rest) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
        let (tag, rest) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
        let [flags] = rest else { return Err(wrong()) };
        Ok(Self {
            key: *key,
            previous: u32::from_be_bytes(*previous),
            number: u32::from_be_bytes(*number),
            epoch: u32::from_be_bytes(*epoch),
            tag: *tag,
            flags: *flags,
        })
    }
}

/// The parts of a ratchet part.
pub struct Parts<'a> {
    /// The nonce.
    pub nonce: [u8; NONCE],
    /// The sealed header.
    pub header: &'a [u8; SEALED_HEADER],
    /// The sealed body.
    pub body: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Cuts a ratchet part.
    ///
    /// # Errors
    /// If it is too short.
    pub fn of(part: &'a [u8]) -> Outcome<Self> {
        let wrong = || Fail::wrong("a short envelope");
        let (nonce, rest) = part.split_first_chunk::<NONCE>().ok_or_else(wrong)?;
        let (header, body) = rest.split_first_chunk::<SEALED_HEADER>().ok_or_else(wrong)?;
        Ok(Self { nonce: *nonce, header, body })
    }

    /// The header, if the key fits.
    pub fn header(&self, id: &[u8; 32], key: &[u8; 32]) -> Option<Header> {
        Header::read(&prim::open(key, &self.nonce, id, self.header)?).ok()
    }

    /// The body.
    ///
    /// # Errors
    /// If the key does not fit.
    pub fn open(&self, id: &[u8; 32], message: &[u8; 32]) -> Outcome<Vec<u8>> {
        let ad = [&id[..], self.header].concat();
        prim::open(&body_key(message, &self.nonce)?, &[0; NONCE], &ad, self.body)
            .ok_or_else(|| Fail::wrong("the traced key does not open the body"))
    }

    fn describe(&self, id: &[u8; 32], header_key: &[u8; 32], message: &[u8; 32]) -> Outcome<Value> {
        let header = self.header(id, header_key).ok_or_else(|| Fail::wrong("no header"))?;
        Ok(json!({
            "header_key": hex(header_key),
            "header": hex(&header.write()),
            "message_key": hex(message),
            "nonce_digest": hex(&nonce_digest(&header.write(), &self.open(id, message)?)),
            "body_key": hex(&body_key(message, &self.nonce)?),
            "run": run(&self.open(id, message)?)?,
        }))
    }
}

/// The run of a body, described.
fn run(body: &[u8]) -> Outcome<Value> {
    let wrong = || Fail::wrong("a body without a length");
    let (length, rest) = body.split_first_chunk::<2>().ok_or_else(wrong)?;
    let rest = rest.get(usize::from(u16::from_be_bytes(*length))..).ok_or_else(wrong)?;
    let Some(([kind, e0, e1, e2, e3, first, count], rest)) = rest.split_first_chunk::<7>() else {
        return Ok(Value::Null);
    };
    if *kind == 0 {
        return Ok(Value::Null);
    }
    Ok(json!({
        "kind": kind,
        "epoch": u32::from_be_bytes([*e0, *e1, *e2, *e3]),
        "first": first,
        "count": count,
        "tag": hex(rest.get(..8).unwrap_or_default()),
    }))
}

fn describe_step(
    exchange: &[u8; 32],
    epoch: Option<&EpochSecret>,
    [root, chain, next]: &[[u8; 32]; 3],
) -> Value {
    let mut out = json!({
        "kind": if epoch.is_some() { "epoch" } else { "plain" },
        "exchange": hex(exchange),
        "root": hex(root),
        "chain_key": hex(chain),
        "next_header_key": hex(next),
    });
    if let (Some(EpochSecret { epoch, ss, h_ek, h_ct }), Some(out)) = (epoch, out.as_object_mut()) {
        out.insert("epoch".into(), json!(epoch));
        out.insert("ss".into(), hex(ss));
        out.insert("h_ek".into(), hex(h_ek));
        out.insert("h_ct".into(), hex(h_ct));
    }
    out
}

fn demand(fits: bool, what: &str) -> Outcome<()> {
    if fits { Ok(()) } else { Err(Fail::wrong(format!("trace: {what} differs from the core's"))) }
}

/// What a sent message shows of its way.
///
/// # Errors
/// If the core's state or envelope is not what the text says.
pub fn sealed(before: &Form, after: &Form, envelope: &[u8], drawn: &[Vec<u8>]) -> Outcome<Value> {
    let part = envelope.get(before.handshake.len()..).unwrap_or_default();
    demand(envelope.starts_with(&before.handshake), "the handshake in front")?;
    let parts = Parts::of(part)?;
    let mut out = json!({});
    let mut chain = before.sending.chain;
    if before.sending_due == 1 {
        let remote = before.remote.ok_or_else(|| Fail::wrong("no remote key"))?;
        let exchange = x25519(&after.own, &remote)?;
        let epoch = match &before.phase {
            Phase::Secret { ss, h_ek, h_ct } if before.epoch < u32::MAX => {
                Some(EpochSecret { epoch: before.epoch + 1, ss: *ss, h_ek: *h_ek, h_ct: *h_ct })
            }
            _ => None,
        };
        let keys = step(&before.root, &exchange, epoch.as_ref())?;
        let [root, first, next] = keys;
        demand(root == after.root && next == after.next_sending, "a sending half-step")?;
        demand(before.next_sending == after.sending.header, "the header key")?;
        demand(x25519_public(&after.own) == after.sending.public, "the ratchet key")?;
        if let Some(epoch) = &epoch {
            demand(after.epoch == epoch.epoch && after.tag == epoch.tag(), "the epoch")?;
        }
        chain = first;
        put(&mut out, "half_step", describe_step(&exchange, epoch.as_ref(), &keys));
    }
    let (chain, message) = advance(&chain)?;
    demand(chain == after.sending.chain, "the chain key")?;
    let header = parts
        .header(&after.id, &after.sending.header)
        .ok_or_else(|| Fail::wrong("trace: the header does not open"))?;
    let digest = nonce_digest(&header.write(), &parts.open(&after.id, &message)?);
    let random = drawn.last().map_or(&[][..], Vec::as_slice);
    demand(nonce(&message, random, &digest)? == parts.nonce, "the nonce")?;
    put(&mut out, "message", parts.describe(&after.id, &after.sending.header, &message)?);
    Ok(out)
}

/// What a received message shows of its way.
///
/// # Errors
/// As [`sealed`].
pub fn opened(before: &Form, after: &Form, part: &[u8]) -> Outcome<Value> {
    let parts = Parts::of(part)?;
    let mut out = json!({});
    let id = &before.id;
    let current = (before.receiving.serial != 0)
        .then(|| parts.header(id, &before.receiving.header))
        .flatten();
    let (serial, header_key, header) = if let Some(header) = current {
        (before.receiving.serial, before.receiving.header, header)
    } else if let Some(header) = parts.header(id, &before.next_receiving) {
        let exchange = x25519(&before.own, &header.key)?;
        let epoch = match &before.phase {
            Phase::Answering { ss, h_ek, ct, .. } if header.epoch != before.epoch => {
                Some(EpochSecret {
                    epoch: header.epoch,
                    ss: *ss,
                    h_ek: *h_ek,
                    h_ct: h_ct(h_ek, ct),
                })
            }
            _ => None,
        };
        let keys = step(&before.root, &exchange, epoch.as_ref())?;
        let [root, mut chain, next] = keys;
        demand(root == after.root && next == after.next_receiving, "a receiving half-step")?;
        put(&mut out, "half_step", describe_step(&exchange, epoch.as_ref(), &keys));
        let mut message = [0; 32];
        for _ in 0..=header.number {
            (chain, message) = advance(&chain)?;
        }
        demand(chain == after.receiving.chain, "the chain key")?;
        put(&mut out, "message", parts.describe(id, &before.next_receiving, &message)?);
        return Ok(out);
    } else {
        before
            .old
            .iter()
            .find_map(|old| Some((old.serial, old.header, parts.header(id, &old.header)?)))
            .ok_or_else(|| Fail::wrong("trace: no chain"))?
    };
    let waiting = before.skipped.iter().find(|(s, n, ..)| (*s, *n) == (serial, header.number));
    let message = if let Some((_, _, _, key)) = waiting {
        *key
    } else {
        let mut chain = before.receiving.chain;
        let mut message = [0; 32];
        for _ in before.receiving.next..=header.number {
            (chain, message) = advance(&chain)?;
        }
        demand(chain == after.receiving.chain, "the chain key")?;
        message
    };
    put(&mut out, "message", parts.describe(id, &header_key, &message)?);
    Ok(out)
}

pub(crate) fn put(out: &mut Value, name: &str, value: Value) {
    if let Some(out) = out.as_object_mut() {
        out.insert(name.into(), value);
    }
}

/// All that a handshake is made of.
pub struct Handshake {
    /// The link's psk.
    pub psk: [u8; 32],
    /// T1.
    pub digest: [u8; 32],
    /// EK, public.
    pub ephemeral: [u8; 32],
    /// The ML-KEM-1024 ciphertext.
    pub ciphertext: Vec<u8>,
    /// The KEM's secret.
    pub ss: [u8; 32],
    /// DH(EK, PK_B).
    pub dh_ephemeral_prekey: [u8; 32],
    /// DH(EK, IK_B).
    pub dh_ephemeral_identity: [u8; 32],
    /// DH(IK_A, PK_B).
    pub dh_identity_prekey: [u8; 32],
}

/// `add` of 04 §1.
pub fn add(transcript: &[u8; 32], kind: u8, data: &[u8]) -> [u8; 32] {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
    hash("transcript", &[transcript, &[kind], &length, data])
}

/// The digest of a bundle.
pub fn bundle_digest(bundle: &[u8]) -> [u8; 32] {
    add(&hash("transcript", &[]), 1, bundle)
}

/// The keys of a finished handshake.
pub struct Finished {
    /// The session's id.
    pub id: [u8; 32],
    /// The identity, sealed.
    pub sealed_identity: Vec<u8>,
    /// root, HK_A, HK_B.
    pub keys: [[u8; 32]; 3],
    /// Described.
    pub trace: Value,
}

impl Handshake {
    /// prk1, T2, T3 and the identity key.
    fn anonymous(&self) -> Outcome<[[u8; 32]; 4]> {
        let ikm = [self.ss, self.dh_ephemeral_prekey, self.dh_ephemeral_identity].concat();
        let prk1 = prim::extract(&self.psk, &ikm);
        let t2 = add(&self.digest, 2, &self.ephemeral);
        let t3 = add(&t2, 3, &self.ciphertext);
        let [key] = keys(&prk1, "identity key", &[&t3])?;
        Ok([prk1, t2, t3, key])
    }

    /// The identity block behind its seal.
    ///
    /// # Errors
    /// R-406 if it does not open.
    pub fn open_identity(&self, sealed: &[u8]) -> Outcome<Vec<u8>> {
        let [_, _, t3, key] = self.anonymous()?;
        prim::open(&key, &[0; 12], &t3, sealed).ok_or_else(|| Fail::refused("R-406"))
    }

    /// The rest of the key schedule.
    ///
    /// # Errors
    /// None that keys of 32 bytes can cause.
    pub fn finish(&self, block: &[u8]) -> Outcome<Finished> {
        let [prk1, t2, t3, key] = self.anonymous()?;
        let sealed_identity = prim::seal(&key, &[0; 12], &t3, block)?;
        let t4 = add(&t3, 4, &sealed_identity);
        let [chain] = keys(&prk1, "handshake chain", &[&t4])?;
        let prk2 = prim::extract(&chain, &self.dh_identity_prekey);
        let [root, hk_a, hk_b] = keys(&prk2, "session keys", &[&t4])?;
        let trace = json!({
            "t1": hex(&self.digest),
            "t2": hex(&t2),
            "t3": hex(&t3),
            "t4": hex(&t4),
            "ss": hex(&self.ss),
            "dh_ephemeral_prekey": hex(&self.dh_ephemeral_prekey),
            "dh_ephemeral_identity": hex(&self.dh_ephemeral_identity),
            "dh_identity_prekey": hex(&self.dh_identity_prekey),
            "prk1": hex(&prk1),
            "identity_key": hex(&key),
            "identity_block": hex(block),
            "handshake_chain": hex(&chain),
            "prk2": hex(&prk2),
            "root": hex(&root),
            "hk_a": hex(&hk_a),
            "hk_b": hex(&hk_b),
        });
        Ok(Finished { id: t4, sealed_identity, keys: [root, hk_a, hk_b], trace })
    }
}

/// The open handshake behind a sealed one: bundle id, EK, ciphertext, sealed
/// identity.
pub struct Opened {
    /// Bundle id.
    pub bundle: [u8; 16],
    /// EK, public.
    pub ephemeral: [u8; 32],
    /// The KEM's ciphertext.
    pub ciphertext: Vec<u8>,
    /// The identity, sealed.
    pub identity: Vec<u8>,
    /// Bytes of the sealed handshake.
    pub length: usize,
}

impl Opened {
    /// Opens the handshake in front of an envelope.
    pub fn of(hello_key: &[u8; 32], envelope: &[u8]) -> Option<Self> {
        [2428, 4060].into_iter().find_map(|length| {
            let (nonce, rest) = envelope.get(..length)?.split_first_chunk::<12>()?;
            let open = prim::open(hello_key, nonce, &prim::label("hello seal"), rest)?;
            let (bundle, rest) = open.split_first_chunk()?;
            let (ephemeral, rest) = rest.split_first_chunk()?;
            let (ciphertext, identity) = rest.split_at_checked(1568)?;
            Some(Self {
                bundle: *bundle,
                ephemeral: *ephemeral,
                ciphertext: ciphertext.to_vec(),
                identity: identity.to_vec(),
                length,
            })
        })
    }

    /// Seals it again.
    ///
    /// # Errors
    /// None in practice.
    pub fn seal(&self, hello_key: &[u8; 32], nonce: &[u8; 12]) -> Outcome<Vec<u8>> {
        let open = [&self.bundle[..], &self.ephemeral, &self.ciphertext, &self.identity].concat();
        let sealed = prim::seal(hello_key, nonce, &prim::label("hello seal"), &open)?;
        Ok([&nonce[..], &sealed].concat())
    }
}

/// The responder's view of a handshake: its private keys and what arrived.
///
/// # Errors
/// as the responder would.
pub fn responder(
    psk: &[u8; 32],
    digest: &[u8; 32],
    prekey: &[u8; 32],
    kem_seed: &[u8; 64],
    device_dh: &[u8; 32],
    opened: &Opened,
) -> Outcome<(Handshake, Vec<u8>)> {
    let mut handshake = Handshake {
        psk: *psk,
        digest: *digest,
        ephemeral: opened.ephemeral,
        ciphertext: opened.ciphertext.clone(),
        ss: Kem::Kem1024.decapsulate(kem_seed, &opened.ciphertext)?,
        dh_ephemeral_prekey: x25519(prekey, &opened.ephemeral)?,
        dh_ephemeral_identity: x25519(device_dh, &opened.ephemeral)?,
        dh_identity_prekey: [0; 32],
    };
    let block = handshake.open_identity(&opened.identity)?;
    let keys = device_in_block(&block).ok_or_else(|| Fail::wrong("no device in the block"))?;
    handshake.dh_identity_prekey = x25519(prekey, &keys)?;
    Ok((handshake, block))
}

/// The X25519 key of the device that an identity block names.
pub fn device_in_block(block: &[u8]) -> Option<[u8; 32]> {
    let index = usize::from(*block.first()?);
    let mut at = 3 + 41;
    for _ in 0..index {
        let extension = block.get(at + 128..at + 130)?;
        at += 130 + usize::from(u16::from_be_bytes(extension.try_into().ok()?));
    }
    block.get(at + 32..at + 64)?.try_into().ok()
}
