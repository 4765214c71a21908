//! Linear and MatMul.

use tandem_base::Strided;
use tandem_kernels::gemm::{self, Gemm, Rhs};
use tandem_kernels::{panels, select};
use tandem_schemas::program::{EpilogueT, Format, LinearT, MatMulT};

use crate::error::Error;
use crate::ops::epilogue::{self, EpilogueOperands};
use crate::ops::{need_f32, need_sizes};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

/// The right-hand side's place.
#[derive(Clone, Copy)]
enum RhsPlace {
    Constant(usize),
    Value(Operand),
}

struct Operands {
    lhs: Operand,
    rhs: RhsPlace,
    epilogue: EpilogueOperands,
    dst: Operand,
}

impl Bind<Gemm> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<gemm::Args<'a>> {
        let rhs = match &self.rhs {
            RhsPlace::Constant(index) => run.column(Some(*index))?,
            RhsPlace::Value(operand) => run.f32(operand)?,
        };
        let epilogue = self.epilogue.args(run)?;
        Some(gemm::Args { lhs: run.f32(&self.lhs)?, rhs, epilogue, dst: run.f32_mut(&self.dst)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        let rhs = if let RhsPlace::Value(operand) = self.rhs { Some(operand.buffer) } else { None };
        [self.lhs.buffer, self.dst.buffer].into_iter().chain(rhs).chain(self.epilogue.buffers()).collect()
    }
}

/// `[…, m, k]` as `[1, rows, k]`.
fn rows(shape: &Strided) -> Option<Strided> {
    let k = *shape.sizes().last()?;
    let lead: usize = shape.sizes()[..shape.rank() - 1].iter().product();
    shape.reshaped(&[1, lead, k])
}

/// Linear.
pub(crate) fn linear<'m>(
    p: &mut Planner<'m>,
    site: Site<'m>,
    o: &'m LinearT,
    out: usize,
) -> Result<(), Error> {
    need_f32(p, site, &[o.src as usize, out])?;
    let (src_sizes, dst_sizes) = (&p.value(o.src as usize).sizes, &p.value(out).sizes);
    let (Some((&k, lead)), Some((&n, dst_lead))) = (src_sizes.split_last(), dst_sizes.split_last()) else {
        return Err(Error::program(site.name, "rank 0"));
    };
    need_sizes(site, "output", dst_lead, lead)?;
    let columns = panels::padded(n);
    let constant = &p.model.constants[o.weight as usize];
    if constant.format != Format::Panels || constant.length != k * columns * 4 {
        let what = format!("weight {} has {} bytes, {k} x {columns} panels", constant.name, constant.length);
        return Err(Error::program(site.name, what));
    }
    let (stages, epilogue) = epilogue::plan(p, site, o.epilogue.as_deref(), columns, dst_sizes)?;
    let mut src = p.input(o.src as usize);
    if rows(&src.shape).is_none() {
        let dense = p.buffer(Strided::contiguous(src_sizes), 4);
        p.copy(site, p.value(out).dtype, src, dense, "the rows of a linear layer's input do not merge")?;
        src = dense;
    }
    let dst = p.output(out);
    let merged = (rows(&src.shape), rows(&dst.shape), stages.residual.as_ref().map(rows));
    let (Some(lhs), Some(to), residual @ (None | Some(Some(_)))) = merged else {
        return Err(Error::unsupported(site.name, format!("strides {:?} → {:?}", src.shape, dst.shape)));
    };
    let stages = tandem_kernels::Epilogue { residual: residual.flatten(), ..stages };
    let problem = gemm::Problem { lhs, rhs: Rhs::Panels, dst: to, alpha: 1.0, epilogue: stages };
    let shape = format!("{}x{k}x{n}", lhs.size(1));
    let about = About { category: Category::Gemm, shape, src, dst, why: "" };
    let operands = Operands { lhs: src, rhs: RhsPlace::Constant(o.weight as usize), epilogue, dst };
    p.kernel(site, about, gemm::KERNELS, problem, operands)
}

