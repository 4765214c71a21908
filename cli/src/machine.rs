//! What this machine is and can do.

use serde::Serialize;
use tandem_base::{Isa, cpu};

/// CPU and its measured peak.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// As the system names it.
    pub cpu: String,
    /// Logical cores this process may use.
    pub cores: usize,
    /// Instruction sets found.
    pub isa: String,
    /// Multiply-adds of one thread, measured now, in GFLOP/s.
    pub peak_gflops: f64,
}

impl Machine {
    /// Finds out; takes some tens of milliseconds.
    pub fn measure() -> Self {
        let isa = Isa::detect();
        Self {
            cpu: cpu::name(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            isa: isa.to_string(),
            peak_gflops: tandem_kernels::peak::fma_gflops(isa),
        }
    }
}
