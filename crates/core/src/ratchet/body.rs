//! What a body holds: content, a run of pieces, zeros.

use crate::codec::{Reader, is_zero};
use crate::envelope::{Bucket, LENGTH_PREFIX, Preamble};

use super::error::OpenError;
use super::pq::{Outgoing, Run, read_run};

/// Fills a body that is all zero: content length 2, content, then pieces from
/// block `first`. Returns the block to go on from.
pub(crate) fn write(
    body: &mut [u8],
    content: &[u8],
    pieces: Option<&Outgoing<'_>>,
    first: u8,
) -> u8 {
    // The content is bounded by MAX_CONTENT, the body sized for it.
    let len = u16::try_from(content.len()).unwrap_or(u16::MAX);
    let Some((prefix, rest)) = body.split_first_chunk_mut::<LENGTH_PREFIX>() else {
        return first;
    };
    *prefix = len.to_be_bytes();
    let Some((place, room)) = rest.split_at_mut_checked(content.len()) else {
        return first;
    };
    place.copy_from_slice(content);
    pieces.map_or(first, |pieces| pieces.write(first, room))
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
