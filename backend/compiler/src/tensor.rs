//! Constants at export time.

use std::borrow::Cow;
use std::rc::Rc;

use tandem_kernels::types::{Type, convert};
use tandem_schemas::program::DType;

/// A row-major constant: the caller's bytes, or f32 computed here. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Tensor<'a> {
    pub dtype: DType,
    pub shape: Vec<usize>,
    data: Data<'a>,
}

#[derive(Clone, Debug)]
enum Data<'a> {
    Borrowed(&'a [u8]),
    Owned(Rc<Vec<f32>>),
    /// Of other dtypes.
    Bytes(Rc<Vec<u8>>),
}

impl<'a> Tensor<'a> {
    /// The caller's bytes; `bytes` is as long as `shape` and `dtype` say.
    pub fn borrowed(dtype: DType, shape: &[usize], bytes: &'a [u8]) -> Self {
        debug_assert_eq!(bytes.len(), elements(shape) * width(dtype));
        Self { dtype, shape: shape.to_vec(), data: Data::Borrowed(bytes) }
    }

    /// Computed f32.
    pub fn owned(shape: &[usize], data: Vec<f32>) -> Self {
        debug_assert_eq!(data.len(), elements(shape));
        Self { dtype: DType::F32, shape: shape.to_vec(), data: Data::Owned(Rc::new(data)) }
    }

    /// Numbers as another dtype.
    pub fn numbers(dtype: DType, shape: &[usize], data: &[f64]) -> Self {
        let bytes = bytemuck::cast_slice(data);
        Self { dtype: DType::F64, shape: shape.to_vec(), data: Data::Bytes(Rc::new(bytes.to_vec())) }
            .cast(dtype)
    }

    /// The same numbers as another dtype, by PyTorch's rules; unchanged where either is not known.
    pub fn cast(&self, dtype: DType) -> Self {
        let (Some(from), Some(to)) = (element(self.dtype), element(dtype)) else { return self.clone() };
        if from == to {
            return self.clone();
        }
        let bytes = convert(self.bytes(), from, to);
        let shape = self.shape.clone();
        if dtype == DType::F32 {
            return Self::owned(&shape, bytemuck::pod_collect_to_vec(&bytes));
        }
        Self { dtype, shape, data: Data::Bytes(Rc::new(bytes)) }
    }

    /// One f32 for each index of a vector.
    pub fn vector(data: Vec<f32>) -> Self {
        Self::owned(&[data.len()], data)
    }

    /// The same elements in another shape.
    pub fn reshaped(&self, shape: &[usize]) -> Self {
        debug_assert_eq!(elements(&self.shape), elements(shape));
        Self { shape: shape.to_vec(), ..self.clone() }
    }

    /// The elements of an f32 tensor, copied only where the caller's bytes are not aligned.
    pub fn f32(&self) -> Cow<'_, [f32]> {
        match &self.data {
            Data::Owned(data) => Cow::Borrowed(data),
            Data::Bytes(bytes) => Cow::Owned(bytemuck::pod_collect_to_vec(bytes)),
            Data::Borrowed(bytes) => match bytemuck::try_cast_slice(bytes) {
                Ok(data) => Cow::Borrowed(data),
                Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(bytes)),
            },
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Owned(data) => bytemuck::cast_slice(data),
            Data::Bytes(bytes) => bytes,
            Data::Borrowed(bytes) => bytes,
        }
    }
}

/// Product of sizes.
pub(crate) fn elements(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// The kernels' name of an element type; none of one this library does not know.
pub(crate) fn element(dtype: DType) -> Option<Type> {
    Type::of(dtype.0)
}

/// Bytes of an element.
pub(crate) fn width(dtype: DType) -> usize {
    element(dtype).map_or(1, Type::width)
}
