//! What XNNPACK with KleidiAI's kernels is modelled to take for a step, as a list of parts one after the other: it packs the
//! left-hand side in the call, drives the matrix unit from every thread, which makes a unit no quicker, and fuses bias and
//! clamp only. What is no dense product takes what Tandem's own rows of cores are predicted to take. Operators that are left
//! to the host are in no program and therefore not in the model.

use tandem_base::{Engine, Strided};
use tandem_kernels::unfused::Product;
use tandem_kernels::{Choice, Cost, Family, Kernel, Rates, Unfused, select};

use super::{About, Planner, Target, Work, engines};
use crate::report::{Category, PartReport};

/// A figure of this model.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// How much of it.
    pub value: f64,
    /// Where it comes from.
    pub source: &'static str,
}

const COPY: Figure = Figure {
    name: "instructions that copy an element to a slab, which a profile's copy_gelems stands for",
    value: 0.22,
    source: "counted, Tandem's slabs, as the profiles say",
};
const PACK: Figure = Figure {
    name: "instructions that pack an element of a matrix",
    value: 0.42,
    source: "counted: 0.11 M for 256x1024 of f32",
};
const PATCH: Figure = Figure {
    name: "instructions that pack an element of a convolution's f32 patches",
    value: 0.49,
    source: "counted: 0.88 M for 3136x576 of f32",
};
const PATCH_16: Figure = Figure {
    name: "instructions that pack an element of a convolution's 16-bit patches",
    value: 0.27,
    source: "derived: two to a word, and a word takes 0.49 (f32) to 0.64 (i8) as counted",
};
const POINTER: Figure = Figure {
    name: "instructions that point to a run of a patch",
    value: 9.6,
    source: "counted: 0.27 M for 3136 positions of 9",
};
const TRANSPOSE: Figure = Figure {
    name: "instructions that transpose an element at a delegate's edge",
    value: 2.14,
    source: "counted: 0.86 M for two images of 64x56x56 of f32",
};
const SHUFFLE: Figure = Figure {
    name: "transposes of a linear layer with a pixel shuffle behind it, the shuffle's own included",
    value: 3.0,
    source: "ExecuTorch's layout pass: linear layers are contiguous, convolutions channels-last",
};
const PACE: Figure = Figure {
    name: "instructions a core executes in a ns where they are counted",
    value: 4.0,
    source: "assumed: one a cycle of 4 GHz, as profiles assume of copies to slabs",
};
const UNIT: Figure = Figure {
    name: "share of its peak the unit reaches in a product's kernel",
    value: 0.98,
    source: "modelled cycles of counted kernels: f32 on M4 0.98, on C1 0.99",
};
const CORE: Figure = Figure {
    name: "share of their multiply-add peak that cores reach in a product",
    value: 0.92,
    source: "measured on x86, ResNets",
};

/// Every figure of the model.
pub const FIGURES: [Figure; 10] =
    [COPY, PACK, PATCH, PATCH_16, POINTER, TRANSPOSE, SHUFFLE, PACE, UNIT, CORE];

/// Edge of the kernels' tiles, at vectors of 512 bits.
const TILE: usize = 32;

/// What the part is called that computes a product.
const PRODUCT: &str = "product";

impl Planner<'_> {
    /// A step's time as XNNPACK is modelled to take it, and the engine that takes most of it.
    pub(super) fn xnnpack<F: Family>(
        &self,
        about: &About<'_>,
        rows: &'static [Kernel<F>],
        problem: &F::Problem,
        choice: &Choice<F>,
    ) -> (Work, &'static str) {
        let Target { isa, rates, .. } = self.target;
        let unfused = F::unfused(problem);
        let mut parts = Parts { rates, units: isa != isa.without_units(), unfused, done: Vec::new() };
        let convolves = about.category == Category::Convolution;
        parts.before(if convolves { planar(&about.src.shape) } else { 0 });
        match parts.unfused.product {
            Some(product) => parts.product(about.category, product),
            None => {
                let cores = select(rows, problem, isa.without_units(), &rates);
                let ns = cores.map_or(choice.together_ns, |cores| cores.together_ns);
                parts.push("", Engine::Core, about.category, ns);
            }
        }
        parts.behind(if convolves { planar(&about.dst.shape) } else { 0 });
        parts.work(F::cost(problem))
    }
}

/// Elements of an image whose channels are not contiguous, 0 of any other.
fn planar(shape: &Strided) -> usize {
    if shape.rank() == 4 && shape.size(1) > 1 && shape.stride(1) != 1 { shape.elements() } else { 0 }
}

/// A step in the making.
struct Parts {
    rates: Rates,
    /// Whether there is a unit.
    units: bool,
    unfused: Unfused,
    done: Vec<PartReport>,
}

