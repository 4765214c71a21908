//! The C ABI as a host calls it.

#[macro_use]
mod common;

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tandem_ffi::{MAX_RANK, Method, Status, abi};
use tandem_ffi::{
    tandem_cancel, tandem_destroy, tandem_execute, tandem_get_input, tandem_get_part, tandem_get_report,
    tandem_get_seen, tandem_get_step, tandem_get_symbol, tandem_get_value, tandem_last_error, tandem_load,
    tandem_output_sizes,
};
use tandem_schemas::program::{
    Act, Activation, BinaryKind, BinaryT, ConcatT, ConstantT, Dim, EntryT, ExprOp, ExprT, OpKindT, OpT,
    ProgramT, SoftmaxT, SymbolT, UnaryKind, UnaryT, ValueKind, ValueT,
};

/// A host's constants, counting what the ABI promises about them.
#[derive(Default)]
struct Host {
    /// Words and the number of them to skip for 16-byte alignment.
    entries: HashMap<String, (Vec<u64>, usize)>,
    asked: AtomicUsize,
    released: AtomicUsize,
}

unsafe extern "C" fn get_data(
    ctx: *mut c_void,
    key: *const c_char,
    data: *mut *const c_void,
    len: *mut usize,
) -> i32 {
    // SAFETY: `ctx` is a `Host`, the rest as the header says.
    unsafe {
        let host = &*ctx.cast::<Host>();
        host.asked.fetch_add(1, Ordering::Relaxed);
        let Some((words, skip)) = host.entries.get(CStr::from_ptr(key).to_str().unwrap()) else { return 5 };
        (*data, *len) = (words[*skip..].as_ptr().cast(), words[*skip..].len() * 8);
    }
    0
}

unsafe extern "C" fn release(ctx: *mut c_void) {
    // SAFETY: `ctx` is a `Host`.
    unsafe { &*ctx.cast::<Host>() }.released.fetch_add(1, Ordering::Relaxed);
}

impl Host {
    fn constants(&self) -> abi::Constants {
        abi::Constants {
            ctx: ptr::from_ref(self).cast_mut().cast(),
            get_data: Some(get_data),
            release: Some(release),
        }
    }

    /// Loads, and checks that a failure gave the constants back.
    fn load(&self, blob: &[u8], options: &[(&str, &str)]) -> Result<*mut Method, (Status, String)> {
        let texts: Vec<(CString, CString)> = options
            .iter()
            .map(|(key, value)| (CString::new(*key).unwrap(), CString::new(*value).unwrap()))
            .collect();
        let options: Vec<abi::LoadOption> = texts
            .iter()
            .map(|(key, value)| abi::LoadOption { key: key.as_ptr(), value: value.as_ptr() })
            .collect();
        let mut method = ptr::null_mut();
        let before = self.released.load(Ordering::Relaxed);
        // SAFETY: all pointers are of live objects.
        let status = unsafe {
            tandem_load(
                blob.as_ptr().cast(),
                blob.len(),
                &raw const *Box::new(self.constants()),
                options.as_ptr(),
                options.len(),
                &raw mut method,
            )
        };
        let given_back = self.released.load(Ordering::Relaxed) - before;
        if status == Status::Ok {
            assert_eq!(given_back, 0);
            return Ok(method);
        }
        assert_eq!(given_back, 1);
        assert!(method.is_null());
        Err((status, message()))
    }
}

fn message() -> String {
    // SAFETY: the ABI gives a C string.
    unsafe { CStr::from_ptr(tandem_last_error()) }.to_str().unwrap().to_owned()
}

/// y = relu(x + c) on `[2, 3]`, c in the entry "c".
fn program() -> ProgramT {
    let dim = |size| Dim::new(size, -1).unpack();
    let value = |name: &str, kind, constant| {
        let shape = Some(vec![dim(2), dim(3)]);
        with!(ValueT, name = name.to_owned(), kind = kind, constant = constant, shape = shape)
    };
    let act = Some(Act::new(Activation::Relu, 0.0, 0.0).unpack());
    let sum = with!(BinaryT, a = 0, b = 1, kind = BinaryKind::Add, act = act);
    let op = with!(
        OpT,
        name = "sum".to_owned(),
        kind = OpKindT::Binary(Box::new(sum)),
        outputs = vec![2],
        debug_handles = Some(vec![4, 9]),
    );
    with!(
        ProgramT,
        entries = vec![with!(EntryT, key = "c".to_owned(), length = 24)],
        constants = vec![with!(ConstantT, name = "c".to_owned(), length = 24)],
        values = vec![
            value("x", ValueKind::Input, -1),
            value("c", ValueKind::Constant, 0),
            value("y", ValueKind::Output, -1),
        ],
        ops = vec![op],
        inputs = vec![0],
        outputs = vec![2],
    )
}

