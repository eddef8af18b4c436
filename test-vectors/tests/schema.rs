//! The schema itself: it uses what the README says, nothing in it is left over, and every operation
//! that it knows is described, and shown by a vector.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use undertone_vectors::files;

const KEYWORDS: [&str; 16] = [
    "type",
    "const",
    "enum",
    "pattern",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "oneOf",
    "anyOf",
    "$ref",
    "$defs",
];
/// What says something about the schema and nothing about files.
const NOTES: [&str; 3] = ["$schema", "title", "description"];

fn schema() -> Value {
    let path = files::home().join("schema/undertone-vectors-1.json");
    files::json(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Visits a schema and those inside it.
fn visit(schema: &Value, see: &mut dyn FnMut(&serde_json::Map<String, Value>)) {
    let Some(object) = schema.as_object() else {
        assert!(schema.is_boolean(), "no schema: {schema}");
        return;
    };
    see(object);
    for name in ["properties", "$defs"] {
        for inner in object.get(name).and_then(Value::as_object).into_iter().flatten() {
            visit(inner.1, see);
        }
    }
    for name in ["oneOf", "anyOf"] {
        for inner in object.get(name).and_then(Value::as_array).into_iter().flatten() {
            visit(inner, see);
        }
    }
    for inner in ["items", "additionalProperties"].iter().filter_map(|name| object.get(*name)) {
        visit(inner, see);
    }
}

#[test]
fn it_uses_what_the_readme_says_and_every_definition() {
    let schema = schema();
    let mut referred = BTreeSet::new();
    visit(&schema, &mut |object| {
        for (name, value) in object {
            let known = KEYWORDS.contains(&name.as_str()) || NOTES.contains(&name.as_str());
            assert!(known, "a keyword that no reader knows: {name}");
            if name == "$ref" {
                let target = value.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                referred.insert(target.to_owned());
            }
        }
        // What an object may hold is closed, so that no misspelt member passes.
        if object.contains_key("properties") && object.get("type") == Some(&"object".into()) {
            assert!(object.contains_key("additionalProperties"), "open: {object:?}");
        }
    });
    let defined: BTreeSet<String> = schema["$defs"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(referred, defined);
    let readme = fs::read_to_string(files::home().join("README.md")).unwrap();
    for keyword in KEYWORDS {
        assert!(readme.contains(&format!("`{keyword}`")), "the README does not name {keyword}");
    }
}

#[test]
fn every_operation_is_described_and_shown() {
    let readme = fs::read_to_string(files::home().join("README.md")).unwrap();
    let shown: BTreeSet<(String, String)> = files::found(&files::vectors())
        .unwrap()
        .into_values()
        .map(|text| {
            let file = files::json(&text).unwrap();
            let word = |name: &str| file[name].as_str().unwrap().to_owned();
            (word("family"), word("op"))
        })
        .collect();
    let mut count = 0;
    for one in schema()["oneOf"].as_array().unwrap() {
        let properties = &one["properties"];
        let Some(op) = properties["op"]["const"].as_str() else { continue };
        assert!(readme.contains(&format!("`{op}`")), "the README does not describe {op}");
        let family = &properties["family"];
        let families =
            family["enum"].as_array().cloned().unwrap_or_else(|| vec![family["const"].clone()]);
        for family in families {
            let family = family.as_str().unwrap().to_owned();
            assert!(shown.contains(&(family.clone(), op.to_owned())), "{family}/{op}: no vector");
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}
