//! What would compute one operator on a device, without a program: the planner's own predictions.

use tandem_base::{Isa, Strided};
use tandem_kernels::{
    Choice, Cost, Divide, Epilogue, Family, Kernel, Pipelined, Rates, TeamRates, attention, conv, gemm,
    select,
};

use crate::device::Device;
use crate::plan::engines;

/// A product of f32 with constant weights, or attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `[m, k]` times `[k, n]`.
    Linear {
        /// Rows.
        m: usize,
        /// Sum over so many.
        k: usize,
        /// Columns.
        n: usize,
    },
    /// A convolution of stride 1 that keeps the image's size, channels last.
    Convolution {
        /// Channels in and out.
        channels: [usize; 2],
        /// Height and width.
        size: [usize; 2],
        /// Odd edge of the kernel.
        kernel: usize,
    },
    /// Causal attention of a prompt, every head with `[tokens, width]` of its own memory.
    Attention {
        /// Of queries, and of keys and values.
        heads: [usize; 2],
        /// Queries and keys.
        tokens: usize,
        /// Elements of a head.
        width: usize,
    },
}

/// What is predicted of an operator. Times are of all threads, in ns.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// "cpu", "sme" or "both".
    pub engine: &'static str,
    /// Rows.
    pub kernel: String,
    /// Of the pick.
    pub ns: f64,
    /// Of the arithmetic, in units.
    pub unit_share: f64,
    /// Cores alone.
    pub cores_ns: Option<f64>,
    /// Units alone.
    pub units_ns: Option<f64>,
    /// Of a pipeline: its stages one after the other, the other engine waiting.
    pub apart_ns: Option<f64>,
    /// Arithmetic by definition, a multiply-add counting 2.
    pub flops: f64,
    /// Bytes that move at least once.
    pub bytes: f64,
}

/// Where an operator would be computed; `None` where no row takes it.
pub fn place(shape: Shape, isa: Isa, rates: &Rates) -> Option<Placement> {
    match shape {
        Shape::Linear { m, k, n } => {
            let [lhs, dst] = [[1, m, k], [1, m, n]].map(|sizes| Strided::contiguous(&sizes));
            let problem =
                gemm::Problem { lhs, rhs: gemm::Rhs::Panels, dst, alpha: 1.0, epilogue: Epilogue::default() };
            placed(gemm::KERNELS, &problem, isa, rates)
        }
        Shape::Convolution { channels, size: [h, w], kernel } => {
            let image = |c| Strided::with_order(&[1, c, h, w], &[0, 2, 3, 1]);
            let problem = conv::Problem {
                src: [image(channels[0])].into_iter().collect(),
                dst: image(channels[1]),
                kernel: [kernel; 2],
                stride: [1; 2],
                padding: [kernel / 2; 4],
                dilation: [1; 2],
                groups: 1,
                shuffle: 1,
                epilogue: Epilogue::default(),
                fast_math: true,
            };
            let placed = placed(conv::KERNELS, &problem, isa, rates)?;
            Some(pipelined::<conv::Pipeline<f32>>(placed, &problem, isa, rates))
        }
        Shape::Attention { heads: [heads, shared], tokens, width } => {
            let of = |heads| Strided::contiguous(&[1, heads, tokens, width]);
            let problem = attention::Problem {
                q: of(heads),
                k: of(shared),
                v: of(shared),
                mask: None,
                dst: of(heads),
                scale: 1.0,
                causal: true,
            };
            let choice = select(attention::KERNELS, &problem, isa, rates)?;
            Some(pipelined::<attention::Pipeline>(alone(&choice, &problem), &problem, isa, rates))
        }
    }
}

/// A placement, or units' and cores' pipeline where that is done sooner.
fn pipelined<P: Pipelined>(
    placed: Placement,
    problem: &<P::Of as Family>::Problem,
    isa: Isa,
    rates: &Rates,
) -> Placement {
    match engines::pipeline::<P>(problem, isa, rates, placed.ns) {
        Some((ns, pipeline)) => {
            let apart = pipeline.stages(rates).ns(&TeamRates { overlap: false, ..rates.team });
            let kernel = pipeline.rows().join("+");
            Placement { engine: "both", kernel, ns, unit_share: 1.0, apart_ns: Some(apart), ..placed }
        }
        None => placed,
    }
}

/// Rows of this machine that a device is modelled by: its cores' at the device's rates, and an emulated unit of its vector
/// length.
pub fn stand_in(device: &Device) -> Isa {
    let unit = match device.sme.as_ref().map(|sme| sme.svl_bits) {
        None => Isa::SCALAR,
        Some(128) => Isa::EMULATED_SME2_128,
        Some(256) => Isa::EMULATED_SME2_256,
        Some(_) => Isa::EMULATED_SME2_512,
    };
    (Isa::detect() & (Isa::AVX2 | Isa::NEON)) | unit
}

fn placed<F: Divide>(
    rows: &'static [Kernel<F>],
    problem: &F::Problem,
    isa: Isa,
    rates: &Rates,
) -> Option<Placement> {
    let choice = select(rows, problem, isa, rates)?;
    let alone = alone(&choice, problem);
    let both = engines::together(rows, problem, &choice, rates).filter(engines::Together::pays);
    Some(match both {
        Some(both) => Placement {
            engine: "both",
            kernel: both.name(),
            ns: both.finish,
            unit_share: both.share(),
            ..alone
        },
        None => alone,
    })
}

/// By the row that was picked.
fn alone<F: Family>(choice: &Choice<F>, problem: &F::Problem) -> Placement {
    let Cost { flops, bytes } = F::cost(problem);
    let [cores_ns, units_ns] = choice.alone;
    let engine = engines::name(choice.kernel.engine());
    Placement {
        engine,
        kernel: choice.kernel.name.to_owned(),
        ns: choice.together_ns,
        unit_share: if engine == "sme" { 1.0 } else { 0.0 },
        cores_ns,
        units_ns,
        apart_ns: None,
        flops,
        bytes,
    }
}