fn blob() -> Vec<u8> {
    tandem_schemas::write_program(&program())
}

/// A host whose constant is 0, 1, 2, 3, 4, 5.
fn host() -> Host {
    let words = [(0.0f32, 1.0f32), (2.0, 3.0), (4.0, 5.0)];
    let words = words.map(|(a, b)| u64::from(a.to_bits()) | u64::from(b.to_bits()) << 32);
    let mut aligned: Vec<u64> = Vec::with_capacity(8);
    let skip = usize::from(aligned.as_ptr().align_offset(16) != 0);
    aligned.extend(std::iter::repeat_n(0, skip));
    aligned.extend(words);
    Host { entries: HashMap::from([("c".to_owned(), (aligned, skip))]), ..Host::default() }
}

const SIZES: [usize; 2] = [2, 3];

fn tensor(data: &mut [f32]) -> abi::Tensor {
    abi::Tensor {
        dtype: 0,
        rank: 2,
        sizes: SIZES.as_ptr(),
        dim_order: ptr::null(),
        data: data.as_mut_ptr().cast(),
        bytes: size_of_val(data),
    }
}

fn call(inputs: &[abi::Tensor], outputs: &[abi::Tensor]) -> abi::Call {
    abi::Call {
        inputs: inputs.as_ptr(),
        num_inputs: inputs.len(),
        outputs: outputs.as_ptr(),
        num_outputs: outputs.len(),
        threads: 1,
        step: None,
        step_ctx: ptr::null_mut(),
        entry: None,
    }
}

fn execute(method: *mut Method, call: &abi::Call) -> Result<(), (Status, String)> {
    // SAFETY: the method is alive, the call names live tensors or is meant to be refused.
    match unsafe { tandem_execute(method, call) } {
        Status::Ok => Ok(()),
        status => Err((status, message())),
    }
}

