//! Backups: any bytes as a file, and any bytes as the records of one that is whole and under the right
//! key, which whoever has the key can make.

use undertone_core::bounds::BACKUP_CHUNK;
use undertone_core::{BackupSealer, BackupSecret, ChunkPlace};
use undertone_session::backup::{BackupReader, BackupWriter, RecoveryKey};
use undertone_session::engine::{EngineError, Export, Restored, Restorer};

use super::people::{NOW, Person, Rng, Shared};
use super::relay::Relay;
use super::rows::probe;

const KEY_SEED: u64 = 5;

/// Magic, version, salt, commitment, check.
const HEAD: usize = 82;

pub fn key() -> RecoveryKey {
    RecoveryKey::generate(&mut Rng::new(KEY_SEED))
}

fn cipher(head: &[u8]) -> undertone_core::BackupCipher {
    let secret = BackupSecret::generate(&mut Rng::new(KEY_SEED));
    secret.cipher(u16::from_be_bytes([head[8], head[9]]), head[10..42].try_into().unwrap())
}

/// A backup of this plaintext, whatever it is.
pub fn of_plaintext(plain: &[u8]) -> Vec<u8> {
    let empty =
        BackupWriter::begin(Vec::new(), &key(), &mut Rng::new(6)).unwrap().finish().unwrap();
    let secret = BackupSecret::generate(&mut Rng::new(KEY_SEED));
    let version = u16::from_be_bytes([empty[8], empty[9]]);
    let mut sealer = BackupSealer::new(&secret, version, &mut Rng::new(6));
    let mut bytes = empty[..HEAD].to_vec();
    assert_eq!(bytes[10..42], *sealer.salt());
    let mut padded = plain.to_vec();
    padded.resize(plain.len().div_ceil(BACKUP_CHUNK).max(1) * BACKUP_CHUNK, 0);
    let (others, last) = padded.split_last_chunk::<BACKUP_CHUNK>().unwrap();
    for chunk in others.chunks(BACKUP_CHUNK) {
        bytes.extend(sealer.seal(chunk.try_into().unwrap()).unwrap());
    }
    bytes.extend(sealer.finish(last).unwrap());
    bytes
}

/// The plaintext of a backup of one chunk, without the zeros at its end.
pub fn plaintext(backup: &[u8]) -> Vec<u8> {
    let plain = cipher(backup).open(ChunkPlace::Last(0), &backup[HEAD..]).unwrap();
    let end = plain.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    plain[..end].to_vec()
}

/// The backup of a profile.
pub fn export(person: &mut Person) -> Vec<u8> {
    let mut writer = BackupWriter::begin(Vec::new(), &key(), &mut Rng::new(8)).unwrap();
    let mut export = Export::begin();
    while let Some(records) = person.export(&mut export, NOW).unwrap() {
        for record in records {
            writer.write(&record).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn restore(backup: &[u8]) -> Result<(Person, Restored), EngineError> {
    let mut reader = BackupReader::open(backup, &key())?;
    let mut restorer = Restorer::new(Shared::default(), Rng::new(9), NOW);
    while let Some(record) = reader.next_record()? {
        restorer.put(vec![record])?;
    }
    restorer.finish()
}

pub fn backups(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    if kind % 4 == 0 {
        assert!(restore(rest).is_err(), "a backup that nobody with the key has made");
        return;
    }
    if rest.len() > 2 * BACKUP_CHUNK {
        return;
    }
    let Ok((mut person, restored)) = restore(&of_plaintext(rest)) else { return };
    // What was taken is a profile like any other, and makes a backup that says the same.
    let (_, again) = restore(&export(&mut person)).unwrap();
    assert_eq!((again.contacts, again.messages), (restored.contacts, restored.messages));
    probe(&mut person, &mut Relay::default());
}
