//! C ABI of the engine, as `include/tandem.h` documents it: convert, check, call, map. Decisions are the engine's.

pub mod abi;
mod describe;
mod method;
mod status;
mod tensors;

use std::ffi::{c_char, c_void};

pub use method::Method;
pub use status::{Failure as Error, Status};
use status::{Failure, fence};
pub use tensors::MAX_RANK;

/// See `tandem.h`.
///
/// # Safety
/// `blob` has `blob_len` readable bytes, `constants` keeps the promises of `tandem_constants`, `options` has
/// `num_options` elements, `method` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_load(
    blob: *const c_void,
    blob_len: usize,
    constants: *const abi::Constants,
    options: *const abi::LoadOption,
    num_options: usize,
    method: *mut *mut Method,
) -> Status {
    fence(|| {
        // SAFETY: by contract.
        let loaded = unsafe { Method::load((blob, blob_len), constants, (options, num_options)) }?;
        // SAFETY: null or writable, by contract.
        let place = unsafe { method.as_mut() }.ok_or_else(|| Failure::argument("method is null"))?;
        *place = Box::into_raw(Box::new(loaded));
        Ok(())
    })
}

/// See `tandem.h`.
///
/// # Safety
/// `method` is null or came from [`tandem_load`], is not executing, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_destroy(method: *mut Method) {
    fence(|| {
        if !method.is_null() {
            // SAFETY: by contract.
            drop(unsafe { Box::from_raw(method) });
        }
        Ok(())
    });
}

/// See `tandem.h`.
///
/// # Safety
/// `method` came from [`tandem_load`]; `call` and the tensors it names are as `tandem_call` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_execute(method: *mut Method, call: *const abi::Call) -> Status {
    fence(|| {
        // SAFETY: null or valid, by contract.
        let (method, call) = unsafe { (of(method)?, call.as_ref()) };
        let call = call.ok_or_else(|| Failure::argument("call is null"))?;
        // SAFETY: by contract.
        unsafe { method.execute(call) }
    })
}

/// See `tandem.h`.
///
/// # Safety
/// `method` came from [`tandem_load`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_cancel(method: *const Method) -> Status {
    fence(|| {
        // SAFETY: null or valid, by contract.
        unsafe { of(method) }?.cancel();
        Ok(())
    })
}

/// See `tandem.h`.
///
/// # Safety
/// `method` came from [`tandem_load`]; `inputs` has `num_inputs` tensors as `tandem_call` says; `sizes` has room for
/// `TANDEM_MAX_RANK` numbers for each of `num_outputs`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_output_sizes(
    method: *mut Method,
    inputs: *const abi::Tensor,
    num_inputs: usize,
    sizes: *mut usize,
    num_outputs: usize,
) -> Status {
    fence(|| {
        // SAFETY: null or valid, by contract.
        let (method, sizes) = unsafe { (of(method)?, tensors::sizes_of(sizes, num_outputs)?) };
        // SAFETY: by contract.
        unsafe { method.output_sizes((inputs, num_inputs), sizes) }
    })
}

/// See `tandem.h`.
///
/// # Safety
/// `method` came from [`tandem_load`]; `symbol` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_get_symbol(
    method: *const Method,
    index: usize,
    symbol: *mut abi::Symbol,
) -> Status {
    // SAFETY: by contract.
    fence(|| unsafe { put("symbol", symbol, of(method)?.describe(|d| d.symbol(index))?, index) })
}

/// See `tandem.h`.
///
/// # Safety
/// `method` came from [`tandem_load`]; `report` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_get_report(method: *const Method, report: *mut abi::Report) -> Status {
    // SAFETY: by contract.
    fence(|| unsafe { put("report", report, of(method)?.describe(|d| Some(d.report()))?, 0) })
}

/// See `tandem.h`.
///
/// # Safety
/// `method` came from [`tandem_load`]; `step` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_get_step(
    method: *const Method,
    index: usize,
    step: *mut abi::Step,
) -> Status {
    // SAFETY: by contract.
    fence(|| unsafe { put("step", step, of(method)?.describe(|d| d.step(index))?, index) })
}

/// See `tandem.h`.
///
/// # Safety
/// `method` came from [`tandem_load`]; `part` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_get_part(
    method: *const Method,
    step: usize,
    index: usize,
    part: *mut abi::Part,
) -> Status {
    // SAFETY: by contract.
    fence(|| unsafe { put("part", part, of(method)?.describe(|d| d.part(step, index))?, index) })
}

/// See `tandem.h`.
///
/// # Safety
/// `method` came from [`tandem_load`]; `seen` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_get_seen(method: *const Method, step: usize, seen: *mut abi::Seen) -> Status {
    // SAFETY: by contract.
    fence(|| unsafe { put("step", seen, of(method)?.seen(step)?, step) })
}

/// See `tandem.h`.
///
/// # Safety
/// `method` came from [`tandem_load`]; `value` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_get_value(
    method: *const Method,
    index: usize,
    value: *mut abi::Value,
) -> Status {
    // SAFETY: by contract.
    fence(|| unsafe { put("value", value, of(method)?.describe(|d| d.value(index))?, index) })
}

/// See `tandem.h`.
///
/// # Safety
/// `method` came from [`tandem_load`]; `spec` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_get_input(
    method: *const Method,
    index: usize,
    spec: *mut abi::TensorSpec,
) -> Status {
    // SAFETY: by contract.
    fence(|| unsafe { put("input", spec, of(method)?.describe(|d| d.input(index))?, index) })
}

/// See `tandem.h`.
///
/// # Safety
/// `method` came from [`tandem_load`]; `spec` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_get_output(
    method: *const Method,
    index: usize,
    spec: *mut abi::TensorSpec,
) -> Status {
    // SAFETY: by contract.
    fence(|| unsafe { put("output", spec, of(method)?.describe(|d| d.output(index))?, index) })
}

/// See `tandem.h`.
#[unsafe(no_mangle)]
pub extern "C" fn tandem_last_error() -> *const c_char {
    status::last_error()
}

/// See `tandem.h`.
#[unsafe(no_mangle)]
pub extern "C" fn tandem_abi_version() -> u32 {
    abi::ABI_VERSION
}

/// See `tandem.h`.
#[unsafe(no_mangle)]
pub extern "C" fn tandem_version() -> *const c_char {
    method::version().as_ptr()
}

/// # Safety
/// `method` is null or came from [`tandem_load`] and lives for `'a`.
unsafe fn of<'a>(method: *const Method) -> Result<&'a Method, Failure> {
    // SAFETY: by contract.
    unsafe { method.as_ref() }.ok_or_else(|| Failure::argument("method is null"))
}

/// # Safety
/// `place` is null or can be written.
unsafe fn put<T>(what: &str, place: *mut T, value: Option<T>, index: usize) -> Result<(), Failure> {
    let value = value.ok_or_else(|| Failure::argument(format!("there is no {what} {index}")))?;
    // SAFETY: by contract.
    *unsafe { place.as_mut() }.ok_or_else(|| Failure::argument(format!("the place for {what} is null")))? =
        value;
    Ok(())
}
