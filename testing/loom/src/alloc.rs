//! Values that must not be leaked.

/// A value on the heap: a tool that looks for leaks finds one that is never dropped.
#[derive(Debug)]
pub struct Track<T>(Box<T>);

impl<T> Track<T> {
    /// Moves a value to the heap.
    pub fn new(value: T) -> Track<T> {
        Track(Box::new(value))
    }

    /// The value.
    pub fn get_ref(&self) -> &T {
        &self.0
    }
}
