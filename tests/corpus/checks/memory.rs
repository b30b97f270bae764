//! How much memory something takes: an allocator that counts what a thread holds, and the most it held. It
//! stands before the system's own and changes nothing else.

#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What the codec takes at most of which only the length has come: a text of 8 MiB, in a list of 1 MiB. Texts
/// that are borrowed, as all in requests are, take nothing.
pub(crate) const VALUE_CLAIM_MAX: usize = 9 << 20;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// Does what `run` does; returns the most bytes that were held meanwhile, beside those held before.
pub(crate) fn most<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    MOST.set(before);
    let done = run();
    let most = MOST.get() - before;
    (done, usize::try_from(most).unwrap_or(0))
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(taken: usize, given: usize) {
    let held = HELD.get() + taken.cast_signed() - given.cast_signed();
    HELD.set(held);
    MOST.set(MOST.get().max(held));
}

// SAFETY: every call is handed on to the system's allocator as it is. Counting takes no memory: the counters
// are constants without destructors.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old piece and the new one may be there together.
        count(size, 0);
        count(0, layout.size());
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.realloc(at, layout, size) }
    }
}
