//! Searches what the relay has for what it must not have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use undertone_relay::operator::StoreDump;

use super::needle::{Class, Needle, Place, SHORTEST};

/// A stored field of up to this size is structured, a longer one is ciphertext: the four raw bytes
/// of an address are searched in the former only, since in random bytes they turn up by chance.
const STRUCTURED: usize = 128;

/// All needles in all forms.
pub(super) struct Search {
    /// Label and class of each needle.
    needles: Vec<(String, Class)>,
    /// Needle and form of each pattern.
    patterns: Vec<(usize, &'static str)>,
    automaton: AhoCorasick,
    octets: Option<AhoCorasick>,
    /// What is too short to be searched for.
    too_short: Vec<String>,
}

/// What was found.
#[derive(Default)]
pub(super) struct Findings {
    /// What must not be where it is, each once.
    pub(super) leaks: BTreeSet<Leak>,
    /// Where the canary that was planted there was found.
    pub(super) canaries: BTreeSet<Place>,
    /// Bytes searched.
    pub(super) bytes: BTreeMap<Place, u64>,
}

/// Something that the relay must not have, and does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Leak {
    pub(super) place: Place,
    /// Which row, file or field.
    pub(super) at: String,
    pub(super) class: &'static str,
    pub(super) label: String,
    pub(super) form: &'static str,
}

impl Search {
    /// Prepares the search. Needles that are too short to mean anything are left out, and counted.
    pub(super) fn new(all: &[Needle], clients: &[IpAddr]) -> Result<Self, String> {
        let (mut needles, mut too_short) = (Vec::new(), Vec::new());
        let (mut patterns, mut bytes) = (Vec::new(), Vec::new());
        // The same key is listed again each time that it is met.
        let mut known = BTreeSet::new();
        for needle in all.iter().filter(|needle| known.insert(needle.bytes.as_slice())) {
            if needle.bytes.len() < SHORTEST {
                too_short.push(needle.label.clone());
                continue;
            }
            for (form, pattern) in needle.patterns() {
                patterns.push((needles.len(), form));
                bytes.push(pattern);
            }
            needles.push((needle.label.clone(), needle.class));
        }
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .match_kind(MatchKind::Standard)
            .build(bytes.iter().map(|pattern| pattern.as_slice()))
            .map_err(|error| format!("the search can't be prepared: {error}"))?;
        let octets: Vec<[u8; 4]> = clients
            .iter()
            .filter_map(|address| match address {
                IpAddr::V4(address) => Some(address.octets()),
                IpAddr::V6(_) => None,
            })
            .collect();
        let octets = if octets.is_empty() {
            None
        } else {
            let built = AhoCorasick::new(octets);
            Some(built.map_err(|error| format!("the search can't be prepared: {error}"))?)
        };
        Ok(Self { needles, patterns, automaton, octets, too_short })
    }

    /// How many different needles of a class are searched for.
    pub(super) fn count(&self, class: Class) -> usize {
        self.needles.iter().filter(|(_, of)| *of == class).count()
    }

    pub(super) fn patterns(&self) -> usize {
        self.patterns.len()
    }

    /// What could not be searched for, since it is so short that it turns up by chance.
    pub(super) fn too_short(&self) -> &[String] {
        &self.too_short
    }

    /// Searches stored rows, each field by itself.
    pub(super) fn rows(&self, dump: &StoreDump, findings: &mut Findings) -> Result<(), String> {
        for table in &dump.tables {
            for row in &table.rows {
                for field in &row.fields {
                    let at = format!("{}/{}/{}", table.file, table.name, field.name);
                    self.stream(Place::Rows, &at, field.bytes.as_slice(), findings)?;
                    self.structured(Place::Rows, &at, &field.bytes, findings);
                }
            }
        }
        Ok(())
    }

    /// Searches a directory: every file's bytes, and the names.
    pub(super) fn directory(
        &self,
        place: Place,
        directory: &Path,
        findings: &mut Findings,
    ) -> Result<(), String> {
        let entries = fs::read_dir(directory).map_err(|error| unreadable(directory, &error))?;
        for entry in entries {
            let path = entry.map_err(|error| unreadable(directory, &error))?.path();
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            self.stream(place, "a file's name", name, findings)?;
            if path.is_dir() {
                self.directory(place, &path, findings)?;
            } else {
                self.file(place, &path, findings)?;
            }
        }
        Ok(())
    }

    /// Searches a file.
    pub(super) fn file(
        &self,
        place: Place,
        path: &Path,
        findings: &mut Findings,
    ) -> Result<(), String> {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.stream(place, &name, file, findings)
    }

