//! Family `random`.

use serde_json::json;

use super::{Files, about, head, put};
use crate::random;
use crate::value::Args;

const FAMILY: &str = "random";

/// After how many conversations the hashes are given.
const COUNTS: [u64; 3] = [100, 1_000, 10_000];

pub(super) fn make(files: &mut Files, longest: u64) {
    for count in COUNTS.into_iter().filter(|count| *count <= longest) {
        let input = json!({ "count": count });
        let output = random::run(&Args::of(&input).unwrap()).unwrap();
        let name = format!("conversations-{count}");
        let says = format!("The hashes over the first {count} random conversations.");
        let about = about(FAMILY, &name, &["05", "06", "10 §1"], &says);
        let mut file = head(&about, "valid", "random-conversations");
        put(&mut file, "input", input);
        put(&mut file, "output", output);
        files.add(&about, file);
    }
}
