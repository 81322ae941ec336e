//! The allocator: first from the memory that the module begins with, as a host makes memory that has grown anew for
//! each call. Pieces come in classes of size, so that what is freed fits the next of its class; the last one grows where
//! it is.

use std::alloc::{GlobalAlloc, Layout};
use std::arch::wasm32::{memory_grow, memory_size};
use std::cell::UnsafeCell;
use std::ptr::{copy_nonoverlapping, null_mut};

const PAGE_BYTES: usize = 65_536;
const ALIGN: usize = 16;
/// Pieces up to this are powers of two.
const SMALL_BYTES: usize = 32_768;
/// Sizes of larger ones between two powers: an eighth is wasted at most.
const STEPS: usize = 8;
const SMALL_CLASSES: usize = 16;
/// Up to 2 GiB.
const CLASSES: usize = SMALL_CLASSES + 17 * STEPS;
const GROW_PAGES: usize = 16;

struct State {
    next: usize,
    end: usize,
    /// Of each class, the last piece that was freed; each holds the address of the one before.
    idle: [usize; CLASSES],
}

pub struct Heap(UnsafeCell<State>);

// SAFETY: a plugin has one thread.
unsafe impl Sync for Heap {}

unsafe extern "C" {
    static __heap_base: u8;
}

/// How many bytes a piece for so many has in fact, and its class. Both follow from the size alone: it is what is known
/// when a piece is freed.
const fn fitted(bytes: usize) -> (usize, usize) {
    let bytes = if bytes < ALIGN { ALIGN } else { bytes };
    if bytes <= SMALL_BYTES {
        let size = bytes.next_power_of_two();
        return (size, size.trailing_zeros() as usize);
    }
    let step = 1 << (bytes.ilog2() - STEPS.ilog2());
    let size = (bytes + step - 1) & !(step - 1);
    let power = size.ilog2();
    let of_power = (size >> (power - STEPS.ilog2())) & (STEPS - 1);
    (size, SMALL_CLASSES + (power as usize - 15) * STEPS + of_power)
}

const fn rounded(bytes: usize) -> usize {
    (bytes + ALIGN - 1) & !(ALIGN - 1)
}

impl Heap {
    pub const fn new() -> Heap {
        Heap(UnsafeCell::new(State { next: 0, end: 0, idle: [0; CLASSES] }))
    }
}

impl State {
    /// Bytes behind all others. 0: there are none left.
    fn cut(&mut self, bytes: usize, align: usize) -> usize {
        if self.end == 0 {
            self.next = rounded(&raw const __heap_base as usize);
            self.end = memory_size(0) * PAGE_BYTES;
        }
        let at = (self.next + align - 1) & !(align - 1);
        if !self.reach(at.saturating_add(bytes)) {
            return 0;
        }
        self.next = at + bytes;
        at
    }

    fn reach(&mut self, end: usize) -> bool {
        if end <= self.end {
            return true;
        }
        let pages = (end - self.end).div_ceil(PAGE_BYTES);
        for asked in [pages.max(GROW_PAGES), pages] {
            let before = memory_grow(0, asked);
            if before != usize::MAX {
                self.end = (before + asked) * PAGE_BYTES;
                return true;
            }
        }
        false
    }
}

// SAFETY: pieces do not overlap, hold what was asked for, and are free only when they were given back.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let state = unsafe { &mut *self.0.get() };
        let (bytes, class) = fitted(layout.size());
        let idle = state.idle[class];
        if idle != 0 && layout.align() <= ALIGN {
            state.idle[class] = unsafe { *(idle as *const usize) };
            return idle as *mut u8;
        }
        state.cut(bytes, layout.align().max(ALIGN)) as *mut u8
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        let state = unsafe { &mut *self.0.get() };
        let (bytes, class) = fitted(layout.size());
        if bytes > SMALL_BYTES && piece as usize + bytes == state.next {
            state.next = piece as usize;
            return;
        }
        unsafe { *(piece as *mut usize) = state.idle[class] };
        state.idle[class] = piece as usize;
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let state = unsafe { &mut *self.0.get() };
        let ((old, old_class), (new, new_class)) = (fitted(layout.size()), fitted(size));
        if old_class == new_class {
            return piece;
        }
        if old > SMALL_BYTES && new > SMALL_BYTES && piece as usize + old == state.next {
            if !state.reach((piece as usize).saturating_add(new)) {
                return null_mut();
            }
            state.next = piece as usize + new;
            return piece;
        }
        // SAFETY: the layout was valid, and the size is what the caller vouches for.
        let moved = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !moved.is_null() {
            unsafe {
                copy_nonoverlapping(piece, moved, layout.size().min(size));
                self.dealloc(piece, layout);
            }
        }
        moved
    }
}
