//! A loaded program as C sees it.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, TryLockError};

use tandem_engine as engine;

use crate::abi;
use crate::describe::Described;
use crate::status::{Failure, Status, c_string};
use crate::tensors;

/// `tandem_method`: the engine's method behind a lock that is only ever tried, and what its report says.
pub struct Method {
    dynamic: bool,
    described: Mutex<Described>,
    canceller: engine::Canceller,
    running: Mutex<Running>,
}

struct Running {
    method: engine::Method,
    inputs: Vec<engine::Input<'static>>,
    outputs: Vec<engine::Output<'static>>,
}

/// The host's constants, each asked for once, given back when dropped.
struct HostConstants {
    host: abi::Constants,
    known: RwLock<BTreeMap<String, Bytes>>,
}

/// The host's bytes of one key.
#[derive(Clone, Copy)]
struct Bytes {
    data: *const u8,
    len: usize,
}

// SAFETY: the header obliges the host to give bytes that any thread may read and to take `release` on any thread;
// `get_data` is called within `tandem_load` only, since the engine asks for every key there first.
unsafe impl Send for HostConstants {}
// SAFETY: as above, and `known` is behind its lock.
unsafe impl Sync for HostConstants {}

impl Drop for HostConstants {
    fn drop(&mut self) {
        if let Some(release) = self.host.release {
            // SAFETY: the host's function with the host's context, once, as the header says.
            unsafe { release(self.host.ctx) }
        }
    }
}

/// Alignment the kernels rely on.
const CONSTANT_ALIGNMENT: usize = 16;

impl HostConstants {
    fn ask(&self, key: &str) -> Result<Bytes, String> {
        let get = self.host.get_data.ok_or("the host has no constants")?;
        let (mut data, mut len) = (ptr::null(), 0);
        let name = CString::new(key).map_err(|_| format!("key {key:?} has a zero byte"))?;
        // SAFETY: the host's function with the host's context and places to write to.
        let status = unsafe { get(self.host.ctx, name.as_ptr(), &raw mut data, &raw mut len) };
        if status != Status::Ok as i32 {
            return Err(format!("the host answers {status}"));
        }
        let data: *const u8 = data.cast();
        let bad = data.is_null() || data.align_offset(CONSTANT_ALIGNMENT) != 0 || len > isize::MAX as usize;
        if bad && len > 0 {
            return Err(format!(
                "the host gives {len} bytes at {data:p}, not {CONSTANT_ALIGNMENT}-byte aligned"
            ));
        }
        Ok(Bytes { data, len })
    }
}

impl engine::Constants for HostConstants {
    fn entry(&self, key: &str) -> Result<&[u8], String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(key).copied();
        let bytes = match known {
            Some(bytes) => bytes,
            None => {
                let bytes = self.ask(key)?;
                self.known.write().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), bytes);
                bytes
            }
        };
        if bytes.len == 0 {
            return Ok(&[]);
        }
        // SAFETY: the host promises these bytes until `release`, which runs when `self` is dropped.
        Ok(unsafe { slice::from_raw_parts(bytes.data, bytes.len) })
    }
}

impl Method {
    /// Loads a program.
    ///
    /// # Safety
    /// What `tandem_load` asks of its caller.
    pub(crate) unsafe fn load(
        blob: (*const c_void, usize),
        constants: *const abi::Constants,
        options: (*const abi::LoadOption, usize),
    ) -> Result<Self, Failure> {
        // SAFETY: null or readable, by contract.
        let constants =
            unsafe { constants.as_ref() }.ok_or_else(|| Failure::argument("constants is null"))?;
        let constants = HostConstants { host: *constants, known: RwLock::default() };
        // SAFETY: null or `len` readable bytes, by contract.
        let blob = unsafe { tensors::slice_of("blob", blob.0.cast::<u8>(), blob.1) }?;
        // SAFETY: null or an array of options, by contract.
        let options = unsafe { parse_options(options.0, options.1) }?;
        let method = engine::Method::load(blob, Box::new(constants), &options)?;
        let (dynamic, described) = (method.is_dynamic(), Mutex::new(Described::new(&method)));
        Ok(Self {
            dynamic,
            described,
            canceller: method.canceller(),
            running: Mutex::new(Running { method, inputs: vec![], outputs: vec![] }),
        })
    }

    /// Lets a running execute end early.
    pub(crate) fn cancel(&self) {
        self.canceller.cancel();
    }

