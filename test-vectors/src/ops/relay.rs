//! What is said beside frames in 11: lengths, identifiers, addresses, signatures.

use serde_json::{Value, json};
use undertone_wire::codec::{self, CodecError};
use undertone_wire::frame::{
    SignedRequest, StreamKind, is_bundle_size, is_credit, is_envelope_size,
};
use undertone_wire::limits::{LENGTH_PREFIX, MAX_BLOB_MESSAGE, MAX_MESSAGE};
use undertone_wire::ticket::SignedResume;
use undertone_wire::transport::check_certificates;
use undertone_wire::{
    AddressError, ErrorCode, Exporter, JoinAddress, RelayAddress, RequestId, RootFingerprint,
    SessionKey,
};

use super::frames;
use crate::value::{Args, hex};
use crate::{Fail, Outcome, prim};

pub(super) fn run(op: &str, args: &Args<'_>) -> Option<Outcome<Value>> {
    Some(match op {
        "frame-write" => frames::write(args),
        "frame-read" => frames::read(args),
        "message-length" => length(args),
        "frame-bound" => bound(args),
        "stream-kind" => stream_kind(args),
        "envelope-size" => judged(args, "length", is_envelope_size, "R-1110"),
        "bundle-size" => judged(args, "length", is_bundle_size, "R-1111"),
        "credit" => judged(args, "credit", credit, "R-1115"),
        "relay-certificates" => certificates(args),
        "operator-log" => operator_log(args),
        "identifier" => identifier(args),
        "address-read" => address(args),
        "owner-sign" => owner_sign(args),
        "owner-verify" => owner_verify(args),
        "resume-verify" => resume_verify(args),
        _ => return None,
    })
}

fn length(args: &Args<'_>) -> Outcome<Value> {
    let most = match args.str("stream")? {
        "control" => MAX_MESSAGE,
        "blob" => MAX_BLOB_MESSAGE,
        other => return Err(Fail::wrong(format!("no stream {other}"))),
    };
    let prefix: [u8; LENGTH_PREFIX] = args.array("prefix")?;
    let length =
        codec::message_length(prefix, most).map_err(|_: CodecError| Fail::refused("R-1101"))?;
    Ok(json!({ "length": length }))
}

fn bound(args: &Args<'_>) -> Outcome<Value> {
    let head = args.hex("head")?;
    let bound = match args.str("type")? {
        "client" => undertone_wire::frame::ClientFrame::bound(&head),
        "server" => undertone_wire::frame::ServerFrame::bound(&head),
        other => return Err(Fail::wrong(format!("no bound for {other}"))),
    };
    if args.size("length")? > bound { Err(Fail::refused("R-1107")) } else { Ok(json!({})) }
}

fn stream_kind(args: &Args<'_>) -> Outcome<Value> {
    let [byte] = args.array("byte")?;
    let kind = match StreamKind::from_byte(byte).ok_or_else(|| Fail::refused("R-1104"))? {
        StreamKind::Control => "control",
        StreamKind::Blob => "blob",
    };
    Ok(json!({ "kind": kind }))
}

fn credit(credit: usize) -> bool {
    u32::try_from(credit).is_ok_and(is_credit)
}

/// A number that is allowed, or refused by a rule.
fn judged(args: &Args<'_>, name: &str, allowed: fn(usize) -> bool, rule: &str) -> Outcome<Value> {
    if allowed(args.size(name)?) { Ok(json!({})) } else { Err(Fail::refused(rule)) }
}

fn certificates(args: &Args<'_>) -> Outcome<Value> {
    let root = RootFingerprint::from_bytes(args.array("root")?);
    check_certificates(&root, &args.hex_list("chain")?, args.number("unix_seconds")?)
        .map(|()| json!({}))
        .map_err(|fault| Fail::refused(fault.code()))
}

/// The hash of an entry behind another (12).
fn entry_hash(entry: &Args<'_>, previous: &[u8; 32]) -> Outcome<[u8; 32]> {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new()
        .chain_update("undertone relay audit")
        .chain_update(previous)
        .chain_update(entry.number("number")?.to_be_bytes())
        .chain_update(entry.u32("day")?.to_be_bytes());
    for text in [entry.str("action")?, entry.str("detail")?] {
        let length = u16::try_from(text.len()).map_err(|_| Fail::wrong("a text too long"))?;
        hash.update(length.to_be_bytes());
        hash.update(text);
    }
    Ok(hash.finalize().into())
}

/// The relay's own tests check these files with the relay's code: this crate does not know it.
fn operator_log(args: &Args<'_>) -> Outcome<Value> {
    let mut hashes: Vec<[u8; 32]> = Vec::new();
    let refused = || Fail::refused("R-1210");
    for (number, entry) in (1u64..).zip(args.list("entries")?) {
        let entry = Args::of(entry)?;
        let previous = hashes.last().copied().unwrap_or_default();
        let hash = entry_hash(&entry, &previous)?;
        if entry.number("number")? != number || entry.array("hash")? != hash {
            return Err(refused());
        }
        hashes.push(hash);
    }
    for anchor in args.list("anchors")? {
        let anchor = Args::of(anchor)?;
        let at = anchor.size("number")?.checked_sub(1).and_then(|at| hashes.get(at));
        if at != Some(&anchor.array("hash")?) {
            return Err(refused());
        }
    }
    Ok(json!({ "last": hashes.last().map(|hash| hex(hash)) }))
}

