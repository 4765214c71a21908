//! Sizes and strides of a tensor in logical order.

use std::fmt;

/// Highest rank Tandem takes.
pub const MAX_RANK: usize = 8;

/// Sizes and strides, both in elements, in logical (PyTorch) order. A stride of 0 broadcasts.
///
/// The layout of a value lives here: an NHWC image is `[n, c, h, w]` with stride 1 on `c`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Strided {
    rank: u8,
    sizes: [usize; MAX_RANK],
    strides: [usize; MAX_RANK],
}

impl Strided {
    /// Row-major.
    ///
    /// # Panics
    /// If there are more than [`MAX_RANK`] sizes; callers check ranks when they read a blob.
    pub fn contiguous(sizes: &[usize]) -> Self {
        let order: [u8; MAX_RANK] = [0, 1, 2, 3, 4, 5, 6, 7];
        Self::with_order(sizes, &order[..sizes.len()])
    }

    /// Dense, with dimensions laid out in `order`, outermost first (ExecuTorch's dim order).
    ///
    /// # Panics
    /// If `order` is not a permutation of the dimensions.
    pub fn with_order(sizes: &[usize], order: &[u8]) -> Self {
        assert_eq!(sizes.len(), order.len(), "dim order of another rank");
        let mut shape = Self { rank: sizes.len() as u8, ..Self::default() };
        shape.sizes[..sizes.len()].copy_from_slice(sizes);
        let mut stride = 1;
        for &dim in order.iter().rev() {
            shape.strides[usize::from(dim)] = stride;
            stride *= sizes[usize::from(dim)].max(1);
        }
        shape
    }

    /// Sizes with explicit strides.
    ///
    /// # Panics
    /// If the two differ in length or exceed [`MAX_RANK`].
    pub fn new(sizes: &[usize], strides: &[usize]) -> Self {
        assert_eq!(sizes.len(), strides.len(), "strides of another rank");
        let mut shape = Self { rank: sizes.len() as u8, ..Self::default() };
        shape.sizes[..sizes.len()].copy_from_slice(sizes);
        shape.strides[..sizes.len()].copy_from_slice(strides);
        shape
    }

    /// Number of dimensions.
    #[inline]
    pub fn rank(&self) -> usize {
        usize::from(self.rank)
    }

    /// Extents.
    #[inline]
    pub fn sizes(&self) -> &[usize] {
        &self.sizes[..self.rank()]
    }

    /// Distances in elements.
    #[inline]
    pub fn strides(&self) -> &[usize] {
        &self.strides[..self.rank()]
    }

    /// Extent of dimension `dim`.
    #[inline]
    pub fn size(&self, dim: usize) -> usize {
        self.sizes()[dim]
    }

    /// Stride of dimension `dim`, in elements.
    #[inline]
    pub fn stride(&self, dim: usize) -> usize {
        self.strides()[dim]
    }

    /// Number of logical elements.
    #[inline]
    pub fn elements(&self) -> usize {
        self.sizes().iter().product()
    }

    /// Elements from the first to one behind the last reachable; 0 where any extent is 0.
    pub fn extent(&self) -> usize {
        if self.elements() == 0 {
            return 0;
        }
        1 + self.sizes().iter().zip(self.strides()).map(|(&n, &s)| (n - 1) * s).sum::<usize>()
    }

