//! The files in the repository: they are what the generator makes, they fit
//! the schema, and this implementation agrees with each, its own and those
//! that the second implementation made.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use undertone_vectors::{check, files, schema};

/// Random conversations in the ordinary tests.
const FEW: u64 = 100;

fn produced() -> PathBuf {
    files::home().join("python/produced")
}

fn schema_document() -> Value {
    let path = files::home().join("schema/undertone-vectors-1.json");
    files::json(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every committed file, with where it is.
fn all() -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    for (root, name) in [(files::vectors(), "vectors"), (produced(), "python/produced")] {
        for (place, text) in files::found(&root).unwrap() {
            let place = format!("{name}/{place}");
            let value = files::json(&text).unwrap_or_else(|error| panic!("{place}: {error}"));
            out.insert(place, value);
        }
    }
    out
}

/// How many conversations an accumulated hash is over.
fn count(file: &Value) -> u64 {
    file["input"]["count"].as_u64().filter(|_| file["family"] == "random").unwrap_or(0)
}

#[test]
fn committed_files_are_those_that_the_generator_makes() {
    let differing = files::differing(FEW).unwrap();
    assert!(differing.is_empty(), "run `generate`: {differing:#?}");
}

/// Where this implementation differs from the files whose place begins so.
fn differences(root: &str) -> Vec<String> {
    let ours = |(place, file): &(String, Value)| place.starts_with(root) && count(file) <= FEW;
    let files: Vec<(String, Value)> = all().into_iter().filter(ours).collect();
    assert!(files.len() > 50, "{root}: {} files", files.len());
    let differs =
        |(place, file): (String, Value)| Some(format!("{place}: {}", check::file(&file).err()?));
    files.into_iter().filter_map(differs).collect()
}

#[test]
fn a_reader_that_knows_the_files_alone_agrees() {
    let differences = differences("vectors/");
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn the_files_of_the_second_implementation_agree() {
    let differences = differences("python/produced/");
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
#[ignore = "takes a minute: 10,000 random conversations"]
fn the_accumulated_hash_over_ten_thousand_conversations() {
    for (place, file) in all().into_iter().filter(|(_, file)| count(file) > FEW) {
        check::file(&file).unwrap_or_else(|error| panic!("{place}: {error}"));
    }
}

#[test]
fn every_file_fits_the_schema_and_its_place() {
    let schema = schema_document();
    for (place, file) in all() {
        schema::validate(&schema, &file).unwrap_or_else(|error| panic!("{place}: {error}"));
        let name =
            format!("{}/{}.json", file["family"].as_str().unwrap(), file["name"].as_str().unwrap());
        assert!(place.ends_with(&format!("/{name}")), "{place} says that it is {name}");
        assert!(file["about"].as_str().unwrap().ends_with('.'), "{place}: about is a sentence");
    }
}

/// Changes to a file that the schema must not let through.
#[test]
fn the_schema_refuses_what_is_no_file() {
    let schema = schema_document();
    let files = all();
    let mut count = 0;
    let mut refused = |edit: &dyn Fn(&mut Value), place: &str| {
        let mut file = files[place].clone();
        assert_eq!(schema::validate(&schema, &file), Ok(()));
        edit(&mut file);
        let problem = schema::validate(&schema, &file);
        count += 1;
        assert!(problem.is_err(), "{place}: change {count} fits the schema");
    };
    let valid = "vectors/identity/account.json";
    let negative = "vectors/identity/list-read-empty.json";
    let talk = "vectors/handshake/one-time.json";
    let remove = |name: &'static str| {
        move |file: &mut Value| drop(file.as_object_mut().unwrap().remove(name))
    };
    for name in ["format", "family", "name", "about", "spec", "result", "op", "input", "output"] {
        refused(&remove(name), valid);
    }
    refused(&remove("rule"), negative);
    refused(&remove("stage"), negative);
    refused(&remove("steps"), talk);
    refused(&|file| file["more"] = json!(1), valid);
    refused(&|file| file["format"] = json!("undertone-vectors/2"), valid);
    refused(&|file| file["family"] = json!("kdf"), valid);
    refused(&|file| file["rule"] = json!("R-101"), valid);
    refused(&|file| file["rule"] = json!("101"), negative);
    refused(&|file| file["stage"] = json!("somewhere"), negative);
    refused(&|file| file["output"] = json!({}), negative);
    refused(&|file| file["input"]["account_secret"] = json!("00"), valid);
    refused(&|file| file["output"]["account"] = json!("AA".repeat(32)), valid);
    refused(&|file| file["input"]["more"] = json!(""), valid);
    refused(&|file| file["steps"][0]["do"] = json!("dance"), talk);
    refused(&|file| file["steps"][0]["counter"] = json!("1700000000"), talk);
    let steps = files[talk]["steps"].as_array().unwrap();
    let seal = steps.iter().position(|step| step["do"] == "seal").unwrap();
    refused(&|file| drop(file["steps"][seal].as_object_mut().unwrap().remove("draws")), talk);
    refused(&|file| file["steps"][seal]["refused"] = json!("R-705"), talk);
}

/// Changes to a file that the reader must notice.
#[test]
fn the_reader_notices_what_differs() {
    let files = all();
    let mut count = 0;
    let mut noticed = |edit: &dyn Fn(&mut Value), place: &str| {
        let mut file = files[place].clone();
        assert_eq!(check::file(&file), Ok(()), "{place}");
        edit(&mut file);
        count += 1;
        assert!(check::file(&file).is_err(), "{place}: change {count} is not noticed");
    };
    let flip = |value: &mut Value| {
        let text = value.as_str().unwrap();
        let last = if text.ends_with('0') { '1' } else { '0' };
        *value = json!(format!("{}{last}", &text[..text.len() - 1]));
    };
    let valid = "vectors/identity/account.json";
    let negative = "vectors/identity/list-read-empty.json";
    noticed(&|file| flip(&mut file["output"]["account"]), valid);
    noticed(&|file| flip(&mut file["input"]["account_secret"]), valid);
    noticed(&|file| file["output"]["more"] = json!(""), valid);
    noticed(&|file| drop(file["output"].as_object_mut().unwrap().remove("account")), valid);
    noticed(&|file| file["rule"] = json!("R-202"), negative);
    noticed(&|file| file["stage"] = json!("nowhere"), negative);

    let talk = "vectors/handshake/one-time.json";
    let steps = files[talk]["steps"].as_array().unwrap();
    let step = |kind: &str| steps.iter().position(|step| step["do"] == kind).unwrap();
    let (initiate, seal, receive, state) =
        (step("initiate"), step("seal"), step("receive"), step("state"));
    noticed(&|file| flip(&mut file["steps"][initiate]["id"]), talk);
    noticed(&|file| flip(&mut file["steps"][initiate]["intermediate"]["handshake"]["prk1"]), talk);
    noticed(&|file| flip(&mut file["steps"][seal]["bytes"]), talk);
    noticed(&|file| flip(&mut file["steps"][seal]["draws"][0]["value"]), talk);
    noticed(&|file| flip(&mut file["steps"][seal]["intermediate"]["message"]["body_key"]), talk);
    noticed(&|file| drop(file["steps"][seal]["draws"].as_array_mut().unwrap().pop()), talk);
    noticed(
        &|file| {
            let draws = file["steps"][seal]["draws"].as_array_mut().unwrap();
            draws.push(draws[0].clone());
        },
        talk,
    );
    noticed(&|file| flip(&mut file["steps"][receive]["content"]), talk);
    noticed(&|file| file["steps"][receive]["outcome"] = json!("dropped"), talk);
    noticed(&|file| flip(&mut file["steps"][state]["stored"]), talk);
    let refused = "vectors/ratchet/flags-1.json";
    let steps = files[refused]["steps"].as_array().unwrap();
    let at = steps.iter().position(|step| step.get("refused").is_some()).unwrap();
    noticed(&|file| file["steps"][at]["refused"] = json!("R-501"), refused);
    noticed(&|file| drop(file["steps"].as_array_mut().unwrap().remove(at)), refused);
    noticed(&|file| file["rule"] = json!("R-501"), refused);
}
