//! What a body holds: content, a run of pieces, zeros.

use crate::codec::{Reader, is_zero};
use crate::envelope::{Bucket, LENGTH_PREFIX, Preamble};

use super::error::OpenError;
use super::pq::{Outgoing, Run, read_run};

/// Fills a body that is all zero: content length 2, content, then pieces of an
/// object from a block on. Returns how many blocks went in; `None` where the
/// content does not fit, which the choice of the bucket excludes.
pub(crate) fn write(
    body: &mut [u8],
    content: &[u8],
    pieces: Option<(&Outgoing<'_>, u8)>,
) -> Option<u8> {
    let len = u16::try_from(content.len()).ok()?;
    let (prefix, rest) = body.split_first_chunk_mut::<LENGTH_PREFIX>()?;
    let (place, room) = rest.split_at_mut_checked(content.len())?;
    *prefix = len.to_be_bytes();
    place.copy_from_slice(content);
    Some(pieces.map_or(0, |(pieces, first)| pieces.write(first, room)))
}

/// Reads a body: the length of its content, and its run of pieces.
///
/// # Errors
/// where `bucket` is not the smallest that
/// holds the content.
pub(crate) fn read(
    body: &[u8],
    preamble: Preamble,
    bucket: Bucket,
) -> Result<(usize, Option<Run<'_>>), OpenError> {
    let mut reader = Reader::new(body);
    let len = usize::from(reader.u16().map_err(|_| OpenError::ContentLength)?);
    reader.take(len).map_err(|_| OpenError::ContentLength)?;
    if preamble.bucket_for(len) != Some(bucket) {
        return Err(OpenError::NotSmallestBucket);
    }
    let (run, padding) = read_run(reader.rest())?;
    if is_zero(padding) { Ok((len, run)) } else { Err(OpenError::Padding) }
}
