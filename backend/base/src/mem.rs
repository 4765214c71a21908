//! Aligned buffers and raw spans of them.
//!
//! Steps of a plan read and write ranges of one arena, some of them in place, from several threads. [`Span`] and
//! [`SpanMut`] are pointer and length without Rust's aliasing promises; kernels, which are unsafe anyway, turn them
//! into loads and stores. Lengths are checked where a span is made, overlap where a kernel is bound to its arguments.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;

use bytemuck::Pod;

/// Alignment of every buffer and of every offset planned in one, in bytes: a cache line.
pub const ALIGN: usize = 64;

/// From this many bytes on a buffer is a mapping of its own, at a 2 MiB boundary and in pages as large as the system
/// gives: nothing is zeroed, and no memory taken, before it is touched.
const LARGE: usize = 2 << 20;

/// Zeroed bytes at a 64-byte boundary.
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    len: usize,
    /// The mapping the bytes lie in, where they have one.
    #[cfg(all(unix, not(miri)))]
    map: Option<map::Map>,
}

// SAFETY: the buffer owns its bytes; shared access goes through `&self` and gives no way to write.
unsafe impl Send for AlignedBuf {}
// SAFETY: as above.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// `len` zeroed bytes.
    pub fn zeroed(len: usize) -> Self {
        Self::try_zeroed(len).unwrap_or_else(|| match Layout::from_size_align(len, ALIGN) {
            Ok(layout) => handle_alloc_error(layout),
            Err(_) => panic!("a buffer of {len} bytes"),
        })
    }

    /// `len` zeroed bytes, or `None` where the system has no such room.
    pub fn try_zeroed(len: usize) -> Option<Self> {
        if len == 0 {
            return Some(Self::unmapped(NonNull::<Line>::dangling().cast(), 0));
        }
        #[cfg(all(unix, not(miri)))]
        if len >= LARGE {
            let map = map::Map::new(len, LARGE)?;
            return Some(Self { ptr: map.start(LARGE), len, map: Some(map) });
        }
        let layout = Layout::from_size_align(len, ALIGN).ok()?;
        // SAFETY: the layout has a size above 0.
        let ptr = unsafe { alloc_zeroed(layout) };
        Some(Self::unmapped(NonNull::new(ptr)?, len))
    }

    fn unmapped(ptr: NonNull<u8>, len: usize) -> Self {
        Self {
            ptr,
            len,
            #[cfg(all(unix, not(miri)))]
            map: None,
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `ptr` owns `len` initialised bytes for the life of `self`.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// The bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }

    /// Exclusive access for a run of steps, handing out spans that may overlap.
    pub fn lease(&mut self) -> Lease<'_> {
        Lease { ptr: self.ptr, len: self.len, _exclusive: PhantomData }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        #[cfg(all(unix, not(miri)))]
        if self.map.is_some() {
            return;
        }
        if self.len > 0 {
            let layout = Layout::from_size_align(self.len, ALIGN).expect("the layout it was allocated with");
            // SAFETY: allocated in `try_zeroed` with this layout.
            unsafe { dealloc(self.ptr.as_ptr(), layout) }
        }
    }
}

#[cfg(all(unix, not(miri)))]
mod map {
    use std::ptr::{self, NonNull};

    /// An anonymous private mapping.
    pub(super) struct Map {
        base: NonNull<u8>,
        len: usize,
    }

    impl Map {
        /// Room for `len` bytes from the first multiple of `align` on.
        pub fn new(len: usize, align: usize) -> Option<Self> {
            let len = len.checked_add(align).filter(|&len| isize::try_from(len).is_ok())?;
            let (access, kind) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: a fresh mapping, touching nothing that exists.
            let base = unsafe { libc::mmap(ptr::null_mut(), len, access, kind, -1, 0) };
            if base == libc::MAP_FAILED {
                return None;
            }
            #[cfg(target_os = "linux")]
            // SAFETY: advice on the mapping just made; a refusal changes nothing.
            unsafe {
                libc::madvise(base, len, libc::MADV_HUGEPAGE);
            }
            Some(Self { base: NonNull::new(base.cast())?, len })
        }

        /// The first multiple of `align` in it.
        pub fn start(&self, align: usize) -> NonNull<u8> {
            let skip = self.base.as_ptr().align_offset(align);
            // SAFETY: the mapping is longer than `align`.
            unsafe { self.base.add(skip) }
        }
    }

