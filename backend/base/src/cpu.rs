//! Which CPU this is.

use std::path::Path;
use std::sync::OnceLock;

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

/// What the system calls the chip: a brand, on Arm Linux the machine or the first core's design.
pub fn name() -> String {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| found_name().unwrap_or_else(|| std::env::consts::ARCH.to_owned())).clone()
}

#[cfg(target_vendor = "apple")]
fn found_name() -> Option<String> {
    crate::sysctl::text(c"machdep.cpu.brand_string")
}

#[cfg(not(target_vendor = "apple"))]
fn found_name() -> Option<String> {
    let of_soc = || std::fs::read_to_string("/sys/devices/soc0/machine").ok();
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(": "));
        value.map(|(_, value)| value.to_owned())
    };
    let core = || Some(format!("implementer {} part {}", field("CPU implementer")?, field("CPU part")?));
    let name = field("model name").or_else(|| field("Hardware")).or_else(of_soc).or_else(core)?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Bytes of the first core's data caches, by level from 1; 0 where the system does not say.
pub fn caches() -> [usize; 3] {
    #[cfg(target_vendor = "apple")]
    {
        let names = [c"hw.perflevel0.l1dcachesize", c"hw.perflevel0.l2cachesize", c"hw.l3cachesize"];
        names.map(|name| crate::sysctl::number(name).unwrap_or(0) as usize)
    }
    #[cfg(not(target_vendor = "apple"))]
    caches_in(Path::new("/sys/devices/system/cpu/cpu0/cache"))
}

/// In a tree like `/sys/devices/system/cpu/cpu0/cache`.
#[cfg_attr(target_vendor = "apple", allow(dead_code))]
fn caches_in(folder: &Path) -> [usize; 3] {
    let mut bytes = [0; 3];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let level = read("level").trim().parse::<usize>().unwrap_or(0);
        if read("type").trim() == "Instruction" || !(1..=3).contains(&level) {
            continue;
        }
        let size = read("size");
        let (digits, unit) = size.trim().split_at(size.trim().trim_end_matches(['K', 'M']).len());
        let unit = match unit {
            "K" => 1 << 10,
            "M" => 1 << 20,
            _ => 1,
        };
        bytes[level - 1] = digits.parse::<usize>().unwrap_or(0) * unit;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_as_linux_lists_them() {
        let folder = tempfile::tempdir().unwrap();
        let indices = [
            ("1", "Data", "48K"),
            ("1", "Instruction", "32K"),
            ("2", "Unified", "1024K"),
            ("3", "Unified", "32M"),
        ];
        for (i, (level, kind, size)) in indices.into_iter().enumerate() {
            let index = folder.path().join(format!("index{i}"));
            std::fs::create_dir(&index).unwrap();
            for (name, value) in [("level", level), ("type", kind), ("size", size)] {
                std::fs::write(index.join(name), format!("{value}\n")).unwrap();
            }
        }
        assert_eq!(caches_in(folder.path()), [48 << 10, 1 << 20, 32 << 20]);
        assert_eq!(caches_in(&folder.path().join("none")), [0; 3]);
        assert!(!name().is_empty());
    }

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
