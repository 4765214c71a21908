//! Conv, Depthwise, ConvTranspose.

use tandem_base::{Span, Strided};
use tandem_kernels::types::Type;
use tandem_kernels::{Element, bf16, conv, deconv, depthwise, f16, panels};
use tandem_schemas::program::{ConvT, ConvTransposeT, DepthwiseT, Format};

use crate::error::Error;
use crate::layout::{Layouts, channels_last};
use crate::ops::epilogue::{self, EpilogueOperands};
use crate::ops::{
    Halves, Operator, Reads, float, halved, need_element, need_elements_of, need_sizes, numbers,
};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

/// An op's element type, its problem and where its operands lie.
pub(super) type Stage<P> = (Type, P, Operands);

/// Operands of the three.
pub(super) struct Operands {
    pub src: Vec<Operand>,
    pub weight: usize,
    pub epilogue: EpilogueOperands,
    pub dst: Operand,
}

impl Operands {
    fn all(&self) -> Vec<Buffer> {
        self.src.iter().chain([&self.dst]).map(|o| o.buffer).chain(self.epilogue.buffers()).collect()
    }
}

impl<E: Element> Bind<conv::Conv<E>> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<conv::Args<'a, E>> {
        let mut src = [Span::empty(); conv::MAX_SEGMENTS];
        for (span, operand) in src.iter_mut().zip(&self.src) {
            *span = run.elements(operand)?;
        }
        let (weight, epilogue) = (run.weight(self.weight)?, self.epilogue.args(run)?);
        Some(conv::Args { src, weight, epilogue, dst: run.elements_mut(&self.dst)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        self.all()
    }
}

impl Bind<depthwise::Depthwise> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<depthwise::Args<'a>> {
        let (weight, epilogue) = (run.column(Some(self.weight))?, self.epilogue.args(run)?);
        Some(depthwise::Args { src: run.f32(&self.src[0])?, weight, epilogue, dst: run.f32_mut(&self.dst)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        self.all()
    }
}

impl Bind<deconv::Deconv> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<deconv::Args<'a>> {
        let (weight, epilogue) = (run.column(Some(self.weight))?, self.epilogue.args(run)?);
        Some(deconv::Args { src: run.f32(&self.src[0])?, weight, epilogue, dst: run.f32_mut(&self.dst)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        self.all()
    }
}

/// Geometry common to the three.
struct Geometry {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
    dilation: [usize; 2],
}

impl Geometry {
    fn new(site: Site<'_>, fields: [&[u32]; 4]) -> Result<Self, Error> {
        let g = Self {
            kernel: numbers(site, "kernel", fields[0])?,
            stride: numbers(site, "stride", fields[1])?,
            padding: numbers(site, "padding", fields[2])?,
            dilation: numbers(site, "dilation", fields[3])?,
        };
        if [g.kernel, g.stride, g.dilation].iter().flatten().any(|&x| x == 0) {
            return Err(Error::program(site.name, "kernel, stride or dilation of 0"));
        }
        Ok(g)
    }

    /// Output height and width over an input of `size`.
    fn out(&self, site: Site<'_>, size: [usize; 2]) -> Result<[usize; 2], Error> {
        let mut out = [0; 2];
        for axis in 0..2 {
            let padded = size[axis] + self.padding[axis] + self.padding[axis + 2];
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            let room = padded.checked_sub(reach).ok_or_else(|| {
                Error::program(site.name, format!("window of {reach} over {padded} padded positions"))
            })?;
            out[axis] = room / self.stride[axis] + 1;
        }
        Ok(out)
    }

    /// Output height and width of the transposed convolution.
    fn transposed_out(
        &self,
        site: Site<'_>,
        size: [usize; 2],
        extra: [usize; 2],
    ) -> Result<[usize; 2], Error> {
        let mut out = [0; 2];
        for axis in 0..2 {
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            let full = size[axis].saturating_sub(1) * self.stride[axis] + reach + extra[axis];
            out[axis] = full
                .checked_sub(self.padding[axis] + self.padding[axis + 2])
                .ok_or_else(|| Error::program(site.name, format!("padding {:?} of {full}", self.padding)))?;
        }
        Ok(out)
    }
}

/// Sizes of a value that must be an f32 image.
fn image(p: &Planner<'_>, site: Site<'_>, value: usize) -> Result<[usize; 4], Error> {
    image_of(Type::F32, p, site, value)
}

/// Sizes of a value that must be an image of a type.
fn image_of(of: Type, p: &Planner<'_>, site: Site<'_>, value: usize) -> Result<[usize; 4], Error> {
    need_element(p, site, of, &[value])?;
    let (name, sizes) = (&p.value(value).name, &p.value(value).sizes);
    sizes
        .as_slice()
        .try_into()
        .map_err(|_| Error::program(site.name, format!("{name} is {sizes:?}, an image has 4 dimensions")))
}

