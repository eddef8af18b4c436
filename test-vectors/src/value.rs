//! The values of the files: hex, bytes, expected bytes, text.

use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::stream::Stream;
use crate::{Fail, Outcome};

/// The longest value that is made of a short description: a file of a few chunks.
const MAX_BYTES: usize = 1 << 20;

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> Value {
    Value::String(HEXLOWER.encode(bytes))
}

/// Bytes of lower-case hex.
///
/// # Errors
/// If it is none.
pub fn unhex(text: &str) -> Outcome<Vec<u8>> {
    HEXLOWER.decode(text.as_bytes()).map_err(|error| Fail::wrong(format!("not hex: {error}")))
}

/// The bytes that a value describes.
///
/// # Errors
/// If it is not of one of the forms.
pub fn bytes(value: &Value) -> Outcome<Vec<u8>> {
    if let Value::String(text) = value {
        return unhex(text);
    }
    let args = Args::of(value)?;
    let out = if args.has("repeat") {
        let (unit, count) = (args.hex("repeat")?, args.size("count")?);
        if unit.len().saturating_mul(count) > MAX_BYTES {
            return Err(Fail::wrong("too many bytes"));
        }
        unit.repeat(count)
    } else if args.has("stream") {
        let length = args.size("length")?;
        if length > MAX_BYTES {
            return Err(Fail::wrong("too many bytes"));
        }
        Stream::new(args.array("stream")?).take(length)
    } else {
        let mut out = Vec::new();
        for part in args.list("concat")? {
            out.extend(bytes(part)?);
        }
        out
    };
    if out.len() > MAX_BYTES { Err(Fail::wrong("too many bytes")) } else { Ok(out) }
}

/// A text: a string, or bytes that are UTF-8.
///
/// # Errors
/// If it is neither.
pub fn text(value: &Value) -> Outcome<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        other => String::from_utf8(bytes(other)?).map_err(|_| Fail::wrong("not UTF-8")),
    }
}

/// Hash and length, in place of bytes.
pub fn digest(bytes: &[u8]) -> Value {
    json!({ "sha256": hex(&Sha256::digest(bytes)), "length": bytes.len() })
}

/// Whether what came out is what a file expects. Members that the file does
/// not have are not compared.
pub fn agrees(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(want), Value::String(have)) => {
            let have = unhex(have).unwrap_or_else(|_| have.clone().into_bytes());
            if want.contains_key("sha256") {
                *expected == digest(&have)
            } else {
                bytes(expected).is_ok_and(|bytes| bytes == have)
                    || text(expected).is_ok_and(|text| Value::String(text) == *actual)
            }
        }
        (Value::Object(want), Value::Object(have)) => {
            want.iter().all(|(name, want)| have.get(name).is_some_and(|have| agrees(want, have)))
        }
        (Value::Array(want), Value::Array(have)) => {
            want.len() == have.len() && want.iter().zip(have).all(|(w, h)| agrees(w, h))
        }
        (want, have) => want == have,
    }
}

/// The members of an object.
#[derive(Clone, Copy)]
pub struct Args<'a>(&'a Map<String, Value>);

impl<'a> Args<'a> {
    /// The members of an object.
    ///
    /// # Errors
    /// If it is none.
    pub fn of(value: &'a Value) -> Outcome<Self> {
        value.as_object().map(Self).ok_or_else(|| Fail::wrong("not an object"))
    }

    /// Whether there is such a member.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A member.
    ///
    /// # Errors
    /// If it is missing.
    pub fn get(&self, name: &str) -> Outcome<&'a Value> {
        self.0.get(name).ok_or_else(|| Fail::wrong(format!("{name} is missing")))
    }

    /// A member that may be missing or null.
    pub fn optional(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A string.
    ///
    /// # Errors
    /// If it is none.
    pub fn str(&self, name: &str) -> Outcome<&'a str> {
        self.get(name)?.as_str().ok_or_else(|| Fail::wrong(format!("{name} is not a string")))
    }

    /// Bytes, as hex.
    ///
    /// # Errors
    /// If it is no hex.
    pub fn hex(&self, name: &str) -> Outcome<Vec<u8>> {
        unhex(self.str(name)?).map_err(|error| named(name, error))
    }

    /// Bytes, in any form.
    ///
    /// # Errors
    /// If it is none of them.
    pub fn bytes(&self, name: &str) -> Outcome<Vec<u8>> {
        bytes(self.get(name)?).map_err(|error| named(name, error))
    }

    /// A text.
    ///
    /// # Errors
    /// If it is none.
    pub fn text(&self, name: &str) -> Outcome<String> {
        text(self.get(name)?).map_err(|error| named(name, error))
    }

    /// Exactly `N` bytes.
    ///
    /// # Errors
    /// If it is another number, or no bytes.
    pub fn array<const N: usize>(&self, name: &str) -> Outcome<[u8; N]> {
        self.bytes(name)?
            .try_into()
            .map_err(|bytes: Vec<u8>| Fail::wrong(format!("{name} has {} bytes", bytes.len())))
    }

    /// A number.
    ///
    /// # Errors
    /// If it is none.
    pub fn number(&self, name: &str) -> Outcome<u64> {
        self.get(name)?.as_u64().ok_or_else(|| Fail::wrong(format!("{name} is not a number")))
    }

    /// A number of 32 bits.
    ///
    /// # Errors
    /// If it is none.
    pub fn u32(&self, name: &str) -> Outcome<u32> {
        u32::try_from(self.number(name)?).map_err(|_| Fail::wrong(format!("{name} is too large")))
    }

    /// A number of bytes or things.
    ///
    /// # Errors
    /// If it is none.
    pub fn size(&self, name: &str) -> Outcome<usize> {
        usize::try_from(self.number(name)?).map_err(|_| Fail::wrong(format!("{name} is too large")))
    }

    /// True or false.
    ///
    /// # Errors
    /// If it is neither.
    pub fn flag(&self, name: &str) -> Outcome<bool> {
        self.get(name)?.as_bool().ok_or_else(|| Fail::wrong(format!("{name} is no flag")))
    }

    /// A list.
    ///
    /// # Errors
    /// If it is none.
    pub fn list(&self, name: &str) -> Outcome<&'a [Value]> {
        let list = self.get(name)?.as_array();
        list.map(Vec::as_slice).ok_or_else(|| Fail::wrong(format!("{name} is not a list")))
    }

    /// A list of bytes.
    ///
    /// # Errors
    /// If it is none.
    pub fn hex_list(&self, name: &str) -> Outcome<Vec<Vec<u8>>> {
        self.list(name)?.iter().map(bytes).collect()
    }
}

fn named(name: &str, error: Fail) -> Fail {
    match error {
        Fail::Wrong(why) => Fail::Wrong(format!("{name}: {why}")),
        refused @ Fail::Refused(_) => refused,
    }
}
