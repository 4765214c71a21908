//! Linear and MatMul.

use tandem_base::Strided;
use tandem_kernels::gemm::{self, Gemm, Rhs};
use tandem_kernels::types::Type;
use tandem_kernels::{Element, Epilogue, panels};
use tandem_schemas::program::{Format, LinearT, MatMulT};

use crate::error::Error;
use crate::layout::Layouts;
use crate::ops::epilogue::{self, EpilogueOperands};
use crate::ops::{Operator, Reads, float, need_element, need_elements_of, need_sizes, with_rows};
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

impl<E: Element> Bind<Gemm<E>> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<gemm::Args<'a, E>> {
        let rhs = match &self.rhs {
            RhsPlace::Constant(index) => run.weight(*index)?,
            RhsPlace::Value(operand) => run.elements(operand)?,
        };
        let epilogue = self.epilogue.args(run)?;
        Some(gemm::Args { lhs: run.elements(&self.lhs)?, rhs, epilogue, dst: run.elements_mut(&self.dst)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        let rhs = if let RhsPlace::Value(operand) = self.rhs { Some(operand.buffer) } else { None };
        [self.lhs.buffer, self.dst.buffer].into_iter().chain(rhs).chain(self.epilogue.buffers()).collect()
    }
}

/// `[…, m, k]` of each shape as `[batch, rows, k]`, cut at the same place, as few batches as strides allow.
fn merged(shapes: &[Strided]) -> Option<Vec<Strided>> {
    let lead = shapes.first()?.rank().checked_sub(1)?;
    (0..=lead).find_map(|cut| {
        let merge = |shape: &Strided| {
            let (batch, rows) = shape.sizes()[..lead].split_at(cut);
            shape.reshaped(&[batch.iter().product(), rows.iter().product(), shape.size(lead)])
        };
        shapes.iter().map(merge).collect()
    })
}

impl Operator for LinearT {
    fn reads(&self) -> Reads {
        epilogue::reads(Reads::of(&[self.src]).weight(self.weight), self.epilogue.as_deref())
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let (value, of) = (self.src as usize, float(p, site, out)?);
        need_element(p, site, of, &[value])?;
        let (src_sizes, dst_sizes) = (p.value(value).sizes.clone(), p.value(out).sizes.clone());
        let (Some((&k, lead)), Some((&n, dst_lead))) = (src_sizes.split_last(), dst_sizes.split_last())
        else {
            return Err(Error::program(site.name, "rank 0"));
        };
        need_sizes(site, "output", dst_lead, lead)?;
        let columns = panels::padded(n);
        let constant = &p.model.constants[self.weight as usize];
        if constant.format != Format::Panels {
            let what = format!("weight {} in {:?}, Panels expected", constant.name, constant.format);
            return Err(Error::program(site.name, what));
        }
        let rows = k.next_multiple_of(size_of::<f32>() / of.width());
        need_elements_of(of, site, constant, &[rows, columns], true)?;
        let (stages, epilogue) =
            epilogue::plan(p, site, self.epilogue.as_deref(), columns, (of, &dst_sizes))?;
        let dst = p.output_over(out, epilogue.residual_value().as_slice(), &[value]);
        let src = p.input(value);
        let shapes: Vec<Strided> = [src.shape, dst.shape].into_iter().chain(stages.residual).collect();
        let merged = merged(&shapes).ok_or_else(|| {
            Error::unsupported(site.name, format!("strides {:?} → {:?}", src.shape, dst.shape))
        })?;
        let stages = Epilogue { residual: merged.get(2).copied(), ..stages };
        let problem =
            gemm::Problem { lhs: merged[0], rhs: Rhs::Panels, dst: merged[1], alpha: 1.0, epilogue: stages };
        let shape = format!("{}x{k}x{n}", lead.iter().product::<usize>());
        let about = About { category: Category::Gemm, shape, src, dst, why: "" };
        let operands = Operands { lhs: src, rhs: RhsPlace::Constant(self.weight as usize), epilogue, dst };
        with_rows!(gemm of of, rows => p.divided(site, about, rows, problem, operands))
    }
}

/// A product of two values with what follows it.
struct Product {
    of: Type,
    alpha: f32,
    stages: Epilogue,
    epilogue: EpilogueOperands,
}

