//! What a disk may hold after the power failed, from a record of what was asked of it.
//!
//! Only what was synced is certain. Of what was written to a file since it was last synced, any part
//! may be there, in any order, and the last write of it torn; of the names that were made, changed or
//! removed in a directory since that was last synced, those up to some moment.

use std::collections::BTreeMap;
use std::path::Path;

/// What was asked of the disk, or noted.
pub(super) enum Operation {
    Write {
        path: String,
        offset: usize,
        data: Vec<u8>,
    },
    Truncate {
        path: String,
        length: usize,
    },
    Sync {
        path: String,
    },
    SyncDirectory {
        path: String,
    },
    Create {
        path: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Unlink {
        path: String,
    },
    /// A line that the process wrote to say what it was about to do, or had answered.
    Note(String),
}

/// Reads a record, as `tests/disk/shim.c` writes it.
pub(super) fn parse(mut log: &[u8]) -> Vec<Operation> {
    let mut operations = Vec::new();
    while let Some((kind, rest)) = log.split_first() {
        let (size, rest) = number::<4>(rest);
        let (path, rest) = rest.split_at(size);
        let (offset, rest) = number::<8>(rest);
        let (length, rest) = number::<8>(rest);
        let (data, rest) = rest.split_at(length);
        log = rest;
        let path = String::from_utf8(path.to_vec()).unwrap();
        // The index of a WAL is made anew by the first who opens it after a crash.
        if path.ends_with("-shm") {
            continue;
        }
        operations.push(match kind {
            b'W' => Operation::Write { path, offset, data: data.to_vec() },
            b'T' => Operation::Truncate { path, length: offset },
            b'F' => Operation::Sync { path },
            b'D' => Operation::SyncDirectory { path },
            b'C' => Operation::Create { path },
            b'R' => Operation::Rename { from: path, to: String::from_utf8(data.to_vec()).unwrap() },
            b'U' => Operation::Unlink { path },
            b'M' => continue,
            b'N' => {
                let text = String::from_utf8(data.to_vec()).unwrap();
                operations.extend(text.lines().map(|line| Operation::Note(line.to_owned())));
                continue;
            }
            other => panic!("an unknown record: {other}"),
        });
    }
    operations
}

fn number<const N: usize>(bytes: &[u8]) -> (usize, &[u8]) {
    let (number, rest) = bytes.split_at(N);
    let mut whole = [0; 8];
    whole[..N].copy_from_slice(number);
    (usize::try_from(u64::from_le_bytes(whole)).unwrap(), rest)
}

/// A small generator, so that every run is the same.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

/// What the disk keeps of what was not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Luck {
    Nothing,
    Everything,
    /// Some of it.
    Some(u64),
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Default)]
struct File {
    synced: Vec<u8>,
    since: Vec<Change>,
}

enum Naming {
    Link(String, usize),
    Rename(String, String),
    Unlink(String),
}

/// A disk, as far as it is known.
#[derive(Default)]
pub(super) struct Disk {
    files: Vec<File>,
    /// Names as the process sees them.
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    since: Vec<Naming>,
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, data) => {
            let end = offset + data.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*offset..end].copy_from_slice(data);
        }
        Change::Truncate(length) => content.resize(*length, 0),
    }
}

fn rename(names: &mut BTreeMap<String, usize>, naming: &Naming) {
    match naming {
        Naming::Link(name, file) => {
            names.insert(name.clone(), *file);
        }
        Naming::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Naming::Unlink(name) => {
            names.remove(name);
        }
    }
}

impl Disk {
    fn file(&mut self, path: &str) -> &mut File {
        let file = *self.names.get(path).unwrap_or_else(|| panic!("{path} was never made"));
        &mut self.files[file]
    }

    fn name(&mut self, naming: Naming) {
        rename(&mut self.names, &naming);
        self.since.push(naming);
    }

    /// Does what the process asked for.
    pub(super) fn perform(&mut self, operation: &Operation) {
        match operation {
            Operation::Write { path, offset, data } => {
                self.file(path).since.push(Change::Write(*offset, data.clone()));
            }
            Operation::Truncate { path, length } => {
                self.file(path).since.push(Change::Truncate(*length));
            }
            Operation::Sync { path } => {
                let file = self.file(path);
                for change in std::mem::take(&mut file.since) {
                    apply(&mut file.synced, &change);
                }
            }
            // One directory is all that these disks have.
            Operation::SyncDirectory { .. } => {
                for naming in std::mem::take(&mut self.since) {
                    rename(&mut self.synced_names, &naming);
                }
            }
            Operation::Create { path } => {
                self.files.push(File::default());
                let file = self.files.len() - 1;
                self.name(Naming::Link(path.clone(), file));
            }
            Operation::Rename { from, to } => self.name(Naming::Rename(from.clone(), to.clone())),
            Operation::Unlink { path } => self.name(Naming::Unlink(path.clone())),
            Operation::Note(_) => {}
        }
    }

    /// Writes, into a directory, what may be there if the power fails now.
    pub(super) fn fail(&self, luck: Luck, directory: &Path) {
        let mut random = Random(match luck {
            Luck::Some(seed) => seed,
            _ => 0,
        });
        let mut names = self.synced_names.clone();
        let kept = match luck {
            Luck::Nothing => 0,
            Luck::Everything => self.since.len(),
            Luck::Some(_) => random.below(self.since.len() + 1),
        };
        for naming in &self.since[..kept] {
            rename(&mut names, naming);
        }
        for (name, file) in names {
            let file = &self.files[file];
            let mut content = file.synced.clone();
            for change in survivors(&file.since, luck, &mut random) {
                apply(&mut content, &change);
            }
            std::fs::write(directory.join(name), content).unwrap();
        }
    }
}

fn survivors(changes: &[Change], luck: Luck, random: &mut Random) -> Vec<Change> {
    match luck {
        Luck::Nothing => Vec::new(),
        Luck::Everything => changes.to_vec(),
        Luck::Some(_) => {
            let mut kept: Vec<Change> =
                changes.iter().filter(|_| random.below(3) > 0).cloned().collect();
            if let Some(Change::Write(_, data)) = kept.last_mut() {
                let length = random.below(data.len() + 1);
                data.truncate(length);
            }
            kept
        }
    }
}