    /// Whether the elements fill `[0, elements)` in logical order.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for dim in (0..self.rank()).rev() {
            if self.sizes[dim] != 1 && self.strides[dim] != expected {
                return false;
            }
            expected *= self.sizes[dim];
        }
        true
    }

    /// Dimensions in the order `order[i]` = old dimension at new place `i`.
    pub fn permuted(&self, order: &[usize]) -> Self {
        let sizes: Vec<usize> = order.iter().map(|&d| self.size(d)).collect();
        let strides: Vec<usize> = order.iter().map(|&d| self.stride(d)).collect();
        Self::new(&sizes, &strides)
    }

    /// The same elements under other sizes without moving them, or `None` where strides forbid it.
    pub fn reshaped(&self, sizes: &[usize]) -> Option<Self> {
        if sizes.len() > MAX_RANK || sizes.iter().product::<usize>() != self.elements() {
            return None;
        }
        if self.elements() == 0 {
            return Some(Self::contiguous(sizes));
        }
        let old: Vec<(usize, usize)> =
            self.sizes().iter().copied().zip(self.strides().iter().copied()).filter(|d| d.0 != 1).collect();
        let mut strides = [1usize; MAX_RANK];
        let (mut o, mut n) = (old.len(), sizes.len());
        // Match runs of old dimensions that merge with runs of new ones, innermost first.
        while o > 0 {
            let (mut have, stride) = old[o - 1];
            o -= 1;
            let (mut want, mut step) = (1, stride);
            loop {
                while want < have && n > 0 {
                    n -= 1;
                    strides[n] = step;
                    step *= sizes[n];
                    want *= sizes[n];
                }
                if want == have {
                    break;
                }
                // More old dimensions must join: only where they continue the run.
                if o == 0 || old[o - 1].1 != stride * have {
                    return None;
                }
                o -= 1;
                have *= old[o].0;
            }
        }
        // What is left of the new sizes is all ones.
        strides[..n].fill(1);
        Some(Self::new(sizes, &strides[..sizes.len()]))
    }

    /// Broadcast to `sizes` (right-aligned): extents of 1 and missing leading dimensions get stride 0.
    pub fn broadcast_to(&self, sizes: &[usize]) -> Option<Self> {
        let lead = sizes.len().checked_sub(self.rank())?;
        let mut strides = [0usize; MAX_RANK];
        for (i, &want) in sizes.iter().enumerate().skip(lead) {
            let (have, stride) = (self.size(i - lead), self.stride(i - lead));
            strides[i] = match () {
                () if have == want => stride,
                () if have == 1 => 0,
                () => return None,
            };
        }
        Some(Self::new(sizes, &strides[..sizes.len()]))
    }
}

impl fmt::Debug for Strided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.sizes(), self.strides())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_last_permutes_to_contiguous() {
        let image = Strided::with_order(&[2, 3, 4, 5], &[0, 2, 3, 1]);
        assert_eq!(image.strides(), &[60, 1, 15, 3]);
        assert!(image.permuted(&[0, 2, 3, 1]).is_contiguous());
        assert_eq!(image.extent(), 120);
    }

    #[test]
    fn reshape_merges_what_strides_allow() {
        let image = Strided::with_order(&[2, 3, 4, 5], &[0, 2, 3, 1]);
        assert_eq!(image.permuted(&[0, 2, 3, 1]).reshaped(&[40, 3]).unwrap().strides(), &[3, 1]);
        assert_eq!(image.reshaped(&[2, 3, 20]).unwrap().strides(), &[60, 1, 3]);
        assert!(image.reshaped(&[6, 20]).is_none());
        assert_eq!(image.reshaped(&[2, 1, 3, 2, 10]).unwrap().strides()[2..], [1, 30, 3]);
        let row = Strided::new(&[4, 6], &[10, 1]);
        assert_eq!(row.reshaped(&[2, 2, 3, 2]).unwrap().strides(), &[20, 10, 2, 1]);
        assert!(row.reshaped(&[24]).is_none());
        assert_eq!(Strided::contiguous(&[1, 1]).reshaped(&[]).unwrap().rank(), 0);
    }

    #[test]
    fn broadcast_sets_stride_zero() {
        let bias = Strided::contiguous(&[3, 1]);
        assert_eq!(bias.broadcast_to(&[2, 3, 4]).unwrap().strides(), &[0, 1, 0]);
        assert!(bias.broadcast_to(&[2, 4, 4]).is_none());
    }
}
