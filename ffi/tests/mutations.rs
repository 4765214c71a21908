//! Damaged programs through the C ABI: a status and a message, or a method that runs; never a crash or a panic.

#[macro_use]
mod common;

use std::ffi::{CStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use tandem_ffi::{
    Method, Status, abi, tandem_destroy, tandem_execute, tandem_get_input, tandem_get_output,
    tandem_get_report, tandem_last_error, tandem_load,
};
use tandem_schemas::header::{self, BlobKind, HEADER_LEN};
use tandem_schemas::program::*;

/// Mutations of a plain run; TANDEM_TEST_ALL makes ten times as many.
const MUTATIONS: u64 = 10_000;
/// Bytes of every constant the host has: ones.
const ENTRY: usize = 1 << 16;
/// Methods that want more memory than this are loaded and not run.
const MOST_MEMORY: u64 = 64 << 20;

/// Programs under construction.
#[derive(Default)]
struct Builder {
    program: ProgramT,
}

impl Builder {
    fn value(&mut self, kind: ValueKind, sizes: &[i64], constant: i32) -> i32 {
        let name = format!("v{}", self.program.values.len());
        let shape = Some(sizes.iter().map(|&size| Dim::new(size, -1).unpack()).collect());
        self.program.values.push(with!(ValueT, name = name, kind = kind, shape = shape, constant = constant));
        self.program.values.len() as i32 - 1
    }

    fn constant(&mut self, elements: usize, format: Format) -> i32 {
        let version = if format == Format::Plain { 0 } else { tandem_kernels::panels::VERSION };
        self.program.constants.push(with!(
            ConstantT,
            name = "c".to_owned(),
            length = 4 * elements as u64,
            format = format,
            format_version = version,
        ));
        self.program.constants.len() as i32 - 1
    }

    fn op(&mut self, kind: OpKindT, sizes: &[i64]) -> i32 {
        let out = self.value(ValueKind::Temp, sizes, -1);
        let name = format!("op{}", self.program.ops.len());
        self.program.ops.push(with!(OpT, name = name, kind = kind, outputs = vec![out]));
        out
    }

    fn output(&mut self, value: i32) {
        self.program.values[value as usize].kind = ValueKind::Output;
        self.program.outputs.push(value);
    }

    fn blob(mut self) -> Vec<u8> {
        self.program.entries = vec![with!(EntryT, key = "all".to_owned(), length = ENTRY as u64)];
        tandem_schemas::write_program(&self.program)
    }
}

/// Convolutions, pooling, concatenation, pixel shuffle, resampling.
fn images() -> Vec<u8> {
    let mut b = Builder::default();
    let x = b.value(ValueKind::Input, &[1, 3, 9, 9], -1);
    b.program.inputs = vec![x];
    let (weight, bias) = (b.constant(27 * 16, Format::Panels), b.constant(16, Format::Columns));
    let epilogue = Some(Box::new(with!(
        EpilogueT,
        bias = bias,
        act = Some(Act::new(Activation::Relu, 0.0, 0.0).unpack())
    )));
    let conv = with!(
        ConvT,
        src = vec![x],
        weight = weight,
        kernel = vec![3, 3],
        stride = vec![1, 1],
        padding = vec![1, 1, 1, 1],
        dilation = vec![1, 1],
        epilogue = epilogue,
    );
    let conv = b.op(OpKindT::Conv(Box::new(conv)), &[1, 8, 9, 9]);
    let pool = with!(
        PoolT,
        src = conv,
        kernel = vec![2, 2],
        stride = vec![2, 2],
        padding = vec![0, 0, 0, 0],
        dilation = vec![1, 1],
    );
    let pool = b.op(OpKindT::Pool(Box::new(pool)), &[1, 8, 4, 4]);
    let weight = b.constant(9 * 16, Format::DepthwisePanels);
    let depthwise = with!(
        DepthwiseT,
        src = pool,
        weight = weight,
        kernel = vec![3, 3],
        stride = vec![1, 1],
        padding = vec![1, 1, 1, 1],
        dilation = vec![1, 1],
    );
    let depthwise = b.op(OpKindT::Depthwise(Box::new(depthwise)), &[1, 8, 4, 4]);
    let both = with!(ConcatT, src = vec![pool, depthwise], dim = 1);
    let both = b.op(OpKindT::Concat(Box::new(both)), &[1, 16, 4, 4]);
    let shuffled =
        b.op(OpKindT::PixelShuffle(Box::new(with!(PixelShuffleT, src = both, factor = 2))), &[1, 4, 8, 8]);
    let resized = with!(ResizeT, src = shuffled, kind = ResizeKind::Bilinear);
    let resized = b.op(OpKindT::Resize(Box::new(resized)), &[1, 4, 12, 12]);
    let padded = with!(PadT, src = resized, before = vec![0, 0, 1, 2], value = 0.5);
    let padded = b.op(OpKindT::Pad(Box::new(padded)), &[1, 4, 14, 14]);
    let mean = b.op(
        OpKindT::AdaptivePool(Box::new(with!(AdaptivePoolT, src = padded, kind = PoolKind::Average))),
        &[1, 4, 2, 2],
    );
    b.output(mean);
    b.blob()
}

/// Matrix products, attention, normalisation, reductions, views.
fn sequences() -> Vec<u8> {
    let mut b = Builder::default();
    let x = b.value(ValueKind::Input, &[2, 6, 16], -1);
    b.program.inputs = vec![x];
    let (weight, ones) = (b.constant(16 * 16, Format::Panels), b.constant(16, Format::Plain));
    let norm = with!(
        NormT,
        src = x,
        kind = NormKind::Layer,
        axes = 1,
        groups = 1,
        eps = 1e-5,
        scale = ones,
        shift = ones
    );
    let norm = b.op(OpKindT::Norm(Box::new(norm)), &[2, 6, 16]);
    let linear = b.op(OpKindT::Linear(Box::new(with!(LinearT, src = norm, weight = weight))), &[2, 6, 16]);
    let heads = b.op(OpKindT::Reshape(Box::new(with!(ReshapeT, src = linear))), &[2, 6, 4, 4]);
    let heads = b.op(
        OpKindT::Permute(Box::new(with!(PermuteT, src = heads, order = vec![0, 2, 1, 3]))),
        &[2, 4, 6, 4],
    );
    let attention = with!(AttentionT, q = heads, k = heads, v = heads, scale = 0.5, causal = true);
    let attention = b.op(OpKindT::Attention(Box::new(attention)), &[2, 4, 6, 4]);
    let turned = b.op(
        OpKindT::Permute(Box::new(with!(PermuteT, src = heads, order = vec![0, 1, 3, 2]))),
        &[2, 4, 4, 6],
    );
    let scores = with!(MatMulT, a = attention, b = turned, scale = 1.0);
    let scores = b.op(OpKindT::MatMul(Box::new(scores)), &[2, 4, 6, 6]);
    let soft = b.op(OpKindT::Softmax(Box::new(with!(SoftmaxT, src = scores, dim = 3))), &[2, 4, 6, 6]);
    let part = b
        .op(OpKindT::Slice(Box::new(with!(SliceT, src = soft, dim = 2, start = 1, step = 2))), &[2, 4, 2, 6]);
    let act = Some(Act::new(Activation::Silu, 0.0, 0.0).unpack());
    let unary = with!(UnaryT, src = part, kind = UnaryKind::Activation, act = act);
    let unary = b.op(OpKindT::Unary(Box::new(unary)), &[2, 4, 2, 6]);
    let reduced = with!(ReduceT, src = unary, kind = ReduceKind::Mean, dims = vec![2]);
    let reduced = b.op(OpKindT::Reduce(Box::new(reduced)), &[2, 4, 1, 6]);
    let spread = b.op(OpKindT::Expand(Box::new(with!(ExpandT, src = reduced))), &[2, 4, 2, 6]);
    let sum = b.op(OpKindT::Binary(Box::new(with!(BinaryT, a = spread, b = part))), &[2, 4, 2, 6]);
    b.output(sum);
    b.blob()
}

/// Rows of symbolic number: an activation, their last, and twice as many.
fn rows() -> Vec<u8> {
    let mut b = Builder::default();
    let x = b.value(ValueKind::Input, &[9, 6], -1);
    let n = b.value(ValueKind::SymInt, &[9], -1);
    b.program.inputs = vec![x, n];
    let act = Some(Act::new(Activation::Relu, 0.0, 0.0).unpack());
    let unary = with!(UnaryT, src = x, kind = UnaryKind::Activation, act = act);
    let y = b.op(OpKindT::Unary(Box::new(unary)), &[9, 6]);
    let last = with!(SliceT, src = y, dim = 0, start = 8, step = 1, start_expr = 3);
    let last = b.op(OpKindT::Slice(Box::new(last)), &[1, 6]);
    let twice = b.op(OpKindT::Concat(Box::new(with!(ConcatT, src = vec![y, x], dim = 0))), &[18, 6]);
    b.output(last);
    b.output(twice);
    let expr = |op, a, b| with!(ExprT, op = op, a = a, b = b);
    b.program.symbols = Some(vec![with!(SymbolT, name = "n".to_owned(), min = 1, max = 9)]);
    b.program.exprs = Some(vec![
        expr(ExprOp::Symbol, 0, 0),
        expr(ExprOp::Const, 1, 0),
        expr(ExprOp::Add, 0, 0),
        expr(ExprOp::Sub, 0, 1),
    ]);
    for (value, expr) in [(x, 0), (n, 0), (y, 0), (twice, 2)] {
        b.program.values[value as usize].shape.as_mut().unwrap()[0].expr = expr;
    }
    b.program.values[n as usize].dtype = DType::I64;
    b.blob()
}

struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// A blob changed in one to four places: most changes get a new checksum, so that they reach what lies behind it.
fn mutated(blob: &[u8], random: &mut SplitMix) -> Vec<u8> {
    let mut payload = blob[HEADER_LEN..].to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(payload.len());
        let word = at & !3;
        let interesting = [0, 1, -1, 2, 3, 7, 16, 255, 1 << 16, i32::MAX, i32::MIN];
        match random.below(8) {
            0 => payload[at] ^= 1 << random.below(8),
            1 => payload[at] = random.next() as u8,
            2 => payload.truncate(at.max(8)),
            3 => {
                let other = random.below(payload.len());
                payload.swap(at, other);
            }
            4 => payload.iter_mut().skip(at).take(16).for_each(|byte| *byte = random.next() as u8),
            _ => {
                let number: i32 = match random.below(2) {
                    0 => interesting[random.below(interesting.len())],
                    _ => random.below(40) as i32,
                };
                payload.iter_mut().skip(word).zip(number.to_le_bytes()).for_each(|(byte, new)| *byte = new);
            }
        }
    }
    match random.below(16) {
        0 => {
            let mut raw = blob.to_vec();
            let at = random.below(raw.len());
            raw[at] ^= 1 << random.below(8);
            raw
        }
        1 => blob[..random.below(blob.len())].to_vec(),
        2 => (0..random.below(300)).map(|_| random.next() as u8).collect(),
        _ => header::wrap(BlobKind::Program, &payload),
    }
}