/// MatMul: batch dimensions that merge go to the kernel in one step, the rest in a step each.
pub(crate) fn matmul<'m>(
    p: &mut Planner<'m>,
    site: Site<'m>,
    o: &'m MatMulT,
    out: usize,
) -> Result<(), Error> {
    let (va, vb) = (o.a as usize, o.b as usize);
    need_f32(p, site, &[va, vb, out])?;
    let dst_sizes = p.value(out).sizes.clone();
    let (sa, sb) = (&p.value(va).sizes, &p.value(vb).sizes);
    let rank = dst_sizes.len();
    if sa.len() < 2 || sb.len() < 2 || rank < 2 {
        return Err(Error::program(site.name, format!("{sa:?} x {sb:?} into {dst_sizes:?}")));
    }
    let (m, k) = (sa[sa.len() - 2], sa[sa.len() - 1]);
    let n = sb[sb.len() - 1];
    need_sizes(site, "inner sizes", &[sb[sb.len() - 2]], &[k])?;
    need_sizes(site, "output", &dst_sizes[rank - 2..], &[m, n])?;
    let batch = &dst_sizes[..rank - 2];
    let (a, b) = (p.input(va), p.input(vb));
    let spread = |operand: Operand, rows: usize, cols: usize| {
        operand.shape.broadcast_to(&[batch, &[rows, cols]].concat()).map(|shape| operand.with(shape))
    };
    let (Some(a), Some(b)) = (spread(a, m, k), spread(b, k, n)) else {
        return Err(Error::program(site.name, format!("batches of {sa:?} x {sb:?} into {dst_sizes:?}")));
    };
    if o.epilogue.as_deref().is_some_and(|stages| *stages != EpilogueT::default()) {
        return Err(Error::unsupported(site.name, "epilogue on a product of two values"));
    }
    let dst = p.output(out);
    for [a, b, dst] in batches([a, b, dst], rank - 2) {
        product(p, site, o.scale, [a, b, dst])?;
    }
    Ok(())
}

/// Splits off outer batch dimensions until the rest merge into one: `[batch, rows, cols]` triples.
fn batches(operands: [Operand; 3], dims: usize) -> Vec<[Operand; 3]> {
    let merged = operands.map(|o| {
        let lead: usize = o.shape.sizes()[..dims].iter().product();
        let tail = [o.shape.size(dims), o.shape.size(dims + 1)];
        o.shape.reshaped(&[lead, tail[0], tail[1]]).map(|shape| o.with(shape))
    });
    if let [Some(a), Some(b), Some(dst)] = merged {
        return vec![[a, b, dst]];
    }
    let inner = |o: Operand, i: usize| {
        let (sizes, strides) = (&o.shape.sizes()[1..], &o.shape.strides()[1..]);
        o.skip(i * o.shape.stride(0)).with(Strided::new(sizes, strides))
    };
    (0..operands[2].shape.size(0)).flat_map(|i| batches(operands.map(|o| inner(o, i)), dims - 1)).collect()
}

/// One product, or its transpose `dst^T = b^T a^T` where a kernel is quicker at that.
fn product(p: &mut Planner<'_>, site: Site<'_>, alpha: f32, [a, b, dst]: [Operand; 3]) -> Result<(), Error> {
    let problem = |lhs: Operand, rhs: Operand, dst: Operand| gemm::Problem {
        lhs: lhs.shape,
        rhs: Rhs::Strided(rhs.shape),
        dst: dst.shape,
        alpha,
        epilogue: Default::default(),
    };
    let turned = |o: Operand| o.with(o.shape.permuted(&[0, 2, 1]));
    let (plain, swapped) = (problem(a, b, dst), problem(turned(b), turned(a), turned(dst)));
    let ns = |problem: &gemm::Problem| {
        select(gemm::KERNELS, problem, p.target.isa, &p.target.rates)
            .map_or(f64::INFINITY, |choice| choice.ns)
    };
    let swap = ns(&swapped) < ns(&plain);
    let shape =
        format!("{}x{}x{}x{}", dst.shape.size(0), dst.shape.size(1), a.shape.size(2), dst.shape.size(2));
    let why = if swap { "computed as its transpose" } else { "" };
    let about = About { category: Category::Gemm, shape, src: a, dst, why };
    let epilogue = EpilogueOperands::default();
    let (problem, operands) = if swap {
        let (lhs, rhs, dst) = (turned(b), RhsPlace::Value(turned(a)), turned(dst));
        (swapped, Operands { lhs, rhs, epilogue, dst })
    } else {
        (plain, Operands { lhs: a, rhs: RhsPlace::Value(b), epilogue, dst })
    };
    p.kernel(site, about, gemm::KERNELS, problem, operands)
}
