//! The bridge to ExecuTorch: everything of C++ that the program uses, and the one place with unsafe code.

/// Functions and structures shared with `cpp/host.h`.
#[cxx::bridge(namespace = "tandem::cli")]
pub mod ffi {
    /// A tensor that a method takes or gives.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct TensorMeta {
        /// ExecuTorch's scalar type.
        scalar_type: i32,
        /// Logical order.
        sizes: Vec<usize>,
        /// Outermost first.
        dim_order: Vec<u8>,
        /// Dense length.
        bytes: usize,
    }

    /// What an event is about.
    #[derive(Debug)]
    enum EventKind {
        /// A scope of the runtime: a method, an instruction, a portable operator.
        Runtime,
        /// Something inside a delegate.
        Delegate,
    }

    /// A closed interval that the runtime or a delegate logged.
    #[derive(Clone, Debug)]
    struct Event {
        kind: EventKind,
        name: String,
        /// What the delegate added: Tandem's kernel name.
        detail: String,
        /// Sizes of the first tensor an operator wrote, where it was asked for.
        shape: String,
        /// Index in the method, -1 outside of instructions.
        instruction: i64,
        /// Tandem's method, 0 where it is none of Tandem's events.
        method: usize,
        start_ns: u64,
        end_ns: u64,
    }

    /// A delegate of Tandem.
    #[derive(Clone, Debug, Default)]
    struct Delegate {
        method: usize,
        isa: String,
        /// Whose rates it was planned with, in words.
        basis: String,
        init_ns: u64,
        verify_ns: u64,
        plan_ns: u64,
        arena_bytes: u64,
        live_bytes: u64,
        scratch_bytes: u64,
        weight_bytes: u64,
    }

    /// A step of a delegate of Tandem.
    #[derive(Clone, Debug, Default)]
    struct Step {
        name: String,
        op: String,
        category: String,
        shape: String,
        kernel: String,
        engine: String,
        layout_in: String,
        layout_out: String,
        reason: String,
        flops: f64,
        bytes: f64,
        predicted_ns: f64,
        parts: Vec<Part>,
        seen: Seen,
    }

    /// What engines were seen to take for a step's tiles that either computes; all 0 where one engine does, or by a settled
    /// share.
    #[derive(Clone, Copy, Debug, Default)]
    struct Seen {
        core_predicted_ns: f64,
        unit_predicted_ns: f64,
        core_ns: f64,
        unit_ns: f64,
        unit_share: f64,
        core_tiles: u64,
        unit_tiles: u64,
    }

    /// What an engine does of a step, at a stretch.
    #[derive(Clone, Debug, Default)]
    struct Part {
        name: String,
        engine: String,
        category: String,
        start_ns: f64,
        ns: f64,
        share: f64,
    }

    /// A value of a delegate of Tandem.
    #[derive(Clone, Debug, Default)]
    struct Value {
        name: String,
        shape: String,
        layout: String,
        /// Of a copy, or "".
        copy: String,
        decided: String,
        bytes: u64,
    }

    /// A load option of Tandem.
    #[derive(Clone, Debug, Default)]
    struct Setting {
        key: String,
        value: String,
    }

    /// Time a program took to load.
    #[derive(Clone, Copy, Debug, Default)]
    struct LoadTimes {
        /// Mapping and verifying the file.
        program_ns: u64,
        /// The method, its delegates included.
        method_ns: u64,
    }

    unsafe extern "C++" {
        include!("host.h");

        /// A loaded method of a mapped .pte file.
        type Host;

        /// Loads a method, "" meaning "forward" or the only one; `trace` keeps the events of its executions; `settings` are
        /// Tandem's load options.
        fn load(path: &str, method: &str, trace: bool, settings: &[Setting]) -> Result<UniquePtr<Host>>;
        /// What loading took.
        fn load_times(self: &Host) -> LoadTimes;
        /// The method's inputs.
        fn inputs(self: &Host) -> Vec<TensorMeta>;
        /// Sets an input to dense elements in its dim order.
        fn set_input(self: Pin<&mut Host>, index: usize, bytes: &[u8], sizes: &[usize]) -> Result<()>;
        /// Runs the method once.
        fn execute(self: Pin<&mut Host>) -> Result<()>;
        /// Outputs of the last execution.
        fn outputs(self: &Host) -> Vec<TensorMeta>;
        /// Elements of an output in its dim order.
        fn output(self: &Host, index: usize) -> Vec<u8>;
        /// Whether the next execution keeps the shapes that operators write.
        fn keep_shapes(self: Pin<&mut Host>, keep: bool);
        /// Events since the last call, in the order they began.
        fn take_events(self: Pin<&mut Host>) -> Vec<Event>;

        /// Tandem's delegates alive in this process, oldest first.
        fn delegates() -> Vec<Delegate>;
        /// Steps of one of them.
        fn steps(method: usize) -> Vec<Step>;
        /// Values of one of them.
        fn values(method: usize) -> Vec<Value>;

        /// Sets the size of ExecuTorch's thread pool.
        fn set_threads(threads: u32) -> Result<()>;
        /// CPU time of all threads of this process.
        fn cpu_time_ns() -> u64;
    }
}

// The adapter, C++, calls the engine through its C ABI.
extern crate tandem_ffi as _;
