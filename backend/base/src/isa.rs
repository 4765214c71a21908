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
    /// The Scalable Matrix Extension 2: ZA, outer products, multi-vector instructions in streaming mode.
    pub const SME2: Isa = Isa(1 << 15);

    const NAMES: [(&'static str, Isa); 5] = [
        ("avx2", Isa::AVX2),
        ("avx512", Isa::AVX512),
        ("avx512vnni", Isa::AVX512_VNNI),
        ("neon", Isa::NEON),
        ("sme2", Isa::SME2),
    ];

    /// Whether every feature of `needs` is here.
    pub const fn has(self, needs: Isa) -> bool {
        self.0 & needs.0 == needs.0
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
            if sme2() { Isa::NEON | Isa::SME2 } else { Isa::NEON }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        {
            Isa::SCALAR
        }
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

/// Whether the system says that this CPU has SME2.
#[cfg(all(target_arch = "aarch64", any(target_os = "linux", target_os = "android")))]
fn sme2() -> bool {
    unsafe extern "C" {
        fn getauxval(kind: std::ffi::c_ulong) -> std::ffi::c_ulong;
    }
    /// AT_HWCAP2 and its SME2 bit, from the kernel's uapi headers.
    const HWCAP2: std::ffi::c_ulong = 26;
    const SME2: std::ffi::c_ulong = 1 << 37;
    // SAFETY: reads the process's auxiliary vector.
    unsafe { getauxval(HWCAP2) & SME2 != 0 }
}

/// Not asked for elsewhere yet.
#[cfg(all(target_arch = "aarch64", not(any(target_os = "linux", target_os = "android"))))]
fn sme2() -> bool {
    false
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
    }
}
