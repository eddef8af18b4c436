//! Files (08), and stored sessions (10).

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use undertone_core::{FileError, FileKey, FileOpener, FileSealer, Session, blob_len, padded_len};
use undertone_session::content::is_described;

use crate::stream::Draws;
use crate::value::{Args, bytes, hex};
use crate::{Fail, Outcome};

/// Bytes of a whole chunk.
const CHUNK: usize = 65_552;
/// Bytes before the first chunk.
const COMMITMENT: usize = 32;

pub(super) fn run(op: &str, args: &Args<'_>) -> Option<Outcome<Value>> {
    Some(match op {
        "padded-length" => padded(args),
        "file-seal" => seal(args),
        "file-open" => open(args),
        "chunk-open" => chunk(args),
        "attachment-open" => attachment(args),
        "state-read" => state(args),
        _ => return None,
    })
}

fn refused(error: FileError) -> Fail {
    Fail::refused(error.code())
}

fn padded(args: &Args<'_>) -> Outcome<Value> {
    let length = args.number("length")?;
    let too_long = || refused(FileError::TooLong);
    Ok(json!({
        "padded": padded_len(length).ok_or_else(too_long)?,
        "blob": blob_len(length).ok_or_else(too_long)?,
    }))
}

/// The blob of a content that is said to have `length` bytes.
pub(crate) fn blob(key: Vec<u8>, length: u64, content: &[u8]) -> Outcome<Vec<u8>> {
    let mut draws = Draws::list(vec![key]);
    let (mut sealer, _) = FileSealer::new(length, &mut draws).map_err(refused)?;
    draws.finish()?;
    let mut out = sealer.commitment().to_vec();
    let mut rest = content;
    while sealer.remaining_chunks() > 0 {
        // The last chunk is given all that is left.
        let len = if sealer.remaining_chunks() == 1 { rest.len() } else { sealer.next_len() };
        let (now, later) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        out.extend(sealer.seal_next(now).map_err(refused)?);
        rest = later;
    }
    Ok(out)
}

fn seal(args: &Args<'_>) -> Outcome<Value> {
    let blob = blob(args.hex("file_key")?, args.number("length")?, &args.bytes("content")?)?;
    Ok(json!({
        "commitment": hex(blob.get(..COMMITMENT).unwrap_or_default()),
        "blob": hex(&blob),
    }))
}

fn edited(value: &Value) -> Outcome<Vec<u8>> {
    if !value.is_object() || !Args::of(value)?.has("edits") {
        return bytes(value);
    }
    let args = Args::of(value)?;
    let content = args.bytes("content")?;
    let length = u64::try_from(content.len()).map_err(|_| Fail::wrong("too long"))?;
    let out = blob(args.hex("file_key")?, length, &content)?;
    edit(out, args.list("edits")?, COMMITMENT, CHUNK)
}

/// Changes to a file whose chunks of this length begin behind a head.
pub(super) fn edit(
    mut out: Vec<u8>,
    edits: &[Value],
    head: usize,
    chunk: usize,
) -> Outcome<Vec<u8>> {
    let beyond = || Fail::wrong("an edit beyond the file");
    for edit in edits {
        let edit = Args::of(edit)?;
        if edit.has("xor") {
            let (xor, at) = (edit.hex("xor")?, edit.size("at")?);
            let end = at.checked_add(xor.len()).ok_or_else(beyond)?;
            for (byte, xor) in out.get_mut(at..end).ok_or_else(beyond)?.iter_mut().zip(xor) {
                *byte ^= xor;
            }
        } else if edit.has("cut") {
            out.truncate(edit.size("cut")?);
        } else if edit.has("append") {
            out.extend(edit.bytes("append")?);
        } else {
            let [i, j] = edit.list("swap")? else { return Err(Fail::wrong("two chunks")) };
            let place = |index: &Value| {
                let index = usize::try_from(index.as_u64()?).ok()?;
                let at = head.checked_add(chunk.checked_mul(index)?)?;
                Some(at..at.checked_add(chunk)?)
            };
            let (i, j) = (place(i).ok_or_else(beyond)?, place(j).ok_or_else(beyond)?);
            let one = out.get(i.clone()).ok_or_else(beyond)?.to_vec();
            let other = out.get(j.clone()).ok_or_else(beyond)?.to_vec();
            out.get_mut(i).ok_or_else(beyond)?.copy_from_slice(&other);
            out.get_mut(j).ok_or_else(beyond)?.copy_from_slice(&one);
        }
    }
    Ok(out)
}

/// A blob that was fetched for a message (09 §3).
fn attachment(args: &Args<'_>) -> Outcome<Value> {
    let blob = edited(args.get("blob")?)?;
    let commitment: &[u8; 32] = blob.first_chunk().unwrap_or(&[0; 32]);
    let described = (&args.array("sha256")?, &args.array("commitment")?);
    if !is_described(described, (&Sha256::digest(&blob).into(), commitment)) {
        return Err(Fail::refused("R-907"));
    }
    open(args)
}

fn open(args: &Args<'_>) -> Outcome<Value> {
    let blob = edited(args.get("blob")?)?;
    let key = FileKey::from_bytes(&args.array("file_key")?);
    let (commitment, rest) = blob.split_first_chunk().ok_or_else(|| Fail::refused("R-802"))?;
    let opener = FileOpener::new(&key, commitment, args.number("length")?).map_err(refused)?;
    let mut content = Vec::new();
    for index in 0..opener.chunks() {
        let at = usize::try_from(index).unwrap_or(usize::MAX).saturating_mul(CHUNK);
        let here = rest.get(at..).unwrap_or_default();
        let last = index == opener.chunks() - 1;
        let len = if last { here.len() } else { here.len().min(CHUNK) };
        let chunk = here.get(..len).unwrap_or_default();
        content.extend(opener.open_chunk(index, chunk).map_err(refused)?);
    }
    Ok(json!({ "content": hex(&content) }))
}

fn chunk(args: &Args<'_>) -> Outcome<Value> {
    let key = FileKey::from_bytes(&args.array("file_key")?);
    let opener = FileOpener::new(&key, &args.array("commitment")?, args.number("length")?)
        .map_err(refused)?;
    let content = opener.open_chunk(args.u32("index")?, &args.bytes("chunk")?).map_err(refused)?;
    Ok(json!({ "content": hex(&content) }))
}

fn state(args: &Args<'_>) -> Outcome<Value> {
    let session =
        Session::from_bytes(&args.bytes("stored")?).map_err(|error| Fail::refused(error.code()))?;
    Ok(json!({ "stored": hex(&session.to_bytes()) }))
}