#[test]
fn runs_reports_and_gives_constants_back() {
    let host = host();
    let method = host.load(&blob(), &[("isa", "scalar"), ("algorithm", "direct")]).unwrap();
    let (mut x, mut y) = ([-3.0f32, -2.0, -1.0, 0.0, 1.0, 2.0], [0.0f32; 6]);
    let (inputs, outputs) = ([tensor(&mut x)], [tensor(&mut y)]);
    for _ in 0..3 {
        execute(method, &call(&inputs, &outputs)).unwrap();
    }
    assert_eq!(y, [0.0, 0.0, 1.0, 3.0, 5.0, 7.0]);
    assert_eq!(host.asked.load(Ordering::Relaxed), 1);
    let mut report = MaybeUninit::<abi::Report>::uninit();
    let mut step = MaybeUninit::<abi::Step>::uninit();
    let mut part = MaybeUninit::<abi::Part>::uninit();
    let mut value = MaybeUninit::<abi::Value>::uninit();
    let mut spec = MaybeUninit::<abi::TensorSpec>::uninit();
    // SAFETY: the method is alive, places are writable, strings end with a zero byte.
    unsafe {
        assert_eq!(tandem_get_report(method, report.as_mut_ptr()), Status::Ok);
        let report = report.assume_init();
        assert_eq!((report.num_inputs, report.num_outputs, report.weight_bytes), (1, 1, 24));
        assert_eq!(CStr::from_ptr(report.isa), c"scalar");
        assert!(CStr::from_ptr(report.basis).to_str().unwrap().contains(" threads"));
        assert_eq!(tandem_get_step(method, report.num_steps - 1, step.as_mut_ptr()), Status::Ok);
        let step = step.assume_init();
        assert_eq!(CStr::from_ptr(step.name), c"sum");
        assert_eq!(std::slice::from_raw_parts(step.debug_handles, step.num_debug_handles), [4, 9]);
        assert_eq!(tandem_get_step(method, report.num_steps, ptr::null_mut()), Status::InvalidArgument);
        let last = report.num_steps - 1;
        assert_eq!((step.num_parts, tandem_get_part(method, last, 0, part.as_mut_ptr())), (1, Status::Ok));
        let part = part.assume_init();
        assert_eq!([CStr::from_ptr(part.name), CStr::from_ptr(part.engine)], [c"", c"cpu"]);
        assert_eq!(CStr::from_ptr(part.category), CStr::from_ptr(step.category));
        assert!(part.start_ns > 0.0 && part.ns > 0.0, "behind what a step takes beside its work");
        assert_eq!((part.start_ns + part.ns, part.share), (step.predicted_ns, 1.0));
        for (step, index) in [(last, 1), (last + 1, 0)] {
            assert_eq!(tandem_get_part(method, step, index, ptr::null_mut()), Status::InvalidArgument);
        }
        let mut seen = MaybeUninit::<abi::Seen>::uninit();
        assert_eq!(tandem_get_seen(method, last, seen.as_mut_ptr()), Status::Ok);
        assert_eq!((seen.assume_init().unit_tiles, seen.assume_init().core_ns), (0, 0.0));
        for place in [seen.as_mut_ptr(), ptr::null_mut()] {
            assert_eq!(tandem_get_seen(method, report.num_steps, place), Status::InvalidArgument);
        }
        assert_eq!(tandem_get_value(method, 0, value.as_mut_ptr()), Status::Ok);
        let value = value.assume_init();
        assert_eq!([CStr::from_ptr(value.name), CStr::from_ptr(value.layout)], [c"x", c"mn"]);
        assert_eq!([CStr::from_ptr(value.copy), CStr::from_ptr(value.decided)], [c"", c"the host"]);
        assert_eq!((CStr::from_ptr(value.shape), value.bytes), (c"[2, 3]", 24));
        assert_eq!(tandem_get_value(method, report.num_values, ptr::null_mut()), Status::InvalidArgument);
        assert_eq!(tandem_get_input(method, 0, spec.as_mut_ptr()), Status::Ok);
        let spec = spec.assume_init();
        assert_eq!(CStr::from_ptr(spec.name), c"x");
        assert_eq!(std::slice::from_raw_parts(spec.sizes, spec.rank as usize), SIZES);
        assert_eq!(tandem_get_report(method, ptr::null_mut()), Status::InvalidArgument);
        tandem_destroy(method);
        tandem_destroy(ptr::null_mut());
    }
    assert_eq!(host.released.load(Ordering::Relaxed), 1);
}

/// y = relu(x + x) on `[n, 3]`, n within 1..=4.
fn dynamic_program() -> ProgramT {
    let mut program = program();
    let sum = with!(BinaryT, a = 0, b = 0, kind = BinaryKind::Add);
    program.ops[0].kind = OpKindT::Binary(Box::new(sum));
    program.symbols = Some(vec![with!(SymbolT, name = "n".to_owned(), min = 1, max = 4)]);
    program.exprs = Some(vec![with!(ExprT, op = ExprOp::Symbol, a = 0)]);
    for value in [0, 2] {
        program.values[value].shape.as_mut().unwrap()[0] = Dim::new(4, 0).unpack();
    }
    program
}

#[test]
fn outputs_sizes_follow_from_those_of_inputs() {
    let host = host();
    let method = host.load(&tandem_schemas::write_program(&dynamic_program()), &[]).unwrap();
    let number = || {
        let mut symbol = MaybeUninit::<abi::Symbol>::uninit();
        // SAFETY: the method is alive, the place writable and written.
        unsafe {
            assert_eq!(tandem_get_symbol(method, 0, symbol.as_mut_ptr()), Status::Ok);
            let symbol = symbol.assume_init();
            assert_eq!(CStr::from_ptr(symbol.name), c"n");
            assert_eq!(tandem_get_symbol(method, 1, ptr::null_mut()), Status::InvalidArgument);
            symbol.value
        }
    };
    let rows =
        |sizes: &'static [usize; 2], data: &mut [f32]| abi::Tensor { sizes: sizes.as_ptr(), ..tensor(data) };
    let (mut x, mut y) = ([1.0f32; 15], [0.0f32; 15]);
    assert_eq!(number(), 4);
    let output_sizes = |input: abi::Tensor, num_outputs: usize| {
        let mut sizes = [0usize; MAX_RANK];
        // SAFETY: the method is alive, the input too, and there is room for one output.
        let status =
            unsafe { tandem_output_sizes(method, &raw const input, 1, sizes.as_mut_ptr(), num_outputs) };
        (status, [sizes[0], sizes[1]])
    };
    for (n, sizes) in [(3, &[3, 3]), (1, &[1, 3]), (4, &[4, 3])] {
        assert_eq!(output_sizes(rows(sizes, &mut x), 1), (Status::Ok, *sizes));
        assert_eq!(number(), n);
        y.fill(0.0);
        execute(method, &call(&[rows(sizes, &mut x)], &[rows(sizes, &mut y)])).unwrap();
        assert_eq!(y.iter().filter(|&&y| y == 2.0).count() as i64, 3 * n);
    }
    assert_eq!(output_sizes(rows(&[5, 3], &mut x), 1).0, Status::InvalidArgument);
    assert!(message().contains("n is 5, not within 1..=4"), "{}", message());
    assert_eq!(output_sizes(rows(&[2, 3], &mut x), 0).0, Status::InvalidArgument);
    let (inputs, outputs) = ([rows(&[2, 3], &mut x)], [rows(&[3, 3], &mut y)]);
    assert_eq!(execute(method, &call(&inputs, &outputs)).unwrap_err().0, Status::InvalidArgument);
    // SAFETY: the method is alive and idle.
    unsafe { tandem_destroy(method) };
}

