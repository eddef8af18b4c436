//! The frames of the relay protocol (11), read and written along its tables.
//! What the crate `undertone-wire` accepts must be the same.

use serde_json::{Map, Value, json};
use undertone_wire::blob::{BlobReply, BlobRequest};
use undertone_wire::codec;
use undertone_wire::frame::{ClientFrame, OwnerRequest, ServerFrame};
use undertone_wire::ticket::ResumeRequest;

use crate::value::{Args, bytes, hex};
use crate::{Fail, Outcome};

/// The type of a field.
#[derive(Clone, Copy)]
enum Type {
    /// A varint of so many bits.
    Int(u32),
    Flag,
    Fixed(usize),
    Bytes(usize),
    /// Bytes that must be zero.
    Zeros(usize),
    List(usize, &'static Type),
    Option(&'static Type),
    Record(&'static [Field]),
    /// A choice: its variants in order.
    Choice(&'static [(&'static str, &'static [Field])]),
}

type Field = (&'static str, Type);

use Type::{Bytes, Choice, Fixed, Flag, Int, List, Option as Maybe, Record, Zeros};

const B32: Type = Fixed(32);
const B16: Type = Fixed(16);
const U32: Type = Int(32);
const U64: Type = Int(64);
const MESSAGE: usize = 262_144;
const ENVELOPE: Type = Bytes(65_536);
const BUNDLE: Type = Bytes(4_096);
const PADDING: Type = Zeros(2_304);
const TICKET: Type = Bytes(66_560);
const LIMITS: Type = Record(&[("envelopes", U32), ("bytes", U64)]);
const ACKNOWLEDGEMENT: Type = Record(&[("mailbox", B32), ("incarnation", B16), ("floor", U64)]);

const CLIENT: Type = Record(&[
    ("request_id", U64),
    (
        "request",
        Choice(&[
            ("owner", &[("body", Bytes(MESSAGE)), ("signatures", List(256, &Fixed(64)))]),
            ("deliver", &[("write_capability", B32), ("envelope", ENVELOPE)]),
            ("take", &[("fetch_capability", B32), ("take_id", B16)]),
            ("acknowledge", &[("acknowledgements", List(256, &ACKNOWLEDGEMENT))]),
            ("delete-blob", &[("blob_id", B32), ("delete_capability", B32)]),
            ("ticket", &[("session_key", B32), ("mailboxes", List(2_048, &B32))]),
            ("resume", &[("body", Bytes(66_592)), ("signature", Fixed(64))]),
            ("padding", &[("zeros", PADDING)]),
        ]),
    ),
]);

const OWNER: Type = Record(&[
    ("request_id", U64),
    (
        "operation",
        Choice(&[
            (
                "create-mailbox",
                &[
                    ("read_key", B32),
                    ("token", B32),
                    ("mailbox_kind", Choice(&[("queue", &[])])),
                    ("limits", Maybe(&LIMITS)),
                    ("capability_hashes", List(64, &B32)),
                ],
            ),
            ("set-limits", &[("read_key", B32), ("limits", LIMITS)]),
            ("add-capabilities", &[("read_key", B32), ("capability_hashes", List(64, &B32))]),
            ("revoke-capabilities", &[("read_key", B32), ("capability_hashes", List(64, &B32))]),
            ("subscribe", &[("read_keys", List(256, &B32)), ("credit", U32)]),
            ("status", &[("read_keys", List(256, &B32))]),
            ("delete-mailbox", &[("read_key", B32)]),
            (
                "fill-depot",
                &[
                    ("depot_key", B32),
                    ("depot_id", B32),
                    ("token", B32),
                    ("mode", Choice(&[("add", &[]), ("replace", &[])])),
                    ("one_time", List(50, &BUNDLE)),
                    ("last_resort", Maybe(&BUNDLE)),
                    ("expiry", U32),
                ],
            ),
            ("depot-status", &[("depot_key", B32), ("depot_id", B32)]),
            ("delete-depot", &[("depot_key", B32), ("depot_id", B32)]),
        ]),
    ),
]);

const RESUME: Type = Record(&[("request_id", U64), ("credit", U32), ("ticket", TICKET)]);

const STATE: Type = Record(&[
    ("incarnation", B16),
    ("acknowledged", U64),
    ("expired", U64),
    ("head", U64),
    ("bytes", U64),
    ("limits", LIMITS),
]);

const RESPONSE: Type = Choice(&[
    ("done", &[]),
    ("mailboxes", &[("states", List(2_048, &Maybe(&STATE)))]),
    (
        "prekey",
        &[(
            "answer",
            Choice(&[
                ("one-time", &[("bundle", BUNDLE)]),
                ("last-resort", &[("bundle", BUNDLE)]),
                ("used-up", &[]),
            ]),
        )],
    ),
    ("depot", &[("one_time", U32), ("last_resort", Flag), ("expiry", U32), ("incarnation", B16)]),
    ("ticket", &[("ticket", TICKET), ("seconds", U32)]),
]);

const SERVER: Type = Choice(&[
    (
        "reply",
        &[
            ("request_id", U64),
            (
                "result",
                Choice(&[("response", &[("response", RESPONSE)]), ("error", &[("code", Int(16))])]),
            ),
        ],
    ),
    (
        "push",
        &[(
            "push",
            Choice(&[
                (
                    "envelope",
                    &[
                        ("mailbox", B32),
                        ("incarnation", B16),
                        ("number", U64),
                        ("envelope", ENVELOPE),
                    ],
                ),
                ("damaged", &[("mailbox", B32), ("incarnation", B16), ("number", U64)]),
                (
                    "ended",
                    &[("mailbox", B32), ("reason", Choice(&[("replaced", &[]), ("deleted", &[])]))],
                ),
            ]),
        )],
    ),
    ("padding", &[("zeros", PADDING)]),
]);

const BLOB_REQUEST: Type = Choice(&[
    (
        "put",
        &[
            ("blob_id", B32),
            ("token", B32),
            ("read_hash", B32),
            ("delete_hash", B32),
            ("length", U64),
            ("sha256", B32),
            ("expiry", U32),
        ],
    ),
    ("get", &[("blob_id", B32), ("read_capability", B32), ("offset", U64)]),
]);

const BLOB_REPLY: Type = Choice(&[
    ("ready", &[("offset", U64)]),
    ("stored", &[]),
    ("content", &[("length", U64), ("sha256", B32)]),
    ("refused", &[("code", Int(16))]),
]);

/// What the product's own code says of a frame's bytes.
type Product = fn(&[u8]) -> bool;

fn kind(name: &str) -> Outcome<(Type, Product)> {
    Ok(match name {
        "client" => (CLIENT, |b| codec::decode::<ClientFrame>(b).is_ok()),
        "owner-body" => (OWNER, |b| codec::decode::<OwnerRequest>(b).is_ok()),
        "resume-body" => (RESUME, |b| codec::decode::<ResumeRequest>(b).is_ok()),
        "server" => (SERVER, |b| codec::decode::<ServerFrame>(b).is_ok()),
        "blob-request" => (BLOB_REQUEST, |b| codec::decode::<BlobRequest>(b).is_ok()),
        "blob-reply" => (BLOB_REPLY, |b| codec::decode::<BlobReply>(b).is_ok()),
        other => return Err(Fail::wrong(format!("no kind of frame: {other}"))),
    })
}

pub(super) fn write(args: &Args<'_>) -> Outcome<Value> {
    let (shape, product) = kind(args.str("type")?)?;
    let mut out = Vec::new();
    put(&mut out, &shape, args.get("frame")?)?;
    if !product(&out) {
        return Err(Fail::wrong("the product does not read this frame"));
    }
    Ok(json!({ "bytes": hex(&out) }))
}

pub(super) fn read(args: &Args<'_>) -> Outcome<Value> {
    let (shape, product) = kind(args.str("type")?)?;
    let frame = args.bytes("bytes")?;
    let result = parse(&shape, &frame);
    if product(&frame) != result.is_ok() {
        return Err(Fail::wrong(format!("the product differs: {result:?}")));
    }
    Ok(json!({ "frame": result? }))
}

/// A frame, all of it.
pub(super) fn parse_owner(body: &[u8]) -> Outcome<Value> {
    parse(&OWNER, body)
}

fn parse(shape: &Type, frame: &[u8]) -> Outcome<Value> {
    let mut rest = frame;
    let value = get(&mut rest, shape)?;
    if rest.is_empty() { Ok(value) } else { Err(Fail::refused("R-1102")) }
}

fn put_int(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_len(out: &mut Vec<u8>, len: usize) -> Outcome<()> {
    put_int(out, u64::try_from(len).map_err(|_| Fail::wrong("too long"))?);
    Ok(())
}

fn put(out: &mut Vec<u8>, shape: &Type, value: &Value) -> Outcome<()> {
    match shape {
        Int(_) => put_int(out, value.as_u64().ok_or_else(|| Fail::wrong("no number"))?),
        Flag => out.push(u8::from(value.as_bool().ok_or_else(|| Fail::wrong("no flag"))?)),
        Fixed(length) => {
            let value = bytes(value)?;
            if value.len() != *length {
                return Err(Fail::wrong(format!("not {length} bytes")));
            }
            out.extend(value);
        }
        Bytes(_) | Zeros(_) => {
            let value = bytes(value)?;
            put_len(out, value.len())?;
            out.extend(value);
        }
        List(_, item) => {
            let list = value.as_array().ok_or_else(|| Fail::wrong("no list"))?;
            put_len(out, list.len())?;
            list.iter().try_for_each(|value| put(out, item, value))?;
        }
        Maybe(_) if value.is_null() => out.push(0),
        Maybe(item) => {
            out.push(1);
            put(out, item, value)?;
        }
        Record(fields) => put_fields(out, fields, value)?,
        Choice(variants) => {
            let name = Args::of(value)?.str("kind")?;
            let index = variants.iter().position(|(known, _)| *known == name);
            let index = index.ok_or_else(|| Fail::wrong(format!("no kind {name}")))?;
            put_len(out, index)?;
            for (_, fields) in variants.iter().skip(index).take(1) {
                put_fields(out, fields, value)?;
            }
        }
    }
    Ok(())
}

fn put_fields(out: &mut Vec<u8>, fields: &[Field], value: &Value) -> Outcome<()> {
    let args = Args::of(value)?;
    fields.iter().try_for_each(|(name, shape)| put(out, shape, args.get(name)?))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Outcome<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(length).ok_or_else(|| Fail::refused("R-1102"))?;
    *rest = tail;
    Ok(head)
}

fn get_byte(rest: &mut &[u8]) -> Outcome<u8> {
    take(rest, 1)?.first().copied().ok_or_else(|| Fail::refused("R-1102"))
}

fn get_int(rest: &mut &[u8], bits: u32) -> Outcome<u64> {
    let mut value: u128 = 0;
    for place in 0..10 {
        let byte = get_byte(rest)?;
        value |= u128::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            let second = byte == 0 && place > 0;
            return match u64::try_from(value) {
                Ok(value) if !second && value >> (bits - 1) <= 1 => Ok(value),
                _ => Err(Fail::refused("R-1103")),
            };
        }
    }
    Err(Fail::refused("R-1103"))
}

fn get_len(rest: &mut &[u8], most: usize) -> Outcome<usize> {
    let length = usize::try_from(get_int(rest, 64)?).unwrap_or(usize::MAX);
    // Nothing has less than a byte, so a count above what is left is too high too.
    if length > most || length > rest.len() { Err(Fail::refused("R-1106")) } else { Ok(length) }
}

fn get(rest: &mut &[u8], shape: &Type) -> Outcome<Value> {
    Ok(match shape {
        Int(bits) => json!(get_int(rest, *bits)?),
        Flag => match get_byte(rest)? {
            0 => json!(false),
            1 => json!(true),
            _ => return Err(Fail::refused("R-1103")),
        },
        Fixed(length) => hex(take(rest, *length)?),
        Bytes(most) => {
            let length = get_len(rest, *most)?;
            hex(take(rest, length)?)
        }
        Zeros(most) => {
            let length = get_len(rest, *most)?;
            let zeros = take(rest, length)?;
            if zeros.iter().any(|byte| *byte != 0) {
                return Err(Fail::refused("R-1108"));
            }
            hex(zeros)
        }
        List(most, item) => {
            let count = get_len(rest, *most)?;
            Value::Array((0..count).map(|_| get(rest, item)).collect::<Outcome<_>>()?)
        }
        Maybe(item) => match get_byte(rest)? {
            0 => Value::Null,
            1 => get(rest, item)?,
            _ => return Err(Fail::refused("R-1103")),
        },
        Record(fields) => Value::Object(get_fields(rest, fields)?),
        Choice(variants) => {
            let index = usize::try_from(get_int(rest, 32)?).unwrap_or(usize::MAX);
            let (name, fields) = variants.get(index).ok_or_else(|| Fail::refused("R-1102"))?;
            let mut value = get_fields(rest, fields)?;
            value.insert("kind".into(), json!(name));
            Value::Object(value)
        }
    })
}

fn get_fields(rest: &mut &[u8], fields: &[Field]) -> Outcome<Map<String, Value>> {
    fields.iter().map(|(name, shape)| Ok(((*name).to_owned(), get(rest, shape)?))).collect()
}
