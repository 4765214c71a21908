//! Any bytes as a subgraph: an error or a program that loads and runs, never a crash.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tandem_fuzz::subgraph(data);
});
