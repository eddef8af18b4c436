//! Encrypted files: the opener on edited chunks, and both directions on any
//! length.

use undertone_core::{FileError, FileKey, FileOpener, FileSealer, blob_len, bounds, padded_len};

use super::INSECURE;
use super::edit;
use super::fixture::fixture;
use super::input::Input;
use crate::common::TestRng;

/// A tag's length, and the commitment's.
const TAG: u64 = 16;
const COMMITMENT: u64 = 32;

pub fn file(data: &[u8]) {
    let input = &mut Input::new(data);
    match input.u8() % 3 {
        0 => open_edited(input),
        1 => any_layout(input.u64(), input.u32()),
        _ => there_and_back(u64::from(input.u32() % 140_000), input.u8()),
    }
}

/// A chunk of a real blob with edits, opened in any place under any length.
fn open_edited(input: &mut Input<'_>) {
    let fixture = fixture();
    let key = FileKey::from_bytes(&fixture.file_key);
    let commitment = fixture.file_commitment;
    let from = usize::from(input.u8() & 1);
    let index = u32::from(input.u8() % 4);
    let real = fixture.file_content.len() as u64;
    let len = if input.u8() & 1 == 0 { real } else { u64::from(input.u32()) };
    let chunk = edit::value(&fixture.file_chunks[from], input);
    let opener = FileOpener::new(&key, &commitment, len).unwrap();
    let result = opener.open_chunk(index, &chunk);
    let untouched = chunk == fixture.file_chunks[from] && index as usize == from;
    match result {
        Ok(plain) => {
            let start = from * bounds::FILE_CHUNK;
            assert!(plain.len() <= bounds::FILE_CHUNK);
            assert!(INSECURE || untouched, "an altered chunk opened");
            if untouched && len == real {
                assert_eq!(plain, &fixture.file_content[start..start + plain.len()]);
            }
        }
        Err(error) => assert!(!(untouched && len == real), "{error}"),
    }
    let mut wrong = commitment;
    wrong[0] ^= 1;
    let refused = FileOpener::new(&key, &wrong, len).err();
    assert_eq!(refused, Some(FileError::KeyMismatch));
}

/// Lengths and places agree with each other for every length there is.
fn any_layout(len: u64, index: u32) {
    let sealer = FileSealer::new(len, &mut TestRng::new(6));
    let Some(padded) = padded_len(len) else {
        assert!(len > bounds::MAX_FILE && blob_len(len).is_none());
        assert_eq!(sealer.err(), Some(FileError::TooLong));
        return;
    };
    let (sealer, key) = sealer.unwrap();
    let least = len.max(bounds::MIN_PADDED_FILE);
    assert!(padded >= least && padded - least <= least / 100 * 12 + 12, "{len} {padded}");
    assert_eq!(padded_len(padded).filter(|_| padded <= bounds::MAX_FILE), {
        (padded <= bounds::MAX_FILE).then_some(padded)
    });
    let opener = FileOpener::new(&key, &sealer.commitment(), len).unwrap();
    let chunks = opener.chunks();
    assert_eq!(sealer.remaining_chunks(), chunks);
    let (offset, last) = opener.locate(chunks - 1).unwrap();
    assert_eq!(Some(offset + last as u64), blob_len(len));
    assert_eq!(blob_len(len), Some(COMMITMENT + padded + u64::from(chunks) * TAG));
    assert_eq!(opener.locate(index).is_some(), index < chunks);
    assert!(opener.open_chunk(index, &[0; 40]).is_err());
}

fn there_and_back(len: u64, byte: u8) {
    let content = vec![byte; len as usize];
    let (mut sealer, key) = FileSealer::new(len, &mut TestRng::new(byte.into())).unwrap();
    let opener = FileOpener::new(&key, &sealer.commitment(), len).unwrap();
    let mut rest = &content[..];
    for index in 0..opener.chunks() {
        assert!(sealer.seal_next(&vec![0; sealer.next_len() + 1]).is_err());
        let (now, later) = rest.split_at(sealer.next_len());
        let chunk = sealer.seal_next(now).unwrap();
        assert_eq!(opener.open_chunk(index, &chunk).unwrap(), now);
        rest = later;
    }
    assert!(rest.is_empty());
    assert_eq!(sealer.seal_next(&[]), Err(FileError::NoSuchChunk));
}
