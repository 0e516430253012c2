//! Values out of a fuzzer's bytes.

/// Draws values from bytes, one after the other. When the bytes are used up it draws zeros, and zero always stands for
/// the plainest choice, so that every input means something and short ones mean something right.
pub(crate) struct Draw<'a>(&'a [u8]);

impl<'a> Draw<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all bytes are used up.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `bound`, which is at most 256 and not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        u64::from(self.byte()) % bound
    }

    /// Mostly not: one byte in sixteen says so.
    pub(crate) fn rarely(&mut self) -> bool {
        self.byte() >= 240
    }

    /// A number that is small, except rarely.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            255 => u64::MAX - self.below(4),
            254 => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
            small => u64::from(small % 16),
        }
    }

    /// `right`, or rarely a number near it, or any.
    pub(crate) fn near(&mut self, right: u64) -> u64 {
        match self.byte() {
            255 => self.number(),
            254 => right.wrapping_sub(1),
            253 => right.wrapping_add(1),
            252 => right.wrapping_add(2),
            _ => right,
        }
    }

    /// Up to `most` bytes.
    pub(crate) fn bytes(&mut self, most: usize) -> &'a [u8] {
        let length = (self.byte() as usize).min(most).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }
}
