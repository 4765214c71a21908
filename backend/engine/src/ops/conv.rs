//! Conv, Depthwise, ConvTranspose.

use tandem_base::Span;
use tandem_kernels::{conv, deconv, depthwise, panels};
use tandem_schemas::program::{ConvT, ConvTransposeT, DepthwiseT, Format};

use crate::error::Error;
use crate::ops::epilogue::{self, EpilogueOperands};
use crate::ops::{need_f32, need_sizes, numbers};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

/// Operands of the three.
struct Operands {
    src: Vec<Operand>,
    weight: usize,
    epilogue: EpilogueOperands,
    dst: Operand,
}

impl Operands {
    fn all(&self) -> Vec<Buffer> {
        self.src.iter().chain([&self.dst]).map(|o| o.buffer).chain(self.epilogue.buffers()).collect()
    }
}

impl Bind<conv::Conv> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<conv::Args<'a>> {
        let mut src = [Span::empty(); conv::MAX_SEGMENTS];
        for (span, operand) in src.iter_mut().zip(&self.src) {
            *span = run.f32(operand)?;
        }
        let (weight, epilogue) = (run.column(Some(self.weight))?, self.epilogue.args(run)?);
        Some(conv::Args { src, weight, epilogue, dst: run.f32_mut(&self.dst)? })
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
}

fn image<'p>(p: &'p Planner<'_>, site: Site<'_>, value: usize) -> Result<&'p [usize], Error> {
    need_f32(p, site, &[value])?;
    let sizes = &p.value(value).sizes;
    if sizes.len() == 4 {
        return Ok(sizes);
    }
    Err(Error::program(site.name, format!("{} is {sizes:?}, an image has 4 dimensions", p.value(value).name)))
}

fn weight(
    p: &Planner<'_>,
    site: Site<'_>,
    index: i32,
    format: Format,
    elements: usize,
) -> Result<usize, Error> {
    let constant = &p.model.constants[index as usize];
    if constant.format != format || constant.length != elements * 4 {
        let (name, bytes) = (&constant.name, constant.length);
        let what = format!(
            "weight {name}: {:?} of {bytes} bytes, {format:?} of {} expected",
            constant.format,
            elements * 4
        );
        return Err(Error::program(site.name, what));
    }
    Ok(index as usize)
}

fn about(kernel: [usize; 2], src: &[Operand], dst: Operand) -> About<'static> {
    let sizes: Vec<String> = src.iter().map(|s| format!("{:?}", s.shape.sizes())).collect();
    let shape = format!("{} {}x{} → {:?}", sizes.join("+"), kernel[0], kernel[1], dst.shape.sizes());
    About { category: Category::Convolution, shape, src: src[0], dst, why: "" }
}

/// Conv.
pub(crate) fn conv<'m>(p: &mut Planner<'m>, site: Site<'m>, o: &'m ConvT, out: usize) -> Result<(), Error> {
    let g = Geometry::new(site, [&o.kernel, &o.stride, &o.padding, &o.dilation])?;
    let (groups, shuffle) = (o.groups as usize, o.shuffle as usize);
    let dst_sizes = image(p, site, out)?.to_vec();
    if o.src.is_empty() || o.src.len() > conv::MAX_SEGMENTS || groups == 0 || shuffle == 0 {
        return Err(Error::program(site.name, format!("{} segments, {groups} groups", o.src.len())));
    }
    if groups > 1 && (o.src.len() > 1 || shuffle > 1) {
        return Err(Error::unsupported(site.name, "groups with several segments or a shuffle"));
    }
    let first = image(p, site, o.src[0] as usize)?.to_vec();
    let mut channels = 0;
    for &s in &o.src {
        let sizes = image(p, site, s as usize)?;
        need_sizes(site, "segment", &[sizes[0], sizes[2], sizes[3]], &[first[0], first[2], first[3]])?;
        channels += sizes[1];
    }
    let [oh, ow] = g.out(site, [first[2], first[3]])?;
    need_sizes(site, "output", &dst_sizes, &[first[0], dst_sizes[1], oh * shuffle, ow * shuffle])?;
    if channels % groups != 0 || dst_sizes[1] % groups != 0 {
        return Err(Error::program(
            site.name,
            format!("{channels} → {} channels in {groups} groups", dst_sizes[1]),
        ));
    }
    let src: Vec<Operand> = o.src.iter().map(|&s| p.input(s as usize)).collect();
    let dst = p.output(out);
    let mut problem = conv::Problem {
        src: src.iter().map(|s| s.shape).collect(),
        dst: dst.shape,
        kernel: g.kernel,
        stride: g.stride,
        padding: g.padding,
        dilation: g.dilation,
        groups,
        shuffle,
        epilogue: Default::default(),
        fast_math: p.target.fast_math,
    };
    let columns = problem.padded_columns();
    let weight = weight(p, site, o.weight, Format::Panels, problem.k() * columns)?;
    let (stages, epilogue) = epilogue::plan(p, site, o.epilogue.as_deref(), columns, &dst_sizes)?;
    problem.epilogue = stages;
    let about = about(g.kernel, &src, dst);
    p.kernel(site, about, conv::KERNELS, problem, Operands { src, weight, epilogue, dst })
}

