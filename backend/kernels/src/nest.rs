//! Loops over several operands of the same sizes, with as few dimensions as their strides allow.

use std::ops::Range;

use tandem_base::Strided;
use tandem_base::strided::MAX_RANK;

/// Dimensions outermost first, in the order of the first operand's strides; those along which every operand runs on
/// are merged, those of extent 1 dropped. At least one dimension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nest<const N: usize> {
    rank: usize,
    sizes: [usize; MAX_RANK],
    strides: [[usize; N]; MAX_RANK],
}

impl<const N: usize> Nest<N> {
    /// The loops over `sizes`, each operand with its strides.
    pub fn new(sizes: &[usize], operands: [&[usize]; N]) -> Self {
        let mut dims = [(0, [0; N]); MAX_RANK];
        let mut rank = 0;
        for (d, &size) in sizes.iter().enumerate() {
            if size != 1 {
                let dim = (size, operands.map(|strides| strides[d]));
                let at = dims[..rank].iter().position(|known| known.1 < dim.1).unwrap_or(rank);
                dims.copy_within(at..rank, at + 1);
                dims[at] = dim;
                rank += 1;
            }
        }
        let mut nest = Self { rank: 1, sizes: [1; MAX_RANK], strides: [[0; N]; MAX_RANK] };
        let Some((first, rest)) = dims[..rank].split_first() else { return nest };
        (nest.sizes[0], nest.strides[0]) = *first;
        for &(size, strides) in rest {
            let last = nest.rank - 1;
            let continues = (0..N).all(|i| nest.strides[last][i] == strides[i] * size);
            let at = if continues { last } else { nest.rank };
            nest.sizes[at] *= size;
            nest.strides[at] = strides;
            nest.rank = at + 1;
        }
        nest
    }

    /// The loops over a shape's sizes.
    pub fn of(operands: [&Strided; N]) -> Self {
        Self::new(operands[0].sizes(), operands.map(Strided::strides))
    }

    /// Number of dimensions, at least 1.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Extents, outermost first.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes[..self.rank]
    }

    /// Strides of every operand along dimension `dim`.
    pub fn strides(&self, dim: usize) -> [usize; N] {
        self.strides[dim]
    }

    /// Extent and strides of the innermost dimension.
    pub fn inner(&self) -> (usize, [usize; N]) {
        (self.sizes[self.rank - 1], self.strides[self.rank - 1])
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.sizes().iter().product()
    }

    /// The nest without its innermost dimension.
    pub fn outer(&self) -> Self {
        self.without(self.rank - 1)
    }

    /// The nest without dimension `dim`.
    pub fn without(&self, dim: usize) -> Self {
        let mut nest = *self;
        nest.sizes.copy_within(dim + 1.., dim);
        nest.strides.copy_within(dim + 1.., dim);
        nest.rank -= 1;
        if nest.rank == 0 {
            nest = Self { rank: 1, sizes: [1; MAX_RANK], strides: [[0; N]; MAX_RANK] };
        }
        nest
    }

    /// Where element `index` of the loops' own order lies in every operand.
    pub fn offsets(&self, index: usize) -> [usize; N] {
        self.blocks(index..index + 1).at
    }

    /// The elements of a range of the loops' own order as blocks of rows along the innermost dimension.
    pub fn blocks(&self, range: Range<usize>) -> Blocks<'_, N> {
        let (mut index, mut at) = ([0; MAX_RANK], [0; N]);
        if !range.is_empty() {
            let mut left = range.start;
            for d in (0..self.rank).rev() {
                index[d] = left % self.sizes[d];
                left /= self.sizes[d];
                for (at, stride) in at.iter_mut().zip(self.strides[d]) {
                    *at += index[d] * stride;
                }
            }
        }
        Blocks { nest: self, index, at, left: range.len() }
    }

    /// Strides of every operand from one row of a block to the next.
    pub fn row_strides(&self) -> [usize; N] {
        if self.rank > 1 { self.strides[self.rank - 2] } else { [0; N] }
    }
}

/// Elements along the innermost two dimensions: whole rows of the innermost one, or a part of one row.
pub(crate) struct Block<const N: usize> {
    /// Offset of the first element in every operand.
    pub at: [usize; N],
    /// Number of rows.
    pub rows: usize,
    /// Elements of a row.
    pub len: usize,
}

/// The blocks of a range.
pub(crate) struct Blocks<'a, const N: usize> {
    nest: &'a Nest<N>,
    index: [usize; MAX_RANK],
    at: [usize; N],
    left: usize,
}

