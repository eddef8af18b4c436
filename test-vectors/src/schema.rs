//! A validator for the part of JSON Schema (2020-12) that the schema of the
//! files uses. A keyword that it does not know is an error.

use serde_json::Value;

/// Keywords that say nothing about an instance.
const SILENT: [&str; 6] = ["$schema", "$id", "$defs", "title", "description", "$comment"];

/// Checks a value against a schema document.
///
/// # Errors
/// Where it does not fit, and why.
pub fn validate(schema: &Value, value: &Value) -> Result<(), String> {
    Validator { root: schema }.check(schema, value, "$")
}

struct Validator<'a> {
    root: &'a Value,
}

impl Validator<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let Some(schema) = schema.as_object() else {
            return match schema.as_bool() {
                Some(true) => Ok(()),
                _ => Err(format!("{at}: nothing is allowed here")),
            };
        };
        for (keyword, rule) in schema {
            match keyword.as_str() {
                keyword if SILENT.contains(&keyword) => {}
                "$ref" => self.check(self.definition(rule)?, value, at)?,
                "type" => kind(rule, value, at)?,
                "const" if rule != value => return Err(format!("{at}: {value} is not {rule}")),
                "const" => {}
                "enum" => {
                    if !rule.as_array().is_some_and(|all| all.contains(value)) {
                        return Err(format!("{at}: {value} is none of {rule}"));
                    }
                }
                "pattern" => {
                    if let Some(text) = value.as_str() {
                        pattern(rule, text).map_err(|why| format!("{at}: {why}"))?;
                    }
                }
                "properties" => self.properties(rule, value, at)?,
                "required" => required(rule, value, at)?,
                "additionalProperties" => {
                    self.additional(schema.get("properties"), rule, value, at)?;
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(rule, item, &format!("{at}[{index}]"))?;
                    }
                }
                "minItems" | "maxItems" | "minimum" | "maximum" => bound(keyword, rule, value, at)?,
                "oneOf" | "anyOf" => self.alternatives(keyword, rule, value, at)?,
                other => return Err(format!("the schema uses {other}")),
            }
        }
        Ok(())
    }

    fn definition(&self, reference: &Value) -> Result<&Value, String> {
        let name = reference.as_str().and_then(|text| text.strip_prefix("#/$defs/"));
        name.and_then(|name| self.root.get("$defs")?.get(name))
            .ok_or_else(|| format!("the schema has no {reference}"))
    }

    fn properties(&self, rule: &Value, value: &Value, at: &str) -> Result<(), String> {
        let Some(object) = value.as_object() else { return Ok(()) };
        for (name, schema) in rule.as_object().into_iter().flatten() {
            if let Some(member) = object.get(name) {
                self.check(schema, member, &format!("{at}.{name}"))?;
            }
        }
        Ok(())
    }

    fn additional(
        &self,
        properties: Option<&Value>,
        rule: &Value,
        value: &Value,
        at: &str,
    ) -> Result<(), String> {
        for (name, member) in value.as_object().into_iter().flatten() {
            if properties.and_then(|known| known.get(name)).is_none() {
                self.check(rule, member, &format!("{at}.{name}"))?;
            }
        }
        Ok(())
    }

    fn alternatives(
        &self,
        keyword: &str,
        rule: &Value,
        value: &Value,
        at: &str,
    ) -> Result<(), String> {
        let mut fitting = 0;
        let mut why = String::new();
        for schema in rule.as_array().into_iter().flatten() {
            match self.check(schema, value, at) {
                Ok(()) => fitting += 1,
                // The alternative that goes deepest tells most.
                Err(error) if error.find(": ") > why.find(": ") || why.is_empty() => why = error,
                Err(_) => {}
            }
        }
        match (keyword, fitting) {
            (_, 0) => Err(format!("{at} fits no alternative; the nearest: {why}")),
            (_, 1) | ("anyOf", _) => Ok(()),
            _ => Err(format!("{at} fits {fitting} alternatives")),
        }
    }
}

fn kind(rule: &Value, value: &Value, at: &str) -> Result<(), String> {
    let fits = match rule.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => return Err(format!("the schema knows a type {rule}")),
    };
    if fits { Ok(()) } else { Err(format!("{at}: {value} is no {rule}")) }
}

fn required(rule: &Value, value: &Value, at: &str) -> Result<(), String> {
    for name in rule.as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.as_object().is_some_and(|object| !object.contains_key(name)) {
            return Err(format!("{at}: {name} is missing"));
        }
    }
    Ok(())
}

fn bound(keyword: &str, rule: &Value, value: &Value, at: &str) -> Result<(), String> {
    let limit = rule.as_u64().ok_or("the schema has a bound that is no number")?;
    let number = match keyword {
        "minItems" | "maxItems" => value.as_array().and_then(|list| u64::try_from(list.len()).ok()),
        _ => value.as_u64(),
    };
    let Some(number) = number else { return Ok(()) };
    let fits = if keyword.starts_with("min") { number >= limit } else { number <= limit };
    if fits { Ok(()) } else { Err(format!("{at}: {number} against {keyword} {limit}")) }
}

/// The patterns of the schema: `^`, then pieces, then `$`. A piece is a letter
/// or a class in brackets, once, or as often as `*`, `+` or `{n}` behind it says.
fn pattern(rule: &Value, text: &str) -> Result<(), String> {
    let all = rule.as_str().and_then(|rule| rule.strip_prefix('^')?.strip_suffix('$'));
    let mut rest = all.ok_or_else(|| format!("the schema has a pattern {rule}"))?;
    let mut left = text;
    while !rest.is_empty() {
        let (class, behind) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some(found) => found,
            None => rest.split_at(rest.chars().next().map_or(0, char::len_utf8)),
        };
        let (min, max, behind) = repetition(behind);
        let mut count = 0;
        while count < max {
            let Some(first) = left.chars().next().filter(|c| in_class(class, *c)) else { break };
            left = left.get(first.len_utf8()..).unwrap_or_default();
            count += 1;
        }
        if count < min {
            return Err(format!("{text:?} does not fit {rule}"));
        }
        rest = behind;
    }
    if left.is_empty() { Ok(()) } else { Err(format!("{text:?} does not fit {rule}")) }
}

fn repetition(rest: &str) -> (usize, usize, &str) {
    if let Some(rest) = rest.strip_prefix('*') {
        (0, usize::MAX, rest)
    } else if let Some(rest) = rest.strip_prefix('+') {
        (1, usize::MAX, rest)
    } else if let Some((count, rest)) = rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
        let (min, max) = count.split_once(',').unwrap_or((count, count));
        (min.parse().unwrap_or(0), max.parse().unwrap_or(usize::MAX), rest)
    } else {
        (1, 1, rest)
    }
}

fn in_class(class: &str, letter: char) -> bool {
    let mut left: Vec<char> = class.chars().collect();
    while !left.is_empty() {
        let (found, used) = match left.as_slice() {
            [low, '-', high, ..] => ((*low..=*high).contains(&letter), 3),
            [one, ..] => (*one == letter, 1),
            [] => (false, 0),
        };
        if found {
            return true;
        }
        left.drain(..used);
    }
    false
}