/// Keeps step and thread of an entry in a vector.
unsafe extern "C" fn note(ctx: *mut c_void, step: usize, thread: usize, start_ns: u64, end_ns: u64) {
    assert!(start_ns <= end_ns);
    // SAFETY: the caller's vector, which nobody else touches meanwhile.
    unsafe { (*ctx.cast::<Vec<(usize, usize)>>()).push((step, thread)) }
}

#[test]
fn the_report_names_what_runs_in_a_matrix_unit() {
    let mut program = program();
    let softmax = OpKindT::Softmax(Box::new(with!(SoftmaxT, src = 0, dim = 1)));
    program.ops = vec![with!(OpT, name = "rows".to_owned(), kind = softmax, outputs = vec![2])];
    let host = host();
    let options = [("isa", "emulated-sme2-512")];
    let method = host.load(&tandem_schemas::write_program(&program), &options).unwrap();
    let mut step = MaybeUninit::<abi::Step>::uninit();
    // SAFETY: the method is alive, the place is writable, strings end with a zero byte.
    unsafe {
        assert_eq!(tandem_get_step(method, 0, step.as_mut_ptr()), Status::Ok);
        let step = step.assume_init();
        assert_eq!(CStr::from_ptr(step.kernel), c"emulated-sme2-512");
        assert_eq!(CStr::from_ptr(step.engine), c"sme");
    }
    let (mut x, mut y) = ([0.0f32, 0.0, 0.0, 1.0, 1.0, 1.0], [0.0f32; 6]);
    let mut entries: Vec<(usize, usize)> = Vec::new();
    let (inputs, outputs) = ([tensor(&mut x)], [tensor(&mut y)]);
    let traced =
        abi::Call { entry: Some(note), step_ctx: (&raw mut entries).cast(), ..call(&inputs, &outputs) };
    execute(method, &traced).unwrap();
    assert!(y.iter().all(|y| (y - 1.0 / 3.0).abs() < 1e-6), "{y:?}");
    assert_eq!(entries, [(0, 0)], "the first step had this thread there once");
    // SAFETY: the method is alive and idle.
    unsafe { tandem_destroy(method) }
}