    impl Drop for Map {
        fn drop(&mut self) {
            // SAFETY: mapped in `new`, and its owner is gone.
            unsafe {
                libc::munmap(self.base.as_ptr().cast(), self.len);
            }
        }
    }
}

#[repr(align(64))]
struct Line;

/// A buffer lent to one thread that runs steps one after the other. Not `Sync`: two steps never run at once on it.
pub struct Lease<'a> {
    ptr: NonNull<u8>,
    len: usize,
    _exclusive: PhantomData<(&'a mut [u8], *mut u8)>,
}

impl<'a> Lease<'a> {
    /// A range of bytes as elements to read, or `None` where it leaves the buffer or is misaligned for `T`.
    pub fn span<T: Pod>(&self, bytes: Range<usize>) -> Option<Span<'a, T>> {
        self.cut::<T>(bytes).map(|(ptr, len)| Span { ptr: ptr.cast_const(), len, _life: PhantomData })
    }

    /// A range of bytes as elements to write, or `None` where it leaves the buffer or is misaligned for `T`.
    pub fn span_mut<T: Pod>(&self, bytes: Range<usize>) -> Option<SpanMut<'a, T>> {
        self.cut::<T>(bytes).map(|(ptr, len)| SpanMut { ptr, len, _life: PhantomData })
    }

    fn cut<T>(&self, bytes: Range<usize>) -> Option<(*mut T, usize)> {
        let size = size_of::<T>();
        let fits = bytes.start <= bytes.end && bytes.end <= self.len && bytes.len().is_multiple_of(size);
        if !fits {
            return None;
        }
        // SAFETY: `start` is at most the length of the allocation.
        let ptr = unsafe { self.ptr.as_ptr().add(bytes.start) }.cast::<T>();
        ptr.is_aligned().then_some((ptr, bytes.len() / size))
    }
}

/// Elements to read: pointer and length. Another span may alias them; who writes is settled by the step that runs.
#[derive(Debug)]
pub struct Span<'a, T> {
    ptr: *const T,
    len: usize,
    _life: PhantomData<&'a [T]>,
}

impl<T> Clone for Span<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Span<'_, T> {}

// SAFETY: a span is an address range; reading it is unsafe and the reader answers for races.
unsafe impl<T: Sync> Send for Span<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Span<'_, T> {}

impl<'a, T> From<&'a [T]> for Span<'a, T> {
    fn from(slice: &'a [T]) -> Self {
        Self { ptr: slice.as_ptr(), len: slice.len(), _life: PhantomData }
    }
}

impl<'a, T> Span<'a, T> {
    /// No elements.
    pub fn empty() -> Self {
        <Self as From<&[T]>>::from(&[])
    }
    /// First element.
    pub fn ptr(&self) -> *const T {
        self.ptr
    }
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Addresses covered.
    pub fn addresses(&self) -> Range<usize> {
        addresses(self.ptr, self.len)
    }
    /// Elements from `start` on, or `None` where that is behind the end.
    pub fn skip(&self, start: usize) -> Option<Self> {
        let len = self.len.checked_sub(start)?;
        Some(Self { ptr: self.ptr.wrapping_add(start), len, _life: PhantomData })
    }
    /// The first `len` elements, or `None` where there are fewer.
    pub fn first(&self, len: usize) -> Option<Self> {
        (len <= self.len).then_some(Self { len, ..*self })
    }
    /// The same bytes as elements of another type, or `None` where length or alignment forbid it.
    pub fn cast<U: Pod>(&self) -> Option<Span<'a, U>>
    where
        T: Pod,
    {
        if self.len == 0 {
            return Some(Span::empty());
        }
        let (ptr, bytes) = (self.ptr.cast::<U>(), self.len * size_of::<T>());
        let fits = ptr.is_aligned() && bytes.is_multiple_of(size_of::<U>());
        fits.then(|| Span { ptr, len: bytes / size_of::<U>(), _life: PhantomData })
    }
    /// The elements as a slice.
    ///
    /// # Safety
    /// Nothing writes them while the slice lives.
    pub unsafe fn as_slice(&self) -> &'a [T] {
        // SAFETY: pointer and length come from a live allocation; the caller rules out writes.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }
}

/// Elements to write: pointer and length, without exclusivity; tiles of one step write disjoint parts of it.
#[derive(Debug)]
pub struct SpanMut<'a, T> {
    ptr: *mut T,
    len: usize,
    _life: PhantomData<&'a mut [T]>,
}

