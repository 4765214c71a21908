//! Reading and writing elements at places that other elements name. Elements of 1, 2, 4 or 8 bytes; places are i64.

mod scalar;
#[cfg(test)]
mod tests;

use tandem_base::{Span, SpanMut, Strided};

use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_len};
use crate::nest::Nest;
use crate::types::Type;

/// dst[i] = src[i with its part along `dim` replaced by index[i]].
pub struct Gather;

/// dst[i with its part along `dim` replaced by index[i]] = src[i], or is combined with it; of equal places any is put.
pub struct Scatter;

/// What becomes of an element that is there and one that is scattered to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// The new one.
    Put,
    /// Their sum.
    Add,
    /// Their product.
    Mul,
    /// The larger (NaN wins).
    Max,
    /// The smaller (NaN wins).
    Min,
}

/// Shapes of either. A place below 0 counts from the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What is read: any strides.
    pub src: Strided,
    /// Of a gather the sizes of dst, of a scatter those of src; any strides, 0 where a place is shared.
    pub index: Strided,
    /// What is written: any strides but 0.
    pub dst: Strided,
    /// The dimension that places are of.
    pub dim: usize,
    /// Of the elements.
    pub of: Type,
    /// What a scatter does.
    pub write: Write,
}

impl Problem {
    /// Loops over the places: operands with every place once, `through` the operand they are places of.
    fn nest(&self, through: &Strided, plain: &Strided) -> Nest<3> {
        let mut strides = [0; tandem_base::strided::MAX_RANK];
        strides[..through.rank()].copy_from_slice(through.strides());
        strides[self.dim] = 0;
        let through = &strides[..through.rank()];
        Nest::new(self.index.sizes(), [plain.strides(), self.index.strides(), through])
    }

    /// Sizes of the operand that places are of fit the others' but for `dim`, where any place is allowed.
    fn fits(&self, through: &Strided, plain: &Strided) -> bool {
        let rank = self.index.rank();
        let same = |d: usize| d == self.dim || self.index.size(d) <= through.size(d);
        self.dim < rank
            && through.rank() == rank
            && plain.sizes() == self.index.sizes()
            && (0..rank).all(same)
    }

    /// The first place outside `through`.
    fn outside(&self, index: &Span<'_, i64>, through: &Strided) -> Result<(), ArgError> {
        let sizes: Vec<usize> = self
            .index
            .sizes()
            .iter()
            .zip(self.index.strides())
            .map(|(&n, &s)| if s == 0 { n.min(1) } else { n })
            .collect();
        let once = Strided::new(&sizes, self.index.strides());
        let size = through.size(self.dim);
        for at in (0..once.elements()).map(|i| crate::elementwise::offset(&once, i)) {
            // SAFETY: the index's length was checked against its extent.
            let place = unsafe { *index.ptr().add(at) };
            if wrapped(place, size) >= size {
                return Err(ArgError::Place { place, size });
            }
        }
        Ok(())
    }
}

/// A place, counted from the end where negative; `size` or more where it lies outside.
#[inline(always)]
fn wrapped(place: i64, size: usize) -> usize {
    if place < 0 { place.wrapping_add(size as i64) as usize } else { place as usize }
}

/// Operands of a [`Problem`]; elements as bytes aligned to them.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// What is read.
    pub src: Span<'a, u8>,
    /// Places.
    pub index: Span<'a, i64>,
    /// What is written, disjoint from both.
    pub dst: SpanMut<'a, u8>,
}

fn cost(p: &Problem) -> Cost {
    let n = p.index.elements() as f64;
    Cost { flops: 0.0, bytes: n * 2.0 * p.of.width() as f64 + 8.0 * p.index.extent() as f64 }
}

fn check(p: &Problem, args: &Args<'_>, through: &Strided) -> Result<(), ArgError> {
    check_len("src", args.src.len(), p.src.extent() * p.of.width())?;
    check_len("index", args.index.len(), p.index.extent())?;
    check_len("dst", args.dst.len(), p.dst.extent() * p.of.width())?;
    check_disjoint("src", &args.src, &args.dst)?;
    check_disjoint("index", &args.index, &args.dst)?;
    p.outside(&args.index, through)
}

impl Family for Gather {
    const NAME: &'static str = "gather";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        cost(p)
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        check(p, args, &p.src)
    }
}

impl Family for Scatter {
    const NAME: &'static str = "scatter";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        cost(p)
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        check(p, args, &p.dst)
    }
}

/// Every row of [`Gather`].
pub static GATHER: &[Kernel<Gather>] = &[scalar::GATHER];

/// Every row of [`Scatter`].
pub static SCATTER: &[Kernel<Scatter>] = &[scalar::SCATTER];
