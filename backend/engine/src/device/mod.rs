//! A device as planning sees it: what its cores, its matrix unit and its memory reach, each figure with its source.
//!
//! A profile is a TOML file: one that `tandem characterize` measured, or one of those in `profiles/`.

mod characterize;
mod entry;
mod find;

use std::fmt;

use serde::{Deserialize, Serialize};
use tandem_base::Isa;
use tandem_kernels::{Rates, TeamRates, UnitRates};

pub use characterize::{Effort, characterize};
pub(crate) use find::of_class;
pub use find::{Found, cached, find, shipped};

/// A figure and why to believe it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// In the unit its name ends with.
    pub value: f64,
    /// How it is known.
    pub confidence: Confidence,
    /// Where it comes from.
    pub source: String,
    /// Largest less smallest of the measurements behind it, relative to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<f64>,
}

/// How a figure is known, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// By a program, on this kind of device.
    Measured,
    /// By others, in their words.
    Published,
    /// Computed from figures that are.
    Derived,
    /// By nobody.
    Assumed,
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Measured => "measured",
            Self::Published => "published",
            Self::Derived => "derived",
            Self::Assumed => "assumed",
        })
    }
}

/// A device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Lower case, as options name it.
    pub name: String,
    /// A sentence.
    pub about: String,
    /// What systems call the chip; none of a profile that stands for a class.
    #[serde(default)]
    pub chips: Vec<String>,
    /// Kinds of cores, fastest first.
    pub cores: Vec<Cores>,
    /// Shared by all cores.
    pub memory: Memory,
    /// The matrix units, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sme: Option<Sme>,
    /// What it costs to work together.
    pub team: Team,
}

/// Cores of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cores {
    /// What the maker calls them.
    pub kind: String,
    /// Number of them.
    pub count: usize,
    /// One thread with all its instruction sets, then with fewer.
    pub rates: Vec<CoreRates>,
}

/// What one thread of a core reaches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoreRates {
    /// Instruction sets these rates need, or "scalar".
    pub isa: String,
    /// f32 multiply-adds, 2 each, in GFLOP/s.
    pub fma_gflops: Figure,
    /// Element-wise arithmetic out of L1 and L2, in Gelement/s.
    pub vector_gelems: Figure,
    /// Bytes read and written out of L2, in GB/s.
    pub l2_gbs: Figure,
    /// Bytes read and written out of memory by one thread, in GB/s.
    pub dram_gbs: Figure,
    /// Bytes read out of memory by one thread that writes next to nothing, in GB/s.
    pub read_gbs: Figure,
}

/// Caches and memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// First-level data cache of a core, in bytes.
    pub l1_bytes: Figure,
    /// Second-level cache a core reaches, in bytes.
    pub l2_bytes: Figure,
    /// Last-level cache, in bytes.
    pub llc_bytes: Figure,
    /// All cores together out of memory, in GB/s: what cores and matrix units share.
    pub dram_gbs: Figure,
}

/// Matrix units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sme {
    /// Number of units.
    pub units: usize,
    /// Bits of a streaming vector.
    pub svl_bits: usize,
    /// f32 outer products of one unit, in GFLOP/s.
    pub f32_gflops: Figure,
    /// 16-bit outer products summed in f32, in GFLOP/s.
    pub f16_gflops: Figure,
    /// i8 outer products, in GOP/s.
    pub i8_gops: Figure,
    /// Multi-vector f32 multiply-adds into ZA, in GFLOP/s.
    pub vector_gflops: Figure,
    /// Elements to or from a slab, in Gelement/s.
    pub copy_gelems: Figure,
    /// One thread out of L2 through the unit, in GB/s.
    pub l2_gbs: Figure,
    /// Bytes that stay there.
    pub l2_bytes: Figure,
    /// One thread out of memory through the unit, in GB/s.
    pub dram_gbs: Figure,
    /// To enter and leave streaming mode, in ns.
    pub entry_ns: Figure,
}

/// What it costs to work together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// From a task's start to the first tile of a worker that polls, in ns.
    pub hand_off_ns: Figure,
    /// The same of a worker that is parked.
    pub wake_ns: Figure,
    /// What a step takes one thread beside its work: code and operands that come from afar, bookkeeping.
    pub step_ns: Figure,
}

impl Device {
    /// Reads a profile.
    ///
    /// # Errors
    /// What is wrong with the text: its form, a figure that is not positive, cores without rates.
    pub fn parse(text: &str) -> Result<Self, String> {
        let device: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        if device.cores.is_empty() || device.cores.iter().any(|c| c.rates.is_empty() || c.count == 0) {
            return Err("cores without a number or without rates".to_owned());
        }
        for rates in device.cores.iter().flat_map(|c| &c.rates) {
            Isa::parse(&rates.isa).map_err(|name| format!("unknown instruction set {name}"))?;
        }
        if let Some((name, figure)) = device.figures().find(|(_, f)| !(f.value.is_finite() && f.value > 0.0))
        {
            return Err(format!("{name} = {} is not a positive number", figure.value));
        }
        Ok(device)
    }

