//! Where the program has its memory from: the first few kilobytes from a piece that is mapped with the program
//! anyway, all else from the C library. An increment needs no more than the former, and so none of
//! the system calls and pages with which the C library's own allocator begins.

#![expect(unsafe_code, reason = "an allocator hands out pointers")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What an increment with a few names and tags needs, with room to spare. Pages that are not used cost nothing.
const FIRST_BYTES: usize = 3 << 10;
/// No value needs a stricter alignment from the first piece; one that does is had from the C library.
const ALIGN_MAX: usize = 16;

/// The program's allocator.
#[derive(Debug)]
#[repr(C)]
pub struct Allocator {
    /// How much of the first piece is handed out. It is handed out once: nothing comes back to it. It
    /// lies before the piece, on a page that is written to anyway.
    used: AtomicUsize,
    first: First,
}

#[repr(align(16))]
#[derive(Debug)]
struct First(UnsafeCell<[u8; FIRST_BYTES]>);

// SAFETY: nothing reads or writes it here; each part is handed out at most once.
unsafe impl Sync for First {}

impl Allocator {
    /// All of the first piece is free.
    #[expect(clippy::new_without_default, reason = "it is made where only constants can be")]
    pub const fn new() -> Allocator {
        Allocator { used: AtomicUsize::new(0), first: First(UnsafeCell::new([0; FIRST_BYTES])) }
    }

    /// A part of the first piece that nobody has had, all zeros; null if it has no room for it.
    fn part(&self, layout: Layout) -> *mut u8 {
        if layout.align() > ALIGN_MAX {
            return ptr::null_mut();
        }
        let end = |from: usize| {
            let end = from.checked_add(layout.size())?.checked_next_multiple_of(ALIGN_MAX)?;
            (end <= FIRST_BYTES).then_some(end)
        };
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, end) {
            // SAFETY: the part from there to `end` is inside.
            Ok(from) => unsafe { self.first.0.get().cast::<u8>().add(from) },
            Err(_) => ptr::null_mut(),
        }
    }

    fn is_from_first(&self, memory: *mut u8) -> bool {
        let first = self.first.0.get().addr();
        (first..first + FIRST_BYTES).contains(&memory.addr())
    }
}

// SAFETY: parts of the first piece do not overlap, are aligned, and stay as long as the program; all else is
// what `System` says of itself, which gets back only what it handed out.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let memory = self.part(layout);
        // SAFETY: the caller keeps to what this function asks for, which is the same.
        if memory.is_null() { unsafe { System.alloc(layout) } } else { memory }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let memory = self.part(layout);
        // SAFETY: as above.
        if memory.is_null() { unsafe { System.alloc_zeroed(layout) } } else { memory }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if !self.is_from_first(memory) {
            // SAFETY: it is not of the first piece, so it is from `System`.
            unsafe { System.dealloc(memory, layout) };
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !self.is_from_first(memory) {
            // SAFETY: it is not of the first piece, so it is from `System`.
            return unsafe { System.realloc(memory, layout, size) };
        }
        // SAFETY: the caller promises that this size, with this alignment, is one.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both have room for as much, and what is handed out anew overlaps nothing.
            unsafe { ptr::copy_nonoverlapping(memory, new, layout.size().min(size)) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn parts_do_not_overlap_and_are_aligned() {
        let allocator = Allocator::new();
        let parts = [1, 15, 16, 17, 100].map(|size| (allocator.part(layout(size, 16)), size));
        for (at, (part, size)) in parts.iter().enumerate() {
            assert!(allocator.is_from_first(*part) && part.addr() % 16 == 0);
            for (other, _) in parts.iter().skip(at + 1) {
                assert!(part.addr() + size <= other.addr());
            }
        }
    }

    #[test]
    fn what_does_not_fit_comes_from_elsewhere_and_goes_back_there() {
        let allocator = Allocator::new();
        for layout in [layout(FIRST_BYTES + 1, 1), layout(8, 64), layout(usize::MAX >> 2, 1)] {
            assert!(allocator.part(layout).is_null(), "{layout:?}");
        }
        let large = layout(FIRST_BYTES + 1, 1);
        // SAFETY: the layout is that it was used for with.
        unsafe {
            let part = allocator.alloc_zeroed(large);
            assert!(!allocator.is_from_first(part));
            assert_eq!(*part.add(FIRST_BYTES), 0);
            allocator.dealloc(part, large);
        }
    }

    #[test]
    fn what_grows_keeps_what_is_in_it_also_out_of_the_first_piece() {
        let allocator = Allocator::new();
        // SAFETY: the layouts are those it was used for with.
        unsafe {
            let part = allocator.alloc(layout(3, 1));
            part.copy_from_nonoverlapping([1, 2, 3].as_ptr(), 3);
            let part = allocator.realloc(part, layout(3, 1), 5);
            assert!(allocator.is_from_first(part));
            let part = allocator.realloc(part, layout(5, 1), FIRST_BYTES * 2);
            assert!(!allocator.is_from_first(part));
            let part = allocator.realloc(part, layout(FIRST_BYTES * 2, 1), 3);
            assert_eq!(std::slice::from_raw_parts(part, 3), [1, 2, 3]);
            allocator.dealloc(part, layout(3, 1));
        }
    }
}
