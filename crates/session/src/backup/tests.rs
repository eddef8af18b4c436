//! Backups that are cut, altered, lengthened, of other versions and under other keys.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use core::convert::Infallible;

use proptest::prelude::*;
use undertone_core::bounds::BACKUP_CHUNK;
use undertone_core::rand_core::{TryCryptoRng, TryRng};
use undertone_core::{BackupSealer, SEALED_BACKUP_CHUNK, backup_head_check};
use zeroize::Zeroizing;

use super::record::Kind;
use super::*;
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::message::{Direction, FileInfo, MessageKind, MessageState};

/// Counts: enough where nothing has to be unpredictable.
struct Count(u8);

impl TryRng for Count {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for Count {}

fn key(seed: u8) -> RecoveryKey {
    RecoveryKey::generate(&mut Count(seed))
}

fn message(place: u64, kind: MessageKind, state: MessageState) -> MessageRecord {
    let direction = match state {
        MessageState::Received => Direction::Incoming,
        _ => Direction::Outgoing,
    };
    MessageRecord {
        place,
        contact: ContactId::new(9),
        id: MessageId::from_bytes([3; 16]),
        sent_at: UnixMillis::new(1_700_000_000_123),
        direction,
        state,
        kind,
        edited_at: 0,
        timer: 0,
        erase_at: None,
        reactions: Vec::new(),
    }
}

fn text(seq: u64, length: usize) -> Record {
    let kind = MessageKind::Text { text: "a".repeat(length) };
    Record(Kind::Message(Box::new(message(seq, kind, MessageState::Received))))
}

fn backup(records: &[Record]) -> Vec<u8> {
    let mut writer = BackupWriter::begin(Vec::new(), &key(1), &mut Count(77)).unwrap();
    for record in records {
        writer.write(record).unwrap();
    }
    writer.finish().unwrap()
}

/// All records, as they are written.
fn read_with(bytes: &[u8], key: &RecoveryKey) -> Result<Vec<Zeroizing<Vec<u8>>>, BackupError> {
    let mut reader = BackupReader::open(bytes, key)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push(record.frame()?);
    }
    assert!(reader.next_record()?.is_none(), "the end is the end");
    assert_eq!(reader.read(), u64::try_from(bytes.len()).unwrap());
    Ok(records)
}

fn read(bytes: &[u8]) -> Result<usize, BackupError> {
    read_with(bytes, &key(1)).map(|records| records.len())
}

/// Three chunks of messages, and where they end.
fn long() -> (Vec<u8>, usize) {
    let records: Vec<_> = (1..=4).map(|seq| text(seq, 40_000)).collect();
    let bytes = backup(&records);
    let chunks = (bytes.len() - HEAD) / SEALED_BACKUP_CHUNK;
    assert_eq!(bytes.len(), HEAD + chunks * SEALED_BACKUP_CHUNK);
    assert_eq!(chunks, 3);
    (bytes, chunks)
}

/// A backup of this plaintext, whatever it is.
fn of_plaintext(plain: &[u8]) -> Vec<u8> {
    let mut sealer = BackupSealer::new(key(1).secret(), BACKUP_VERSION, &mut Count(5));
    let mut bytes = backup(&[])[..10].to_vec();
    bytes.extend(sealer.salt());
    bytes.extend(sealer.commitment());
    bytes.extend(backup_head_check(&bytes));
    let mut padded = plain.to_vec();
    padded.resize(plain.len().div_ceil(BACKUP_CHUNK).max(1) * BACKUP_CHUNK, 0);
    let (others, last) = padded.split_last_chunk::<BACKUP_CHUNK>().unwrap();
    for chunk in others.chunks(BACKUP_CHUNK) {
        bytes.extend(sealer.seal(chunk.try_into().unwrap()).unwrap());
    }
    bytes.extend(sealer.finish(last).unwrap());
    bytes
}

