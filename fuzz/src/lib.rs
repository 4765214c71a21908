//! What the fuzz targets do with one input.
//!
//! An input is a whole blob. Its length and checksum are corrected here, so that a change reaches what lies behind the
//! header; the header's reserved bytes, which no reader looks at, say what the host does with it ([`Host`]).

use std::collections::HashMap;

use tandem_base::{AlignedBuf, Isa};
use tandem_compiler::{Options, dump, lower};
use tandem_engine::{Constants, DType, ErrorKind, Input, LoadOptions, Method, Output, TensorSpec};
use tandem_schemas::header::{HEADER_LEN, checksum};
use tandem_schemas::subgraph::SubgraphT;
use tandem_schemas::{read_program, read_subgraph};

/// Most bytes of constants in all; the host lacks those beyond.
const MOST_CONSTANTS: usize = 1 << 20;
/// Methods that want more memory than this are loaded and not run.
const MOST_MEMORY: usize = 4 << 20;
/// Methods predicted to take longer than this, or to compute more, are loaded and not run: instrumented code is many
/// times slower.
const LONGEST_NS: f64 = 200e3;
const MOST_FLOPS: f64 = 2e6;
/// A program whose values have no more elements than this is within all limits of the engine.
const MODEST: i64 = 1 << 20;

/// How far an input got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// Refused, or too short to have a header.
    Nothing,
    /// Lowered; of subgraphs.
    Lowered,
    /// Planned, but too large to run or of a kind that is not.
    Loaded,
    /// Ran twice.
    Ran,
}

/// Lowers a subgraph, then loads and runs what comes of it.
pub fn subgraph(data: &[u8]) -> Reached {
    let Some((blob, host)) = resealed(data) else { return Reached::Nothing };
    let Ok(read) = read_subgraph(&blob) else {
        assert!(lower(&blob, &HashMap::<String, Bytes>::new(), &Options::default()).is_err());
        return Reached::Nothing;
    };
    let Ok(lowered) = lower(&blob, &host.exported(&read), &host.options()) else { return Reached::Nothing };
    dump(&lowered).expect("a lowered program has a text");
    let entries = lowered.entries.iter().map(|e| (e.key.clone(), Bytes::of(&e.bytes, host.skew())));
    let method = Method::load(&lowered.program, Box::new(Held(entries.collect())), &host.load_options());
    match method {
        Ok(method) => run(method),
        Err(e) => {
            let fits = read.values.iter().all(|v| elements(v.shape.as_deref()) <= MODEST);
            let own = matches!(e.kind(), ErrorKind::NotSupported | ErrorKind::Internal);
            assert!(own || !fits, "the engine refuses a lowered program: {e}");
            Reached::Lowered
        }
    }
}

/// Loads and runs a program.
pub fn program(data: &[u8]) -> Reached {
    let Some((blob, host)) = resealed(data) else { return Reached::Nothing };
    let mut left = MOST_CONSTANTS;
    let mut held = HashMap::new();
    for entry in read_program(&blob).map(|program| program.entries).unwrap_or_default() {
        let length = usize::try_from(entry.length).ok().map(|n| host.shortened(n, held.len()));
        if let Some(rest) = length.and_then(|n| left.checked_sub(n)) {
            let bytes = Bytes::noise(left - rest, host.skew());
            left = rest;
            held.entry(entry.key).or_insert(bytes);
        }
    }
    match Method::load(&blob, Box::new(Held(held)), &host.load_options()) {
        Ok(method) => run(method),
        Err(_) => Reached::Nothing,
    }
}

/// The blob with the length and checksum of what follows its header.
fn resealed(data: &[u8]) -> Option<(Vec<u8>, Host)> {
    let mut blob = data.to_vec();
    let head = blob.first_chunk::<HEADER_LEN>()?;
    let (bits, start) = (u32::from_le_bytes([head[12], head[13], head[14], head[15]]), [head[4], head[5]]);
    let start = usize::from(u16::from_le_bytes(start)).max(HEADER_LEN);
    let payload = blob.get(start..)?;
    let (length, sum) = (payload.len() as u64, checksum(payload));
    blob[16..24].copy_from_slice(&length.to_le_bytes());
    blob[24..32].copy_from_slice(&sum.to_le_bytes());
    Some((blob, Host(bits)))
}

/// What the host does, a bit each; a blob as Tandem writes it has none set.
struct Host(u32);

impl Host {
    fn bit(&self, index: u32) -> bool {
        self.0 >> index & 1 != 0
    }

    /// Where constants start: not at an element's alignment with bit 0.
    fn skew(&self) -> usize {
        usize::from(self.bit(0))
    }

    /// Length of a constant that should have `length`: off by a byte every third time with bit 1.
    fn shortened(&self, length: usize, index: usize) -> usize {
        if self.bit(1) && index % 3 == 2 { length.saturating_sub(1) } else { length }
    }

    /// Instruction sets of other machines with bits 2 and 3, no liberties with bit 4.
    fn load_options(&self) -> LoadOptions {
        let isa = match self.0 >> 2 & 3 {
            0 | 1 => None,
            2 => Some(Isa::AVX2),
            _ => Some(Isa::SCALAR),
        };
        LoadOptions { isa, fast_math: !self.bit(4), ..LoadOptions::default() }
    }