#[repr(align(64))]
struct Ones([f32; ENTRY / 4]);
static ONES: Ones = Ones([1.0; ENTRY / 4]);

unsafe extern "C" fn get_data(
    _: *mut c_void,
    _: *const c_char,
    data: *mut *const c_void,
    len: *mut usize,
) -> i32 {
    // SAFETY: places to write to, as the header says.
    unsafe { (*data, *len) = (ONES.0.as_ptr().cast(), ENTRY) };
    0
}

fn message() -> String {
    // SAFETY: the ABI gives a C string.
    unsafe { CStr::from_ptr(tandem_last_error()) }.to_string_lossy().into_owned()
}

/// Whether the last failure was a panic that stopped at the ABI.
fn panicked() -> bool {
    message().starts_with("internal error")
}

/// Loads a blob and, where that succeeds, runs it on buffers of the sizes its specifications name.
fn exercise(blob: &[u8]) -> Result<bool, String> {
    let constants = abi::Constants { ctx: ptr::null_mut(), get_data: Some(get_data), release: None };
    let mut method: *mut Method = ptr::null_mut();
    // SAFETY: all pointers are of live objects.
    let status =
        unsafe { tandem_load(blob.as_ptr().cast(), blob.len(), &constants, ptr::null(), 0, &raw mut method) };
    match status {
        Status::Ok => {}
        Status::Internal if panicked() => return Err(message()),
        _ if message().is_empty() => return Err(format!("{status:?} without a message")),
        _ => return Ok(false),
    }
    let ran = run(method);
    // SAFETY: the method is alive and idle.
    unsafe { tandem_destroy(method) };
    ran
}

