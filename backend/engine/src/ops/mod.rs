//! One file per op: what it reads, how its output lies, and the kernel's problem and operands.
//!
//! A new op is a file with an [`Operator`] and an arm in [`operator`].

mod attention;
pub(crate) mod chain;
mod conv;
mod elementwise;
mod epilogue;
mod grid;
mod indexed;
mod matmul;
mod mixed;
mod moves;
mod norm;
mod pool;
mod reduce;
mod resize;
mod scan;
mod softmax;
mod sort;
mod views;

pub(crate) use moves::Operands as MoveOperands;

use tandem_base::Strided;
use tandem_kernels::types::Type;
use tandem_kernels::{Apart, Element, Halved, HalvedArgs};
use tandem_schemas::program::{DType, OpKindT};

use crate::error::Error;
use crate::layout::Layouts;
use crate::model::{self, Constant, Model};
use crate::plan::{Planner, Site};
use crate::step::{Bind, Buffer, Operand, Run};

/// What the planner asks of an op. Indices it names have been checked against the model before anything but
/// [`Operator::reads`] is called.
pub(crate) trait Operator {
    /// What it reads.
    fn reads(&self) -> Reads;

    /// Checks of structure that placing values relies on.
    ///
    /// # Errors
    /// What is wrong.
    fn verify(&self, _model: &Model, _out: usize) -> Result<(), String> {
        Ok(())
    }

    /// Where the output lies in a source that lies like `src`, for views that need not move anything: first element and
    /// shape.
    fn relabel(&self, _model: &Model, _out: usize, _src: Strided) -> Option<(usize, Strided)> {
        None
    }

    /// Whether each value it reads is moved on its own, so that they are priced one by one.
    fn apart(&self) -> bool {
        false
    }

    /// How the output lies where nothing else decides, given how the values before it lie; its sizes are `out`'s.
    fn layout(&self, _layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        Strided::contiguous(out)
    }

