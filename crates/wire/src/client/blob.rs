//! Blobs up and down, each on a stream of its own, never whole in memory.

use core::future::Future;
use core::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{ClientError, Connection};
use crate::blob::{BlobAnnouncement, BlobReply, BlobRequest};
use crate::codec;
use crate::frame::StreamKind;
use crate::ids::{BlobHash, BlobId, BlobReadCapability};
use crate::limits::MAX_BLOB_MESSAGE;
use crate::transport::{Reader, Writer, read_message};

impl Connection {
    /// Announces a blob. Then write the bytes from [`BlobUpload::offset`] on.
    ///
    /// # Errors
    /// [`ClientError`]; refused if the token is not admitted, the blob is too large, or another
    /// blob has the id.
    pub async fn put_blob(
        &self,
        announcement: BlobAnnouncement,
    ) -> Result<BlobUpload, ClientError> {
        let length = announcement.length;
        let (writer, mut reader) = self.blob_stream(&BlobRequest::Put(announcement)).await?;
        match self.in_time(read_reply(&mut reader)).await? {
            BlobReply::Ready { offset } if offset <= length => Ok(BlobUpload {
                writer,
                reader,
                offset,
                written: offset,
                length,
                timeout: self.shared.timeout,
            }),
            BlobReply::Refused(code) => Err(ClientError::Refused(code)),
            _ => Err(ClientError::Protocol),
        }
    }

    /// Reads a blob from an offset on.
    ///
    /// # Errors
    /// [`ClientError`]; refused as unknown, or incomplete.
    pub async fn get_blob(
        &self,
        blob: BlobId,
        capability: &BlobReadCapability,
        offset: u64,
    ) -> Result<BlobDownload, ClientError> {
        let capability = capability.duplicate();
        let request = BlobRequest::Get { blob, capability, offset };
        let (writer, mut reader) = self.blob_stream(&request).await?;
        match self.in_time(read_reply(&mut reader)).await? {
            BlobReply::Content { length, hash } if offset <= length => Ok(BlobDownload {
                reader,
                _writer: writer,
                length,
                hash,
                left: length.saturating_sub(offset),
                running: (offset == 0).then(Sha256::new),
                timeout: self.shared.timeout,
            }),
            BlobReply::Refused(code) => Err(ClientError::Refused(code)),
            _ => Err(ClientError::Protocol),
        }
    }

    async fn blob_stream(&self, request: &BlobRequest) -> Result<(Writer, Reader), ClientError> {
        let message =
            codec::encode_message(request, MAX_BLOB_MESSAGE).map_err(|_| ClientError::TooLong)?;
        let (mut writer, reader) =
            self.in_time(async { Ok(self.shared.channel.open().await?) }).await?;
        let opening = [&[StreamKind::Blob.byte()], message.as_slice()].concat();
        writer.write_all(&opening).await.map_err(|_| ClientError::Closed)?;
        writer.flush().await.map_err(|_| ClientError::Closed)?;
        Ok((writer, reader))
    }

    async fn in_time<T>(
        &self,
        future: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        in_time(self.shared.timeout, future).await
    }
}

async fn in_time<T>(
    timeout: Duration,
    future: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    tokio::time::timeout(timeout, future).await.unwrap_or(Err(ClientError::Timeout))
}

async fn read_reply(reader: &mut Reader) -> Result<BlobReply, ClientError> {
    let message = read_message(reader, MAX_BLOB_MESSAGE)
        .await
        .map_err(|_| ClientError::Closed)?
        .ok_or(ClientError::Closed)?;
    codec::decode(&message).map_err(|_| ClientError::Protocol)
}

/// An upload under way. Dropped before [`Self::finish`], it can be resumed by announcing it again.
pub struct BlobUpload {
    writer: Writer,
    reader: Reader,
    offset: u64,
    written: u64,
    length: u64,
    timeout: Duration,
}

impl BlobUpload {
    /// The first byte that the relay does not have.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Writes the next bytes; waits while the relay is slower. The timeout holds for each call.
    ///
    /// # Errors
    /// [`ClientError::TooLong`] beyond the announced length; the relay's refusal, if that is why
    /// it stopped reading; else [`ClientError::Closed`] or [`ClientError::Timeout`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let more = u64::try_from(bytes.len()).map_err(|_| ClientError::TooLong)?;
        let written = self.written.checked_add(more).ok_or(ClientError::TooLong)?;
        if written > self.length {
            return Err(ClientError::TooLong);
        }
        let writing = async { self.writer.write_all(bytes).await.map_err(|_| ClientError::Closed) };
        if let Err(error) = in_time(self.timeout, writing).await {
            return Err(self.refusal().await.unwrap_or(error));
        }
        self.written = written;
        Ok(())
    }

    /// Ends the upload; `Ok` means that the relay has all bytes on stable storage and that they
    /// have the announced hash.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn finish(mut self) -> Result<(), ClientError> {
        let ending = async {
            // If the relay refused already, writing fails and its reason can still be read.
            let _ = self.writer.shutdown().await;
            read_reply(&mut self.reader).await
        };
        match in_time(self.timeout, ending).await? {
            BlobReply::Stored => Ok(()),
            BlobReply::Refused(code) => Err(ClientError::Refused(code)),
            _ => Err(ClientError::Protocol),
        }
    }

    async fn refusal(&mut self) -> Option<ClientError> {
        match in_time(self.timeout, read_reply(&mut self.reader)).await {
            Ok(BlobReply::Refused(code)) => Some(ClientError::Refused(code)),
            _ => None,
        }
    }
}

/// A download under way.
pub struct BlobDownload {
    reader: Reader,
    _writer: Writer,
    length: u64,
    hash: BlobHash,
    left: u64,
    /// Hash of what has come, if the download began at the beginning.
    running: Option<Sha256>,
    timeout: Duration,
}

impl BlobDownload {
    /// Length of the whole blob in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// What the relay says the whole blob hashes to.
    #[must_use]
    pub const fn hash(&self) -> &BlobHash {
        &self.hash
    }

    /// The next bytes; 0 at the end. A download from the beginning is checked against the
    /// announced hash; one from an offset is not, so check the whole.
    ///
    /// # Errors
    /// [`ClientError::Closed`] if the stream ends early, [`ClientError::BlobDamaged`],
    /// [`ClientError::Timeout`].
    pub async fn next(&mut self, buffer: &mut [u8]) -> Result<usize, ClientError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let Some(space) = buffer.get_mut(..most) else {
            return Ok(0);
        };
        let reading = async { self.reader.read(space).await.map_err(|_| ClientError::Closed) };
        let count = in_time(self.timeout, reading).await?;
        if count == 0 {
            return Err(ClientError::Closed);
        }
        if let (Some(hash), Some(bytes)) = (self.running.as_mut(), space.get(..count)) {
            hash.update(bytes);
        }
        self.left = self.left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        if self.left == 0
            && let Some(hash) = self.running.take()
            && <[u8; 32]>::from(hash.finalize()) != *self.hash.as_bytes()
        {
            return Err(ClientError::BlobDamaged);
        }
        Ok(count)
    }
}
