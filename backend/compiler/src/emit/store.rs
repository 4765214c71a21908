//! Packed constants, each stored once under a key that says what it holds.

use std::collections::HashMap;

use tandem_kernels::panels;
use tandem_schemas::program::{ConstantT, DType, EntryT, Format};
use xxhash_rust::xxh3::xxh3_64;

use crate::tensor::Tensor;

/// Offsets within an entry.
const ALIGNMENT: usize = 64;
/// Tensors of this many bytes or more get an entry of their own.
const LARGE: usize = 64 << 10;

/// One piece of named data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name, unique to these bytes.
    pub key: String,
    /// The bytes, to be stored aligned to 64.
    pub bytes: Vec<u8>,
}

impl Entry {
    pub(super) fn table(&self) -> EntryT {
        let mut table = EntryT::default();
        (table.key, table.length) = (self.key.clone(), self.bytes.len() as u64);
        table
    }
}

#[derive(Default)]
pub(super) struct Store {
    entries: Vec<Entry>,
    constants: Vec<ConstantT>,
    /// Entries by content.
    by_hash: HashMap<u64, Vec<usize>>,
    /// All small arrays.
    pool: Vec<u8>,
    /// Places in the pool by content.
    pooled: HashMap<Vec<u8>, u64>,
}

/// `ConstantT::entry` of what lies in the pool, until its number is known.
const POOL: i32 = -1;

impl Store {
    /// An entry with a layer's panels; gives the constant's index.
    pub fn panels(&mut self, name: &str, op: &str, panels: &[f32], format: Format) -> i32 {
        let place = self.entry(op, bytemuck::cast_slice(panels));
        self.constant(name, place, panels.len() * 4, DType::F32, format)
    }

    /// An entry with a layer's panels as words of two 16-bit floats; gives the constant's index.
    pub fn halves(&mut self, name: &str, op: &str, panels: &[f32], dtype: DType) -> i32 {
        let numbers = Tensor::owned(&[panels.len()], panels.to_vec()).cast(dtype);
        let place = self.entry(op, numbers.bytes());
        self.constant(name, place, numbers.bytes().len(), dtype, Format::Panels)
    }

    /// A column array; gives the constant's index.
    pub fn columns(&mut self, name: &str, array: &[f32]) -> i32 {
        let place = self.small(bytemuck::cast_slice(array));
        self.constant(name, place, array.len() * 4, DType::F32, Format::Columns)
    }

    /// A row-major tensor; gives the constant's index.
    pub fn plain(&mut self, name: &str, op: &str, tensor: &Tensor<'_>) -> i32 {
        let bytes = tensor.bytes();
        let place = if bytes.len() < LARGE { self.small(bytes) } else { self.entry(op, bytes) };
        self.constant(name, place, bytes.len(), tensor.dtype, Format::Plain)
    }

    fn constant(
        &mut self,
        name: &str,
        (entry, offset): (i32, u64),
        length: usize,
        dtype: DType,
        format: Format,
    ) -> i32 {
        let mut constant = ConstantT::default();
        (constant.name, constant.entry, constant.offset) = (name.to_owned(), entry, offset);
        (constant.length, constant.dtype, constant.format) = (length as u64, dtype, format);
        constant.format_version = panels::VERSION;
        self.constants.push(constant);
        (self.constants.len() - 1) as i32
    }

    fn entry(&mut self, op: &str, bytes: &[u8]) -> (i32, u64) {
        let hash = xxh3_64(bytes);
        let alike = self.by_hash.entry(hash).or_default();
        if let Some(&same) = alike.iter().find(|&&i| self.entries[i].bytes == bytes) {
            return (same as i32, 0);
        }
        let key = match alike.len() {
            0 => format!("tandem/v1/{op}/{hash:016x}"),
            collisions => format!("tandem/v1/{op}/{hash:016x}-{collisions}"),
        };
        alike.push(self.entries.len());
        self.entries.push(Entry { key, bytes: bytes.to_vec() });
        (self.entries.len() as i32 - 1, 0)
    }

    fn small(&mut self, bytes: &[u8]) -> (i32, u64) {
        if let Some(&offset) = self.pooled.get(bytes) {
            return (POOL, offset);
        }
        self.pool.resize(self.pool.len().next_multiple_of(ALIGNMENT), 0);
        let offset = self.pool.len() as u64;
        self.pool.extend_from_slice(bytes);
        self.pooled.insert(bytes.to_vec(), offset);
        (POOL, offset)
    }

    /// The constants and the entries they lie in.
    pub fn finish(mut self) -> (Vec<ConstantT>, Vec<Entry>) {
        if !self.pool.is_empty() {
            let pool = std::mem::take(&mut self.pool);
            let number = self.entries.len() as i32;
            self.entries.push(Entry { key: format!("tandem/v1/small/{:016x}", xxh3_64(&pool)), bytes: pool });
            for constant in self.constants.iter_mut().filter(|c| c.entry == POOL) {
                constant.entry = number;
            }
        }
        (self.constants, self.entries)
    }
}