    /// Gives values it reads a place within its output's, so that their producers write there.
    fn place(&self, _p: &mut Planner<'_>, _out: usize) {}

    /// Checks sizes and options, and appends steps.
    ///
    /// # Errors
    /// What is wrong with the op, or that no kernel takes it.
    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error>;
}

/// Indices of values and constants an op reads.
#[derive(Default)]
pub(crate) struct Reads {
    pub values: Vec<i32>,
    pub constants: Vec<i32>,
}

impl Reads {
    /// These values.
    pub fn of(values: &[i32]) -> Self {
        Self { values: values.to_vec(), constants: Vec::new() }
    }
    /// And a value, unless it is -1.
    pub fn and(mut self, optional: i32) -> Self {
        self.values.extend((optional != -1).then_some(optional));
        self
    }
    /// And a constant.
    pub fn weight(mut self, constant: i32) -> Self {
        self.constants.push(constant);
        self
    }
    /// And constants; -1 is none.
    pub fn constants(mut self, optional: &[i32]) -> Self {
        self.constants.extend(optional.iter().filter(|&&c| c != -1));
        self
    }
}

/// The operator of an op; `None` where its kind is unknown.
pub(crate) fn operator(kind: &OpKindT) -> Option<&dyn Operator> {
    Some(match kind {
        OpKindT::Conv(o) => o.as_ref(),
        OpKindT::Depthwise(o) => o.as_ref(),
        OpKindT::ConvTranspose(o) => o.as_ref(),
        OpKindT::Linear(o) => o.as_ref(),
        OpKindT::MatMul(o) => o.as_ref(),
        OpKindT::Attention(o) => o.as_ref(),
        OpKindT::Pool(o) => o.as_ref(),
        OpKindT::AdaptivePool(o) => o.as_ref(),
        OpKindT::Reduce(o) => o.as_ref(),
        OpKindT::Softmax(o) => o.as_ref(),
        OpKindT::Norm(o) => o.as_ref(),
        OpKindT::Affine(o) => o.as_ref(),
        OpKindT::Unary(o) => o.as_ref(),
        OpKindT::Binary(o) => o.as_ref(),
        OpKindT::Select(o) => o.as_ref(),
        OpKindT::Resize(o) => o.as_ref(),
        OpKindT::Pad(o) => o.as_ref(),
        OpKindT::Reshape(o) => o.as_ref(),
        OpKindT::Permute(o) => o.as_ref(),
        OpKindT::Slice(o) => o.as_ref(),
        OpKindT::Expand(o) => o.as_ref(),
        OpKindT::Concat(o) => o.as_ref(),
        OpKindT::PixelShuffle(o) => o.as_ref(),
        OpKindT::Scan(o) => o.as_ref(),
        OpKindT::ArgSort(o) => o.as_ref(),
        OpKindT::Gather(o) => o.as_ref(),
        OpKindT::Scatter(o) => o.as_ref(),
        OpKindT::GridSample(o) => o.as_ref(),
        _ => return None,
    })
}

/// All of `values` must be f32.
fn need_f32(p: &Planner<'_>, site: Site<'_>, values: &[usize]) -> Result<(), Error> {
    for &v in values {
        let value = p.value(v);
        if value.dtype != DType::F32 {
            let what = format!("{} of {}, f32 only", model::dtype_name(value.dtype), value.name);
            return Err(Error::unsupported(site.name, what));
        }
    }
    Ok(())
}

/// The type of a value that must be a float some kernels take as it is stored: f32, f16 or bf16.
fn float(p: &Planner<'_>, site: Site<'_>, value: usize) -> Result<Type, Error> {
    let of = element(p, site, value)?;
    if matches!(of, Type::F32 | Type::F16 | Type::Bf16) {
        return Ok(of);
    }
    Err(Error::unsupported(site.name, format!("{of:?} of {}, f32, f16 and bf16 only", p.value(value).name)))
}

/// Runs an expression with `$rows` the family's table for a type that [`float`] gave.
macro_rules! with_rows {
    ($family:ident of $type:expr, $rows:ident => $body:expr) => {
        match $type {
            tandem_kernels::types::Type::F16 => {
                let $rows = $family::KERNELS_F16;
                $body
            }
            tandem_kernels::types::Type::Bf16 => {
                let $rows = $family::KERNELS_BF16;
                $body
            }
            _ => {
                let $rows = $family::KERNELS;
                $body
            }
        }
    };
}
use with_rows;

/// As [`with_rows`], where f32 has operands of its own: `half` for 16-bit floats, else `wide`.
macro_rules! halved {
    ($family:ident of $type:expr, $rows:ident => $half:expr, $wide:expr) => {
        match $type {
            tandem_kernels::types::Type::F16 => {
                let $rows = $family::KERNELS_F16;
                $half
            }
            tandem_kernels::types::Type::Bf16 => {
                let $rows = $family::KERNELS_BF16;
                $half
            }
            _ => $wide,
        }
    };
}
use halved;

/// Operands of a family of f32 on 16-bit floats.
struct Halves {
    src: Vec<Option<Operand>>,
    constants: Vec<Option<usize>>,
    dst: Operand,
}

impl Halves {
    /// Sources and the destination.
    fn of(src: &[Operand], dst: Operand) -> Self {
        Self { src: src.iter().copied().map(Some).collect(), constants: vec![], dst }
    }
}

impl<F: Apart, E: Element> Bind<Halved<F, E>> for Halves {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<HalvedArgs<'a, E>> {
        let mut args = HalvedArgs::empty();
        for (span, operand) in args.src.iter_mut().zip(&self.src) {
            if let Some(operand) = operand {
                *span = run.elements(operand)?;
            }
        }
        for (span, &constant) in args.constants.iter_mut().zip(&self.constants) {
            *span = run.column(constant)?;
        }
        args.dst = run.elements_mut(&self.dst)?;
        Some(args)
    }
    fn buffers(&self) -> Vec<Buffer> {
        self.src.iter().flatten().chain([&self.dst]).map(|o| o.buffer).collect()
    }
}

