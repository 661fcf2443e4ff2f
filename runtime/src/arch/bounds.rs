//! Where a stack is.

/// The bounds of one stack: `base` is its upper end, where the first frame starts; it may grow down
/// to `limit`.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) base: usize,
    pub(crate) limit: usize,
}

impl Bounds {
    pub(crate) fn size(&self) -> usize {
        self.base - self.limit
    }

    pub(crate) fn contain(&self, address: usize) -> bool {
        (self.limit..self.base).contains(&address)
    }
}
