//! The structures of `include/tandem.h`, field for field; `tests/header.rs` holds the two together.

use std::ffi::{c_char, c_void};

use tandem_engine as engine;

/// Version of the header these structures are.
pub const ABI_VERSION: u32 = 6;

/// `tandem_constants`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Constants {
    /// Taken over from the host.
    pub ctx: *mut c_void,
    /// Finds a constant.
    pub get_data: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            key: *const c_char,
            data: *mut *const c_void,
            len: *mut usize,
        ) -> i32,
    >,
    /// Gives `ctx` back.
    pub release: Option<unsafe extern "C" fn(ctx: *mut c_void)>,
}

/// `tandem_option`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LoadOption {
    /// which
    pub key: *const c_char,
    /// its value
    pub value: *const c_char,
}

/// `tandem_tensor`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Tensor {
    /// `tandem_dtype`
    pub dtype: i32,
    /// number of sizes
    pub rank: u32,
    /// logical order
    pub sizes: *const usize,
    /// outermost first, or null
    pub dim_order: *const u8,
    /// elements
    pub data: *mut c_void,
    /// room behind `data`
    pub bytes: usize,
}

/// `tandem_step_fn`
pub type StepFn = unsafe extern "C" fn(ctx: *mut c_void, step: usize, start_ns: u64, end_ns: u64);

/// `tandem_entry_fn`
pub type EntryFn =
    unsafe extern "C" fn(ctx: *mut c_void, step: usize, thread: usize, start_ns: u64, end_ns: u64);

/// `tandem_call`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Call {
    /// read
    pub inputs: *const Tensor,
    /// how many
    pub num_inputs: usize,
    /// written
    pub outputs: *const Tensor,
    /// how many
    pub num_outputs: usize,
    /// the caller included
    pub threads: usize,
    /// may be null
    pub step: Option<StepFn>,
    /// handed to `step` and `entry`
    pub step_ctx: *mut c_void,
    /// may be null
    pub entry: Option<EntryFn>,
}

/// `tandem_tensor_spec`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct TensorSpec {
    /// name in the exported graph
    pub name: *const c_char,
    /// `tandem_dtype`
    pub dtype: i32,
    /// number of sizes
    pub rank: u32,
    /// logical order
    pub sizes: *const usize,
    /// outermost first
    pub dim_order: *const u8,
}

/// `tandem_report`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Report {
    /// instruction sets
    pub isa: *const c_char,
    /// of the program
    pub num_inputs: usize,
    /// of the program
    pub num_outputs: usize,
    /// of the plan
    pub num_steps: usize,
    /// intermediate values
    pub arena_bytes: u64,
    /// most alive at once
    pub live_bytes: u64,
    /// workspaces
    pub scratch_bytes: u64,
    /// constants
    pub weight_bytes: u64,
    /// of loading
    pub verify_ns: u64,
    /// of loading
    pub plan_ns: u64,
    /// of the program
    pub num_values: usize,
    /// of the program
    pub num_symbols: usize,
    /// whose rates, for how many threads
    pub basis: *const c_char,
}

/// `tandem_symbol`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Symbol {
    /// name in the exported graph
    pub name: *const c_char,
    /// planned for
    pub value: i64,
}

/// `tandem_value`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Value {
    /// name in the exported graph
    pub name: *const c_char,
    /// readable
    pub shape: *const c_char,
    /// readable
    pub layout: *const c_char,
    /// readable, "" for none
    pub copy: *const c_char,
    /// who decided
    pub decided: *const c_char,
    /// of its elements
    pub bytes: u64,
}

/// `tandem_step`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Step {
    /// stable, readable
    pub name: *const c_char,
    /// operator
    pub op: *const c_char,
    /// group of operators
    pub category: *const c_char,
    /// readable
    pub shape: *const c_char,
    /// row of its family
    pub kernel: *const c_char,
    /// "cpu", "sme" or "both"
    pub engine: *const c_char,
    /// readable
    pub layout_in: *const c_char,
    /// readable
    pub layout_out: *const c_char,
    /// why this kernel
    pub reason: *const c_char,
    /// by definition
    pub flops: f64,
    /// at least
    pub bytes: f64,
    /// the threads planned for
    pub predicted_ns: f64,
    /// exported nodes
    pub debug_handles: *const u32,
    /// how many
    pub num_debug_handles: usize,
    /// what it consists of in time
    pub num_parts: usize,
}

/// `tandem_part`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Part {
    /// readable
    pub name: *const c_char,
    /// "cpu" or "sme"
    pub engine: *const c_char,
    /// group of operators
    pub category: *const c_char,
    /// from the step's start
    pub start_ns: f64,
    /// predicted
    pub ns: f64,
    /// of the step's arithmetic
    pub share: f64,
}

/// `tandem_seen`
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Seen {
    /// a tile, predicted
    pub core_predicted_ns: f64,
    /// the same in a unit
    pub unit_predicted_ns: f64,
    /// a tile, seen
    pub core_ns: f64,
    /// the same in a unit
    pub unit_ns: f64,
    /// of the tiles, predicted
    pub unit_share: f64,
    /// computed so far
    pub core_tiles: u64,
    /// computed so far
    pub unit_tiles: u64,
}

impl From<engine::Seen> for Seen {
    fn from(seen: engine::Seen) -> Self {
        let [core_tiles, unit_tiles] = seen.computed;
        Self {
            core_predicted_ns: seen.predicted.core,
            unit_predicted_ns: seen.predicted.unit,
            core_ns: seen.pace.core,
            unit_ns: seen.pace.unit,
            unit_share: seen.share,
            core_tiles,
            unit_tiles,
        }
    }
}
