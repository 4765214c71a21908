//! A worker's scratch: tables of row pointers, slabs and a spare row.

use tandem_base::SpanMut;

/// Bytes the parts of a scratch start at multiples of.
const ALIGN: usize = 64;

/// Hands out consecutive parts of a block.
pub(super) struct Parts {
    next: *mut u8,
    #[cfg(debug_assertions)]
    end: *mut u8,
}

impl Parts {
    pub fn new(block: SpanMut<'_, u8>) -> Self {
        Self {
            next: block.ptr(),
            #[cfg(debug_assertions)]
            end: block.ptr().wrapping_add(block.len()),
        }
    }

    /// The next `count` elements, uninitialised.
    pub fn take<T>(&mut self, count: usize) -> *mut T {
        let part = self.next;
        self.next = self.next.wrapping_add(bytes::<T>(count));
        #[cfg(debug_assertions)]
        assert!(self.next <= self.end, "scratch too small");
        part.cast()
    }
}

/// Bytes [`Parts::take`] takes.
pub(super) fn bytes<T>(count: usize) -> usize {
    (count * size_of::<T>()).next_multiple_of(ALIGN)
}
