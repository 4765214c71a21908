//! Which kinds of cores this machine has, and which core a thread belongs to.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod affinity;

use std::path::Path;
use std::sync::OnceLock;

/// Kinds of cores that are told apart; slower ones count as the last.
pub const KINDS: usize = 4;

/// Cores at most this much slower than the fastest of a kind are of that kind: what systems say of cores that are alike
/// differs by as much, where some may clock higher than others.
const ALIKE: f64 = 0.9;

/// Speed of a kind relative to the next faster one, where a system tells kinds apart but not how fast they are: the M4's two
/// kinds, by their pipes and clocks, as its profile has them.
#[cfg(any(target_vendor = "apple", test))]
const UNSAID: f64 = 0.5;

/// Where a thread of the team belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Kind of core, 0 being the fastest.
    pub kind: usize,
    /// The core to be pinned to; none where all are alike, the system pins no thread, or each core has one.
    pub cpu: Option<usize>,
}

/// The cores of this process.
#[derive(Clone, Debug, PartialEq)]
pub struct Cores {
    /// How fast each kind is relative to the first, the fastest; 1 of kinds there are none of.
    speeds: [f64; KINDS],
    /// Fastest first; empty where all are alike or the system does not say.
    places: Vec<Place>,
}

impl Cores {
    /// This machine's, but for those the first caller may not use.
    pub fn this() -> &'static Self {
        static CORES: OnceLock<Cores> = OnceLock::new();
        CORES.get_or_init(|| if cfg!(miri) { Self::alike() } else { Self::detect() })
    }

    /// Cores of one kind.
    pub const fn alike() -> Self {
        Self { speeds: [1.0; KINDS], places: Vec::new() }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn detect() -> Self {
        Self::of_sysfs(Path::new("/sys/devices/system/cpu"), &affinity::allowed())
    }

    #[cfg(target_vendor = "apple")]
    fn detect() -> Self {
        let number = |name: String| {
            let name = std::ffi::CString::new(name).ok()?;
            crate::sysctl::number(&name)
        };
        let levels = number("hw.nperflevels".to_owned()).unwrap_or(0);
        let counts = (0..levels).map_while(|level| number(format!("hw.perflevel{level}.physicalcpu")));
        Self::of_levels(&counts.map(|count| count as usize).collect::<Vec<_>>())
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    fn detect() -> Self {
        Self::alike()
    }

    /// By a tree like `/sys/devices/system/cpu`, of the cores `allowed`: their capacities, or else their highest clocks. Threads
    /// that share a core count as one.
    pub fn of_sysfs(cpus: &Path, allowed: &[usize]) -> Self {
        let read = |cpu: usize, file: &str| {
            std::fs::read_to_string(cpus.join(format!("cpu{cpu}/{file}"))).unwrap_or_default()
        };
        let mut seen = Vec::new();
        let mut first = |cpu: &usize| {
            let siblings = read(*cpu, "topology/thread_siblings_list");
            let new = siblings.is_empty() || !seen.contains(&siblings);
            seen.push(siblings);
            new
        };
        let cores: Vec<usize> = allowed.iter().copied().filter(|cpu| first(cpu)).collect();
        let speeds = ["cpu_capacity", "cpufreq/cpuinfo_max_freq"].into_iter().find_map(|file| {
            let number = |&cpu: &usize| read(cpu, file).trim().parse::<f64>().ok().filter(|n| *n > 0.0);
            cores.iter().map(number).collect::<Option<Vec<f64>>>()
        });
        let said = speeds.unwrap_or_default().into_iter().zip(&cores);
        Self::new(said.map(|(speed, &cpu)| (speed, Some(cpu))).collect())
    }

    /// By the number of cores of each level of performance, fastest first.
    #[cfg(any(target_vendor = "apple", test))]
    fn of_levels(counts: &[usize]) -> Self {
        let levels = counts.iter().enumerate();
        let cores = levels.flat_map(|(level, &n)| std::iter::repeat_n((UNSAID.powi(level as i32), None), n));
        Self::new(cores.collect())
    }

    /// By the speed of each core, in any unit.
    pub(crate) fn new(mut cores: Vec<(f64, Option<usize>)>) -> Self {
        cores.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut all = Self::alike();
        let (mut kind, mut top) = (0, cores.first().map_or(1.0, |(speed, _)| *speed));
        let fastest = top;
        for (speed, cpu) in cores {
            if speed < ALIKE * top && kind + 1 < KINDS {
                (kind, top) = (kind + 1, speed);
                all.speeds[kind] = speed / fastest;
            }
            all.places.push(Place { kind, cpu });
        }
        if kind == 0 { Self::alike() } else { all }
    }

    /// How fast each kind is relative to the fastest.
    pub fn speeds(&self) -> [f64; KINDS] {
        self.speeds
    }

    /// Where a thread of the team belongs, by its number. The fastest core is the caller's, number 0, which is not pinned: busy
    /// threads find their way there. Threads beyond the last core go where they like and count as slow ones.
    pub fn place(&self, thread: usize) -> Place {
        let last = Place { cpu: None, ..self.places.last().copied().unwrap_or(Place { kind: 0, cpu: None }) };
        let place = self.places.get(thread).copied().unwrap_or(last);
        if thread == 0 { Place { cpu: None, ..place } } else { place }
    }
}

/// Pins this thread to a core; whether the system did.
pub fn pin(cpu: usize) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        affinity::pin(cpu)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = cpu;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of files below the cores' folders.
    fn tree(files: &[(usize, &str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (cpu, file, text) in files {
            let path = root.path().join(format!("cpu{cpu}/{file}"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{text}\n")).unwrap();
        }
        root
    }

    fn cpus(cores: &Cores) -> Vec<(usize, usize)> {
        cores.places.iter().map(|place| (place.kind, place.cpu.unwrap())).collect()
    }

    #[test]
    fn kinds_as_capacities_tell_them() {
        let capacities = ["250", "250", "620", "600", "1024"];
        let files: Vec<_> = capacities.iter().enumerate().map(|(i, c)| (i, "cpu_capacity", *c)).collect();
        let root = tree(&files);
        let cores = Cores::of_sysfs(root.path(), &[0, 1, 2, 3, 4]);
        assert_eq!(cpus(&cores), [(0, 4), (1, 2), (1, 3), (2, 0), (2, 1)]);
        assert_eq!(cores.speeds(), [1.0, 620.0 / 1024.0, 250.0 / 1024.0, 1.0]);
        // Of those the process may use.
        let some = Cores::of_sysfs(root.path(), &[1, 2]);
        assert_eq!((cpus(&some), some.speeds()[1]), (vec![(0, 2), (1, 1)], 250.0 / 620.0));
        assert_eq!(Cores::of_sysfs(root.path(), &[2, 3]), Cores::alike());
    }

    #[test]
    fn threads_have_places() {
        let cores = Cores::new(vec![(0.5, Some(0)), (1.0, Some(7)), (1.0, Some(6))]);
        let place = |kind, cpu| Place { kind, cpu };
        assert_eq!([0, 1, 2].map(|i| cores.place(i)), [place(0, None), place(0, Some(6)), place(1, Some(0))]);
        assert_eq!(cores.place(3), place(1, None), "one more than cores");
        assert_eq!([0, 1, 9].map(|i| Cores::alike().place(i)), [place(0, None); 3]);
    }

    #[test]
    fn clocks_tell_where_capacities_do_not() {
        let clock = "cpufreq/cpuinfo_max_freq";
        let root = tree(&[(0, clock, "5000000"), (1, clock, "3000000"), (0, "cpu_capacity", "1024")]);
        assert_eq!(cpus(&Cores::of_sysfs(root.path(), &[0, 1])), [(0, 0), (1, 1)]);
        // Some clock a little higher than others.
        let root = tree(&[(0, clock, "4400000"), (1, clock, "4700000")]);
        assert_eq!(Cores::of_sysfs(root.path(), &[0, 1]), Cores::alike());
        assert_eq!(Cores::of_sysfs(&root.path().join("none"), &[0, 1]), Cores::alike());
    }

    #[test]
    fn threads_of_a_core_are_one() {
        let siblings = "topology/thread_siblings_list";
        let root = tree(&[
            (0, "cpu_capacity", "1024"),
            (1, "cpu_capacity", "1024"),
            (2, "cpu_capacity", "500"),
            (0, siblings, "0-1"),
            (1, siblings, "0-1"),
            (2, siblings, "2"),
        ]);
        assert_eq!(cpus(&Cores::of_sysfs(root.path(), &[0, 1, 2])), [(0, 0), (1, 2)]);
    }

    #[test]
    fn levels_and_many_kinds() {
        let two = Cores::of_levels(&[4, 6]);
        assert_eq!((two.places.len(), two.place(3).kind, two.place(4).kind), (10, 0, 1));
        assert_eq!((Cores::of_levels(&[8]), Cores::of_levels(&[])), (Cores::alike(), Cores::alike()));
        let six = Cores::new((1..7).map(|i| (f64::from(i), None)).collect());
        assert_eq!(six.place(5).kind, KINDS - 1);
    }

    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn a_thread_is_pinned_alone() {
        let allowed = affinity::allowed();
        let inside = allowed.clone();
        let pinned = std::thread::spawn(move || {
            let done = pin(inside[0]);
            (done, affinity::allowed())
        });
        assert_eq!(pinned.join().unwrap(), (true, vec![allowed[0]]));
        assert_eq!(affinity::allowed(), allowed);
        assert!(!pin(1 << 20) && !pin(affinity::MOST - 1));
    }
}