impl<const N: usize> Iterator for Blocks<'_, N> {
    type Item = Block<N>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let nest = self.nest;
        let mut d = nest.rank - 1;
        let whole = nest.sizes[d];
        let len = (whole - self.index[d]).min(self.left);
        let mut block = Block { at: self.at, rows: 1, len };
        let mut step = len;
        if d > 0 && len == whole {
            d -= 1;
            block.rows = (nest.sizes[d] - self.index[d]).min(self.left / whole);
            step = block.rows;
        }
        self.left -= block.rows * len;
        // Carry outwards; the outermost dimension is only left when nothing is.
        loop {
            self.index[d] += step;
            for (at, stride) in self.at.iter_mut().zip(nest.strides[d]) {
                *at += step * stride;
            }
            if self.index[d] < nest.sizes[d] || d == 0 {
                return Some(block);
            }
            for (at, stride) in self.at.iter_mut().zip(nest.strides[d]) {
                *at -= nest.sizes[d] * stride;
            }
            self.index[d] = 0;
            d -= 1;
            step = 1;
        }
    }
}

/// The first elements of the lines along `dim`.
pub(crate) fn lines(shape: &Strided, dim: usize) -> Strided {
    let mut sizes = [0; MAX_RANK];
    sizes[..shape.rank()].copy_from_slice(shape.sizes());
    sizes[dim] = sizes[dim].min(1);
    Strided::new(&sizes[..shape.rank()], shape.strides())
}

/// Copies `n` elements `stride` apart next to each other.
///
/// # Safety
/// All of them can be read, and `n` written.
#[inline(always)]
pub(crate) unsafe fn gather<T: Copy>(src: *const T, stride: usize, n: usize, dst: *mut T) {
    for i in 0..n {
        // SAFETY: the caller's.
        unsafe { *dst.add(i) = *src.add(i * stride) }
    }
}

/// Copies `n` neighbouring elements to places `stride` apart.
///
/// # Safety
/// `n` can be read, and all places written.
#[inline(always)]
pub(crate) unsafe fn scatter<T: Copy>(src: *const T, dst: *mut T, stride: usize, n: usize) {
    for i in 0..n {
        // SAFETY: the caller's.
        unsafe { *dst.add(i * stride) = *src.add(i) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elementwise::offset;

    #[test]
    fn merges_what_continues_in_every_operand() {
        let image = Strided::with_order(&[2, 3, 4, 5], &[0, 2, 3, 1]);
        assert_eq!(Nest::of([&image]).sizes(), &[120]);
        let bias = Strided::contiguous(&[3, 1, 1]).broadcast_to(&[2, 3, 4, 5]).unwrap();
        let nest = Nest::of([&image, &bias]);
        assert_eq!((nest.sizes(), nest.inner()), (&[40, 3][..], (3, [1, 1])));
        let planes = Strided::contiguous(&[2, 3, 4, 5]);
        assert_eq!(Nest::of([&image, &planes]).sizes(), &[2, 20, 3]);
        assert_eq!(Nest::of([&Strided::contiguous(&[1, 1])]).sizes(), &[1]);
        assert_eq!(Nest::of([&Strided::contiguous(&[4, 0])]).elements(), 0);
    }

    #[test]
    fn blocks_of_any_split_cover_every_element_once() {
        let a = Strided::new(&[3, 1, 4, 2], &[40, 7, 9, 2]);
        let b = Strided::contiguous(&[2, 4, 3]).permuted(&[2, 0, 1]);
        let b = Strided::new(&[3, 1, 4, 2], &[b.stride(0), 0, b.stride(2), b.stride(1)]);
        let nest = Nest::of([&a, &b]);
        for step in 1..25 {
            let mut seen = Vec::new();
            for start in (0..24).step_by(step) {
                for Block { at, rows, len } in nest.blocks(start..(start + step).min(24)) {
                    let (inner, row) = (nest.inner().1, nest.row_strides());
                    let place = |o: usize, r: usize, i: usize| at[o] + r * row[o] + i * inner[o];
                    seen.extend(
                        (0..rows * len)
                            .map(|n| (n / len, n % len))
                            .map(|(r, i)| (place(0, r, i), place(1, r, i))),
                    );
                }
            }
            let mut want: Vec<_> = (0..24).map(|i| (offset(&a, i), offset(&b, i))).collect();
            seen.sort_unstable();
            want.sort_unstable();
            assert_eq!(seen, want);
        }
        assert_eq!(nest.offsets(23), [2 * 40 + 3 * 9 + 2, offset(&b, 23)]);
    }
}
