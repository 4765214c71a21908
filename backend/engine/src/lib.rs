//! On the device: Program → layout → plan → run → profile.
#![forbid(unsafe_code)]
