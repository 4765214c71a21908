//! What a plan is made for, from the options of its load.

use tandem_base::Isa;
use tandem_kernels::Rates;

use crate::device::{self, Device, Found};
use crate::error::Error;
use crate::knobs::{EngineChoice, LoadOptions, Power, Stack};
use crate::layout::LayoutPolicy;

/// Instruction sets, rates and liberties a plan is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub isa: Isa,
    pub rates: Rates,
    pub fast_math: bool,
    pub layout: LayoutPolicy,
    pub chains: bool,
    /// Place of the rows taken, by predicted time.
    pub candidate: usize,
    /// Whether units and cores may share a step.
    pub share: bool,
    /// Whether steps that they share are split as predicted, whatever is seen.
    pub fixed: bool,
    /// Whose time is predicted.
    pub stack: Stack,
}

/// What limits threads, and what predictions rest on.
pub(crate) struct Means {
    /// Most threads of an execute.
    pub threads: usize,
    /// Rates and where they come from, in words.
    pub basis: String,
}

impl Target {
    /// By the options of a load.
    ///
    /// # Errors
    /// A device that does not exist or is wrong.
    pub fn new(options: &LoadOptions) -> Result<(Self, Means), Error> {
        let isa = options.isa.map_or_else(Isa::detect, |isa| isa & tandem_kernels::available());
        let isa = if options.engine == EngineChoice::Cpu { isa.without_units() } else { isa };
        let (mut rates, means) = means(options, isa)?;
        rates.team.overlap &= options.overlap;
        let LoadOptions { fast_math, layout, chains, candidate, stack, deterministic: fixed, .. } = *options;
        // XNNPACK shares no step, chains none, and lays values out as it meets them.
        let tandem = stack == Stack::Tandem;
        let (share, chains) = (tandem && options.engine == EngineChoice::Both, tandem && chains);
        let layout = if tandem { layout } else { LayoutPolicy::Greedy };
        Ok((Self { isa, rates, fast_math, layout, chains, candidate, share, fixed, stack }, means))
    }
}

fn means(options: &LoadOptions, isa: Isa) -> Result<(Rates, Means), Error> {
    let fixed = options.deterministic;
    let found = if fixed { device::of_class(isa) } else { device::find(options.device.as_deref())? };
    let Found { device, because } = found;
    let wanted = options.threads.filter(|_| !fixed);
    let (most, policy) = match options.power {
        Power::Balanced => (usize::MAX, ""),
        Power::Low => (quiet_threads(&device, isa), "; low power"),
    };
    let planned = wanted.map_or(most, |threads| threads.min(most));
    let rates = options.rates.unwrap_or_else(|| device.rates(isa, Some(planned)));
    let source = if options.rates.is_some() {
        "rates the host gave".to_owned()
    } else {
        format!("{} ({because})", device.name)
    };
    let threads = rates.team.threads;
    let always = if fixed { "deterministic, whatever was measured and seen: " } else { "" };
    Ok((rates, Means { threads: most, basis: format!("{always}{source}, {threads} threads{policy}") }))
}

/// Threads of an execute that is to take little power: one a matrix unit where there are any, else half the fast cores'.
fn quiet_threads(device: &Device, isa: Isa) -> usize {
    if isa == isa.without_units() {
        return (device.cores[0].count / 2).max(1);
    }
    device.sme.as_ref().map_or(1, |sme| sme.units)
}
