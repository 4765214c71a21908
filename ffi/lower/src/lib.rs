//! C ABI of the compiler, as `include/tandem_lower.h` documents it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use tandem_compiler::{LowerError, Lowered, Options, check, dump, lower};

/// Version of the header.
pub const ABI_VERSION: u32 = 2;

const OK: i32 = 0;
const INVALID_ARGUMENT: i32 = 1;
const INVALID_SUBGRAPH: i32 = 2;
const INTERNAL: i32 = 3;

/// A constant of the subgraph.
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct tandem_constant {
    key: *const c_char,
    data: *const c_void,
    length: u64,
}

/// A result, opaque to C.
#[allow(non_camel_case_types)]
pub struct tandem_lowered {
    lowered: Lowered,
    keys: Vec<CString>,
    dump: CString,
}

type Failure = (i32, String);

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// A C string of a Rust one, up to its first zero byte.
fn c_string(text: &str) -> CString {
    let text = text.split('\0').next().unwrap_or_default();
    CString::new(text).unwrap_or_default()
}

/// Runs a call; a failure or panic becomes a status and a message.
fn guard(call: impl FnOnce() -> Result<(), Failure>) -> i32 {
    let result = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or(panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
        Err((INTERNAL, format!("lower: internal error: {message}")))
    });
    let (status, message) = result.err().unwrap_or((OK, String::new()));
    LAST_ERROR.with_borrow_mut(|last| *last = c_string(&message));
    status
}

fn invalid(message: impl Into<String>) -> Failure {
    (INVALID_ARGUMENT, format!("lower: {}", message.into()))
}

/// # Safety
/// `data` is null or points to `length` bytes that live for `'a`.
unsafe fn bytes<'a>(what: &str, data: *const c_void, length: u64) -> Result<&'a [u8], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(invalid(format!("{what} is null and {length} bytes long")));
    }
    let length = usize::try_from(length).ok().filter(|&l| isize::try_from(l).is_ok());
    let length = length.ok_or_else(|| invalid(format!("{what} is longer than memory")))?;
    // SAFETY: not null, and the caller vouches for the length, which an allocation can have.
    Ok(unsafe { std::slice::from_raw_parts(data.cast(), length) })
}

/// # Safety
/// `text` is null or a zero-terminated string that lives for `'a`.
unsafe fn string<'a>(what: &str, text: *const c_char) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(invalid(format!("{what} is null")));
    }
    // SAFETY: not null, and the caller vouches for the terminator.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| invalid(format!("{what} is not UTF-8")))
}

/// Version of the ABI the library has.
#[unsafe(no_mangle)]
pub extern "C" fn tandem_lower_abi_version() -> u32 {
    ABI_VERSION
}

/// Lowers a subgraph; see the header.
///
/// # Safety
/// As the header says: lengths and counts are true, strings end with a zero byte, `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_lower(
    subgraph: *const c_void,
    length: u64,
    constants: *const tandem_constant,
    count: u64,
    options: *const c_char,
    out: *mut *mut tandem_lowered,
) -> i32 {
    guard(|| {
        if out.is_null() {
            return Err(invalid("out is null"));
        }
        // SAFETY: not null; the caller lets us write it.
        unsafe { out.write(ptr::null_mut()) };
        if subgraph.is_null() {
            return Err(invalid("subgraph is null"));
        }
        // SAFETY: the caller vouches for the length.
        let blob = unsafe { bytes("subgraph", subgraph, length)? };
        // SAFETY: the caller vouches for count, keys and lengths.
        let constants = unsafe { table(constants, count)? };
        let options = if options.is_null() {
            Options::default()
        } else {
            // SAFETY: not null; the caller vouches for the terminator.
            Options::parse(unsafe { string("options", options)? }).map_err(failure)?
        };
        let lowered = lower(blob, &constants, &options).map_err(failure)?;
        let keys = lowered.entries.iter().map(|e| c_string(&e.key)).collect();
        let dump = c_string(&dump(&lowered).map_err(failure)?);
        // SAFETY: as above.
        unsafe { out.write(Box::into_raw(Box::new(tandem_lowered { lowered, keys, dump }))) };
        Ok(())
    })
}

/// Whether every node of a subgraph is taken; see the header.
///
/// # Safety
/// As the header says: lengths and counts are true, strings end with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_lower_check(
    subgraph: *const c_void,
    length: u64,
    constants: *const tandem_constant,
    count: u64,
) -> i32 {
    guard(|| {
        if subgraph.is_null() {
            return Err(invalid("subgraph is null"));
        }
        // SAFETY: the caller vouches for the length.
        let blob = unsafe { bytes("subgraph", subgraph, length)? };
        // SAFETY: the caller vouches for count, keys and lengths.
        let constants = unsafe { table(constants, count)? };
        check(blob, &constants).map_err(failure)
    })
}