impl<T> Clone for SpanMut<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for SpanMut<'_, T> {}

// SAFETY: a span is an address range; writing it is unsafe and the writer answers for races.
unsafe impl<T: Send> Send for SpanMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SpanMut<'_, T> {}

impl<'a, T> From<&'a mut [T]> for SpanMut<'a, T> {
    fn from(slice: &'a mut [T]) -> Self {
        Self { ptr: slice.as_mut_ptr(), len: slice.len(), _life: PhantomData }
    }
}

impl<'a, T> SpanMut<'a, T> {
    /// No elements.
    pub fn empty() -> Self {
        <Self as From<&'a mut [T]>>::from(&mut [])
    }
    /// First element.
    pub fn ptr(&self) -> *mut T {
        self.ptr
    }
    /// The same elements, to read.
    pub fn read(&self) -> Span<'a, T> {
        Span { ptr: self.ptr.cast_const(), len: self.len, _life: PhantomData }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Addresses covered.
    pub fn addresses(&self) -> Range<usize> {
        addresses(self.ptr, self.len)
    }
    /// Elements from `start` on, or `None` where that is behind the end.
    pub fn skip(&self, start: usize) -> Option<Self> {
        let len = self.len.checked_sub(start)?;
        Some(Self { ptr: self.ptr.wrapping_add(start), len, _life: PhantomData })
    }
    /// The first `len` elements, or `None` where there are fewer.
    pub fn first(&self, len: usize) -> Option<Self> {
        (len <= self.len).then_some(Self { len, ..*self })
    }
    /// The same bytes as elements of another type, or `None` where length or alignment forbid it.
    pub fn cast<U: Pod>(&self) -> Option<SpanMut<'a, U>>
    where
        T: Pod,
    {
        if self.len == 0 {
            return Some(SpanMut::empty());
        }
        let (ptr, bytes) = (self.ptr.cast::<U>(), self.len * size_of::<T>());
        let fits = ptr.is_aligned() && bytes.is_multiple_of(size_of::<U>());
        fits.then(|| SpanMut { ptr, len: bytes / size_of::<U>(), _life: PhantomData })
    }
    /// Elements at an address.
    ///
    /// # Safety
    /// `len` elements lie at `ptr`, aligned, initialised and alive for `'a`.
    pub(crate) unsafe fn from_raw(ptr: *mut T, len: usize) -> Self {
        Self { ptr, len, _life: PhantomData }
    }
    /// The same elements, to read.
    pub fn as_span(&self) -> Span<'a, T> {
        Span { ptr: self.ptr, len: self.len, _life: PhantomData }
    }
}

fn addresses<T>(ptr: *const T, len: usize) -> Range<usize> {
    ptr.addr()..ptr.addr() + len * size_of::<T>()
}

/// Whether two address ranges share a byte.
pub fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_checks_bounds_and_alignment() {
        let mut buf = AlignedBuf::zeroed(128);
        let lease = buf.lease();
        assert_eq!(lease.span::<f32>(0..128).unwrap().len(), 32);
        assert!(lease.span::<f32>(0..132).is_none());
        assert!(lease.span::<f32>(2..6).is_none());
        assert!(lease.span_mut::<f32>(0..6).is_none());
        let a = lease.span::<f32>(0..64).unwrap().addresses();
        assert!(!overlap(&a, &lease.span_mut::<f32>(64..128).unwrap().addresses()));
        assert!(overlap(&a, &lease.span_mut::<f32>(60..64).unwrap().addresses()));
    }

    #[test]
    fn large_buffers_are_zeroed_and_aligned() {
        for len in [1, 63, 4096, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE + 77] {
            let mut buf = AlignedBuf::zeroed(len);
            let align = if len >= LARGE && cfg!(all(unix, not(miri))) { LARGE } else { ALIGN };
            assert!(buf.bytes().as_ptr().addr().is_multiple_of(align));
            assert_eq!(buf.len(), len);
            assert!(buf.bytes().iter().all(|&b| b == 0));
            buf.bytes_mut()[len - 1] = 1;
        }
        assert!(AlignedBuf::try_zeroed(usize::MAX).is_none());
        assert!(AlignedBuf::try_zeroed(isize::MAX as usize - 4096).is_none());
    }

    #[test]
    fn empty_buffer() {
        let mut buf = AlignedBuf::zeroed(0);
        assert!(buf.bytes_mut().is_empty());
        assert!(buf.lease().span::<f32>(0..0).unwrap().is_empty());
    }
}
