//! Values as machine words: how a message of any type passes through a node that has no type.
//!
//! A value that fits (in size and in alignment) is stored in the words themselves. For any other
//! value the words hold the address of a box. Which of the two it is depends only on the types, so
//! both sides agree without a tag. Moving the words moves the value. The words never drop anything:
//! after a [`store`] the value must be moved out by a [`load`].

use std::mem::MaybeUninit;

/// Room for a value or for the address of its box.
pub(crate) type Words<const N: usize> = MaybeUninit<[usize; N]>;

const fn fits<T, const N: usize>() -> bool {
    size_of::<T>() <= N * size_of::<usize>() && align_of::<T>() <= align_of::<usize>()
}

/// Moves `value` into the words.
#[inline]
pub(crate) fn store<T, const N: usize>(words: &mut Words<N>, value: T) {
    const { assert!(N >= 1) };
    let start = words.as_mut_ptr();
    if fits::<T, N>() {
        // SAFETY: `fits` says that a `T` fits into the words and needs no greater alignment.
        unsafe { start.cast::<T>().write(value) }
    } else {
        // SAFETY: there is at least one word, and a pointer to a sized value is one word.
        unsafe { start.cast::<*mut T>().write(Box::into_raw(Box::new(value))) }
    }
}

/// Moves the value out of the words.
///
/// # Safety
/// The words hold a `T` that [`store`] with the same `N`, or [`rewrap`] to it, has put there, and
/// that has not been loaded since.
#[inline]
pub(crate) unsafe fn load<T, const N: usize>(words: &Words<N>) -> T {
    let start = words.as_ptr();
    if fits::<T, N>() {
        // SAFETY: the words hold a `T` in place, by contract, and it is moved out once.
        unsafe { start.cast::<T>().read() }
    } else {
        // SAFETY: by contract the first word is the address of a box, and no other code has that
        // address.
        unsafe { *Box::from_raw(start.cast::<*mut T>().read()) }
    }
}

/// Moves the value from words of one length to words of another; a boxed value stays in its box if
/// it can.
///
/// # Safety
/// As for [`load`] on `from`.
#[inline]
pub(crate) unsafe fn rewrap<T, const N: usize, const M: usize>(from: &Words<N>, to: &mut Words<M>) {
    if fits::<T, N>() || fits::<T, M>() {
        // SAFETY: by contract.
        store(to, unsafe { load::<T, N>(from) });
    } else {
        // SAFETY: the value is boxed on both sides. Copying the address, which is the first word of
        // both, moves the value.
        unsafe { to.as_mut_ptr().cast::<*mut T>().write(from.as_ptr().cast::<*mut T>().read()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[repr(align(64))]
    #[derive(PartialEq, Debug)]
    struct Wide(u8);

    fn through<T>(value: T) -> T {
        let mut two = Words::<2>::uninit();
        let mut four = Words::<4>::uninit();
        store(&mut two, value);
        // SAFETY: each `store` or `rewrap` is followed by one move out.
        unsafe {
            rewrap::<T, 2, 4>(&two, &mut four);
            store(&mut two, load::<T, 4>(&four));
            load::<T, 2>(&two)
        }
    }

    #[test]
    fn every_size_and_alignment_comes_back() {
        through(());
        assert_eq!(through(7_u8), 7);
        assert_eq!(through(u128::MAX - 1), u128::MAX - 1);
        assert_eq!(through([1_u64, 2, 3]), [1, 2, 3]);
        assert_eq!(through([9_u64; 5]), [9; 5]);
        assert_eq!(through([3_u8; 4096]), [3; 4096]);
        assert_eq!(through(Wide(4)), Wide(4));
        assert_eq!(through(String::from("boat")), "boat");
    }

    #[test]
    fn a_value_is_moved_not_copied() {
        let shared = Arc::new(());
        let back = through((shared.clone(), [0_u64; 8]));
        assert_eq!(Arc::strong_count(&shared), 2);
        drop(back);
        assert_eq!(Arc::strong_count(&shared), 1);
    }
}