impl Operator for MatMulT {
    fn reads(&self) -> Reads {
        epilogue::reads(Reads::of(&[self.a, self.b]), self.epilogue.as_deref())
    }

    fn layout(&self, _: &Layouts<'_>, out: &[usize]) -> Strided {
        Strided::contiguous(out)
    }

    /// Batch dimensions that merge go to the kernel in one step, the rest in a step each.
    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let (va, vb, of) = (self.a as usize, self.b as usize, float(p, site, out)?);
        need_element(p, site, of, &[va, vb])?;
        let dst_sizes = p.value(out).sizes.clone();
        let (sa, sb) = (p.value(va).sizes.clone(), p.value(vb).sizes.clone());
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
        let (stages, epilogue) =
            epilogue::plan(p, site, self.epilogue.as_deref(), panels::padded(n), (of, &dst_sizes))?;
        let dst = p.output_over(out, epilogue.residual_value().as_slice(), &[va, vb]);
        let residual = epilogue.residual_value().map(|v| p.input(v));
        let product = Product { of, alpha: self.scale, stages, epilogue };
        for operands in batches([a, b, dst, residual.unwrap_or(dst)], rank - 2) {
            product.plan(p, site, operands)?;
        }
        Ok(())
    }
}

/// Splits off outer batch dimensions until the rest merge into one: `[batch, rows, cols]` each.
fn batches(operands: [Operand; 4], dims: usize) -> Vec<[Operand; 4]> {
    let merged = operands.map(|o| {
        let lead: usize = o.shape.sizes()[..dims].iter().product();
        let tail = [o.shape.size(dims), o.shape.size(dims + 1)];
        o.shape.reshaped(&[lead, tail[0], tail[1]]).map(|shape| o.with(shape))
    });
    if let [Some(a), Some(b), Some(dst), Some(residual)] = merged {
        return vec![[a, b, dst, residual]];
    }
    let inner = |o: Operand, i: usize| {
        let (sizes, strides) = (&o.shape.sizes()[1..], &o.shape.strides()[1..]);
        o.skip(i * o.shape.stride(0)).with(Strided::new(sizes, strides))
    };
    (0..operands[2].shape.size(0)).flat_map(|i| batches(operands.map(|o| inner(o, i)), dims - 1)).collect()
}

impl Product {
    fn problem(&self, [lhs, rhs, dst, residual]: [Operand; 4]) -> gemm::Problem {
        let residual = self.stages.residual.map(|_| residual.shape);
        let epilogue = Epilogue { residual, ..self.stages };
        gemm::Problem {
            lhs: lhs.shape,
            rhs: Rhs::Strided(rhs.shape),
            dst: dst.shape,
            alpha: self.alpha,
            epilogue,
        }
    }

    /// The product, or its transpose `dst^T = b^T a^T` where a kernel is quicker at that.
    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, operands: [Operand; 4]) -> Result<(), Error> {
        let turned = |o: Operand| o.with(o.shape.permuted(&[0, 2, 1]));
        let [a, b, dst, residual] = operands;
        let swapped = [turned(b), turned(a), turned(dst), turned(residual)];
        // Bias and scale run along the columns of the product as it is.
        let fixed = self.stages.bias || self.stages.scale_shift;
        let of = self.of;
        let ns = |operands| with_rows!(gemm of of, rows => p.ns(rows, &self.problem(operands)));
        let swap = !fixed && ns(swapped) < ns(operands);
        let [batch, m, n] = [dst.shape.size(0), dst.shape.size(1), dst.shape.size(2)];
        let shape = format!("{batch}x{m}x{}x{n}", a.shape.size(2));
        let why = if swap { "computed as its transpose" } else { "" };
        let about = About { category: Category::Gemm, shape, src: a, dst, why };
        let chosen = if swap { swapped } else { operands };
        let [lhs, rhs, dst, residual] = chosen;
        let mut epilogue = self.epilogue;
        epilogue.set_residual(self.stages.residual.map(|_| residual));
        let problem = self.problem(chosen);
        let operands = Operands { lhs, rhs: RhsPlace::Value(rhs), epilogue, dst };
        with_rows!(gemm of of, rows => p.divided(site, about, rows, problem, operands))
    }
}
