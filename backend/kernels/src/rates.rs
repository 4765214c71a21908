//! Rates of machines, from which rows predict their time.

use tandem_base::Engine;

use crate::epilogue::Epilogue;

/// Rates of one thread of a machine, from which rows predict their time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Multiply-adds at the widest enabled vectors, in GFLOP/s.
    pub fma_gflops: f64,
    /// Vector element-wise work out of L1/L2, in Gelement/s.
    pub vector_gelems: f64,
    /// Bandwidth out of L2, in GB/s.
    pub l2_gbs: f64,
    /// Bandwidth out of memory, in GB/s: bytes read and as many written.
    pub dram_gbs: f64,
    /// Bandwidth of reads alone out of memory, in GB/s.
    pub read_gbs: f64,
    /// Bytes that stay in the caches a core reaches; more come from memory.
    pub l2_bytes: f64,
    /// Of the matrix unit the thread reaches, where there is one.
    pub unit: UnitRates,
    /// Of all threads that share an execute.
    pub team: TeamRates,
}

/// What the threads that share an execute reach together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TeamRates {
    /// Number of threads.
    pub threads: usize,
    /// Their cores, in terms of the fastest one.
    pub cores: f64,
    /// Matrix units they drive, at most one each.
    pub units: usize,
    /// Bandwidth out of memory that cores and units share, in GB/s.
    pub dram_gbs: f64,
    /// From a task's start to the first tile of a thread that polls, in ns.
    pub hand_off_ns: f64,
    /// What a step takes one thread beside its work, in ns.
    pub step_ns: f64,
    /// Whether a step may keep cores and units busy at the same time.
    pub overlap: bool,
}

impl Default for TeamRates {
    /// One thread.
    fn default() -> Self {
        Self {
            threads: 1,
            cores: 1.0,
            units: 1,
            dram_gbs: 12.0,
            hand_off_ns: 500.0,
            step_ns: 1000.0,
            overlap: true,
        }
    }
}

impl TeamRates {
    /// What one more step costs, in ns: entering it, and threads that meet before and behind it.
    pub fn another_ns(&self) -> f64 {
        self.step_ns + if self.threads > 1 { 2.0 * self.hand_off_ns } else { 0.0 }
    }
}

/// Rates of a matrix unit that one thread drives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnitRates {
    /// Multiply-adds of f32 outer products, in GFLOP/s.
    pub f32_gflops: f64,
    /// Of outer products of 16-bit floats, summed in f32.
    pub f16_gflops: f64,
    /// Of outer products of i8, in GOP/s.
    pub i8_gops: f64,
    /// Multiply-adds of multi-vector instructions into ZA, in GFLOP/s of f32.
    pub vector_gflops: f64,
    /// Elements to or from a slab, in Gelement/s.
    pub copy_gelems: f64,
    /// Bandwidth out of an L2 that holds `l2_bytes`, in GB/s.
    pub l2_gbs: f64,
    /// Bandwidth out of memory, in GB/s.
    pub dram_gbs: f64,
    /// Bytes that stay in L2.
    pub l2_bytes: f64,
    /// Time to enter and leave streaming mode, in ns.
    pub entry_ns: f64,
}

impl Default for Rates {
    /// A middling AVX-512 core; replaced by what a device profile says.
    fn default() -> Self {
        Self {
            fma_gflops: 110.0,
            vector_gelems: 8.0,
            l2_gbs: 80.0,
            dram_gbs: 12.0,
            read_gbs: 10.0,
            l2_bytes: 1e6,
            unit: UnitRates::default(),
            team: TeamRates::default(),
        }
    }
}

impl Default for UnitRates {
    /// An Apple M4's unit as published; entering streaming mode is assumed, copies are of counted instructions.
    fn default() -> Self {
        Self {
            f32_gflops: 1900.0,
            f16_gflops: 1900.0,
            i8_gops: 3800.0,
            vector_gflops: 240.0,
            copy_gelems: 18.0,
            l2_gbs: 400.0,
            dram_gbs: 73.0,
            l2_bytes: 3e6,
            entry_ns: 100.0,
        }
    }
}

impl UnitRates {
    /// Time to read `bytes`, in ns.
    pub fn read_ns(&self, bytes: f64) -> f64 {
        bytes / if bytes <= self.l2_bytes { self.l2_gbs } else { self.dram_gbs }
    }

    /// Multiply-adds of outer products of floats of so many bytes, in GFLOP/s.
    pub fn gflops(&self, bytes: usize) -> f64 {
        if bytes == 2 { self.f16_gflops } else { self.f32_gflops }
    }
}

impl Rates {
    /// Share of `bytes` that comes from memory: none where L2 holds them, all where it holds less than half, since what was
    /// used last is overwritten by what comes next.
    fn spilled(&self, bytes: f64) -> f64 {
        (bytes / self.l2_bytes - 1.0).clamp(0.0, 1.0)
    }

    /// Time to stream `bytes` through one thread, about as many read as written, in ns.
    pub fn stream_ns(&self, bytes: f64) -> f64 {
        let share = self.spilled(bytes);
        bytes * ((1.0 - share) / self.l2_gbs + share / self.dram_gbs)
    }

    /// Time to read `bytes` through one thread that writes far less, in ns.
    pub fn read_ns(&self, bytes: f64) -> f64 {
        let share = self.spilled(bytes);
        bytes * ((1.0 - share) / self.l2_gbs + share / self.read_gbs)
    }

    /// Time of what follows a product of so many elements, in ns.
    pub fn epilogue_ns(&self, epilogue: &Epilogue, elements: usize) -> f64 {
        epilogue.work() * elements as f64 / self.vector_gelems
    }

    /// Time a product's result of `bytes` takes in addition if it does not stay in L2, in ns: stores that fill a cache do not
    /// hide behind arithmetic.
    pub fn written_ns(&self, bytes: f64) -> f64 {
        self.spilled(bytes) * bytes / self.dram_gbs
    }

    /// Time of a product whose arithmetic takes `compute` ns, in ns. Its constant panels of `bytes` come from memory at first,
    /// since all of a model's constants come by between two executes, and once a part of the positions if they do not stay
    /// in L2; arithmetic on `strips` of positions follows, of which each part's first waits.
    pub fn product_ns(&self, compute: f64, bytes: f64, strips: usize, parts: usize) -> f64 {
        let passes = if bytes <= self.l2_bytes { 1.0 } else { parts as f64 };
        let waiting = compute * (passes / strips.max(1) as f64).min(1.0);
        compute - waiting + waiting.max(passes * bytes / self.read_gbs)
    }

    /// Time all threads take for what takes one `ns` and moves `bytes`, in `tiles` at most at a time and with a hand-off a
    /// phase, in ns. Memory is shared, whoever waits for it.
    pub fn together_ns(&self, engine: Engine, ns: f64, bytes: f64, tiles: usize, phases: usize) -> f64 {
        let team = &self.team;
        let threads = tiles.min(if engine == Engine::Unit { team.units } else { team.threads });
        if threads < 2 {
            return ns;
        }
        let waits = ns < 1.5 * self.stream_ns(bytes);
        let engines = match engine {
            Engine::Unit => threads as f64,
            Engine::Core if waits => team.cores.min((team.dram_gbs / self.dram_gbs).max(1.0)),
            Engine::Core => team.cores,
        };
        let out_of_memory = self.spilled(bytes) * bytes / team.dram_gbs;
        (ns / engines.min(threads as f64)).max(out_of_memory) + phases as f64 * team.hand_off_ns
    }
}