/// A weight of exactly so many f32.
fn weight(
    p: &Planner<'_>,
    site: Site<'_>,
    index: i32,
    format: Format,
    factors: &[usize],
) -> Result<usize, Error> {
    weight_of(Type::F32, p, site, index, format, factors)
}

/// A weight of exactly so many elements of a type.
fn weight_of(
    of: Type,
    p: &Planner<'_>,
    site: Site<'_>,
    index: i32,
    format: Format,
    factors: &[usize],
) -> Result<usize, Error> {
    let constant = &p.model.constants[index as usize];
    if constant.format != format {
        let what = format!("weight {} in {:?}, {format:?} expected", constant.name, constant.format);
        return Err(Error::program(site.name, what));
    }
    need_elements_of(of, site, constant, factors, true)?;
    Ok(index as usize)
}

fn about(kernel: [usize; 2], src: &[Operand], dst: Operand) -> About<'static> {
    let sizes: Vec<String> = src.iter().map(|s| format!("{:?}", s.shape.sizes())).collect();
    let [ky, kx] = kernel;
    let shape = format!("{} {ky}x{kx} → {:?}", sizes.join("+"), dst.shape.sizes());
    About { category: Category::Convolution, shape, src: src[0], dst, why: "" }
}

impl Operator for ConvT {
    fn reads(&self) -> Reads {
        epilogue::reads(Reads::of(&self.src).weight(self.weight), self.epilogue.as_deref())
    }

    fn layout(&self, _: &Layouts<'_>, out: &[usize]) -> Strided {
        channels_last(out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let (of, problem, operands) = conv_stage(self, p, site, out, &[])?;
        let about = about(problem.kernel, &operands.src, operands.dst);
        match of {
            Type::F16 => p.convolved::<f16, _>(site, about, problem, operands),
            Type::Bf16 => p.convolved::<bf16, _>(site, about, problem, operands),
            _ => p.convolved::<f32, _>(site, about, problem, operands),
        }
    }
}

/// The problem of a convolution and where its operands lie; its result shares no memory with the values `apart`.
pub(super) fn conv_stage(
    o: &ConvT,
    p: &mut Planner<'_>,
    site: Site<'_>,
    out: usize,
    apart: &[usize],
) -> Result<Stage<conv::Problem>, Error> {
    let g = Geometry::new(site, [&o.kernel, &o.stride, &o.padding, &o.dilation])?;
    let sizes = segments(p, site, o, &g, out)?;
    let (groups, shuffle) = (o.groups as usize, o.shuffle as usize);
    let mut problem = conv::Problem {
        src: Default::default(),
        dst: Strided::contiguous(&sizes),
        kernel: g.kernel,
        stride: g.stride,
        padding: g.padding,
        dilation: g.dilation,
        groups,
        shuffle,
        epilogue: Default::default(),
        fast_math: p.target.fast_math,
    };
    let values: Vec<usize> = o.src.iter().map(|&s| s as usize).collect();
    let src: Vec<Operand> = values.iter().map(|&v| p.input(v)).collect();
    problem.src = src.iter().map(|s| s.shape).collect();
    let (columns, of) = (problem.padded_columns(), float(p, site, out)?);
    let per_word = size_of::<f32>() / of.width();
    let factors = [per_word, problem.words(per_word), columns];
    let weight = weight_of(of, p, site, o.weight, Format::Panels, &factors)?;
    let (stages, epilogue) = epilogue::plan(p, site, o.epilogue.as_deref(), columns, (of, &sizes))?;
    let dst = p.output_over(out, epilogue.residual_value().as_slice(), &[&values, apart].concat());
    (problem.dst, problem.epilogue) = (dst.shape, stages);
    Ok((of, problem, Operands { src, weight, epilogue, dst }))
}

/// Checks the segments and the output of a convolution; output sizes.
fn segments(
    p: &Planner<'_>,
    site: Site<'_>,
    o: &ConvT,
    g: &Geometry,
    out: usize,
) -> Result<Vec<usize>, Error> {
    let wrong = |what: String| Err(Error::program(site.name, what));
    let of = float(p, site, out)?;
    let (groups, shuffle) = (o.groups as usize, o.shuffle as usize);
    if o.src.is_empty() || o.src.len() > conv::MAX_SEGMENTS || groups == 0 || shuffle == 0 || shuffle > 64 {
        return wrong(format!("{} segments, {groups} groups, shuffle {shuffle}", o.src.len()));
    }
    if groups > 1 && (o.src.len() > 1 || shuffle > 1) {
        return Err(Error::unsupported(site.name, "groups with several segments or a shuffle"));
    }
    let first = image_of(of, p, site, o.src[0] as usize)?;
    let mut channels = 0;
    for &s in &o.src {
        let sizes = image_of(of, p, site, s as usize)?;
        need_sizes(site, "segment", &[sizes[0], sizes[2], sizes[3]], &[first[0], first[2], first[3]])?;
        channels += sizes[1];
    }
    let [oh, ow] = g.out(site, [first[2], first[3]])?;
    let sizes = image_of(of, p, site, out)?;
    need_sizes(site, "output", &sizes, &[first[0], sizes[1], oh * shuffle, ow * shuffle])?;
    if channels == 0 || channels % groups != 0 || sizes[1] % groups != 0 {
        return wrong(format!("{channels} → {} channels in {groups} groups", sizes[1]));
    }
    Ok(sizes.to_vec())
}

impl Operator for DepthwiseT {
    fn reads(&self) -> Reads {
        epilogue::reads(Reads::of(&[self.src]).weight(self.weight), self.epilogue.as_deref())
    }

