//! The file that is sent.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::needle::{Class, Needle};
use super::step;
use crate::args;
use crate::failure::Failure;

/// What is sent if nothing else is named.
const README: &[u8] = include_bytes!("../../../../README.md");

/// Bytes of the file in one needle.
const PIECE: usize = 48;

/// Different bytes in a piece that is worth searching for: a run of zeros turns up anywhere.
const VARIED: usize = 12;

/// Pieces that are searched for, spread evenly: any of them betrays the file.
const PIECES: u64 = 64;

/// Bytes read at a time.
const BUFFER: usize = 64 * 1024;

/// What identifies a file's content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Content {
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
}

impl Content {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut buffer = vec![0; BUFFER];
        let (mut size, mut hash) = (0_u64, Sha256::new());
        loop {
            let read = file.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            hash.update(bytes);
            size = size.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        }
        Ok(Self { size, sha256: hash.finalize().into() })
    }
}

/// The file that was named, or the README, written below `root`.
pub(super) fn chosen(demo: &args::Demo, root: &Path) -> Result<PathBuf, Failure> {
    if let Some(path) = &demo.file {
        return Ok(path.clone());
    }
    let path = root.join("README.md");
    std::fs::write(&path, README)
        .map_err(|error| step::failed(format!("{} can't be written: {error}", path.display())))?;
    Ok(path)
}

/// Pieces of the file, its hash and its name: what the relay must not have.
pub(super) fn needles(path: &Path, content: &Content) -> io::Result<Vec<Needle>> {
    let mut needles =
        vec![Needle::new("the file's SHA-256", Class::Plaintext, content.sha256.as_slice())];
    if let Some(name) = path.file_name() {
        needles.push(Needle::new("the file's name", Class::Name, name.as_encoded_bytes()));
    }
    let mut file = File::open(path)?;
    let stride = (content.size / PIECES).max(PIECE as u64);
    for index in 0..PIECES {
        let offset = index.saturating_mul(stride);
        file.seek(SeekFrom::Start(offset))?;
        let mut piece = Vec::with_capacity(PIECE);
        (&mut file).take(PIECE as u64).read_to_end(&mut piece)?;
        if piece.iter().collect::<BTreeSet<_>>().len() >= VARIED {
            needles.push(Needle::new(
                format!("the file at byte {offset}"),
                Class::Plaintext,
                piece,
            ));
        }
    }
    Ok(needles)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn pieces_are_spread_and_runs_of_zeros_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.bin");
        let mut bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        bytes.extend_from_slice(&[0; 100_000]);
        std::fs::write(&path, &bytes).unwrap();
        let content = Content::of(&path).unwrap();
        assert_eq!(content.size, 200_000);
        let needles = needles(&path, &content).unwrap();
        // Hash and name, and the pieces of the first half.
        assert_eq!(needles.len(), 2 + 32);
        assert!(needles.iter().all(|needle| needle.bytes.iter().any(|byte| *byte != 0)));
    }
}