#[test]
fn bad_tensors_are_named_and_the_next_call_works() {
    let host = host();
    let method = host.load(&blob(), &[]).unwrap();
    let (mut x, mut y) = ([0.0f32; 7], [0.0f32; 7]);
    let (good_x, good_y) = (tensor(&mut x), tensor(&mut y));
    let wide = [2usize, 4];
    let odd = good_x.data.wrapping_byte_add(2);
    let bad_inputs = [
        (abi::Tensor { dtype: 99, ..good_x }, "dtype 99"),
        (abi::Tensor { dtype: 7, ..good_x }, "x"),
        (abi::Tensor { rank: 9, ..good_x }, "rank 9"),
        (abi::Tensor { rank: 1, ..good_x }, "[2, 3]"),
        (abi::Tensor { sizes: wide.as_ptr(), bytes: 64, ..good_x }, "[2, 4]"),
        (abi::Tensor { bytes: 23, ..good_x }, "23 bytes"),
        (abi::Tensor { data: ptr::null_mut(), ..good_x }, "input 0"),
        (abi::Tensor { data: odd, ..good_x }, "input 0"),
        (abi::Tensor { sizes: ptr::null(), ..good_x }, "sizes"),
        (good_y, "shares memory"),
    ];
    for (bad, part) in bad_inputs {
        let (status, message) = execute(method, &call(&[bad], &[good_y])).unwrap_err();
        assert_eq!(status, Status::InvalidArgument, "{message}");
        assert!(message.contains(part), "{part} in: {message}");
        execute(method, &call(&[good_x], &[good_y])).unwrap();
    }
    assert_eq!(execute(method, &call(&[], &[good_y])).unwrap_err().0, Status::InvalidArgument);
    let two_outputs = execute(method, &call(&[good_x], &[good_y, good_y])).unwrap_err();
    assert!(two_outputs.1.contains("another output"), "{}", two_outputs.1);
    // SAFETY: the method is alive; null arguments are to be refused.
    unsafe {
        assert_eq!(tandem_execute(method, ptr::null()), Status::InvalidArgument);
        assert_eq!(tandem_execute(ptr::null_mut(), &call(&[good_x], &[good_y])), Status::InvalidArgument);
        tandem_destroy(method);
    }
}

#[test]
fn parts_of_a_concatenation_may_come_from_each_other() {
    // y = [relu(x), 2 relu(x)] side by side: row by row the parts alternate in memory.
    let mut program = program();
    let [input, _, output] = &program.values[..] else { unreachable!("three values") };
    let part = |name: &str| {
        with!(ValueT, name = name.to_owned(), kind = ValueKind::Temp, shape = input.shape.clone())
    };
    let whole = vec![Dim::new(2, -1).unpack(), Dim::new(6, -1).unpack()];
    let whole = with!(ValueT, name = output.name.clone(), kind = ValueKind::Output, shape = Some(whole));
    program.values = vec![input.clone(), part("a"), part("b"), whole];
    let op = |name: &str, kind, out| with!(OpT, name = name.to_owned(), kind = kind, outputs = vec![out]);
    let act = Some(Act::new(Activation::Relu, 0.0, 0.0).unpack());
    let relu = with!(UnaryT, src = 0, kind = UnaryKind::Activation, act = act);
    let twice = with!(UnaryT, src = 1, kind = UnaryKind::MulScalar, a = 2.0);
    let concat = with!(ConcatT, src = vec![1, 2], dim = 1);
    program.ops = vec![
        op("relu", OpKindT::Unary(Box::new(relu)), 1),
        op("twice", OpKindT::Unary(Box::new(twice)), 2),
        op("concat", OpKindT::Concat(Box::new(concat)), 3),
    ];
    program.outputs = vec![3];
    let host = host();
    let method = host.load(&tandem_schemas::write_program(&program), &[]).unwrap();
    let (mut x, mut y) = ([-1.0f32, 2.0, 3.0, 4.0, -5.0, 6.0], [0.0f32; 12]);
    let wide = [2usize, 6];
    let (inputs, outputs) = ([tensor(&mut x)], [abi::Tensor { sizes: wide.as_ptr(), ..tensor(&mut y) }]);
    execute(method, &call(&inputs, &outputs)).unwrap();
    assert_eq!(y, [0.0, 2.0, 3.0, 0.0, 4.0, 6.0, 4.0, 0.0, 6.0, 8.0, 0.0, 12.0]);
    // SAFETY: the method is alive and idle.
    unsafe { tandem_destroy(method) }
}

unsafe extern "C" fn cancel_after(ctx: *mut c_void, _step: usize, _start_ns: u64, _end_ns: u64) {
    // SAFETY: `ctx` is the method that is executing.
    assert_eq!(unsafe { tandem_cancel(ctx.cast()) }, Status::Ok);
}