/// Depthwise.
pub(crate) fn depthwise<'m>(
    p: &mut Planner<'m>,
    site: Site<'m>,
    o: &'m DepthwiseT,
    out: usize,
) -> Result<(), Error> {
    let g = Geometry::new(site, [&o.kernel, &o.stride, &o.padding, &o.dilation])?;
    let sizes = image(p, site, o.src as usize)?.to_vec();
    let [oh, ow] = g.out(site, [sizes[2], sizes[3]])?;
    let dst_sizes = image(p, site, out)?.to_vec();
    need_sizes(site, "output", &dst_sizes, &[sizes[0], sizes[1], oh, ow])?;
    let columns = panels::padded(sizes[1]);
    let weight = weight(p, site, o.weight, Format::DepthwisePanels, g.kernel[0] * g.kernel[1] * columns)?;
    let (stages, epilogue) = epilogue::plan(p, site, o.epilogue.as_deref(), columns, &dst_sizes)?;
    let (src, dst) = (p.input(o.src as usize), p.output(out));
    let problem = depthwise::Problem {
        src: src.shape,
        dst: dst.shape,
        kernel: g.kernel,
        stride: g.stride,
        padding: g.padding,
        dilation: g.dilation,
        epilogue: stages,
    };
    let about = about(g.kernel, &[src], dst);
    p.kernel(site, about, depthwise::KERNELS, problem, Operands { src: vec![src], weight, epilogue, dst })
}

/// ConvTranspose.
pub(crate) fn transposed<'m>(
    p: &mut Planner<'m>,
    site: Site<'m>,
    o: &'m ConvTransposeT,
    out: usize,
) -> Result<(), Error> {
    let g = Geometry::new(site, [&o.kernel, &o.stride, &o.padding, &o.dilation])?;
    let extra: [usize; 2] = numbers(site, "output_padding", &o.output_padding)?;
    let groups = o.groups as usize;
    let sizes = image(p, site, o.src as usize)?.to_vec();
    let dst_sizes = image(p, site, out)?.to_vec();
    let mut size = [0; 2];
    for axis in 0..2 {
        let reach = g.dilation[axis] * (g.kernel[axis] - 1) + 1;
        let full = sizes[axis + 2].saturating_sub(1) * g.stride[axis] + reach + extra[axis];
        size[axis] = full
            .checked_sub(g.padding[axis] + g.padding[axis + 2])
            .ok_or_else(|| Error::program(site.name, format!("padding {:?} of {full}", g.padding)))?;
    }
    need_sizes(site, "output", &dst_sizes, &[sizes[0], dst_sizes[1], size[0], size[1]])?;
    if groups == 0 || sizes[1] % groups != 0 || dst_sizes[1] % groups != 0 {
        return Err(Error::program(
            site.name,
            format!("{} → {} channels in {groups} groups", sizes[1], dst_sizes[1]),
        ));
    }
    let (src, dst) = (p.input(o.src as usize), p.output(out));
    let mut problem = deconv::Problem {
        src: src.shape,
        dst: dst.shape,
        kernel: g.kernel,
        stride: g.stride,
        padding: g.padding,
        dilation: g.dilation,
        groups,
        epilogue: Default::default(),
    };
    let columns = problem.padded_columns();
    let elements = g.kernel[0] * g.kernel[1] * (sizes[1] / groups) * columns;
    let weight = weight(p, site, o.weight, Format::Panels, elements)?;
    let (stages, epilogue) = epilogue::plan(p, site, o.epilogue.as_deref(), columns, &dst_sizes)?;
    problem.epilogue = stages;
    let about = about(g.kernel, &[src], dst);
    p.kernel(site, about, deconv::KERNELS, problem, Operands { src: vec![src], weight, epilogue, dst })
}