impl Parts {
    fn push(&mut self, name: &'static str, engine: Engine, category: Category, ns: f64) {
        if ns > 0.0 {
            let start_ns = self.done.last().map_or(0.0, |part| part.start_ns + part.ns);
            let share = if name.is_empty() || name == PRODUCT { 1.0 } else { 0.0 };
            self.done.push(PartReport { name, engine: engines::name(engine), category, start_ns, ns, share });
        }
    }

    /// Instructions a ns in the unit.
    fn pace(&self) -> f64 {
        self.rates.unit.copy_gelems * COPY.value
    }

    /// Cores read and write elements, at some instructions each or as element-wise arithmetic.
    fn pass(&mut self, name: &'static str, category: Category, elements: f64, instructions: Option<f64>) {
        let bytes = 2.0 * elements * self.unfused.width as f64;
        let pace = instructions.map_or(self.rates.vector_gelems, |count| PACE.value / count);
        let one = (elements / pace).max(self.rates.stream_ns(bytes));
        let ns = self.rates.together_ns(Engine::Core, one, bytes, usize::MAX, 1);
        self.push(name, Engine::Core, category, if elements > 0.0 { ns } else { 0.0 });
    }

    /// What is done to sources first, of which so many elements lie in planes.
    fn before(&mut self, planar: usize) {
        let category = Category::DataMovement;
        self.pass("concatenation", category, self.unfused.joined as f64, None);
        self.pass("transpose of the source", category, planar as f64, Some(TRANSPOSE.value));
    }

    /// What is done to the result, of which so many elements are to lie in planes.
    fn behind(&mut self, planar: usize) {
        for name in std::mem::take(&mut self.unfused.passes) {
            self.pass(name, Category::Elementwise, self.unfused.elements as f64, None);
        }
        let (category, shuffled) = (Category::DataMovement, self.unfused.shuffled as f64);
        self.pass("pixel shuffle", category, SHUFFLE.value * shuffled, Some(TRANSPOSE.value));
        self.pass("transpose of the result", category, planar as f64, Some(TRANSPOSE.value));
    }

    fn product(&mut self, category: Category, p: Product) {
        let flops = |m: usize, n: usize| 2.0 * (p.batch * m * n) as f64 * p.k as f64;
        let (width, unit) = (self.unfused.width, self.rates.unit);
        let bytes = (width * p.batch * (p.m * p.k + p.k * p.n + p.m * p.n)) as f64;
        if !self.units {
            // Cores multiply 16-bit floats as such, twice as many a vector.
            let peak = self.rates.fma_gflops * (size_of::<f32>() / width) as f64;
            let one = (flops(p.m, p.n) / (CORE.value * peak)).max(self.rates.stream_ns(bytes));
            let ns = self.rates.together_ns(Engine::Core, one, bytes, usize::MAX, 1);
            return self.push(PRODUCT, Engine::Core, category, ns);
        }
        let units = self.rates.team.units as f64;
        let weights = unit.read_ns((width * p.batch * p.k * p.n) as f64);
        if p.m == 1 {
            let ns = (flops(1, p.n) / unit.vector_gflops).max(weights) + unit.entry_ns;
            return self.push(PRODUCT, Engine::Unit, category, ns / units);
        }
        let packed = match (p.taps, width) {
            (1, _) => PACK.value,
            (_, 2) => PATCH_16.value,
            _ => PATCH.value,
        };
        let rhs = if p.packs_rhs { PACK.value * (p.k * p.n) as f64 } else { 0.0 };
        let pointers = if p.taps > 1 { POINTER.value * (p.m * p.taps) as f64 } else { 0.0 };
        let packing = p.batch as f64 * (packed * (p.m * p.k) as f64 + rhs + pointers) / self.pace();
        let whole = flops(p.m.next_multiple_of(TILE), p.n.next_multiple_of(TILE));
        let product = (whole / (UNIT.value * unit.gflops(width))).max(weights) + unit.entry_ns;
        self.push("packing", Engine::Unit, category, packing / units);
        self.push(PRODUCT, Engine::Unit, category, product / units);
    }

    fn work(self, cost: Cost) -> (Work, &'static str) {
        let parts = self.done;
        let ns = parts.iter().map(|part| part.ns).sum();
        let engine = parts.iter().max_by(|a, b| a.ns.total_cmp(&b.ns)).map_or("cpu", |part| part.engine);
        let each = parts.iter().map(|part| format!("{} {}", part.name, engines::micros(part.ns)));
        let reason = format!("XNNPACK as modelled: {}", each.collect::<Vec<_>>().join("; "));
        (Work { cost, ns, parts, reason }, engine)
    }
}
