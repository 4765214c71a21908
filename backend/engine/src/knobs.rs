//! Every option of a load, with its environment default.

use tandem_base::Isa;
use tandem_kernels::Rates;

use crate::error::Error;
use crate::layout::LayoutPolicy;

/// Options of a load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Instruction sets kernels may use; `None` = all this CPU has. Option `isa`, environment `TANDEM_ISA`.
    pub isa: Option<Isa>,
    /// Whether algorithms with another rounding than the direct sum (Winograd) may be used. Option `algorithm` =
    /// `fast` or `direct`, environment `TANDEM_ALGORITHM`.
    pub fast_math: bool,
    /// How the layouts of values are decided. Option `layout` = `state` or `greedy`, environment `TANDEM_LAYOUT`.
    pub layout: LayoutPolicy,
    /// Whether convolutions that follow each other may be one step, as chains; without, for comparison. Option `chains` = `on`
    /// or `off`.
    pub chains: bool,
    /// Profile to plan with: a shipped one's name or a file; `None` = this machine's. Option `device`, environment
    /// `TANDEM_DEVICE`.
    pub device: Option<String>,
    /// What may compute a step. Option `engine` = `cpu`, `sme` (cores do what units do not, and share nothing) or `both`,
    /// environment `TANDEM_ENGINE`.
    pub engine: EngineChoice,
    /// Whether a step may keep cores and units busy at the same time; without, for comparison. Option `overlap` = `on` or
    /// `off`, environment `TANDEM_OVERLAP`.
    pub overlap: bool,
    /// Whose time is predicted for the steps. Option `stack` = `tandem` or `xnnpack`.
    pub stack: Stack,
    /// How much of the machine executes use. Option `power` = `balanced` or `low`, environment `TANDEM_POWER`.
    pub power: Power,
    /// Whether the plan is to follow from program, options and instruction sets alone: with the rates of these instruction sets'
    /// class of machines and one thread for each of its cores, in place of `device` and `threads`, and with splits between
    /// engines that stay as planned. Option `deterministic` = `on` or `off`, environment `TANDEM_DETERMINISTIC`.
    pub deterministic: bool,
    /// Threads to plan for, whatever an execute is given; `None` = one a core. Option `threads`, environment
    /// `TANDEM_THREADS`; 0 = `None`.
    pub threads: Option<usize>,
    /// Row that computes a step: 0 the one predicted to be quickest, 1 the next, and so on, or the last that is no
    /// reference. Option `candidate`, environment `TANDEM_CANDIDATE`: for measuring what was not picked.
    pub candidate: usize,
    /// Rates to plan with; `None` = the profile's.
    pub rates: Option<Rates>,
}

/// What may compute a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineChoice {
    /// Cores.
    Cpu,
    /// A matrix unit or cores.
    Sme,
    /// Each alone, or both.
    Both,
}

/// How much of the machine executes use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// All threads an execute is given.
    Balanced,
    /// One thread a matrix unit where there are any, else half as many as there are fast cores, at most; they sleep wherever
    /// there is nothing for them.
    Low,
}

/// Whose time is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// What runs here.
    Tandem,
    /// What XNNPACK is modelled to take for the same steps: nothing runs differently.
    Xnnpack,
}

impl Default for LoadOptions {
    /// Defaults without the environment.
    fn default() -> Self {
        Self {
            isa: None,
            fast_math: true,
            layout: LayoutPolicy::State,
            device: None,
            engine: EngineChoice::Both,
            threads: None,
            chains: true,
            candidate: 0,
            overlap: true,
            power: Power::Balanced,
            deterministic: false,
            stack: Stack::Tandem,
            rates: None,
        }
    }
}

/// Environment variable and the option it sets.
const ENVIRONMENT: [(&str, &str); 10] = [
    ("TANDEM_ISA", "isa"),
    ("TANDEM_ALGORITHM", "algorithm"),
    ("TANDEM_LAYOUT", "layout"),
    ("TANDEM_DEVICE", "device"),
    ("TANDEM_ENGINE", "engine"),
    ("TANDEM_OVERLAP", "overlap"),
    ("TANDEM_POWER", "power"),
    ("TANDEM_DETERMINISTIC", "deterministic"),
    ("TANDEM_THREADS", "threads"),
    ("TANDEM_CANDIDATE", "candidate"),
];

impl LoadOptions {
    /// Defaults, overridden by the environment.
    ///
    /// # Errors
    /// A variable whose value is not one.
    pub fn from_environment() -> Result<Self, Error> {
        let mut options = Self::default();
        for (variable, key) in ENVIRONMENT {
            if let Ok(value) = std::env::var(variable)
                && !value.is_empty()
            {
                options.parse(key, &value)?;
            }
        }
        Ok(options)
    }

    /// Sets one option from text.
    ///
    /// # Errors
    /// An unknown key or value.
    pub fn parse(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let wrong = |what: &str| Error::Option {
            key: key.to_owned(),
            value: value.to_owned(),
            what: what.to_owned(),
        };
        match (key, value) {
            ("isa", list) => {
                self.isa =
                    Some(Isa::parse(list).map_err(|name| wrong(&format!("unknown instruction set {name}")))?);
            }
            ("algorithm", "fast") => self.fast_math = true,
            ("algorithm", "direct") => self.fast_math = false,
            ("algorithm", _) => return Err(wrong("fast or direct")),
            ("device", name) => self.device = Some(name.to_owned()),
            ("engine", "cpu") => self.engine = EngineChoice::Cpu,
            ("engine", "sme") => self.engine = EngineChoice::Sme,
            ("engine", "both") => self.engine = EngineChoice::Both,
            ("engine", _) => return Err(wrong("cpu, sme or both")),
            ("overlap", value) => self.overlap = switch(value).ok_or_else(|| wrong("on or off"))?,
            ("chains", value) => self.chains = switch(value).ok_or_else(|| wrong("on or off"))?,
            ("power", "balanced") => self.power = Power::Balanced,
            ("power", "low") => self.power = Power::Low,
            ("power", _) => return Err(wrong("balanced or low")),
            ("deterministic", value) => {
                self.deterministic = switch(value).ok_or_else(|| wrong("on or off"))?
            }
            ("stack", "tandem") => self.stack = Stack::Tandem,
            ("stack", "xnnpack") => self.stack = Stack::Xnnpack,
            ("stack", _) => return Err(wrong("tandem or xnnpack")),
            ("threads", count) => {
                let threads: usize = count.parse().map_err(|_| wrong("not a count"))?;
                self.threads = (threads > 0).then_some(threads);
            }
            ("candidate", number) => {
                self.candidate = number.parse().map_err(|_| wrong("not a number"))?;
            }
            ("layout", "state") => self.layout = LayoutPolicy::State,
            ("layout", "greedy") => self.layout = LayoutPolicy::Greedy,
            ("layout", _) => return Err(wrong("state or greedy")),
            _ => return Err(wrong("unknown option")),
        }
        Ok(())
    }
}

fn switch(value: &str) -> Option<bool> {
    match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}