    /// No passes with bit 5; with bit 6 those whose bits follow are left out.
    fn options(&self) -> Options {
        let mut options = Options::default();
        if self.bit(5) || self.bit(6) {
            options = Options::plain();
        }
        if self.bit(6) {
            let mut index = 6;
            options.without.retain(|_| {
                index += 1;
                self.bit(index)
            });
        }
        options
    }

    /// Bytes for a subgraph's constants, as long as their values say.
    fn exported(&self, subgraph: &SubgraphT) -> HashMap<String, Bytes> {
        let mut left = MOST_CONSTANTS;
        let mut held = HashMap::new();
        for value in &subgraph.values {
            let Some(key) = &value.constant else { continue };
            let count = usize::try_from(elements(value.shape.as_deref())).ok();
            let length = count.map(|n| n.saturating_mul(width(DType(value.dtype.0))));
            let length = length.map(|n| self.shortened(n, held.len()));
            if let Some(rest) = length.and_then(|n| left.checked_sub(n)) {
                let bytes = Bytes::noise(left - rest, self.skew());
                left = rest;
                held.entry(key.clone()).or_insert(bytes);
            }
        }
        held
    }
}

/// Product of sizes; -1 where one is negative.
fn elements(shape: Option<&[tandem_schemas::subgraph::DimT]>) -> i64 {
    let sizes = shape.unwrap_or_default().iter().map(|d| d.size_);
    sizes.fold(1, |n: i64, size| if n < 0 || size < 0 { -1 } else { n.saturating_mul(size) })
}

/// Bytes in an allocation that ends where they do, so that a sanitizer sees what is read behind them.
struct Bytes {
    buf: AlignedBuf,
    skew: usize,
}

impl Bytes {
    fn of(bytes: &[u8], skew: usize) -> Self {
        let mut buf = AlignedBuf::zeroed(bytes.len() + skew);
        buf.bytes_mut()[skew..].copy_from_slice(bytes);
        Self { buf, skew }
    }

    /// Made-up f32s in -1..1, never the same in a row.
    fn noise(length: usize, skew: usize) -> Self {
        let mut made = Self { buf: AlignedBuf::zeroed(length + skew), skew };
        for (i, bytes) in made.buf.bytes_mut()[skew..].chunks_mut(4).enumerate() {
            let hash = (i as u32 + 1).wrapping_mul(0x9E37_79B9).rotate_left(11);
            let number = (hash as i32) as f32 / (1u32 << 31) as f32;
            bytes.copy_from_slice(&number.to_le_bytes()[..bytes.len()]);
        }
        made
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.buf.bytes()[self.skew..]
    }
}

/// The named data of a program.
struct Held(HashMap<String, Bytes>);

impl Constants for Held {
    fn entry(&self, key: &str) -> Result<&[u8], String> {
        self.0.get(key).map(AsRef::as_ref).ok_or_else(|| "no such entry".to_owned())
    }
}

/// Bytes of an element.
fn width(dtype: DType) -> usize {
    match dtype {
        DType::F64 | DType::I64 => 8,
        DType::F32 | DType::I32 => 4,
        DType::F16 | DType::BF16 | DType::I16 => 2,
        _ => 1,
    }
}

/// Bytes of a tensor of the host.
fn bytes(spec: &TensorSpec) -> usize {
    spec.sizes.iter().fold(width(spec.dtype), |n: usize, &size| n.saturating_mul(size))
}

/// Runs a method that is small enough, twice into memory that held something else: what it gives depends on nothing but
/// its inputs.
fn run(mut method: Method) -> Reached {
    let report = method.report();
    let specs = (method.inputs().to_vec(), method.outputs().to_vec());
    let host = specs.0.iter().chain(&specs.1).map(bytes).fold(0, usize::saturating_add);
    let memory = host.saturating_add(report.arena_bytes).saturating_add(2 * report.scratch_bytes);
    let ns: f64 = report.steps.iter().map(|s| s.predicted_ns).sum();
    let flops: f64 = report.steps.iter().map(|s| s.flops).sum();
    let small = memory <= MOST_MEMORY && ns <= LONGEST_NS && flops <= MOST_FLOPS;
    if !small {
        return Reached::Loaded;
    }
    let given: Vec<Bytes> = specs.0.iter().map(|s| Bytes::noise(bytes(s), 0)).collect();
    let inputs: Vec<Input<'_>> = specs
        .0
        .iter()
        .zip(&given)
        .map(|(s, b)| Input { dtype: s.dtype, sizes: &s.sizes, dim_order: &s.dim_order, bytes: b.as_ref() })
        .collect();
    let mut once = |fill: u8| {
        let mut taken: Vec<AlignedBuf> = specs.1.iter().map(|s| AlignedBuf::zeroed(bytes(s))).collect();
        taken.iter_mut().for_each(|b| b.bytes_mut().fill(fill));
        let mut outputs: Vec<Output<'_>> = specs
            .1
            .iter()
            .zip(&mut taken)
            .map(|(s, b)| Output {
                dtype: s.dtype,
                sizes: &s.sizes,
                dim_order: &s.dim_order,
                bytes: b.bytes_mut(),
            })
            .collect();
        method.execute(&inputs, &mut outputs, 1, None).expect("a planned method runs");
        taken
    };
    let (first, second) = (once(0), once(0xff));
    for ((a, b), spec) in first.iter().zip(&second).zip(&specs.1) {
        assert!(a.bytes() == b.bytes(), "output {} differs between two runs", spec.name);
    }
    Reached::Ran
}
