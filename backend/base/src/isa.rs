//! What this CPU can run.

use std::fmt;
use std::ops::{BitAnd, BitOr};

/// A set of instruction-set features. Kernels name what they need, the machine what it has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Isa(u32);

impl Isa {
    /// Plain Rust.
    pub const SCALAR: Isa = Isa(0);
    /// AVX2 with FMA and F16C.
    pub const AVX2: Isa = Isa(1);
    /// AVX-512 F, BW, DQ and VL.
    pub const AVX512: Isa = Isa(1 << 1);
    /// AVX-512 VNNI.
    pub const AVX512_VNNI: Isa = Isa(1 << 2);
    /// Advanced SIMD.
    pub const NEON: Isa = Isa(1 << 8);
    /// FEAT_FP16: arithmetic on f16, scalar and NEON.
    pub const FP16: Isa = Isa(1 << 9);
    /// FEAT_DotProd: 8-bit dot products of NEON.
    pub const DOTPROD: Isa = Isa(1 << 10);
    /// FEAT_I8MM: 8-bit matrix products of NEON.
    pub const I8MM: Isa = Isa(1 << 11);
    /// FEAT_BF16: bf16 dot and matrix products of NEON.
    pub const BF16: Isa = Isa(1 << 12);
    /// FEAT_SVE, outside of streaming mode.
    pub const SVE: Isa = Isa(1 << 13);
    /// FEAT_SME.
    pub const SME: Isa = Isa(1 << 14);
    /// FEAT_SME2.
    pub const SME2: Isa = Isa(1 << 15);
    /// FEAT_SME_F16F16: outer products of f16 summed in f16.
    pub const F16F16: Isa = Isa(1 << 16);
    /// The matrix unit emulated in plain Rust, with vectors of 128 bits. Never detected, only asked for.
    pub const EMULATED_SME2_128: Isa = Isa(1 << 24);
    /// The same with 256 bits.
    pub const EMULATED_SME2_256: Isa = Isa(1 << 25);
    /// The same with 512 bits.
    pub const EMULATED_SME2_512: Isa = Isa(1 << 26);
    /// Emulated units of every vector length.
    pub const EMULATED: Isa = Isa(7 << 24);

