//! Rates of this machine, for planning.

use tandem_base::Isa;
use tandem_kernels::Rates;

/// Rates of one thread with these instruction sets.
///
/// A table by instruction set until the machine is characterised; row predictions are relative to them, so picks
/// between rows hang on ratios more than on the figures.
pub fn of(isa: Isa) -> Rates {
    if isa.has(Isa::AVX512) {
        Rates { fma_gflops: 115.0, vector_gelems: 8.0, l2_gbs: 90.0, dram_gbs: 14.0 }
    } else if isa.has(Isa::AVX2) {
        Rates { fma_gflops: 90.0, vector_gelems: 6.0, l2_gbs: 60.0, dram_gbs: 14.0 }
    } else if isa.has(Isa::NEON) {
        // Assumed, not measured: a core with four 128-bit units at 3.5 GHz.
        Rates { fma_gflops: 100.0, vector_gelems: 6.0, l2_gbs: 60.0, dram_gbs: 20.0 }
    } else {
        Rates { fma_gflops: 6.0, vector_gelems: 1.0, l2_gbs: 20.0, dram_gbs: 8.0 }
    }
}
