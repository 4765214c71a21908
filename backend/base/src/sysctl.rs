//! What Apple's systems say by name.

use std::ffi::CStr;

/// A number of 4 or 8 bytes.
pub fn number(name: &CStr) -> Option<u64> {
    let mut value = [0u8; 8];
    read(name, &mut value)?;
    Some(u64::from_le_bytes(value))
}

/// A text.
pub fn text(name: &CStr) -> Option<String> {
    let mut value = [0u8; 256];
    let length = read(name, &mut value)?;
    Some(String::from_utf8_lossy(&value[..length]).trim_end_matches('\0').to_owned())
}

/// Fills `value` and returns the length; none where the name is unknown or the value longer.
fn read(name: &CStr, value: &mut [u8]) -> Option<usize> {
    let mut length = value.len();
    // SAFETY: writes at most `length` bytes to `value`.
    let error = unsafe {
        libc::sysctlbyname(name.as_ptr(), value.as_mut_ptr().cast(), &raw mut length, std::ptr::null_mut(), 0)
    };
    (error == 0).then_some(length)
}