    const NAMES: [(&'static str, Isa); 15] = [
        ("avx2", Isa::AVX2),
        ("avx512", Isa::AVX512),
        ("avx512vnni", Isa::AVX512_VNNI),
        ("neon", Isa::NEON),
        ("fp16", Isa::FP16),
        ("dotprod", Isa::DOTPROD),
        ("i8mm", Isa::I8MM),
        ("bf16", Isa::BF16),
        ("sve", Isa::SVE),
        ("sme", Isa::SME),
        ("sme2", Isa::SME2),
        ("f16f16", Isa::F16F16),
        ("emulated-sme2-128", Isa::EMULATED_SME2_128),
        ("emulated-sme2-256", Isa::EMULATED_SME2_256),
        ("emulated-sme2-512", Isa::EMULATED_SME2_512),
    ];

    /// Whether every feature of `needs` is here.
    pub const fn has(self, needs: Isa) -> bool {
        self.0 & needs.0 == needs.0
    }

    /// Without matrix units, emulated or not.
    pub const fn without_units(self) -> Isa {
        Isa(self.0 & !(Isa::SME.0 | Isa::SME2.0 | Isa::F16F16.0 | Isa::EMULATED.0))
    }

    /// Whether a kernel that needs this computes in a matrix unit, of which there are fewer than cores.
    pub const fn in_unit(self) -> bool {
        self.0 & (Isa::SME.0 | Isa::SME2.0 | Isa::EMULATED.0) != 0
    }

    /// What the CPU and the operating system offer.
    pub fn detect() -> Isa {
        #[cfg(target_arch = "x86_64")]
        {
            let mut isa = Isa::SCALAR;
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            if avx2 {
                isa = isa | Isa::AVX2;
            }
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx512 {
                isa = isa | Isa::AVX512;
            }
            if avx512 && is_x86_feature_detected!("avx512vnni") {
                isa = isa | Isa::AVX512_VNNI;
            }
            isa
        }
        #[cfg(target_arch = "aarch64")]
        {
            Isa::NEON | arm()
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        {
            Isa::SCALAR
        }
    }

    /// Of the two words of capabilities Linux gives an Arm process, bits as in its `asm/hwcap.h`.
    #[cfg(any(test, all(target_arch = "aarch64", any(target_os = "linux", target_os = "android"))))]
    fn of_hwcap(first: u64, second: u64) -> Isa {
        /// Word, bits that must all be set, and what they mean.
        const BITS: [(usize, u64, Isa); 9] = [
            (0, 1 << 1, Isa::NEON),
            (0, 1 << 9 | 1 << 10, Isa::FP16),
            (0, 1 << 20, Isa::DOTPROD),
            (0, 1 << 22, Isa::SVE),
            (1, 1 << 13, Isa::I8MM),
            (1, 1 << 14, Isa::BF16),
            (1, 1 << 23, Isa::SME),
            (1, 1 << 37, Isa::SME2),
            (1, 1 << 42, Isa::F16F16),
        ];
        let words = [first, second];
        let set = BITS.iter().filter(|(word, bits, _)| words[*word] & bits == *bits);
        set.fold(Isa::SCALAR, |isa, (.., feature)| isa | *feature)
    }

    /// Parses a comma-separated list of feature names; "scalar" is the empty set.
    ///
    /// # Errors
    /// The name that is unknown.
    pub fn parse(list: &str) -> Result<Isa, String> {
        list.split(',').map(str::trim).filter(|n| !n.is_empty() && *n != "scalar").try_fold(
            Isa::SCALAR,
            |isa, name| match Self::NAMES.iter().find(|(known, _)| *known == name) {
                Some((_, feature)) => Ok(isa | *feature),
                None => Err(name.to_owned()),
            },
        )
    }
}

/// What the operating system reports.
#[cfg(all(target_arch = "aarch64", any(target_os = "linux", target_os = "android")))]
fn arm() -> Isa {
    // SAFETY: reads what the kernel put on the stack at start; an unknown entry is 0.
    let [first, second] = [libc::AT_HWCAP, libc::AT_HWCAP2].map(|entry| unsafe { libc::getauxval(entry) });
    Isa::of_hwcap(first, second)
}

/// What the operating system reports. Apple's cores have no SVE outside of streaming mode.
#[cfg(all(target_arch = "aarch64", target_vendor = "apple"))]
fn arm() -> Isa {
    let names = [
        (c"hw.optional.arm.FEAT_FP16", Isa::FP16),
        (c"hw.optional.arm.FEAT_DotProd", Isa::DOTPROD),
        (c"hw.optional.arm.FEAT_I8MM", Isa::I8MM),
        (c"hw.optional.arm.FEAT_BF16", Isa::BF16),
        (c"hw.optional.arm.FEAT_SME", Isa::SME),
        (c"hw.optional.arm.FEAT_SME2", Isa::SME2),
        (c"hw.optional.arm.FEAT_SME_F16F16", Isa::F16F16),
    ];
    let set = names.iter().filter(|(name, _)| crate::sysctl::number(name) == Some(1));
    set.fold(Isa::SCALAR, |isa, (_, feature)| isa | *feature)
}

/// Nothing beyond the baseline where the system is unknown.
#[cfg(all(
    target_arch = "aarch64",
    not(any(target_os = "linux", target_os = "android", target_vendor = "apple"))
))]
fn arm() -> Isa {
    Isa::SCALAR
}

impl BitOr for Isa {
    type Output = Isa;
    fn bitor(self, other: Isa) -> Isa {
        Isa(self.0 | other.0)
    }
}

impl BitAnd for Isa {
    type Output = Isa;
    fn bitand(self, other: Isa) -> Isa {
        Isa(self.0 & other.0)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            Self::NAMES.iter().filter(|(_, feature)| self.has(*feature)).map(|(name, _)| *name).collect();
        f.write_str(if names.is_empty() { "scalar".to_owned() } else { names.join(",") }.as_str())
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        let isa = Isa::parse("avx2, avx512").unwrap();
        assert!(isa.has(Isa::AVX2) && isa.has(Isa::AVX512) && !isa.has(Isa::NEON));
        assert_eq!(Isa::parse(&isa.to_string()).unwrap(), isa);
        assert_eq!(Isa::parse("scalar").unwrap().to_string(), "scalar");
        assert_eq!(Isa::parse("sse9").unwrap_err(), "sse9");
        for (name, isa) in Isa::NAMES {
            assert_eq!((Isa::parse(name).unwrap(), isa.to_string().as_str()), (isa, name));
        }
    }

    #[test]
    fn arm_capabilities() {
        // A Cortex-A53; a Neoverse N1; a phone core with SME2 and without SVE.
        assert_eq!(Isa::of_hwcap(0x8ff, 0).to_string(), "neon");
        assert_eq!(Isa::of_hwcap(0x119f_ffff, 0).to_string(), "neon,fp16,dotprod");
        let sme2 = Isa::of_hwcap(0x103f_ffff & !(1 << 22), 1 << 13 | 1 << 14 | 1 << 23 | 1 << 37);
        assert_eq!(sme2.to_string(), "neon,fp16,dotprod,i8mm,bf16,sme,sme2");
        // Scalar half precision alone is not FEAT_FP16.
        assert_eq!(Isa::of_hwcap(1 << 9, 1 << 42).to_string(), "f16f16");
    }
}
