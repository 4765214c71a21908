//! Which design of CPU this is.

/// What the planner tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpu {
    /// AMD with 512-bit vectors in two halves (Zen 4).
    Zen4,
    /// AMD with whole 512-bit vectors (Zen 5 and later).
    Zen5,
    /// AMD before 512-bit vectors.
    Zen,
    /// Intel server cores with two 512-bit units (Skylake-SP to Granite Rapids).
    IntelServer,
    /// Another Intel.
    Intel,
    /// Anything else.
    Other,
}

impl Cpu {
    /// This machine's.
    ///
    /// Families and models after the vendors' CPUID documentation.
    pub fn detect() -> Cpu {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::__cpuid;
            let (leaf0, leaf1) = (__cpuid(0), __cpuid(1));
            Self::of([leaf0.ebx, leaf0.edx, leaf0.ecx], leaf1.eax)
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            Cpu::Other
        }
    }

    /// Of a vendor string in three words and a signature.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    fn of(vendor: [u32; 3], signature: u32) -> Cpu {
        let bytes: Vec<u8> = vendor.iter().flat_map(|word| word.to_le_bytes()).collect();
        let family = (signature >> 8 & 0xf) + (signature >> 20 & 0xff);
        let model = (signature >> 4 & 0xf) | (signature >> 12 & 0xf0);
        match (bytes.as_slice(), family, model) {
            (b"AuthenticAMD", 0x19, 0x10..=0x1f | 0x60..=0xaf) => Cpu::Zen4,
            (b"AuthenticAMD", 0x1a.., _) => Cpu::Zen5,
            (b"AuthenticAMD", ..) => Cpu::Zen,
            (b"GenuineIntel", 6, 0x55 | 0x6a | 0x6c | 0x8f | 0xcf | 0xad | 0xae) => Cpu::IntelServer,
            (b"GenuineIntel", ..) => Cpu::Intel,
            _ => Cpu::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_signatures() {
        let word = |s: &[u8]| u32::from_le_bytes(s.try_into().unwrap());
        let amd = [word(b"Auth"), word(b"enti"), word(b"cAMD")];
        let intel = [word(b"Genu"), word(b"ineI"), word(b"ntel")];
        assert_eq!(Cpu::of(amd, 0x00a1_0f11), Cpu::Zen4);
        assert_eq!(Cpu::of(amd, 0x00b0_0f21), Cpu::Zen5);
        assert_eq!(Cpu::of(amd, 0x00a0_0f11), Cpu::Zen);
        assert_eq!(Cpu::of(intel, 0x0005_0657), Cpu::IntelServer);
        assert_eq!(Cpu::of(intel, 0x0009_06ea), Cpu::Intel);
        assert_eq!(Cpu::of([0; 3], 0), Cpu::Other);
    }
}
