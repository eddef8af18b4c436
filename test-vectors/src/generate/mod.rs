//! What makes the files.

mod backups;
mod bundles;
mod certificates;
mod contents;
mod files;
mod handshakes;
mod identities;
mod kdfs;
mod labels;
mod links;
mod operators;
mod padding;
mod post_quantum;
mod primitives;
mod randoms;
mod ratchets;
mod relay;
mod restores;
mod states;
pub mod talk;
pub mod write;

use serde_json::{Value, json};

use crate::value::{digest, unhex};
use crate::{FORMAT, Fail, ops};

/// A file: its place below `vectors/`, and what it holds.
pub struct Vector {
    pub family: &'static str,
    pub name: String,
    pub value: Value,
}

/// Everything, in the order of the families; of the accumulated hashes those
/// over at most `longest` conversations.
pub fn all(longest: u64) -> Vec<Vector> {
    let mut out = Files::default();
    primitives::make(&mut out);
    labels::make(&mut out);
    kdfs::make(&mut out);
    identities::make(&mut out);
    links::make(&mut out);
    bundles::make(&mut out);
    files::make(&mut out);
    contents::make(&mut out);
    handshakes::make(&mut out);
    ratchets::make(&mut out);
    post_quantum::make(&mut out);
    padding::make(&mut out);
    states::make(&mut out);
    relay::make(&mut out);
    certificates::make(&mut out);
    operators::make(&mut out);
    backups::make(&mut out);
    restores::make(&mut out);
    randoms::make(&mut out, longest);
    out.0
}

/// The files that were made so far.
#[derive(Default)]
pub struct Files(Vec<Vector>);

/// What every file says of itself.
pub struct About<'a> {
    pub family: &'static str,
    pub name: &'a str,
    pub about: &'a str,
    pub spec: &'a [&'a str],
}

/// Short for [`About`].
pub fn about<'a>(
    family: &'static str,
    name: &'a str,
    spec: &'a [&'a str],
    about: &'a str,
) -> About<'a> {
    About { family, name, about, spec }
}

impl Files {
    /// Adds a file.
    pub fn add(&mut self, about: &About<'_>, value: Value) {
        assert!(!about.spec.is_empty() && about.about.ends_with('.'), "{}", about.name);
        let twice = self.0.iter().any(|v| v.family == about.family && v.name == about.name);
        assert!(!twice, "{} twice", about.name);
        let name = about.name.to_owned();
        self.0.push(Vector { family: about.family, name, value });
    }

    /// An operation that succeeds.
    pub fn valid(&mut self, about: &About<'_>, op: &str, input: Value) -> Value {
        let output = ops::run(op, &input)
            .unwrap_or_else(|error| panic!("{}/{}: {error}", about.family, about.name));
        let mut file = head(about, "valid", op);
        put(&mut file, "input", input);
        put(&mut file, "output", shorten(op, output.clone()));
        self.add(about, file);
        output
    }

    /// An operation that is refused.
    pub fn refused(&mut self, about: &About<'_>, rule: &str, stage: &str, op: &str, input: Value) {
        let result = ops::run(op, &input);
        assert_eq!(result, Err(Fail::refused(rule)), "{}/{}", about.family, about.name);
        let mut file = head(about, "refused", op);
        put(&mut file, "rule", json!(rule));
        put(&mut file, "stage", json!(stage));
        put(&mut file, "input", input);
        self.add(about, file);
    }
}

/// The members that every file has.
pub fn head(about: &About<'_>, result: &str, op: &str) -> Value {
    json!({
        "format": FORMAT,
        "family": about.family,
        "name": about.name,
        "about": about.about,
        "spec": about.spec,
        "result": result,
        "op": op,
    })
}

/// Adds a member.
pub fn put(object: &mut Value, name: &str, value: Value) {
    object.as_object_mut().expect("an object").insert(name.into(), value);
}

/// Outputs that may be large, by operation.
fn shorten(op: &str, mut output: Value) -> Value {
    let member = match op {
        "file-seal" => "blob",
        "backup-write" => "file",
        "file-open" | "chunk-open" | "content-write" => "content",
        "state-read" => "stored",
        _ => return output,
    };
    let bytes = unhex(output[member].as_str().unwrap()).unwrap();
    if bytes.len() > 2000 {
        put(&mut output, member, digest(&bytes));
    }
    output
}
