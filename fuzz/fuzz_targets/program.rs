//! Any bytes as a program: an error or a method, never a crash. The header is put on here, so that the fuzzer's
//! changes reach what lies behind the checksum.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem_engine::{Constants, LoadOptions, Method};
use tandem_schemas::header::{self, BlobKind};

struct Zeros(Vec<u8>);

impl Constants for Zeros {
    fn entry(&self, _key: &str) -> Result<&[u8], String> {
        Ok(&self.0)
    }
}

fuzz_target!(|payload: &[u8]| {
    let blob = header::wrap(BlobKind::Program, payload);
    let _ = Method::load(&blob, Box::new(Zeros(vec![0; 1 << 16])), &LoadOptions::default());
});
