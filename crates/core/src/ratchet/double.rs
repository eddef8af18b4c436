//! Two copies of a piece of state: the live one, and one in which a candidate
//! is prepared. The secrets in it are never moved, so that a step leaves
//! none behind on a stack.

/// A live value and room for its successor.
pub(crate) struct Double<T> {
    one: T,
    other: T,
    flipped: bool,
}

impl<T> Double<T> {
    pub(crate) fn new(one: T, other: T) -> Self {
        Self { one, other, flipped: false }
    }

    /// The live value.
    pub(crate) fn live(&self) -> &T {
        if self.flipped { &self.other } else { &self.one }
    }

    /// The live value, to fill it when a session is made.
    pub(crate) fn live_mut(&mut self) -> &mut T {
        if self.flipped { &mut self.other } else { &mut self.one }
    }

    /// The candidate.
    pub(crate) fn next(&self) -> &T {
        if self.flipped { &self.one } else { &self.other }
    }

    /// The live value, and the candidate to prepare.
    pub(crate) fn split(&mut self) -> (&T, &mut T) {
        if self.flipped { (&self.other, &mut self.one) } else { (&self.one, &mut self.other) }
    }

    /// Makes the candidate the live value.
    pub(crate) fn flip(&mut self) {
        self.flipped = !self.flipped;
    }
}