fn identifier(args: &Args<'_>) -> Outcome<Value> {
    use sha2::{Digest, Sha256};
    let hash = Sha256::new()
        .chain_update("undertone/1 ")
        .chain_update(args.str("of")?)
        .chain_update(args.bytes("value")?)
        .finalize();
    Ok(json!({ "id": hex(&hash) }))
}

fn rule(error: AddressError) -> Fail {
    Fail::refused(match error {
        AddressError::Truncated
        | AddressError::Check
        | AddressError::TrailingBytes
        | AddressError::Key => "R-1131",
        _ => "R-1130",
    })
}

fn address(args: &Args<'_>) -> Outcome<Value> {
    let text = args.str("text")?;
    let (relay, token) = match args.str("kind")? {
        "relay" => (text.parse::<RelayAddress>().map_err(rule)?, None),
        "join" => {
            let (relay, token) = text.parse::<JoinAddress>().map_err(rule)?.into_parts();
            (relay, Some(hex(token.as_bytes())))
        }
        other => return Err(Fail::wrong(format!("no kind of address: {other}"))),
    };
    Ok(json!({
        "host": relay.host(),
        "port": relay.port(),
        "root": hex(relay.root().as_bytes()),
        "token": token,
    }))
}

/// What the keys of an owner request sign.
fn signed(exporter: &[u8; 32], code: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&b"undertone/1 owner request"[..], exporter, &[code], &length, body].concat()
}

fn owner_sign(args: &Args<'_>) -> Outcome<Value> {
    let body = args.hex("body")?;
    frames::parse_owner(&body)?;
    // The code is the index of the operation, behind the request id.
    let id = body.iter().take_while(|byte| **byte >= 0x80).count();
    let code = body.get(id.saturating_add(1)).copied().unwrap_or_default();
    let message = signed(&args.array("exporter")?, code, &body);
    let mut signatures = Vec::new();
    for seed in args.hex_list("secrets")? {
        let seed = seed.try_into().map_err(|_| Fail::wrong("a secret has 32 bytes"))?;
        signatures.push(hex(&prim::sign(&seed, &message)));
    }
    Ok(json!({ "signed": hex(&message), "signatures": signatures }))
}

/// The keys that an operation names.
fn keys(body: &Value) -> Vec<Value> {
    let operation = body.get("operation").cloned().unwrap_or_default();
    let many = operation.get("read_keys").and_then(Value::as_array).cloned();
    let one = operation.get("read_key").or_else(|| operation.get("depot_key")).cloned();
    many.unwrap_or_else(|| one.into_iter().collect())
}

fn owner_verify(args: &Args<'_>) -> Outcome<Value> {
    let (body, signatures) = (args.hex("body")?, args.hex_list("signatures")?);
    let mut frame = Vec::new();
    let length = |out: &mut Vec<u8>, mut n: usize| {
        while n > 0x7f {
            out.push(n.to_le_bytes()[0] | 0x80);
            n >>= 7;
        }
        out.push(n.to_le_bytes()[0]);
    };
    length(&mut frame, body.len());
    frame.extend(&body);
    length(&mut frame, signatures.len());
    frame.extend(signatures.concat());
    let request: SignedRequest =
        codec::decode(&frame).map_err(|_| Fail::wrong("no signed request"))?;
    let id = args.number("request_id")?;
    let exporter = Exporter::from_bytes(args.array("exporter")?);
    match request.verify(RequestId::new(id), &exporter) {
        Ok(_) => Ok(json!({})),
        Err(ErrorCode::BadSignature) => Err(Fail::refused("R-1114")),
        Err(ErrorCode::Malformed) => {
            let read = frames::parse_owner(&body)?;
            let keys = keys(&read);
            let twice =
                keys.iter().enumerate().any(|(i, key)| keys.iter().skip(i + 1).any(|k| k == key));
            Err(Fail::refused(if read.get("request_id").and_then(Value::as_u64) != Some(id) {
                "R-1112"
            } else if keys.is_empty() || keys.len() != signatures.len() {
                "R-1113"
            } else if twice {
                "R-1116"
            } else {
                return Err(Fail::wrong("malformed by no rule"));
            }))
        }
        Err(other) => Err(Fail::wrong(format!("{other:?}"))),
    }
}

fn resume_verify(args: &Args<'_>) -> Outcome<Value> {
    let (body, signature) = (args.hex("body")?, args.hex("signature")?);
    let head = u8::try_from(body.len()).ok().filter(|n| *n < 0x80);
    let head = head.ok_or_else(|| Fail::wrong("a longer body than vectors use"))?;
    let frame = [&[head][..], &body, &signature].concat();
    let resume: SignedResume =
        codec::decode(&frame).map_err(|_| Fail::wrong("no signed resume"))?;
    let key = SessionKey::from_bytes(args.array("session_key")?);
    let exporter = Exporter::from_bytes(args.array("exporter")?);
    let id = RequestId::new(args.number("request_id")?);
    match resume.verify(id, &exporter, |_| Ok((key, ()))) {
        Ok((credit, ())) => Ok(json!({ "credit": credit })),
        Err(ErrorCode::BadSignature) => Err(Fail::refused("R-1118")),
        Err(_) => Err(Fail::refused("R-1112")),
    }
}
