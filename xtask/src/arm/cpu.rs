//! The processors that the emulator stands for.

/// A processor model of the emulator.
pub struct Cpu {
    /// What the stages call it.
    pub name: &'static str,
    /// `-cpu` of the emulator.
    pub model: &'static str,
}

/// Everything the emulator knows at three vector lengths of SME; cores without SME, without SVE and i8mm, and in order.
pub const CPUS: [Cpu; 6] = [
    Cpu { name: "max, SVL 512", model: "max,sme512=on,sme256=off,sme128=off" },
    Cpu { name: "max, SVL 256", model: "max,sme512=off,sme256=on,sme128=off" },
    Cpu { name: "max, SVL 128", model: "max,sme512=off,sme256=off,sme128=on" },
    Cpu { name: "neoverse-v1", model: "neoverse-v1" },
    Cpu { name: "neoverse-n1", model: "neoverse-n1" },
    Cpu { name: "cortex-a55", model: "cortex-a55" },
];

/// Those that whole models run on: the newest and the oldest.
pub const WHOLE_MODELS: [&Cpu; 2] = [&CPUS[0], &CPUS[5]];