    /// The profile's text.
    pub fn text(&self) -> String {
        toml::to_string(self).expect("plain data")
    }

    /// Every figure with what it is called.
    pub fn figures(&self) -> impl Iterator<Item = (String, &Figure)> {
        let cores = self.cores.iter().flat_map(|c| c.rates.iter().map(move |r| (&c.kind, r)));
        let cores = cores.flat_map(|(kind, r)| {
            let figures = [
                ("fma_gflops", &r.fma_gflops),
                ("vector_gelems", &r.vector_gelems),
                ("l2_gbs", &r.l2_gbs),
                ("dram_gbs", &r.dram_gbs),
                ("read_gbs", &r.read_gbs),
            ];
            figures.map(|(name, figure)| (format!("{kind} {} {name}", r.isa), figure))
        });
        let (m, t) = (&self.memory, &self.team);
        let shared = [
            ("memory l1_bytes", &m.l1_bytes),
            ("memory l2_bytes", &m.l2_bytes),
            ("memory llc_bytes", &m.llc_bytes),
            ("memory dram_gbs", &m.dram_gbs),
            ("team hand_off_ns", &t.hand_off_ns),
            ("team wake_ns", &t.wake_ns),
            ("team step_ns", &t.step_ns),
        ];
        let sme = self.sme.iter().flat_map(|s| {
            [
                ("sme f32_gflops", &s.f32_gflops),
                ("sme f16_gflops", &s.f16_gflops),
                ("sme i8_gops", &s.i8_gops),
                ("sme vector_gflops", &s.vector_gflops),
                ("sme copy_gelems", &s.copy_gelems),
                ("sme l2_gbs", &s.l2_gbs),
                ("sme l2_bytes", &s.l2_bytes),
                ("sme dram_gbs", &s.dram_gbs),
                ("sme entry_ns", &s.entry_ns),
            ]
        });
        cores.chain(shared.into_iter().chain(sme).map(|(name, figure)| (name.to_owned(), figure)))
    }

    /// Cores of all kinds.
    pub fn threads(&self) -> usize {
        self.cores.iter().map(|kind| kind.count).sum()
    }

    /// Rates of one thread of the fastest cores with these instruction sets: those of the first set that lies in them, of
    /// the last one otherwise; and of so many threads together, by default one a core.
    pub fn rates(&self, isa: Isa, threads: Option<usize>) -> Rates {
        let core = self.cores[0].tier(isa);
        Rates {
            fma_gflops: core.fma_gflops.value,
            vector_gelems: core.vector_gelems.value,
            l2_gbs: core.l2_gbs.value,
            dram_gbs: core.dram_gbs.value,
            read_gbs: core.read_gbs.value,
            l2_bytes: self.memory.l2_bytes.value,
            unit: self.sme.as_ref().map_or_else(UnitRates::default, Sme::rates),
            team: self.team(isa, threads.unwrap_or(usize::MAX)),
        }
    }

    /// The fastest cores that so many threads keep busy.
    fn team(&self, isa: Isa, threads: usize) -> TeamRates {
        let threads = threads.clamp(1, self.threads());
        let (fastest, mut left, mut cores) = (self.cores[0].tier(isa).fma_gflops.value, threads, 0.0);
        for kind in &self.cores {
            let count = kind.count.min(left);
            cores += count as f64 * kind.tier(isa).fma_gflops.value / fastest;
            left -= count;
        }
        let units = self.sme.as_ref().map_or(1, |sme| sme.units).min(threads);
        TeamRates {
            threads,
            cores,
            units,
            dram_gbs: self.memory.dram_gbs.value,
            hand_off_ns: self.team.hand_off_ns.value,
            step_ns: self.team.step_ns.value,
            overlap: true,
        }
    }
}

impl Cores {
    /// Rates with these instruction sets.
    fn tier(&self, isa: Isa) -> &CoreRates {
        let fits = |r: &&CoreRates| Isa::parse(&r.isa).is_ok_and(|needs| isa.has(needs));
        self.rates.iter().find(fits).unwrap_or(&self.rates[self.rates.len() - 1])
    }
}

impl Sme {
    fn rates(&self) -> UnitRates {
        UnitRates {
            f32_gflops: self.f32_gflops.value,
            f16_gflops: self.f16_gflops.value,
            i8_gops: self.i8_gops.value,
            vector_gflops: self.vector_gflops.value,
            copy_gelems: self.copy_gelems.value,
            l2_gbs: self.l2_gbs.value,
            dram_gbs: self.dram_gbs.value,
            l2_bytes: self.l2_bytes.value,
            entry_ns: self.entry_ns.value,
        }
    }
}

#[cfg(test)]
mod tests;
