//! Who keeps something open has to go on with it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};
use undertone_wire::transport::{Reader, Writer};

/// Bytes that have to move within the patience: not one alone, or a client could hold its place with
/// a byte a minute. With the default patience that is 273 bytes a second, less than any network has
/// on which somebody would wait for a blob.
pub(super) const STEP: usize = 16 * 1024;

/// Nothing moved, or too little.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stalled;

/// How what a client sends goes on.
pub(super) struct Pace {
    patience: Duration,
    due: Instant,
    moved: usize,
}

impl Pace {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, due: Instant::now() + patience, moved: 0 }
    }

    /// Reads what is there; 0 is the end, or a stream that broke.
    pub(super) async fn read(
        &mut self,
        reader: &mut Reader,
        piece: &mut [u8],
    ) -> Result<usize, Stalled> {
        // What is there already counts, even if it was fetched late.
        let read = timeout_at(self.due, reader.read(piece)).await;
        let count = read.map_err(|_| Stalled)?.unwrap_or(0);
        self.moved = self.moved.saturating_add(count);
        if self.moved >= STEP {
            *self = Self::new(self.patience);
        }
        Ok(count)
    }
}

/// Why something was not written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotWritten {
    Stalled,
    Broken,
}

/// Writes and flushes, as long as the client takes a [`STEP`] in time.
pub(super) async fn write(
    writer: &mut Writer,
    bytes: &[u8],
    patience: Duration,
) -> Result<(), NotWritten> {
    for step in bytes.chunks(STEP) {
        let written = timeout(patience, writer.write_all(step)).await;
        written.map_err(|_| NotWritten::Stalled)?.map_err(|_| NotWritten::Broken)?;
    }
    let flushed = timeout(patience, writer.flush()).await;
    flushed.map_err(|_| NotWritten::Stalled)?.map_err(|_| NotWritten::Broken)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn who_sends_a_byte_a_minute_is_not_waited_for() {
        let (near, mut far) = tokio::io::duplex(STEP * 2);
        let mut reader: Reader = Box::new(near);
        let mut piece = vec![0; STEP * 2];
        let mut pace = Pace::new(PATIENCE);
        let begun = Instant::now();
        // Slow is well, as long as it goes on.
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(50)).await;
            far.write_all(&vec![1; STEP]).await.unwrap();
            assert_eq!(pace.read(&mut reader, &mut piece).await, Ok(STEP));
        }
        tokio::time::sleep(Duration::from_secs(59)).await;
        far.write_all(&[1]).await.unwrap();
        assert_eq!(pace.read(&mut reader, &mut piece).await, Ok(1));
        assert_eq!(pace.read(&mut reader, &mut piece).await, Err(Stalled));
        assert_eq!(begun.elapsed().as_secs(), 560);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_not_waited_for() {
        let (near, mut far) = tokio::io::duplex(STEP);
        let mut writer: Writer = Box::new(near);
        let slow = tokio::spawn(async move {
            let mut taken = vec![0; STEP];
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_secs(50)).await;
                far.read_exact(&mut taken).await.unwrap();
            }
            far
        });
        assert_eq!(write(&mut writer, &vec![1; STEP * 3], PATIENCE).await, Ok(()));
        let far = slow.await.unwrap();
        let stalled = write(&mut writer, &vec![1; STEP * 3], PATIENCE).await;
        assert_eq!(stalled, Err(NotWritten::Stalled));
        drop(far);
        assert_eq!(write(&mut writer, &[1], PATIENCE).await, Err(NotWritten::Broken));
    }
}
