//! Which SME units this machine has: cores share them, so threads beyond their number gain nothing there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

/// Units of this machine, found once: threads beyond their number wait for each other.
pub fn units() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| Units::detect().count)
}

/// A core's unit for streaming mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// The core's own.
    Private,
    /// Of all cores that name this number.
    Shared(u32),
}

/// What was found, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    /// Distinct units, at least 1.
    pub count: usize,
    /// Cores of each unit several may share; empty where the source does not say.
    pub shared: Vec<Vec<usize>>,
    /// Where the count comes from.
    pub source: String,
}

impl Units {
    /// This machine's; asks nothing of a machine without SME.
    pub fn detect() -> Units {
        #[cfg(target_vendor = "apple")]
        let found =
            crate::sysctl::text(c"machdep.cpu.brand_string").and_then(|brand| Units::of_brand(&brand));
        #[cfg(not(target_vendor = "apple"))]
        let found = Units::of_sysfs(Path::new("/sys/devices/system/cpu"));
        found.unwrap_or_else(|| Units::one("one assumed: the system does not say"))
    }

    fn one(source: &str) -> Units {
        Units { count: 1, shared: Vec::new(), source: source.to_owned() }
    }

    /// By the cores' SMIDR_EL1 in a tree like `/sys/devices/system/cpu`; none where no core has one.
    pub fn of_sysfs(cpus: &Path) -> Option<Units> {
        let mut private = 0;
        let mut shared: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for entry in std::fs::read_dir(cpus).ok()?.flatten() {
            let name = entry.file_name();
            let Some(cpu) = name.to_str().and_then(|name| name.strip_prefix("cpu")?.parse().ok()) else {
                continue;
            };
            let text = std::fs::read_to_string(entry.path().join("regs/identification/smidr_el1"));
            match text.ok().and_then(|text| unit(number(&text)?)) {
                Some(Unit::Private) => private += 1,
                Some(Unit::Shared(id)) => shared.entry(id).or_default().push(cpu),
                None => {}
            }
        }
        let mut shared: Vec<Vec<usize>> = shared.into_values().collect();
        shared.iter_mut().for_each(|cpus| cpus.sort_unstable());
        shared.sort_unstable();
        let count = private + shared.len();
        (count > 0).then(|| Units { count, shared, source: "SMIDR_EL1 of every core".to_owned() })
    }

    /// By the name of an Apple chip. A unit belongs to a cluster of cores; the table holds what is published about them.
    pub fn of_brand(brand: &str) -> Option<Units> {
        let count = match brand.trim().strip_prefix("Apple ")? {
            "M4" | "M5" => 1,
            "M4 Pro" | "M4 Max" | "M5 Pro" | "M5 Max" => 2,
            "A18" | "A18 Pro" | "A19" | "A19 Pro" => 2,
            _ => return None,
        };
        Some(Units { count, shared: Vec::new(), source: format!("table of chips: {}", brand.trim()) })
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.count, self.source)?;
        for cpus in &self.shared {
            let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();
            write!(f, "; shared by cpu {}", cpus.join(","))?;
        }
        f.write_str(")")
    }
}

/// The unit an SMIDR_EL1 names: SH in bits 14:13, Affinity in 11:0, Affinity2 in 51:32.
fn unit(smidr: u64) -> Option<Unit> {
    let id = (smidr & 0xfff) as u32 | ((smidr >> 32 & 0xf_ffff) as u32) << 12;
    match smidr >> 13 & 0b11 {
        0b10 => Some(Unit::Private),
        0b11 => Some(Unit::Shared(id)),
        // Left to the implementation: cores of one affinity count as sharing, which is never too many.
        0b00 => Some(Unit::Shared(id)),
        _ => None,
    }
}

/// A register as the kernel prints it.
fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

