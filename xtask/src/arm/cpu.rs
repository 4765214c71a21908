//! The processors that the emulator stands for.

/// A processor model of the emulator.
pub struct Cpu {
    /// What the stages call it.
    pub name: &'static str,
    /// `-cpu` of the emulator.
    pub model: &'static str,
    /// Instruction sets that the model has, as `tandem info` prints them.
    pub isa: &'static str,
    /// Bytes of a streaming vector, of models with SME.
    pub vector: Option<u32>,
}

/// Everything the emulator knows at three vector lengths of SME; cores without SME, without SVE and i8mm, and in order.
pub const CPUS: [Cpu; 6] = [
    Cpu { name: "max, SVL 512", model: "max,sme512=on,sme256=off,sme128=off", isa: ALL, vector: Some(64) },
    Cpu { name: "max, SVL 256", model: "max,sme512=off,sme256=on,sme128=off", isa: ALL, vector: Some(32) },
    Cpu { name: "max, SVL 128", model: "max,sme512=off,sme256=off,sme128=on", isa: ALL, vector: Some(16) },
    // The emulator's has no bf16: the core itself does.
    Cpu { name: "neoverse-v1", model: "neoverse-v1", isa: "neon,fp16,dotprod,i8mm,sve", vector: None },
    Cpu { name: "neoverse-n1", model: "neoverse-n1", isa: "neon,fp16,dotprod", vector: None },
    Cpu { name: "cortex-a55", model: "cortex-a55", isa: "neon,fp16,dotprod", vector: None },
];

const ALL: &str = "neon,fp16,dotprod,i8mm,bf16,sve,sme,sme2,f16f16";

/// Everything but SME: an instruction of it is illegal there.
pub const WITHOUT_SME: Cpu =
    Cpu { name: "max, no SME", model: "max,sme=off", isa: "neon,fp16,dotprod,i8mm,bf16,sve", vector: None };

/// The longest vectors that the architecture allows, for the unit's own tests.
pub const LONGEST: Cpu = Cpu {
    name: "max, SVL 2048",
    model: "max,sme2048=on,sme1024=off,sme512=off,sme256=off,sme128=off",
    isa: ALL,
    vector: Some(256),
};
