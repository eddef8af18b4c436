//! Family `padding`.

use serde_json::json;

use super::talk::{Detail, Talk};
use super::{Files, about};
use crate::forge::bucket;

const FAMILY: &str = "padding";

/// The largest contents of the buckets, without a handshake and beside each.
const EDGES: [(&str, usize, &[usize]); 3] = [
    ("no-handshake", 0, &[797, 1821, 3869, 7965, 16_157, 32_541]),
    ("short-handshake", 2428, &[1441, 5537, 13_729, 30_113]),
    ("long-handshake", 4060, &[3905, 12_097, 28_481]),
];

pub(super) fn make(files: &mut Files) {
    for (name, handshake, edges) in EDGES {
        let mut talk = Talk::new(&format!("padding {name}"), Detail::Little);
        if handshake == 0 {
            talk.begin_confirmed();
        } else {
            let devices = if handshake == 2428 { 1 } else { 5 };
            talk.person_with("alice", devices, 0);
            let bob = talk.person("bob");
            talk.link("link");
            talk.bundle("bundle", "link", "one-time");
            let step = talk.initiate_step("alice", "bundle", &bob);
            talk.step(step);
        }
        let contents = [0, 1].into_iter().chain(edges.iter().flat_map(|edge| [*edge, edge + 1]));
        for content in contents.chain([61_249]) {
            let repeated = json!({ "repeat": "70", "count": content });
            let envelope =
                talk.seal_value("alice", if content == 0 { json!("") } else { repeated });
            let length = talk.world.envelope(&envelope).unwrap().len();
            assert_eq!(length, bucket(content, handshake), "{name} {content}");
            if handshake == 0 {
                talk.open("bob", &envelope);
            } else {
                talk.receive(&envelope);
            }
        }
        let says = "The smallest and the largest content of every bucket.";
        talk.valid(files, &about(FAMILY, name, &["07 §1", "07 §3"], says));
    }
}
