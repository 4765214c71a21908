//! What one thread of this machine can reach: register-only multiply-adds, measured.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tandem_base::Isa;

use crate::kernel::available;
#[cfg(any(target_arch = "aarch64", test, feature = "emulated"))]
use crate::sme2;

/// Independent sums in flight: at least latency times throughput of any core, and few enough for the registers, which
/// are 16 with AVX2 and 32 with NEON.
const CHAINS: usize = if cfg!(target_arch = "aarch64") { 24 } else { 12 };
/// Multiply-adds of each chain in a burst, some tens of µs.
const STEPS: usize = 8192;
/// The best burst of this long counts: neighbours only slow a burst down.
const BUDGET: Duration = Duration::from_millis(20);

/// GFLOP/s of f32 multiply-adds (2 each) with the widest vectors of `isa`, the best of many short bursts. Takes 20 ms.
///
/// # Panics
/// If this CPU lacks `isa`.
pub fn fma_gflops(isa: Isa) -> f64 {
    assert!(Isa::detect().has(isa), "this CPU lacks {isa}");
    #[cfg(target_arch = "x86_64")]
    {
        if isa.has(Isa::AVX512) {
            // SAFETY: the CPU has what `isa` names.
            return best(16, || unsafe { x86::avx512() });
        }
        if isa.has(Isa::AVX2) {
            // SAFETY: the CPU has what `isa` names.
            return best(8, || unsafe { x86::avx2() });
        }
    }
    #[cfg(target_arch = "aarch64")]
    if isa.has(Isa::NEON) {
        // SAFETY: the CPU has what `isa` names.
        return best(4, || unsafe { arm::neon() });
    }
    best(4, plain)
}

/// What a matrix unit takes beside its arithmetic.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    /// To enter and leave streaming mode, in ns.
    pub entry_ns: f64,
    /// Elements copied to a slab, in Gelement/s.
    pub copy_gelems: f64,
}

/// Measures the matrix unit of `isa`, emulated ones too. Takes some 30 ms.
///
/// # Panics
/// If there is none.
pub fn unit(isa: Isa) -> Unit {
    assert!(available().has(isa), "this CPU lacks {isa}");
    #[cfg(target_arch = "aarch64")]
    if isa.has(Isa::SME2) {
        return of::<sme2::Sme2>();
    }
    #[cfg(any(test, feature = "emulated"))]
    {
        if isa.has(Isa::EMULATED_SME2_128) {
            return of::<sme2::Emulated<4>>();
        }
        if isa.has(Isa::EMULATED_SME2_256) {
            return of::<sme2::Emulated<8>>();
        }
        if isa.has(Isa::EMULATED_SME2_512) {
            return of::<sme2::Emulated<16>>();
        }
    }
    panic!("{isa} has no matrix unit");
}

#[cfg(any(target_arch = "aarch64", test, feature = "emulated"))]
fn of<U: sme2::Unit>() -> Unit {
    Unit { entry_ns: sme2::costs::entry_ns::<U>(), copy_gelems: sme2::costs::copy_gelems::<U>() }
}

fn best(lanes: usize, burst: impl Fn() -> f32) -> f64 {
    let flops = (2 * CHAINS * STEPS * lanes) as f64;
    let begin = Instant::now();
    let mut least = f64::INFINITY;
    while least.is_infinite() || begin.elapsed() < BUDGET {
        let start = Instant::now();
        black_box(burst());
        least = least.min(start.elapsed().as_secs_f64());
    }
    flops / least * 1e-9
}

/// Four lanes of whatever the target's baseline has.
fn plain() -> f32 {
    let (factor, addend) = (black_box(0.999f32), black_box(1e-3f32));
    let mut sums = [[1.0f32; 4]; CHAINS];
    for _ in 0..STEPS {
        for lane in sums.as_flattened_mut() {
            *lane = *lane * factor + addend;
        }
    }
    sums.as_flattened().iter().sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{CHAINS, STEPS};

    #[target_feature(enable = "avx512f")]
    pub fn avx512() -> f32 {
        let (factor, addend) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(1e-3)));
        let mut sums = [_mm512_set1_ps(1.0); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, factor, addend);
            }
        }
        sums.iter().map(|sum| _mm512_reduce_add_ps(*sum)).sum()
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn avx2() -> f32 {
        let (factor, addend) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(1e-3)));
        let mut sums = [_mm256_set1_ps(1.0); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, addend);
            }
        }
        sums.iter().map(|sum| _mm_cvtss_f32(_mm256_castps256_ps128(*sum))).sum()
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;
    use std::hint::black_box;

    use super::{CHAINS, STEPS};

    #[target_feature(enable = "neon")]
    pub fn neon() -> f32 {
        let (factor, addend) = (vdupq_n_f32(black_box(1e-3)), vdupq_n_f32(black_box(1e-3)));
        let mut sums = [vdupq_n_f32(1.0); CHAINS];
        for _ in 0..STEPS {
            // FMLA adds to its destination: here, as in a product, the sum.
            for sum in &mut sums {
                *sum = vfmaq_f32(*sum, factor, addend);
            }
        }
        sums.iter().map(|sum| vaddvq_f32(*sum)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_vectors_are_not_slower() {
        let isa = Isa::detect();
        let scalar = fma_gflops(Isa::SCALAR);
        let widest = fma_gflops(isa);
        println!("{isa}: {widest:.1} GFLOP/s, plain {scalar:.1}");
        assert!(scalar > 0.0 && widest > 0.0 && widest < 10_000.0);
        // Emulators of Arm are slow, and slowest at multiply-adds.
        assert!(cfg!(target_arch = "aarch64") || (scalar > 0.1 && widest >= 0.8 * scalar));
    }
}
