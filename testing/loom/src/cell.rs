//! Memory whose accesses a model is about.

use std::mem::MaybeUninit;

/// A cell. The tool that watches sees each call of [`with`](UnsafeCell::with) as a read of all of
/// it, and each call of [`with_mut`](UnsafeCell::with_mut) as a write, whatever the closure does.
#[derive(Debug, Default)]
pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// A cell with this value.
    pub const fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    /// Calls `f` with the address, for reading.
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        let address = self.0.get();
        // SAFETY: the cell is alive. That nothing else writes is what the model says; if it is
        // wrong, the tool that watches ends the program here.
        unsafe { address.cast::<MaybeUninit<T>>().read_volatile() };
        f(address)
    }

    /// Calls `f` with the address, for writing.
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        let address = self.0.get();
        let bytes = address.cast::<MaybeUninit<T>>();
        // SAFETY: as above. What is written is what was there.
        unsafe { bytes.write_volatile(bytes.read_volatile()) };
        f(address)
    }
}
