//! Any bytes as a program: an error or a method that runs, never a crash.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tandem_fuzz::program(data);
});
