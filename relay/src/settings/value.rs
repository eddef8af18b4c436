//! Kinds of values: how each is read from text and from TOML, and how it is shown.

use core::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::DeValue;

use super::{LogFormat, LogLevel};
use crate::limits::{Id, Prefix};

/// A value as a layer gives it.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    /// From the environment or the command line. A list has commas.
    Text(&'a str),
    /// From the file.
    Toml(&'a DeValue<'a>),
}

/// Something that can be set.
pub(super) trait Value: Sized {
    /// Reads it.
    fn read(raw: Raw<'_>) -> Result<Self, String>;
    /// As TOML; `None` if it is not set.
    fn shown(&self) -> Option<String>;
    /// As a number, for those that have bounds.
    fn number(&self) -> Option<u64> {
        None
    }
}

const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn expected(what: &str, raw: Raw<'_>) -> String {
    match raw {
        Raw::Text(text) => format!("{text:?} is not {what}"),
        Raw::Toml(DeValue::String(text)) => format!("{text:?} is not {what}"),
        Raw::Toml(value) => format!("this has to be {what}, and is {}", kind(value)),
    }
}

/// The text of a value that is text in every layer.
fn text<'a>(what: &str, raw: Raw<'a>) -> Result<&'a str, String> {
    match raw {
        Raw::Text(text) => Ok(text),
        Raw::Toml(DeValue::String(text)) => Ok(text),
        Raw::Toml(_) => Err(expected(what, raw)),
    }
}

fn quoted(text: &dyn Display) -> String {
    format!("{:?}", text.to_string())
}

fn integer(what: &str, raw: Raw<'_>) -> Result<u64, String> {
    let parsed = match raw {
        Raw::Text(text) => text.trim().replace('_', "").parse().ok(),
        Raw::Toml(DeValue::Integer(n)) => u64::from_str_radix(n.as_str(), n.radix()).ok(),
        Raw::Toml(_) => None,
    };
    parsed.ok_or_else(|| expected(what, raw))
}

impl Value for u32 {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        let number = integer("a whole number", raw)?;
        Self::try_from(number).map_err(|_| format!("{number} is more than {}", Self::MAX))
    }

    fn shown(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn number(&self) -> Option<u64> {
        Some((*self).into())
    }
}

/// Units of sizes, the largest first.
const UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// A number of bytes, as a number or with a unit: `"16 GiB"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Size(pub(super) u64);

impl Value for Size {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        const WHAT: &str = "a number of bytes, such as 1048576 or \"16 GiB\"";
        let written = match raw {
            Raw::Text(text) => text,
            Raw::Toml(DeValue::String(text)) => text,
            Raw::Toml(_) => return integer(WHAT, raw).map(Self),
        };
        for (unit, bytes) in UNITS {
            if let Some(count) = written.trim().strip_suffix(unit) {
                let count = integer(WHAT, Raw::Text(count)).map_err(|_| expected(WHAT, raw))?;
                let size = count.checked_mul(bytes);
                return size.map(Self).ok_or_else(|| format!("{written:?} is too large"));
            }
        }
        integer(WHAT, Raw::Text(written)).map(Self)
    }

    fn shown(&self) -> Option<String> {
        let fits = |(_, bytes): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*bytes);
        Some(match UNITS.iter().find(fits) {
            Some((unit, bytes)) => format!("\"{} {unit}\"", self.0 / bytes),
            None => self.0.to_string(),
        })
    }

    fn number(&self) -> Option<u64> {
        Some(self.0)
    }
}

impl Value for bool {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        match raw {
            Raw::Toml(DeValue::Boolean(value)) => Ok(*value),
            Raw::Text("true") => Ok(true),
            Raw::Text("false") => Ok(false),
            _ => Err(expected("true or false", raw)),
        }
    }

    fn shown(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// Kinds that are text in the file.
macro_rules! texts {
    ($($type:ty, $what:literal, $parse:expr, $show:expr;)*) => {$(
        impl Value for $type {
            fn read(raw: Raw<'_>) -> Result<Self, String> {
                let parse: fn(&str) -> Result<Self, String> = $parse;
                parse(text($what, raw)?)
            }

            fn shown(&self) -> Option<String> {
                let show: fn(&Self) -> String = $show;
                Some(quoted(&show(self)))
            }
        }
    )*};
}

/// What an address to listen on looks like.
const SOCKET: &str = "an address and a port, such as \"[::]:4433\" or \"127.0.0.1:9464\"";

texts! {
    String, "text", |text| Ok(text.to_owned()), Self::clone;
    PathBuf, "a path", |text| Ok(text.into()), |path| path.display().to_string();
    SocketAddr, "an address and a port, such as \"[::]:4433\" or \"127.0.0.1:9464\"",
        |text| text.parse().map_err(|_| format!("{text:?} is not {SOCKET}")), Self::to_string;
    Prefix, "a network, such as \"192.0.2.0/24\"", str::parse, Self::to_string;
    Id, "an id of 64 hexadecimal digits", str::parse, Self::to_string;
    LogFormat, "\"text\" or \"json\"", Self::parse, |format| format.name().to_owned();
    LogLevel, "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"", Self::parse,
        |level| level.name().to_owned();
}

impl<T: Value> Value for Option<T> {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        T::read(raw).map(Some)
    }

    fn shown(&self) -> Option<String> {
        self.as_ref().and_then(T::shown)
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        match raw {
            Raw::Text(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(|item| T::read(Raw::Text(item))).collect()
            }
            Raw::Toml(DeValue::Array(items)) => {
                items.iter().map(|item| T::read(Raw::Toml(item.get_ref()))).collect()
            }
            Raw::Toml(_) => Err(expected("a list", raw)),
        }
    }

    fn shown(&self) -> Option<String> {
        let items: Vec<String> = self.iter().filter_map(T::shown).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn size(text: &str) -> Result<u64, String> {
        Size::read(Raw::Text(text)).map(|size| size.0)
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("16 GiB"), Ok(16 << 30));
        assert_eq!(size("16GiB"), Ok(16 << 30));
        assert_eq!(size("1_000"), Ok(1000));
        for wrong in ["", "16 GB", "-1", "1.5 GiB", "GiB", "99999999 TiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Size(16 << 30).shown().unwrap(), "\"16 GiB\"");
        assert_eq!(Size(1 << 40).shown().unwrap(), "\"1 TiB\"");
        assert_eq!(Size(1025).shown().unwrap(), "1025");
        assert_eq!(Size(0).shown().unwrap(), "0");
    }

    #[test]
    fn lists_have_commas_outside_of_the_file() {
        let list = Vec::<Prefix>::read(Raw::Text("192.0.2.0/24, ::1")).unwrap();
        assert_eq!(list.shown().unwrap(), "[\"192.0.2.0/24\", \"::1/128\"]");
        assert_eq!(Vec::<Prefix>::read(Raw::Text("")).unwrap().shown().unwrap(), "[]");
        assert!(Vec::<Prefix>::read(Raw::Text("192.0.2.0/24,x")).is_err());
    }
}
