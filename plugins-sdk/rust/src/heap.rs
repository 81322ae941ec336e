//! The allocator: first from the memory that the module begins with, as a host makes memory that has grown anew for each
//! call. Small pieces are powers of two; what is freed is used again; the last piece grows where it is.

use std::alloc::{GlobalAlloc, Layout};
use std::arch::wasm32::{memory_grow, memory_size};
use std::cell::UnsafeCell;
use std::ptr::{copy_nonoverlapping, null_mut};

const PAGE_BYTES: usize = 65_536;
const ALIGN: usize = 16;
/// Pieces up to this are powers of two.
const SMALL_BYTES: usize = 32_768;
const GROW_PAGES: usize = 16;

struct State {
    next: usize,
    end: usize,
    /// By the power of two that a free piece holds at least, the last one freed; each holds the address of the one before.
    idle: [usize; 32],
}

pub struct Heap(UnsafeCell<State>);

// SAFETY: a plugin has one thread.
unsafe impl Sync for Heap {}

unsafe extern "C" {
    static __heap_base: u8;
}

const fn power_above(bytes: usize) -> usize {
    bytes.next_power_of_two().trailing_zeros() as usize
}

const fn rounded(bytes: usize) -> usize {
    (bytes + ALIGN - 1) & !(ALIGN - 1)
}

impl Heap {
    pub const fn new() -> Heap {
        Heap(UnsafeCell::new(State { next: 0, end: 0, idle: [0; 32] }))
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
        let bytes = rounded(layout.size().max(ALIGN));
        let power = power_above(bytes);
        if layout.align() <= ALIGN && power < 32 {
            let idle = state.idle[power];
            if idle != 0 {
                state.idle[power] = unsafe { *(idle as *const usize) };
                return idle as *mut u8;
            }
        }
        let bytes = if bytes <= SMALL_BYTES { 1 << power } else { bytes };
        state.cut(bytes, layout.align().max(ALIGN)) as *mut u8
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        let state = unsafe { &mut *self.0.get() };
        let bytes = rounded(layout.size().max(ALIGN));
        if bytes > SMALL_BYTES && piece as usize + bytes == state.next {
            state.next = piece as usize;
            return;
        }
        let power = if bytes <= SMALL_BYTES { power_above(bytes) } else { bytes.ilog2() as usize };
        unsafe { *(piece as *mut usize) = state.idle[power] };
        state.idle[power] = piece as usize;
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let state = unsafe { &mut *self.0.get() };
        let old = rounded(layout.size().max(ALIGN));
        let new = rounded(size.max(ALIGN));
        if old <= SMALL_BYTES && power_above(new) == power_above(old) && new <= SMALL_BYTES {
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