    fn stream(
        &self,
        place: Place,
        at: &str,
        source: impl Read,
        findings: &mut Findings,
    ) -> Result<(), String> {
        let mut source = Counted { source, bytes: 0 };
        for found in self.automaton.stream_find_iter(&mut source) {
            let found = found.map_err(|error| format!("{at} can't be searched: {error}"))?;
            let pattern = self.patterns.get(found.pattern().as_usize());
            let Some((needle, form)) =
                pattern.and_then(|(index, form)| Some((self.needles.get(*index)?, *form)))
            else {
                continue;
            };
            self.found(needle, form, place, at, findings);
        }
        *findings.bytes.entry(place).or_default() += source.bytes;
        Ok(())
    }

    fn found(
        &self,
        (label, class): &(String, Class),
        form: &'static str,
        place: Place,
        at: &str,
        findings: &mut Findings,
    ) {
        if *class == Class::Canary(place) {
            findings.canaries.insert(place);
        }
        if !class.allowed_in(place) {
            findings.leaks.insert(Leak {
                place,
                at: at.to_owned(),
                class: class.name(),
                label: label.clone(),
                form,
            });
        }
    }

    fn structured(&self, place: Place, at: &str, bytes: &[u8], findings: &mut Findings) {
        let Some(octets) = self.octets.as_ref().filter(|_| bytes.len() <= STRUCTURED) else {
            return;
        };
        if octets.is_match(bytes) {
            findings.leaks.insert(Leak {
                place,
                at: at.to_owned(),
                class: Class::Address.name(),
                label: "a client's address, four bytes".into(),
                form: "raw",
            });
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{} can't be searched: {error}", path.display())
}

/// Counts what goes through.
struct Counted<R> {
    source: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(into)?;
        self.bytes = self.bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::net::Ipv4Addr;

    use undertone_relay::operator::{Field, Record, Table};

    use super::*;

    fn search() -> Search {
        let needles = vec![
            Needle::new("key", Class::Secret, [7; 32]),
            Needle::new("capability", Class::Capability, [8; 32]),
            Needle::new("canary", Class::Canary(Place::Log), [9; 32]),
            Needle::new("short", Class::Name, *b"bob"),
        ];
        Search::new(&needles, &[IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))]).unwrap()
    }

    #[test]
    fn a_leak_is_found_across_the_pieces_of_a_stream() {
        let search = search();
        assert_eq!(search.too_short(), ["short"]);
        let mut bytes = vec![0; 1 << 20];
        bytes.extend_from_slice(&[7; 32]);
        // One byte at a time: no buffer ends where a pattern ends.
        struct Slowly<'a>(&'a [u8]);
        impl Read for Slowly<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let length = 4093.min(into.len());
                self.0.read(into.get_mut(..length).unwrap())
            }
        }
        let mut findings = Findings::default();
        search.stream(Place::Files, "f", Slowly(&bytes), &mut findings).unwrap();
        assert_eq!(findings.leaks.len(), 1);
        assert_eq!(findings.bytes.get(&Place::Files), Some(&((1 << 20) + 32)));
    }

    #[test]
    fn capabilities_may_travel_and_must_not_be_stored() {
        let search = search();
        let mut findings = Findings::default();
        search.stream(Place::Frames, "f", [8; 40].as_slice(), &mut findings).unwrap();
        assert!(findings.leaks.is_empty());
        search.stream(Place::Rows, "r", [8; 40].as_slice(), &mut findings).unwrap();
        assert_eq!(findings.leaks.len(), 1);
    }

    #[test]
    fn a_canary_counts_where_it_was_planted() {
        let search = search();
        let mut findings = Findings::default();
        search.stream(Place::Rows, "r", [9; 32].as_slice(), &mut findings).unwrap();
        assert!(findings.canaries.is_empty());
        let logged = data_encoding::HEXLOWER.encode(&[9; 32]);
        search.stream(Place::Log, "l", logged.as_bytes(), &mut findings).unwrap();
        assert!(findings.canaries.contains(&Place::Log) && findings.leaks.is_empty());
    }

    #[test]
    fn four_bytes_of_an_address_in_a_short_field() {
        let field = |bytes: Vec<u8>| Field { name: "x".into(), bytes, is_text: false };
        let dump = |bytes| StoreDump {
            tables: vec![Table {
                file: "f".into(),
                name: "t".into(),
                columns: vec!["x".into()],
                count: 1,
                rows: vec![Record { fields: vec![field(bytes)] }],
            }],
        };
        let mut findings = Findings::default();
        search().rows(&dump(vec![1, 127, 0, 0, 3]), &mut findings).unwrap();
        assert!(findings.leaks.is_empty());
        search().rows(&dump(vec![1, 127, 0, 0, 2]), &mut findings).unwrap();
        assert_eq!(findings.leaks.len(), 1);
    }
}