/// Element type of a value.
fn element(p: &Planner<'_>, site: Site<'_>, value: usize) -> Result<Type, Error> {
    let value = p.value(value);
    let unknown =
        || Error::program(site.name, format!("{} is {}", value.name, model::dtype_name(value.dtype)));
    model::element(value.dtype).ok_or_else(unknown)
}

/// All of `values` must have the element type.
fn need_element(p: &Planner<'_>, site: Site<'_>, want: Type, values: &[usize]) -> Result<(), Error> {
    for &v in values {
        let have = element(p, site, v)?;
        if have != want {
            let what = format!("{} is {have:?}, {want:?} expected", p.value(v).name);
            return Err(Error::program(site.name, what));
        }
    }
    Ok(())
}

/// Where a value lies, seen with the sizes it broadcasts to.
fn spread(p: &Planner<'_>, site: Site<'_>, value: usize, sizes: &[usize]) -> Result<Operand, Error> {
    let place = p.input(value);
    let wrong = || Error::program(site.name, format!("{:?} broadcast to {sizes:?}", place.shape.sizes()));
    place.shape.broadcast_to(sizes).map(|shape| place.with(shape)).ok_or_else(wrong)
}

/// Both values must have the same element type, whichever.
fn need_same_dtype(p: &Planner<'_>, site: Site<'_>, src: usize, dst: usize) -> Result<(), Error> {
    let (src, dst) = (p.value(src), p.value(dst));
    if src.dtype == dst.dtype {
        return Ok(());
    }
    let (from, to) = (model::dtype_name(src.dtype), model::dtype_name(dst.dtype));
    Err(Error::program(site.name, format!("{} is {from}, {} is {to}", src.name, dst.name)))
}

/// Exactly N unsigned numbers of a field.
fn numbers<const N: usize>(site: Site<'_>, field: &str, list: &[u32]) -> Result<[usize; N], Error> {
    let list: Vec<usize> = list.iter().map(|&x| x as usize).collect();
    let too_big = list.iter().any(|&x| x > 1 << 20);
    match <[usize; N]>::try_from(list) {
        Ok(numbers) if !too_big => Ok(numbers),
        _ => Err(Error::program(site.name, format!("{field} is not {N} sensible numbers"))),
    }
}

/// `Ok` where sizes are as computed.
fn need_sizes(site: Site<'_>, what: &str, have: &[usize], want: &[usize]) -> Result<(), Error> {
    if have == want {
        return Ok(());
    }
    Err(Error::program(site.name, format!("{what} is {have:?}, the op gives {want:?}")))
}

/// `Ok` where an f32 constant has the product of `factors` elements.
fn need_elements(site: Site<'_>, constant: &Constant, factors: &[usize], exact: bool) -> Result<(), Error> {
    need_elements_of(Type::F32, site, constant, factors, exact)
}

/// `Ok` where a constant has the product of `factors` elements of a type.
fn need_elements_of(
    of: Type,
    site: Site<'_>,
    constant: &Constant,
    factors: &[usize],
    exact: bool,
) -> Result<(), Error> {
    let width = of.width();
    let bytes = factors.iter().try_fold(width, |bytes, &f| bytes.checked_mul(f));
    let have = constant.length;
    let enough =
        bytes.is_some_and(|want| have == want || (!exact && have > want && have.is_multiple_of(width)));
    if model::element(constant.dtype) == Some(of) && enough {
        return Ok(());
    }
    let dtype = model::dtype_name(constant.dtype);
    let what = format!("{} has {have} bytes of {dtype}, {factors:?} of {of:?} are needed", constant.name);
    Err(Error::program(site.name, what))
}