#[test]
fn a_cancelled_execution_ends_before_its_next_step() {
    // z = softmax(y), a second step.
    let mut program = program();
    let mut after = program.values[2].clone();
    after.name = "z".to_owned();
    program.values.push(after);
    let softmax = OpKindT::Softmax(Box::new(with!(SoftmaxT, src = 2, dim = 1)));
    program.ops.push(with!(OpT, name = "softmax".to_owned(), kind = softmax, outputs = vec![3]));
    program.outputs.push(3);
    let host = host();
    let method = host.load(&tandem_schemas::write_program(&program), &[]).unwrap();
    let [mut x, mut y, mut z] = [[1.0f32; 6], [0.0; 6], [0.0; 6]];
    let (inputs, outputs) = ([tensor(&mut x)], [tensor(&mut y), tensor(&mut z)]);
    let traced = abi::Call { step: Some(cancel_after), step_ctx: method.cast(), ..call(&inputs, &outputs) };
    let (status, message) = execute(method, &traced).unwrap_err();
    assert_eq!(status, Status::Cancelled);
    assert_eq!(message, "execute: cancelled before softmax");
    // Nothing runs: the next call is not touched.
    // SAFETY: the method is alive.
    assert_eq!(unsafe { tandem_cancel(method) }, Status::Ok);
    execute(method, &call(&inputs, &outputs)).unwrap();
    assert!(y[5] == 6.0 && (z[3] + z[4] + z[5] - 1.0).abs() < 1e-6, "{y:?} {z:?}");
    // SAFETY: the method is alive and idle.
    unsafe { tandem_destroy(method) }
}

struct Again {
    method: *mut Method,
    call: abi::Call,
    seen: Vec<(usize, Status)>,
}

unsafe extern "C" fn execute_again(ctx: *mut c_void, step: usize, start_ns: u64, end_ns: u64) {
    assert!(start_ns <= end_ns);
    // SAFETY: `ctx` is an `Again` that nobody else uses meanwhile.
    unsafe {
        let again = &mut *ctx.cast::<Again>();
        let status = tandem_execute(again.method, &raw const again.call);
        again.seen.push((step, status));
    }
}

#[test]
fn a_second_execution_meanwhile_is_refused() {
    let host = host();
    let method = host.load(&blob(), &[]).unwrap();
    let (mut x, mut y, mut z) = ([1.0f32; 6], [0.0f32; 6], [0.0f32; 6]);
    let (inputs, outputs, others) = ([tensor(&mut x)], [tensor(&mut y)], [tensor(&mut z)]);
    let mut again = Again { method, call: call(&inputs, &others), seen: vec![] };
    let ctx = (&raw mut again).cast();
    let traced = abi::Call { step: Some(execute_again), step_ctx: ctx, ..call(&inputs, &outputs) };
    execute(method, &traced).unwrap();
    assert!(!again.seen.is_empty() && again.seen.iter().all(|(_, status)| *status == Status::Busy));
    assert_eq!((y[5], z[5]), (6.0, 0.0));
    // SAFETY: the method is alive and idle.
    unsafe { tandem_destroy(method) }
}

#[test]
fn what_cannot_be_loaded_has_its_status() {
    let host = host();
    let good = blob();
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        bytes
    };
    let cases = [
        (vec![], Status::InvalidProgram),
        (good[..good.len() - 1].to_vec(), Status::InvalidProgram),
        (changed(0, b'X'), Status::IncompatibleBlob),
        (changed(9, 9), Status::IncompatibleBlob),
        (changed(good.len() - 3, 0x55), Status::InvalidProgram),
    ];
    for (bytes, status) in cases {
        let (got, message) = host.load(&bytes, &[]).unwrap_err();
        assert_eq!(got, status, "{message}");
        assert!(!message.is_empty());
    }
    let (status, message) = host.load(&good, &[("isa", "sse9")]).unwrap_err();
    assert!(status == Status::InvalidArgument && message.contains("sse9"), "{message}");
    assert_eq!(host.load(&good, &[("colour", "red")]).unwrap_err().0, Status::InvalidArgument);
    let (status, message) = Host::default().load(&good, &[]).unwrap_err();
    assert!(status == Status::MissingConstant && message.contains('c'), "{message}");
    let mut short = program();
    short.entries[0].length = 4096;
    let (status, _) = host.load(&tandem_schemas::write_program(&short), &[]).unwrap_err();
    assert_eq!(status, Status::MissingConstant);
    let nothing = ptr::null_mut();
    // SAFETY: null arguments are to be refused.
    unsafe {
        assert_eq!(
            tandem_load(ptr::null(), 9, &host.constants(), ptr::null(), 0, nothing),
            Status::InvalidArgument
        );
        assert_eq!(
            tandem_load(good.as_ptr().cast(), good.len(), ptr::null(), ptr::null(), 0, nothing),
            Status::InvalidArgument
        );
    }
}