fn failure(error: LowerError) -> Failure {
    let status = if matches!(error, LowerError::Options(_)) { INVALID_ARGUMENT } else { INVALID_SUBGRAPH };
    (status, error.to_string())
}

/// # Safety
/// `constants` is null or points to `count` constants, whose keys and bytes live for `'a`.
unsafe fn table<'a>(
    constants: *const tandem_constant,
    count: u64,
) -> Result<HashMap<String, &'a [u8]>, Failure> {
    if count == 0 {
        return Ok(HashMap::new());
    }
    if constants.is_null() || !constants.is_aligned() {
        return Err(invalid(format!("constants {constants:?} of which there are {count}")));
    }
    let count = usize::try_from(count).ok();
    let fits = count
        .filter(|c| c.checked_mul(size_of::<tandem_constant>()).is_some_and(|b| isize::try_from(b).is_ok()));
    let count = fits.ok_or_else(|| invalid("more constants than memory"))?;
    // SAFETY: not null, aligned, and the caller vouches for the count.
    let constants = unsafe { std::slice::from_raw_parts(constants, count) };
    let mut map = HashMap::with_capacity(count);
    for (i, constant) in constants.iter().enumerate() {
        // SAFETY: the caller vouches for the key.
        let key = unsafe { string(&format!("key of constant {i}"), constant.key)? };
        // SAFETY: the caller vouches for the length.
        let data = unsafe { bytes(&format!("constant {key:?}"), constant.data, constant.length)? };
        if map.insert(key.to_owned(), data).is_some() {
            return Err(invalid(format!("constant {key:?} is given twice")));
        }
    }
    Ok(map)
}

/// The program's bytes; see the header.
///
/// # Safety
/// `lowered` is null or came from [`tandem_lower`] and was not freed; `length` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_lowered_program(
    lowered: *const tandem_lowered,
    length: *mut u64,
) -> *const c_void {
    // SAFETY: null or valid, as the caller vouches.
    let program = unsafe { lowered.as_ref() }.map_or(&[][..], |l| &l.lowered.program);
    if !length.is_null() {
        // SAFETY: not null; the caller lets us write it.
        unsafe { length.write(program.len() as u64) };
    }
    if lowered.is_null() { ptr::null() } else { program.as_ptr().cast() }
}

/// Number of packed constants.
///
/// # Safety
/// `lowered` is null or came from [`tandem_lower`] and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_lowered_entry_count(lowered: *const tandem_lowered) -> u64 {
    // SAFETY: null or valid, as the caller vouches.
    unsafe { lowered.as_ref() }.map_or(0, |l| l.lowered.entries.len() as u64)
}

/// Key and bytes of one packed constant.
///
/// # Safety
/// `lowered` is null or came from [`tandem_lower`] and was not freed; the other pointers are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_lowered_entry(
    lowered: *const tandem_lowered,
    index: u64,
    key: *mut *const c_char,
    data: *mut *const c_void,
    length: *mut u64,
) -> i32 {
    guard(|| {
        // SAFETY: null or valid, as the caller vouches.
        let lowered = unsafe { lowered.as_ref() }.ok_or_else(|| invalid("lowered is null"))?;
        if key.is_null() || data.is_null() || length.is_null() {
            return Err(invalid("key, data or length is null"));
        }
        let entries = &lowered.lowered.entries;
        let at = usize::try_from(index).ok().filter(|&i| i < entries.len());
        let at = at.ok_or_else(|| invalid(format!("entry {index} of {}", entries.len())))?;
        // SAFETY: none is null; the caller lets us write them.
        unsafe {
            key.write(lowered.keys[at].as_ptr());
            data.write(entries[at].bytes.as_ptr().cast());
            length.write(entries[at].bytes.len() as u64);
        }
        Ok(())
    })
}

/// The program as text.
///
/// # Safety
/// `lowered` is null or came from [`tandem_lower`] and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_lower_dump(lowered: *const tandem_lowered) -> *const c_char {
    // SAFETY: null or valid, as the caller vouches.
    unsafe { lowered.as_ref() }.map_or(ptr::null(), |l| l.dump.as_ptr())
}

/// Frees a result.
///
/// # Safety
/// `lowered` is null or came from [`tandem_lower`] and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tandem_lowered_free(lowered: *mut tandem_lowered) {
    if !lowered.is_null() {
        // SAFETY: it came from `Box::into_raw`, once.
        drop(unsafe { Box::from_raw(lowered) });
    }
}

/// Message of this thread's last failed call.
#[unsafe(no_mangle)]
pub extern "C" fn tandem_lower_last_error() -> *const c_char {
    LAST_ERROR.with_borrow(|last| last.as_ptr())
}
