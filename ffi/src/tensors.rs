//! Checks the host's tensors and hands them to the engine.

use std::mem::size_of;
use std::slice;

use tandem_engine::{DType, Input, Output};

use crate::abi::Tensor;
use crate::status::Failure;

/// `TANDEM_MAX_RANK`
pub const MAX_RANK: usize = 8;

const ORDER: [u8; MAX_RANK] = [0, 1, 2, 3, 4, 5, 6, 7];

/// A slice of the host's array.
///
/// # Safety
/// `data` is null or points to `len` elements that live and stay unchanged for `'a`.
pub(crate) unsafe fn slice_of<'a, T>(what: &str, data: *const T, len: usize) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() || !data.is_aligned() || len > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Failure::argument(format!("{what}: {len} elements at {data:p}")));
    }
    // SAFETY: checked above, the rest by contract.
    Ok(unsafe { slice::from_raw_parts(data, len) })
}

/// Room for the sizes of `len` tensors.
///
/// # Safety
/// `data` is null or has room for `MAX_RANK` numbers a tensor, which nobody else touches for `'a`.
pub(crate) unsafe fn sizes_of<'a>(
    data: *mut usize,
    len: usize,
) -> Result<&'a mut [[usize; MAX_RANK]], Failure> {
    if len == 0 {
        return Ok(&mut []);
    }
    if data.is_null() || !data.is_aligned() || len > isize::MAX as usize / size_of::<[usize; MAX_RANK]>() {
        return Err(Failure::argument(format!("sizes: of {len} outputs at {data:p}")));
    }
    // SAFETY: checked above, the rest by contract.
    Ok(unsafe { slice::from_raw_parts_mut(data.cast(), len) })
}

/// The same vector without its elements, so that its memory is used again.
pub(crate) fn recycled<'a>(mut tensors: Vec<Input<'_>>) -> Vec<Input<'a>> {
    tensors.clear();
    tensors.into_iter().map(|_| unreachable!("cleared")).collect()
}

/// As [`recycled`].
pub(crate) fn recycled_outputs<'a>(mut tensors: Vec<Output<'_>>) -> Vec<Output<'a>> {
    tensors.clear();
    tensors.into_iter().map(|_| unreachable!("cleared")).collect()
}

/// Shape of a host's tensor, checked, and its length in bytes.
struct Shape<'a> {
    dtype: DType,
    sizes: &'a [usize],
    dim_order: &'a [u8],
    bytes: usize,
}

/// # Safety
/// `tensor.sizes` and `tensor.dim_order` are null or have `rank` elements.
unsafe fn shape<'a>(what: &str, index: usize, tensor: &Tensor) -> Result<Shape<'a>, Failure> {
    let bad = |why: String| Failure::argument(format!("{what} {index}: {why}"));
    let dtype = u8::try_from(tensor.dtype).ok().map(DType).filter(|d| DType::ENUM_VALUES.contains(d));
    let dtype = dtype.ok_or_else(|| bad(format!("dtype {} is unknown", tensor.dtype)))?;
    let rank = tensor.rank as usize;
    if rank > MAX_RANK {
        return Err(bad(format!("rank {rank}, at most {MAX_RANK} are possible")));
    }
    // SAFETY: by contract.
    let sizes = unsafe { slice_of("sizes", tensor.sizes, rank) }.map_err(|e| bad(e.message))?;
    let dim_order = if tensor.dim_order.is_null() {
        &ORDER[..rank]
    } else {
        // SAFETY: by contract.
        unsafe { slice_of("dim order", tensor.dim_order, rank) }.map_err(|e| bad(e.message))?
    };
    let element = element_bytes(dtype);
    let bytes = sizes.iter().try_fold(element, |bytes, &size| bytes.checked_mul(size));
    let bytes = bytes.filter(|&need| need <= tensor.bytes && need <= isize::MAX as usize);
    let bytes = bytes.ok_or_else(|| {
        bad(format!("{} bytes for {sizes:?} of {element}-byte elements are too few", tensor.bytes))
    })?;
    let address = tensor.data.addr();
    if bytes > 0 && (address == 0 || !address.is_multiple_of(element)) {
        return Err(bad(format!("data at {:p} for {element}-byte elements", tensor.data)));
    }
    Ok(Shape { dtype, sizes, dim_order, bytes })
}

/// Bytes of an element.
pub(crate) fn element_bytes(dtype: DType) -> usize {
    match dtype {
        DType::F64 | DType::I64 => 8,
        DType::F32 | DType::I32 => 4,
        DType::F16 | DType::BF16 | DType::I16 => 2,
        _ => 1,
    }
}

/// # Safety
/// `tensors` is null or an array of `len` tensors whose shapes and data live and stay unchanged for `'a`.
pub(crate) unsafe fn read_inputs<'a>(
    tensors: *const Tensor,
    len: usize,
    inputs: &mut Vec<Input<'a>>,
) -> Result<(), Failure> {
    // SAFETY: by contract.
    for (index, tensor) in unsafe { slice_of("inputs", tensors, len) }?.iter().enumerate() {
        // SAFETY: by contract.
        let Shape { dtype, sizes, dim_order, bytes } = unsafe { shape("input", index, tensor) }?;
        // SAFETY: `shape` checked length, null and alignment, the rest by contract.
        let bytes = unsafe { slice_of("data", tensor.data.cast::<u8>().cast_const(), bytes) }?;
        inputs.push(Input { dtype, sizes, dim_order, bytes });
    }
    Ok(())
}

/// # Safety
/// As [`read_inputs`], and nobody else touches the data for `'a`.
pub(crate) unsafe fn read_outputs<'a>(
    tensors: *const Tensor,
    len: usize,
    outputs: &mut Vec<Output<'a>>,
) -> Result<(), Failure> {
    // SAFETY: by contract.
    for (index, tensor) in unsafe { slice_of("outputs", tensors, len) }?.iter().enumerate() {
        // SAFETY: by contract.
        let Shape { dtype, sizes, dim_order, bytes } = unsafe { shape("output", index, tensor) }?;
        let data = tensor.data.cast::<u8>();
        let overlaps = |other: &Output<'_>| overlap((data.addr(), bytes), range(other.bytes));
        if outputs.iter().any(overlaps) {
            return Err(Failure::argument(format!("output {index} shares memory with another output")));
        }
        let bytes = if bytes == 0 {
            &mut []
        } else {
            // SAFETY: `shape` checked length, null and alignment; no other output is here; the rest by contract.
            unsafe { slice::from_raw_parts_mut(data, bytes) }
        };
        outputs.push(Output { dtype, sizes, dim_order, bytes });
    }
    Ok(())
}

/// Refuses outputs that share memory with inputs.
pub(crate) fn check_disjoint(inputs: &[Input<'_>], outputs: &[Output<'_>]) -> Result<(), Failure> {
    for (o, output) in outputs.iter().enumerate() {
        for (i, input) in inputs.iter().enumerate() {
            if overlap(range(input.bytes), range(output.bytes)) {
                return Err(Failure::argument(format!("output {o} shares memory with input {i}")));
            }
        }
    }
    Ok(())
}

fn range(bytes: &[u8]) -> (usize, usize) {
    (bytes.as_ptr().addr(), bytes.len())
}

fn overlap(a: (usize, usize), b: (usize, usize)) -> bool {
    a.1 > 0 && b.1 > 0 && a.0 < b.0 + b.1 && b.0 < a.0 + a.1
}
