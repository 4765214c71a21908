//! Any bytes as a subgraph: an error or a program, never a crash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tandem_compiler::{ConstantSource, Options, lower};
use tandem_schemas::header::{self, BlobKind};

struct Zeros(Vec<u8>);

impl ConstantSource for Zeros {
    fn bytes(&self, _key: &str) -> Option<&[u8]> {
        Some(&self.0)
    }
}

fuzz_target!(|payload: &[u8]| {
    let blob = header::wrap(BlobKind::Subgraph, payload);
    let _ = lower(&blob, &Zeros(vec![0; 1 << 16]), &Options::default());
});
