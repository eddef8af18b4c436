//! The files in the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::generate;
use crate::generate::write::text;

/// The directory of the package.
pub fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the generated files are.
pub fn vectors() -> PathBuf {
    home().join("vectors")
}

/// Every file that there should be, by its place below `vectors/`; of the
/// accumulated hashes those over at most `longest` conversations.
pub fn made(longest: u64) -> BTreeMap<String, String> {
    let place = |v: &generate::Vector| format!("{}/{}.json", v.family, v.name);
    generate::all(longest).iter().map(|vector| (place(vector), text(&vector.value))).collect()
}

/// The JSON files below a directory, by their places.
///
/// # Errors
/// Those of reading. A directory that is not there has no files.
pub fn found(root: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    if !root.exists() {
        return Ok(out);
    }
    for family in std::fs::read_dir(root)? {
        let family = family?;
        if !family.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(family.path())? {
            let file = file?.path();
            if file.extension().is_some_and(|extension| extension == "json") {
                let place = file.strip_prefix(root).unwrap_or(&file).display().to_string();
                out.insert(place, std::fs::read_to_string(&file)?);
            }
        }
    }
    Ok(out)
}

/// A file's JSON.
///
/// # Errors
/// If it is none.
pub fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// The files that are not what the generator makes, are missing, or are left over.
///
/// # Errors
/// Those of reading.
pub fn differing(longest: u64) -> io::Result<Vec<String>> {
    let (made, found) = (made(longest), found(&vectors())?);
    let places: BTreeSet<&String> = made.keys().chain(found.keys()).collect();
    let looked_at = |place: &&&String| !is_longer(place, longest);
    let differs = |place: &&&String| made.get(**place) != found.get(**place);
    Ok(places.iter().filter(looked_at).filter(differs).map(|place| (*place).clone()).collect())
}

/// Whether a file is an accumulated hash over more conversations.
fn is_longer(place: &str, longest: u64) -> bool {
    let count = place.strip_prefix("random/conversations-");
    let count = count.and_then(|rest| rest.strip_suffix(".json")?.parse::<u64>().ok());
    count.is_some_and(|count| count > longest)
}

/// Writes what differs, and removes what is left over.
///
/// # Errors
/// Those of reading and writing.
pub fn write(longest: u64) -> io::Result<Vec<String>> {
    let (made, root) = (made(longest), vectors());
    let differing = differing(longest)?;
    for place in &differing {
        let path = root.join(place);
        match made.get(place) {
            Some(text) => {
                if let Some(family) = path.parent() {
                    std::fs::create_dir_all(family)?;
                }
                std::fs::write(path, text)?;
            }
            None => std::fs::remove_file(path)?,
        }
    }
    Ok(differing)
}
