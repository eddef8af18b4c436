//! How a file is written: members in an order that reads well, short values
//! on one line.

use serde_json::Value;

/// Members that stand in front, in this order. Others follow by the alphabet.
const ORDER: [&str; 26] = [
    "format", "family", "name", "about", "spec", "result", "rule", "stage", "op", "do", "session",
    "person", "link", "bundle", "envelope", "of", "as", "kind", "today", "content", "draws",
    "refused", "outcome", "input", "steps", "output",
];

/// The longest line that holds a whole list or object.
const LINE: usize = 110;

/// The text of a file.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    put(&mut out, value, 0);
    out.push('\n');
    out
}

fn put(out: &mut String, value: &Value, depth: usize) {
    let flat = flat(value);
    let simple = !matches!(value, Value::Array(_) | Value::Object(_));
    if simple || depth > 0 && flat.len() <= LINE {
        out.push_str(&flat);
        return;
    }
    let margin = "  ".repeat(depth + 1);
    let (open, close) = if value.is_array() { ('[', ']') } else { ('{', '}') };
    out.push(open);
    let mut first = true;
    let mut item = |out: &mut String, name: Option<&str>, value: &Value| {
        out.push_str(if first { "\n" } else { ",\n" });
        first = false;
        out.push_str(&margin);
        if let Some(name) = name {
            out.push_str(&Value::from(name).to_string());
            out.push_str(": ");
        }
        put(out, value, depth + 1);
    };
    match value {
        Value::Array(list) => list.iter().for_each(|value| item(out, None, value)),
        other => members(other).into_iter().for_each(|(name, value)| item(out, Some(name), value)),
    }
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
    out.push(close);
}

fn members(value: &Value) -> Vec<(&str, &Value)> {
    let mut members: Vec<(&str, &Value)> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    let place = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
    members.sort_by_key(|(name, _)| (place(name), *name));
    members
}

fn flat(value: &Value) -> String {
    match value {
        Value::Array(list) => {
            format!("[{}]", list.iter().map(flat).collect::<Vec<_>>().join(", "))
        }
        Value::Object(_) => {
            let one =
                |(name, value): (&str, &Value)| format!("{}: {}", Value::from(name), flat(value));
            format!("{{{}}}", members(value).into_iter().map(one).collect::<Vec<_>>().join(", "))
        }
        simple => simple.to_string(),
    }
}