fn run(method: *mut Method) -> Result<bool, String> {
    let mut report = MaybeUninit::<abi::Report>::uninit();
    // SAFETY: the method is alive, the place writable and written where the status is Ok.
    let report = unsafe {
        assert_eq!(tandem_get_report(method, report.as_mut_ptr()), Status::Ok);
        report.assume_init()
    };
    let tensor = |spec: abi::TensorSpec| {
        // SAFETY: the specification lives as long as the method.
        let sizes = unsafe { std::slice::from_raw_parts(spec.sizes, spec.rank as usize) };
        let bytes = sizes.iter().product::<usize>().checked_mul(8).filter(|b| *b as u64 <= MOST_MEMORY)?;
        let mut memory = vec![1.0f64; bytes / 8 + 1];
        if spec.rank == 0 && spec.dtype == i32::from(DType::I64.0) {
            // An integer is what it is where symbols are at their upper bounds.
            memory[0] = f64::from_bits(9);
        }
        let (data, dim_order) = (memory.as_mut_ptr().cast(), spec.dim_order);
        let tensor =
            abi::Tensor { dtype: spec.dtype, rank: spec.rank, sizes: spec.sizes, dim_order, data, bytes };
        Some((memory, tensor))
    };
    let mut spec = MaybeUninit::<abi::TensorSpec>::uninit();
    // SAFETY: the method is alive, the place writable and written.
    let mut input = |i| unsafe {
        tandem_get_input(method, i, spec.as_mut_ptr());
        tensor(spec.assume_init())
    };
    let inputs: Option<Vec<_>> = (0..report.num_inputs).map(&mut input).collect();
    let mut spec = MaybeUninit::<abi::TensorSpec>::uninit();
    // SAFETY: as above.
    let mut output = |i| unsafe {
        tandem_get_output(method, i, spec.as_mut_ptr());
        tensor(spec.assume_init())
    };
    let outputs: Option<Vec<_>> = (0..report.num_outputs).map(&mut output).collect();
    let (Some(inputs), Some(outputs)) = (inputs, outputs) else { return Ok(false) };
    if report.arena_bytes + report.scratch_bytes > MOST_MEMORY {
        return Ok(false);
    }
    let list = |held: &[(Vec<f64>, abi::Tensor)]| held.iter().map(|(_, tensor)| *tensor).collect::<Vec<_>>();
    let (inputs_list, outputs_list) = (list(&inputs), list(&outputs));
    let call = abi::Call {
        inputs: inputs_list.as_ptr(),
        num_inputs: inputs_list.len(),
        outputs: outputs_list.as_ptr(),
        num_outputs: outputs_list.len(),
        threads: 1,
        step: None,
        step_ctx: ptr::null_mut(),
        entry: None,
    };
    // SAFETY: the method is alive, the tensors' memory too.
    match unsafe { tandem_execute(method, &call) } {
        Status::Internal if panicked() => Err(message()),
        status => Ok(status == Status::Ok),
    }
}

#[test]
fn whole_programs_run() {
    for blob in [images(), sequences(), rows()] {
        assert_eq!(exercise(&blob), Ok(true), "{}", message());
    }
}

#[test]
fn damaged_programs_give_errors() {
    let times = if std::env::var_os("TANDEM_TEST_ALL").is_some() { 10 } else { 1 };
    let blobs = [images(), sequences(), rows()];
    let (mut refused, mut ran) = (0, 0);
    for seed in 0..MUTATIONS * times {
        let mut random = SplitMix(seed);
        let blob = mutated(&blobs[(seed % 3) as usize], &mut random);
        match exercise(&blob) {
            Ok(true) => ran += 1,
            Ok(false) => refused += 1,
            Err(message) => panic!("seed {seed}: {message}"),
        }
    }
    println!("{refused} refused or too large, {ran} ran");
    assert!(refused > 1000 && ran > 100);
}
