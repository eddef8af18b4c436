//! Backups (14).

use serde_json::{Value, json};
use undertone_core::{BackupSealer, BackupSecret, backup_head_check};
use undertone_session::backup::{BackupError, BackupReader, Record, RecoveryKey, RecoveryKeyError};
use undertone_session::engine::{EngineError, Restorer};
use undertone_session::ids::UnixMillis;
use undertone_session::store::MemoryStore;

use crate::stream::{Draws, Stream};
use crate::value::{Args, hex};
use crate::{Fail, Outcome, prim};

/// Bytes in front of the chunks.
const HEAD: usize = 82;
/// Bytes of records in a chunk, and of a sealed one.
const CHUNK: usize = 65_536;
const SEALED: usize = CHUNK + 16;

pub(super) fn run(op: &str, args: &Args<'_>) -> Option<Outcome<Value>> {
    Some(match op {
        "recovery-key-write" => write(args),
        "recovery-key-read" => read(args),
        "backup-write" => seal(args),
        "backup-read" => open(args),
        "backup-restore" => restore(args),
        _ => return None,
    })
}

fn key(secret: Vec<u8>) -> Outcome<RecoveryKey> {
    let mut draws = Draws::list(vec![secret]);
    let key = RecoveryKey::generate(&mut draws);
    draws.finish()?;
    Ok(key)
}

fn write(args: &Args<'_>) -> Outcome<Value> {
    Ok(json!({ "text": *key(args.hex("secret")?)?.to_text() }))
}

fn read(args: &Args<'_>) -> Outcome<Value> {
    let key: RecoveryKey = args
        .text("text")?
        .parse()
        .map_err(|error: RecoveryKeyError| Fail::refused(error.code()))?;
    Ok(json!({ "text": *key.to_text() }))
}

const fn nonce(index: u32, last: bool) -> [u8; 12] {
    let [a, b, c, d] = index.to_be_bytes();
    [0, 0, 0, 0, 0, 0, 0, a, b, c, d, last as u8]
}

/// The records, padded to whole chunks.
fn padded(mut records: Vec<u8>) -> Vec<u8> {
    let count = records.len().div_ceil(CHUNK).max(1);
    records.resize(count.saturating_mul(CHUNK), 0);
    records
}

/// The file that the text describes for these records.
fn sealed(args: &Args<'_>) -> Outcome<Vec<u8>> {
    let (secret, salt) = (args.hex("secret")?, args.hex("salt")?);
    let version = u16::try_from(args.number("version")?).map_err(|_| Fail::wrong("a version"))?;
    let version = version.to_be_bytes();
    let prk = prim::extract(&salt, &secret);
    let [commitment] = prim::keys(&prk, "backup commitment", &[&version])?;
    let [chunks] = prim::keys(&prk, "backup chunks", &[&version])?;
    let mut out = [&b"UTBACKUP"[..], &version, &salt, &commitment].concat();
    let check: [u8; 8] = prim::first(&prim::hash("backup head", &[&out]));
    out.extend(check);
    let records = padded(args.bytes("records")?);
    let mut rest = records.chunks(CHUNK).peekable();
    for index in 0..=u32::MAX {
        let Some(chunk) = rest.next() else { break };
        let nonce = nonce(index, rest.peek().is_none());
        out.extend(prim::seal(&chunks, &nonce, &[], chunk)?);
    }
    super::files::edit(out, args.list("edits")?, HEAD, SEALED)
}

/// What the core makes of these records, with what comes from the secret on the way.
fn seal(args: &Args<'_>) -> Outcome<Value> {
    const VERSION: [u8; 2] = [0, 1];
    let (secret, salt): ([u8; 32], [u8; 32]) = (args.array("secret")?, args.array("salt")?);
    let mut draws = Draws::list(vec![salt.to_vec()]);
    let mut sealer = BackupSealer::new(&BackupSecret::from_bytes(&secret), 1, &mut draws);
    draws.finish()?;
    let commitment = *sealer.commitment();
    let mut out = [&b"UTBACKUP"[..], &VERSION, sealer.salt(), &commitment].concat();
    out.extend(backup_head_check(&out));
    let head = out.clone();
    let records = padded(args.bytes("records")?);
    let (last, others) = records.as_chunks::<CHUNK>().0.split_last().ok_or_else(too_long)?;
    let mut sealed = Vec::new();
    for chunk in others {
        sealed.push(sealer.seal(chunk).ok_or_else(too_long)?);
    }
    sealed.push(sealer.finish(last).ok_or_else(too_long)?);
    let mut chunks = Vec::new();
    for (index, bytes) in (0..).zip(&sealed) {
        let (Some(begins), Some(tag)) = (bytes.first_chunk::<16>(), bytes.last_chunk::<16>())
        else {
            return Err(Fail::wrong("a chunk that is none"));
        };
        let nonce = nonce(index, chunks.len() + 1 == sealed.len());
        chunks.push(json!({ "nonce": hex(&nonce), "begins": hex(begins), "tag": hex(tag) }));
        out.extend(bytes);
    }
    let prk = prim::extract(&salt, &secret);
    let [chunk_key] = prim::keys(&prk, "backup chunks", &[&VERSION])?;
    Ok(json!({
        "prk": hex(&prk),
        "commitment": hex(&commitment),
        "chunk_key": hex(&chunk_key),
        "head": hex(&head),
        "chunks": chunks,
        "file": hex(&out),
    }))
}

fn too_long() -> Fail {
    Fail::wrong("more or fewer chunks than a backup has")
}

fn refused(error: BackupError) -> Fail {
    Fail::refused(error.code())
}

/// Every record of the file, as it is read.
fn each(args: &Args<'_>, mut see: impl FnMut(Record) -> Outcome<()>) -> Outcome<()> {
    let file = sealed(&Args::of(args.get("file")?)?)?;
    let key = key(args.hex("secret")?)?;
    let mut reader = BackupReader::open(file.as_slice(), &key).map_err(refused)?;
    while let Some(record) = reader.next_record().map_err(refused)? {
        see(record)?;
    }
    Ok(())
}

fn open(args: &Args<'_>) -> Outcome<Value> {
    let (mut records, mut contacts, mut messages, mut made) = (0u64, 0u64, 0u64, 0);
    each(args, |record| {
        records = records.saturating_add(1);
        contacts = contacts.saturating_add(record.is_contact().into());
        messages = messages.saturating_add(record.is_message().into());
        made = record.made().map_or(made, UnixMillis::get);
        Ok(())
    })?;
    Ok(json!({ "records": records, "contacts": contacts, "messages": messages, "made": made }))
}

/// The records as a new device takes them. What it draws shows in none of the results.
fn restore(args: &Args<'_>) -> Outcome<Value> {
    let now = UnixMillis::new(args.number("now")?);
    let draws = Draws::stream(Stream::named("a restored device"));
    let mut restorer = Restorer::new(MemoryStore::new(), draws, now);
    let failed = |error: EngineError| match error {
        EngineError::Backup(error) => refused(error),
        EngineError::Identity(error) => Fail::refused(error.code()),
        other => Fail::wrong(other.to_string()),
    };
    each(args, |record| restorer.put(vec![record]).map_err(failed))?;
    let (engine, restored) = restorer.finish().map_err(failed)?;
    drop(engine);
    Ok(json!({
        "contacts": restored.contacts,
        "messages": restored.messages,
        "pending": restored.pending,
        "made": restored.made.get(),
    }))
}