/// Bytes of a streaming vector, where the system says.
pub fn svl_bytes() -> Option<usize> {
    #[cfg(all(target_arch = "aarch64", any(target_os = "linux", target_os = "android")))]
    {
        /// The length in what PR_SME_GET_VL returns; flags lie above.
        const LENGTH: libc::c_int = 0xffff;
        // SAFETY: reads a setting of this thread; fails on a machine without SME.
        let answer = unsafe { libc::prctl(libc::PR_SME_GET_VL) };
        usize::try_from(answer).ok().map(|_| (answer & LENGTH) as usize)
    }
    #[cfg(target_vendor = "apple")]
    {
        crate::sysctl::number(c"hw.optional.arm.sme_max_svl_b").map(|bytes| bytes as usize)
    }
    #[cfg(not(any(
        target_vendor = "apple",
        all(target_arch = "aarch64", any(target_os = "linux", target_os = "android"))
    )))]
    {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A tree with one SMIDR_EL1 a core, none where the text is empty.
    fn tree(name: &str, cores: &[&str]) -> Option<Units> {
        let root = std::env::temp_dir().join(format!("tandem-sme-{name}-{}", std::process::id()));
        for (cpu, text) in cores.iter().enumerate() {
            let registers = root.join(format!("cpu{cpu}/regs/identification"));
            fs::create_dir_all(&registers).unwrap();
            if !text.is_empty() {
                fs::write(registers.join("smidr_el1"), text).unwrap();
            }
        }
        fs::create_dir_all(root.join("cpufreq")).unwrap();
        let units = Units::of_sysfs(&root);
        fs::remove_dir_all(&root).unwrap();
        units
    }

    #[test]
    fn cores_that_share() {
        let units = tree("shared", &["0x0000000041006001\n"; 8]).unwrap();
        assert_eq!((units.count, units.shared.len()), (1, 1));
        assert_eq!(units.shared[0], [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(units.to_string(), "1 (SMIDR_EL1 of every core; shared by cpu 0,1,2,3,4,5,6,7)");
        // Two clusters apart in Affinity, two in Affinity2.
        let two = tree("two", &["0x41006001", "0x41006001", "0x41006002", "0x41006002"]).unwrap();
        assert_eq!((two.count, two.shared), (2, vec![vec![0, 1], vec![2, 3]]));
        let two = tree("affinity2", &["0x41006000", "0x0000000141006000"]).unwrap();
        assert_eq!(two.count, 2);
    }

    #[test]
    fn cores_of_their_own() {
        let units = tree("private", &["0x41004000", "0x41004000", "0x41004000"]).unwrap();
        assert_eq!((units.count, units.shared.len()), (3, 0));
        let mixed = tree("mixed", &["0x41004000", "0x41006001", "0x41006001"]).unwrap();
        assert_eq!((mixed.count, mixed.shared), (2, vec![vec![1, 2]]));
        // A core without the register, one that cannot be read, one with a reserved value.
        let odd = tree("odd", &["", "nonsense", "0x41002000", "0x41004000"]).unwrap();
        assert_eq!(odd.count, 1);
        let unsaid = tree("unsaid", &["0x41000000", "0x41000000"]).unwrap();
        assert_eq!(unsaid.count, 1);
    }

    #[test]
    fn nothing_to_read() {
        assert_eq!(tree("none", &["", ""]), None);
        assert_eq!(Units::of_sysfs(Path::new("/nonexistent")), None);
        assert!(Units::detect().count >= 1);
    }

    #[test]
    fn chips() {
        let count = |brand| Units::of_brand(brand).map(|units| units.count);
        assert_eq!(count("Apple M4"), Some(1));
        assert_eq!(count("Apple M4 Max\n"), Some(2));
        assert_eq!(count("Apple A18 Pro"), Some(2));
        assert_eq!(count("Apple M5 Pro"), Some(2));
        assert_eq!(count("Apple M3"), None);
        assert_eq!(count("Neoverse-V2"), None);
    }
}
