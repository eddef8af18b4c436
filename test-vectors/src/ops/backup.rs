//! Backups (14).

use serde_json::{Value, json};
use undertone_session::backup::{BackupError, BackupReader, RecoveryKey, RecoveryKeyError};

use crate::stream::Draws;
use crate::value::Args;
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
        "backup-read" => open(args),
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
    let mut records = args.bytes("records")?;
    let count = records.len().div_ceil(CHUNK).max(1);
    records.resize(count.saturating_mul(CHUNK), 0);
    for (index, chunk) in records.chunks(CHUNK).enumerate() {
        let mut nonce = [0; 12];
        let index32 = u32::try_from(index).map_err(|_| Fail::wrong("too many chunks"))?;
        for (to, from) in nonce.iter_mut().skip(7).zip(index32.to_be_bytes()) {
            *to = from;
        }
        if let Some(last) = nonce.last_mut() {
            *last = u8::from(index.saturating_add(1) == count);
        }
        out.extend(prim::seal(&chunks, &nonce, &[], chunk)?);
    }
    super::files::edit(out, args.list("edits")?, HEAD, SEALED)
}

fn open(args: &Args<'_>) -> Outcome<Value> {
    let file = sealed(&Args::of(args.get("file")?)?)?;
    let refused = |error: BackupError| Fail::refused(error.code());
    let key = key(args.hex("secret")?)?;
    let mut reader = BackupReader::open(file.as_slice(), &key).map_err(refused)?;
    let (mut records, mut contacts, mut messages, mut made) = (0u64, 0u64, 0u64, 0);
    while let Some(record) = reader.next_record().map_err(refused)? {
        records = records.saturating_add(1);
        contacts = contacts.saturating_add(record.is_contact().into());
        messages = messages.saturating_add(record.is_message().into());
        made = record.made().map_or(made, undertone_session::ids::UnixMillis::get);
    }
    Ok(json!({ "records": records, "contacts": contacts, "messages": messages, "made": made }))
}
