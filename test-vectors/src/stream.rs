//! Bytes that are drawn: from a stream with a seed, or from a list.

use std::collections::VecDeque;
use std::convert::Infallible;

use sha2::{Digest, Sha256};
use undertone_core::rand_core::{TryCryptoRng, TryRng};

use crate::{Fail, Outcome};

const LABEL: &[u8] = b"Undertone vectors stream";

/// SHA-256 over label, seed and a counter, block after block.
#[derive(Clone)]
pub struct Stream {
    seed: [u8; 32],
    counter: u64,
    left: VecDeque<u8>,
}

impl Stream {
    /// The stream of a seed, from its beginning.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0, left: VecDeque::new() }
    }

    /// The stream that belongs to a name: its seed is the name's SHA-256.
    pub fn named(name: &str) -> Self {
        Self::new(Sha256::digest(name.as_bytes()).into())
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Vec<u8> {
        while self.left.len() < n {
            let block = Sha256::new()
                .chain_update(LABEL)
                .chain_update(self.seed)
                .chain_update(self.counter.to_be_bytes())
                .finalize();
            self.counter = self.counter.wrapping_add(1);
            self.left.extend(block);
        }
        self.left.drain(..n).collect()
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.take(N));
        out
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }
}

/// What an operation draws from, and a record of what it drew.
pub struct Draws {
    source: Source,
    drawn: Vec<Vec<u8>>,
    wrong: Option<String>,
}

enum Source {
    List(VecDeque<Vec<u8>>),
    Stream(Stream),
    Nothing,
}

impl Draws {
    /// Exactly these values, in this order.
    pub fn list(values: Vec<Vec<u8>>) -> Self {
        Self::of(Source::List(values.into()))
    }

    /// As much as is asked for.
    pub fn stream(stream: Stream) -> Self {
        Self::of(Source::Stream(stream))
    }

    /// Nothing: every draw is an error.
    pub fn nothing() -> Self {
        Self::of(Source::Nothing)
    }

    fn of(source: Source) -> Self {
        Self { source, drawn: Vec::new(), wrong: None }
    }

    /// What was drawn since the last call, in order.
    ///
    /// # Errors
    /// If a draw asked for something that was not there, or something is left.
    pub fn finish(&mut self) -> Outcome<Vec<Vec<u8>>> {
        if let Some(wrong) = self.wrong.take() {
            return Err(Fail::Wrong(wrong));
        }
        if let Source::List(left) = &self.source
            && !left.is_empty()
        {
            return Err(Fail::wrong(format!("{} draws are left over", left.len())));
        }
        Ok(core::mem::take(&mut self.drawn))
    }

    /// Forgets what was drawn.
    pub fn forget(&mut self) {
        self.drawn.clear();
        self.wrong = None;
    }

    /// The stream behind it, if it is one.
    pub fn into_stream(self) -> Option<Stream> {
        match self.source {
            Source::Stream(stream) => Some(stream),
            Source::List(_) | Source::Nothing => None,
        }
    }

    fn next(&mut self, n: usize) -> Vec<u8> {
        let value = match &mut self.source {
            Source::Stream(stream) => Ok(stream.take(n)),
            Source::Nothing => Err("nothing to draw from".to_owned()),
            Source::List(list) => match list.pop_front() {
                Some(value) if value.len() == n => Ok(value),
                Some(value) => Err(format!("a draw of {n} bytes met one of {}", value.len())),
                None => Err(format!("a draw of {n} bytes is missing")),
            },
        };
        match value {
            Ok(value) => {
                self.drawn.push(value.clone());
                value
            }
            Err(wrong) => {
                self.wrong.get_or_insert(wrong);
                vec![0; n]
            }
        }
    }
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.next(out.len()));
        Ok(())
    }
}

impl TryCryptoRng for Draws {}
