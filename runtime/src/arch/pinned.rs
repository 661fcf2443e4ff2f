//! What depends on CPU and system at once where processors are pinned: the thread pointer is
//! neither read nor written.

use super::SAME_THREAD_POINTER;

/// Stands for the thread pointer of every thread.
pub(crate) fn thread_pointer() -> usize {
    SAME_THREAD_POINTER
}

/// Whether user code may exchange the thread pointer.
pub(crate) fn can_carry() -> bool {
    false
}
