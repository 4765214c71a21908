//! Attention.

use tandem_base::{Span, Strided};
use tandem_kernels::attention::{self, Args, Problem};
use tandem_schemas::program::AttentionT;

use crate::error::Error;
use crate::layout::Layouts;
use crate::ops::{Halves, Operator, Reads, float, halved, need_element, need_sizes};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

struct Operands {
    q: Operand,
    k: Operand,
    v: Operand,
    mask: Option<Operand>,
    dst: Operand,
}

impl Bind<attention::Attention> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<Args<'a>> {
        let mask = match &self.mask {
            Some(mask) => run.f32(mask)?,
            None => Span::empty(),
        };
        let (q, k, v) = (run.f32(&self.q)?, run.f32(&self.k)?, run.f32(&self.v)?);
        Some(Args { q, k, v, mask, dst: run.f32_mut(&self.dst)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        let operands = [self.q, self.k, self.v, self.dst].into_iter().chain(self.mask);
        operands.map(|o| o.buffer).collect()
    }
}

/// Leading dimensions of 1 up to rank 4.
fn rank4(shape: Strided) -> Option<Strided> {
    let lead = 4usize.checked_sub(shape.rank())?;
    let sizes = [&[1, 1, 1, 1][..lead], shape.sizes()].concat();
    shape.reshaped(&sizes)
}

impl Operator for AttentionT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.q, self.k, self.v]).and(self.mask)
    }

    /// Heads side by side in a token's row: what the next linear layer reads.
    fn layout(&self, _: &Layouts<'_>, out: &[usize]) -> Strided {
        match out.len() {
            3 => Strided::with_order(out, &[1, 0, 2]),
            4 => Strided::with_order(out, &[0, 2, 1, 3]),
            _ => Strided::contiguous(out),
        }
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let o = self;
        let values = [o.q as usize, o.k as usize, o.v as usize];
        let of = float(p, site, out)?;
        need_element(p, site, of, &values)?;
        let dst = p.output(out);
        let shapes =
            [p.input(values[0]), p.input(values[1]), p.input(values[2]), dst].map(|o| rank4(o.shape));
        let [Some(q), Some(k), Some(v), Some(to)] = shapes else {
            return Err(Error::unsupported(site.name, "attention beyond rank 4"));
        };
        let [batch, heads, t, d] = [q.size(0), q.size(1), q.size(2), q.size(3)];
        let [kv_heads, s, dv] = [k.size(1), k.size(2), v.size(3)];
        need_sizes(site, "k", k.sizes(), &[batch, kv_heads, s, d])?;
        need_sizes(site, "v", v.sizes(), &[batch, kv_heads, s, dv])?;
        need_sizes(site, "output", to.sizes(), &[batch, heads, t, dv])?;
        if kv_heads == 0 || heads % kv_heads != 0 {
            return Err(Error::program(site.name, format!("{heads} heads on {kv_heads}")));
        }
        let mut mask = None;
        if let Ok(value) = usize::try_from(o.mask) {
            need_element(p, site, of, &[value])?;
            let place = p.input(value);
            let shape = place.shape.broadcast_to(&[batch, heads, t, s]);
            mask = Some(place.with(shape.ok_or_else(|| {
                Error::program(
                    site.name,
                    format!("mask {:?} for {:?}", place.shape.sizes(), [batch, heads, t, s]),
                )
            })?));
        }
        let problem =
            Problem { q, k, v, mask: mask.map(|m| m.shape), dst: to, scale: o.scale, causal: o.causal };
        let [q, k, v] = values.map(|value| p.input(value));
        let shape = format!("{batch}x{heads} q{t} k{s} d{d}");
        let about = About { category: Category::Gemm, shape, src: q, dst, why: "" };
        halved!(attention of of,
            rows => {
                let src = vec![Some(q), Some(k), Some(v), mask];
                p.kernel(site, about, rows, problem, Halves { src, constants: vec![], dst })
            },
            p.pipelined(site, about, problem, Operands { q, k, v, mask, dst })
        )
    }
}