    fn layout(&self, _: &Layouts<'_>, out: &[usize]) -> Strided {
        channels_last(out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let (of, problem, operands) = depthwise_stage(self, p, site, out, &[])?;
        let about = about(problem.kernel, &operands.src, operands.dst);
        halved!(depthwise of of,
            rows => {
                let Operands { src, weight, epilogue, dst } = operands;
                let [bias, scale, shift] = epilogue.columns();
                let constants = vec![Some(weight), bias, scale, shift];
                let src = vec![Some(src[0]), epilogue.residual()];
                p.kernel(site, about, rows, problem, Halves { src, constants, dst })
            },
            p.kernel(site, about, depthwise::KERNELS, problem, operands)
        )
    }
}

/// The same of a depthwise convolution.
pub(super) fn depthwise_stage(
    o: &DepthwiseT,
    p: &mut Planner<'_>,
    site: Site<'_>,
    out: usize,
    apart: &[usize],
) -> Result<Stage<depthwise::Problem>, Error> {
    let g = Geometry::new(site, [&o.kernel, &o.stride, &o.padding, &o.dilation])?;
    let value = o.src as usize;
    let of = float(p, site, out)?;
    let from = image_of(of, p, site, value)?;
    let [oh, ow] = g.out(site, [from[2], from[3]])?;
    let sizes = image_of(of, p, site, out)?;
    need_sizes(site, "output", &sizes, &[from[0], from[1], oh, ow])?;
    let columns = panels::padded(sizes[1]);
    let factors = [g.kernel[0], g.kernel[1], columns];
    let weight = weight(p, site, o.weight, Format::DepthwisePanels, &factors)?;
    let (stages, epilogue) = epilogue::plan(p, site, o.epilogue.as_deref(), columns, (of, &sizes))?;
    let src = vec![p.input(value)];
    let dst = p.output_over(out, epilogue.residual_value().as_slice(), &[&[value], apart].concat());
    let problem = depthwise::Problem {
        src: src[0].shape,
        dst: dst.shape,
        kernel: g.kernel,
        stride: g.stride,
        padding: g.padding,
        dilation: g.dilation,
        epilogue: stages,
    };
    Ok((of, problem, Operands { src, weight, epilogue, dst }))
}

impl Operator for ConvTransposeT {
    fn reads(&self) -> Reads {
        epilogue::reads(Reads::of(&[self.src]).weight(self.weight), self.epilogue.as_deref())
    }

    fn layout(&self, _: &Layouts<'_>, out: &[usize]) -> Strided {
        channels_last(out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let g = Geometry::new(site, [&self.kernel, &self.stride, &self.padding, &self.dilation])?;
        let extra: [usize; 2] = numbers(site, "output_padding", &self.output_padding)?;
        let (value, groups) = (self.src as usize, self.groups as usize);
        let (from, sizes) = (image(p, site, value)?, image(p, site, out)?);
        let size = g.transposed_out(site, [from[2], from[3]], extra)?;
        need_sizes(site, "output", &sizes, &[from[0], sizes[1], size[0], size[1]])?;
        if groups == 0 || from[1] == 0 || from[1] % groups != 0 || sizes[1] % groups != 0 {
            let what = format!("{} → {} channels in {groups} groups", from[1], sizes[1]);
            return Err(Error::program(site.name, what));
        }
        let mut problem = deconv::Problem {
            src: Strided::contiguous(&from),
            dst: Strided::contiguous(&sizes),
            kernel: g.kernel,
            stride: g.stride,
            padding: g.padding,
            dilation: g.dilation,
            groups,
            epilogue: Default::default(),
        };
        let columns = problem.padded_columns();
        let factors = [g.kernel[0], g.kernel[1], from[1] / groups, columns];
        let weight = weight(p, site, self.weight, Format::Panels, &factors)?;
        let (stages, epilogue) =
            epilogue::plan(p, site, self.epilogue.as_deref(), columns, (Type::F32, &sizes))?;
        let src = vec![p.input(value)];
        let dst = p.output_over(out, epilogue.residual_value().as_slice(), &[value]);
        (problem.src, problem.dst, problem.epilogue) = (src[0].shape, dst.shape, stages);
        let about = about(g.kernel, &src, dst);
        p.kernel(site, about, deconv::KERNELS, problem, Operands { src, weight, epilogue, dst })
    }
}
