//! Statuses, the thread's last message, and the fence no panic passes.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tandem_engine::ErrorKind;

/// `tandem_status`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// `TANDEM_OK`
    Ok = 0,
    /// `TANDEM_INVALID_ARGUMENT`
    InvalidArgument = 1,
    /// `TANDEM_INCOMPATIBLE_BLOB`
    IncompatibleBlob = 2,
    /// `TANDEM_INVALID_PROGRAM`
    InvalidProgram = 3,
    /// `TANDEM_NOT_SUPPORTED`
    NotSupported = 4,
    /// `TANDEM_MISSING_CONSTANT`
    MissingConstant = 5,
    /// `TANDEM_BUSY`
    Busy = 6,
    /// `TANDEM_INTERNAL`
    Internal = 7,
    /// `TANDEM_CANCELLED`
    Cancelled = 8,
}

/// A status other than `Ok` and its message.
#[derive(Debug)]
pub struct Failure {
    pub(crate) status: Status,
    pub(crate) message: String,
}

impl Failure {
    /// An argument of the C call that does not fit.
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self { status: Status::InvalidArgument, message: message.into() }
    }
}

impl From<tandem_engine::Error> for Failure {
    fn from(error: tandem_engine::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::InvalidArgument => Status::InvalidArgument,
            ErrorKind::IncompatibleBlob => Status::IncompatibleBlob,
            ErrorKind::InvalidProgram => Status::InvalidProgram,
            ErrorKind::NotSupported => Status::NotSupported,
            ErrorKind::MissingConstant => Status::MissingConstant,
            ErrorKind::Cancelled => Status::Cancelled,
            ErrorKind::Internal => Status::Internal,
        };
        Self { status, message: error.to_string() }
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Runs the body of a C function: an error or a panic becomes its status, with the message kept for
/// [`last_error`].
pub(crate) fn fence(body: impl FnOnce() -> Result<(), Failure>) -> Status {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return Status::Ok,
        Ok(Err(failure)) => failure,
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Failure { status: Status::Internal, message: format!("internal error: {text}") }
        }
    };
    let message = c_string(&failure.message);
    LAST.with(|last| last.replace(message));
    failure.status
}

/// The message of this thread's last failure, valid until its next one.
pub(crate) fn last_error() -> *const c_char {
    LAST.with(|last| CStr::as_ptr(&last.borrow()))
}

/// A C string of any text; zero bytes inside are left out.
pub(crate) fn c_string(text: &str) -> CString {
    let bytes: Vec<u8> = text.bytes().filter(|byte| *byte != 0).collect();
    CString::new(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> String {
        // SAFETY: `last_error` gives a C string that lives until this thread's next failure.
        unsafe { CStr::from_ptr(last_error()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn failures_and_panics_leave_their_message() {
        assert_eq!(fence(|| Ok(())), Status::Ok);
        assert_eq!(message(), "");
        assert_eq!(fence(|| Err(Failure::argument("x is 3\0"))), Status::InvalidArgument);
        assert_eq!(message(), "x is 3");
        assert_eq!(fence(|| panic!("step {}", 7)), Status::Internal);
        assert_eq!(message(), "internal error: step 7");
        assert_eq!(std::thread::spawn(message).join().unwrap(), "");
    }
}