#[test]
fn records_come_back_in_order_over_the_borders_of_chunks() {
    for lengths in [&[][..], &[1], &[40_000; 4], &[1; 500], &[49_152, 0, 49_152]] {
        let records: Vec<_> = (1..).zip(lengths).map(|(seq, length)| text(seq, *length)).collect();
        let found = read_with(&backup(&records), &key(1)).unwrap();
        let wrote: Vec<_> = records.iter().map(|record| record.frame().unwrap()).collect();
        assert!(found == wrote, "{lengths:?}");
    }
}

#[test]
fn every_kind_and_state_of_a_message_survives() {
    let file = FileInfo {
        name: "plan.pdf".into(),
        size: 7,
        media_type: "application/pdf".into(),
        path: None,
        caption: "the plan".into(),
    };
    let kinds = [
        MessageKind::Deleted,
        MessageKind::Text { text: "hi".into() },
        MessageKind::File(file),
        MessageKind::Custom { name: "org.example.x".into(), payload: vec![1, 2] },
        MessageKind::Unknown { kind: 999, payload: vec![3] },
    ];
    let states = [
        MessageState::Queued,
        MessageState::Accepted,
        MessageState::Delivered,
        MessageState::Read,
        MessageState::Expired,
        MessageState::Failed { reason: "no".into() },
        MessageState::Received,
    ];
    for kind in kinds {
        for state in &states {
            let mut wrote = message(5, kind.clone(), state.clone());
            wrote.reactions = vec![
                ReactionRecord { by: Direction::Outgoing, at: 5, emoji: String::new() },
                ReactionRecord { by: Direction::Incoming, at: 7, emoji: "👍".into() },
            ];
            (wrote.edited_at, wrote.timer, wrote.erase_at) = (8, 60, Some(9));
            let bytes = backup(&[Record(Kind::Message(Box::new(wrote.clone())))]);
            let mut reader = BackupReader::open(&bytes[..], &key(1)).unwrap();
            let Some(Record(Kind::Message(found))) = reader.next_record().unwrap() else {
                panic!("no message");
            };
            assert_eq!(*found, wrote);
        }
    }
}

#[test]
fn r_1403_what_is_no_backup() {
    for bytes in [&b""[..], b"UTBACKU", b"PK\x03\x04 a zip file of some length, and more of it"] {
        assert_eq!(read(bytes), Err(BackupError::NotABackup));
    }
}

#[test]
fn r_1404_a_damaged_head() {
    let whole = backup(&[text(1, 5)]);
    for at in 8..HEAD {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        assert_eq!(read(&bytes), Err(BackupError::HeadDamaged), "byte {at}");
    }
}

fn with_version(version: u16) -> Vec<u8> {
    let mut bytes = backup(&[text(1, 5)]);
    bytes[8..10].copy_from_slice(&version.to_be_bytes());
    let check = backup_head_check(&bytes[..HEAD - 8]);
    bytes[HEAD - 8..HEAD].copy_from_slice(&check);
    bytes
}

#[test]
fn r_1405_a_newer_version_is_told_before_anything_else() {
    assert_eq!(read(&with_version(2)), Err(BackupError::TooNew { found: 2 }));
    // Never written.
    assert_eq!(read(&with_version(0)), Err(BackupError::HeadDamaged));
    let other = read_with(&with_version(2), &key(2)).unwrap_err();
    assert_eq!(other, BackupError::TooNew { found: 2 });
}

#[test]
fn r_1406_another_key_is_told_from_damage() {
    let (mut bytes, _) = long();
    assert_eq!(read_with(&bytes, &key(2)).unwrap_err(), BackupError::WrongKey);
    bytes[HEAD] ^= 1;
    assert_eq!(read_with(&bytes, &key(2)).unwrap_err(), BackupError::WrongKey);
}