    fn running(&self) -> Result<MutexGuard<'_, Running>, Failure> {
        match self.running.try_lock() {
            Ok(running) => Ok(running),
            Err(TryLockError::Poisoned(poisoned)) => Ok(PoisonError::into_inner(poisoned)),
            Err(TryLockError::WouldBlock) => {
                let message = "the method is executing on another thread".to_owned();
                Err(Failure { status: Status::Busy, message })
            }
        }
    }

    /// Asks about the present plan, which only changes where sizes are symbolic.
    pub(crate) fn describe<T>(&self, ask: impl FnOnce(&Described) -> T) -> Result<T, Failure> {
        let mut described = self.described.lock().unwrap_or_else(PoisonError::into_inner);
        if self.dynamic {
            let running = self.running()?;
            if running.method.plan_number() != described.plan() {
                *described = Described::new(&running.method);
            }
        }
        Ok(ask(&described))
    }

    /// What was seen of a step of the present plan; `None` where there is no such step.
    pub(crate) fn seen(&self, step: usize) -> Result<Option<abi::Seen>, Failure> {
        let running = self.running()?;
        let there = step < running.method.report().steps.len();
        Ok(there.then(|| running.method.seen(step).map_or_else(abi::Seen::default, abi::Seen::from)))
    }

    /// Plans for inputs and writes the sizes of the outputs.
    ///
    /// # Safety
    /// What `tandem_output_sizes` asks of its caller.
    pub(crate) unsafe fn output_sizes(
        &self,
        inputs: (*const abi::Tensor, usize),
        sizes: &mut [[usize; tensors::MAX_RANK]],
    ) -> Result<(), Failure> {
        let mut running = self.running()?;
        let mut given = tensors::recycled(std::mem::take(&mut running.inputs));
        // SAFETY: an array of tensors whose memory is readable, by contract.
        unsafe { tensors::read_inputs(inputs.0, inputs.1, &mut given) }?;
        let outputs = running.method.prepare(&given)?;
        if outputs.len() != sizes.len() {
            let what = format!("{} outputs, the program has {}", sizes.len(), outputs.len());
            return Err(Failure::argument(what));
        }
        for (to, output) in sizes.iter_mut().zip(outputs) {
            to[..output.sizes.len()].copy_from_slice(&output.sizes);
        }
        running.inputs = tensors::recycled(given);
        Ok(())
    }

    /// Runs the program once.
    ///
    /// # Safety
    /// What `tandem_execute` asks of its caller.
    pub(crate) unsafe fn execute(&self, call: &abi::Call) -> Result<(), Failure> {
        let mut running = self.running()?;
        let running = &mut *running;
        let mut inputs = tensors::recycled(std::mem::take(&mut running.inputs));
        let mut outputs = tensors::recycled_outputs(std::mem::take(&mut running.outputs));
        // SAFETY: arrays of tensors whose memory is readable, and writable for outputs, by contract.
        unsafe {
            tensors::read_inputs(call.inputs, call.num_inputs, &mut inputs)?;
            tensors::read_outputs(call.outputs, call.num_outputs, &mut outputs)?;
        }
        tensors::check_disjoint(&inputs, &outputs)?;
        let mut host = HostTracer { step: call.step, entry: call.entry, ctx: call.step_ctx };
        let traced = call.step.is_some() || call.entry.is_some();
        let tracer = traced.then_some(&mut host as &mut dyn engine::Tracer);
        running.method.execute(&inputs, &mut outputs, call.threads.max(1), tracer)?;
        running.inputs = tensors::recycled(inputs);
        running.outputs = tensors::recycled_outputs(outputs);
        Ok(())
    }
}

struct HostTracer {
    step: Option<abi::StepFn>,
    entry: Option<abi::EntryFn>,
    ctx: *mut c_void,
}

impl engine::Tracer for HostTracer {
    fn entry(&mut self, index: usize, entry: engine::Entry) {
        if let Some(tell) = self.entry {
            // SAFETY: the host's function with the host's context, on the thread that called `tandem_execute`.
            unsafe { tell(self.ctx, index, entry.thread, entry.start_ns, entry.end_ns) }
        }
    }

    fn step(&mut self, index: usize, start_ns: u64, end_ns: u64) {
        if let Some(step) = self.step {
            // SAFETY: the host's function with the host's context, on the thread that called `tandem_execute`.
            unsafe { step(self.ctx, index, start_ns, end_ns) }
        }
    }
}

/// # Safety
/// `options` is null or an array of `len` options whose strings end with a zero byte.
unsafe fn parse_options(options: *const abi::LoadOption, len: usize) -> Result<engine::LoadOptions, Failure> {
    let mut parsed = engine::LoadOptions::from_environment()?;
    // SAFETY: by contract.
    for option in unsafe { tensors::slice_of("options", options, len) }? {
        // SAFETY: by contract.
        let (key, value) = unsafe { (text("option key", option.key)?, text("option value", option.value)?) };
        parsed.parse(key, value)?;
    }
    Ok(parsed)
}

/// # Safety
/// `text` is null or ends with a zero byte.
unsafe fn text<'a>(what: &str, text: *const c_char) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Failure::argument(format!("{what} is null")));
    }
    // SAFETY: by contract.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Failure::argument(format!("{what} {text:?} is not UTF-8")))
}

pub(crate) fn version() -> &'static CStr {
    static VERSION: std::sync::OnceLock<CString> = std::sync::OnceLock::new();
    VERSION.get_or_init(|| c_string(env!("CARGO_PKG_VERSION")))
}