#[test]
fn r_1407_a_backup_that_is_cut_anywhere() {
    let (bytes, chunks) = long();
    let borders = (0..chunks).map(|chunk| HEAD + chunk * SEALED_BACKUP_CHUNK);
    let mut ends: Vec<usize> = (8..HEAD).collect();
    ends.extend(borders.flat_map(|at| [at, at + 1, at + 40_000, at + SEALED_BACKUP_CHUNK - 1]));
    for end in ends {
        assert_eq!(read(&bytes[..end]), Err(BackupError::Truncated), "at {end}");
    }
}

#[test]
fn r_1408_an_altered_chunk_and_one_that_was_moved() {
    let (bytes, _) = long();
    for at in [0, 1, SEALED_BACKUP_CHUNK - 1, SEALED_BACKUP_CHUNK, 3 * SEALED_BACKUP_CHUNK - 1] {
        let mut altered = bytes.clone();
        altered[HEAD + at] ^= 0x10;
        let chunk = u32::try_from(at / SEALED_BACKUP_CHUNK).unwrap();
        assert_eq!(read(&altered), Err(BackupError::Damaged { chunk }));
    }
    let mut moved = bytes[..HEAD].to_vec();
    for chunk in [1, 0, 2] {
        let at = HEAD + chunk * SEALED_BACKUP_CHUNK;
        moved.extend_from_slice(&bytes[at..at + SEALED_BACKUP_CHUNK]);
    }
    assert_eq!(read(&moved), Err(BackupError::Damaged { chunk: 0 }));
}

#[test]
fn r_1409_what_stands_behind_the_end() {
    let (bytes, _) = long();
    for behind in [&[0][..], &[7; 100], &bytes[HEAD..HEAD + SEALED_BACKUP_CHUNK]] {
        assert_eq!(read(&[&bytes, behind].concat()), Err(BackupError::Surplus));
    }
}

#[test]
fn r_1410_whole_backups_with_broken_layouts() {
    let end = |count: u8| vec![255, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, count];
    let record = text(1, 5).frame().unwrap().to_vec();
    let mut longer = record.clone();
    longer[4] += 1;
    longer.push(0);
    let mut shorter = record.clone();
    shorter[4] -= 1;
    shorter.pop();
    let huge = [&[8][..], &u32::MAX.to_be_bytes()].concat();
    let relay = [&[2, 0, 0, 0, 33, 0][..], &[1; 32]].concat();
    for (plain, what) in [
        (vec![], "no known type"),
        (vec![9, 0, 0, 0, 0], "no known type"),
        (huge, "too long"),
        ([&longer[..], &end(1)].concat(), "layout"),
        ([&shorter[..], &end(1)].concat(), "layout"),
        ([&record[..], &end(0)].concat(), "all its records"),
        ([&record[..], &end(2)].concat(), "all its records"),
        ([&record[..], &relay, &end(2)].concat(), "in order"),
        ([&record[..], &end(1), &[0, 1]].concat(), "padding"),
        ([&end(0)[..], &end(0)].concat(), "padding"),
    ] {
        match read(&of_plaintext(&plain)) {
            Err(BackupError::Malformed { what: found }) => assert!(found.contains(what), "{found}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    // A whole chunk of records, and no end.
    let endless = record.repeat(BACKUP_CHUNK / record.len() + 1);
    let refused = read(&of_plaintext(&endless[..BACKUP_CHUNK])).unwrap_err();
    assert_eq!(refused, BackupError::Malformed { what: "it has no end" });
    assert_eq!(refused.code(), "R-1410");
}

#[test]
fn sizes_say_little() {
    let chunks = |messages: u64| {
        let records: Vec<_> = (1..=messages).map(|seq| text(seq, 40_000)).collect();
        (backup(&records).len() - HEAD) / SEALED_BACKUP_CHUNK
    };
    // 640,000 and 680,000 bytes: Padmé makes 11 of 10 chunks.
    assert_eq!((chunks(16), chunks(17)), (10, 11));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&[&MAGIC[..], &bytes].concat());
        // As if they had been sealed by whoever has the key.
        let _ = read(&of_plaintext(&bytes));
        for kind in 1..9 {
            let _ = Record::decode(kind, &bytes);
        }
    }
}
