//! A program whose indices, sizes and constants have been checked.

use tandem_schemas::program::{DType, Format, OpT, ProgramT, ValueKind};

use crate::error::Error;

/// Most elements of a tensor: keeps every offset far from overflow.
const MAX_ELEMENTS: usize = 1 << 31;

/// A value of the program.
#[derive(Clone, Debug)]
pub struct Value {
    /// For messages.
    pub name: String,
    /// Who owns it.
    pub kind: ValueKind,
    /// Element type.
    pub dtype: DType,
    /// Logical sizes.
    pub sizes: Vec<usize>,
    /// Host layout, outermost first; of inputs and outputs.
    pub dim_order: Vec<u8>,
    /// Constant it is, if any.
    pub constant: Option<usize>,
}

/// A constant of the program, its place checked against the entry's length.
#[derive(Clone, Debug)]
pub struct Constant {
    /// For messages.
    pub name: String,
    /// Named-data entry.
    pub entry: usize,
    /// First byte.
    pub offset: usize,
    /// Bytes.
    pub length: usize,
    /// Element type.
    pub dtype: DType,
    /// Order of the elements.
    pub format: Format,
}

/// The checked program. Op payloads are checked where they are planned.
pub struct Model {
    /// Keys and lengths of named-data entries.
    pub entries: Vec<(String, usize)>,
    /// Constants.
    pub constants: Vec<Constant>,
    /// Values.
    pub values: Vec<Value>,
    /// Ops in execution order.
    pub ops: Vec<OpT>,
    /// Value indices of the call's inputs.
    pub inputs: Vec<usize>,
    /// Value indices of the call's outputs.
    pub outputs: Vec<usize>,
}

/// Bytes of an element.
pub fn width(dtype: DType) -> usize {
    match dtype {
        DType::F32 | DType::I32 => 4,
        DType::F16 | DType::BF16 | DType::I16 => 2,
        DType::F64 | DType::I64 => 8,
        _ => 1,
    }
}

/// Name of an element type, for messages.
pub fn dtype_name(dtype: DType) -> &'static str {
    dtype.variant_name().unwrap_or("unknown")
}

impl Model {
    /// Checks everything that is not an op's payload.
    pub fn new(program: ProgramT) -> Result<Self, Error> {
        let entries: Vec<(String, usize)> = program
            .entries
            .into_iter()
            .map(|e| (e.key, usize::try_from(e.length).unwrap_or(usize::MAX)))
            .collect();
        let constants =
            program.constants.into_iter().map(|c| constant(c, &entries)).collect::<Result<Vec<_>, _>>()?;
        let values =
            program.values.into_iter().map(|v| value(v, &constants)).collect::<Result<Vec<_>, _>>()?;
        if program.mutations.is_some_and(|m| !m.is_empty()) {
            return Err(Error::unsupported("program", "mutable state"));
        }
        let count = values.len();
        let index = |what: &'static str, list: Vec<i32>, kind: ValueKind| {
            list.into_iter()
                .map(|i| match usize::try_from(i).ok().filter(|&i| i < count) {
                    Some(i) if kind != ValueKind::Input || values[i].kind == kind => Ok(i),
                    Some(i) => Err(Error::program(what, format!("value {} is not an input", values[i].name))),
                    None => Err(Error::program(what, format!("value {i} of {count}"))),
                })
                .collect::<Result<Vec<_>, _>>()
        };
        let inputs = index("inputs", program.inputs, ValueKind::Input)?;
        let outputs = index("outputs", program.outputs, ValueKind::Output)?;
        Ok(Self { entries, constants, values, ops: program.ops, inputs, outputs })
    }
}

fn constant(c: tandem_schemas::program::ConstantT, entries: &[(String, usize)]) -> Result<Constant, Error> {
    let (offset, length) = (usize::try_from(c.offset), usize::try_from(c.length));
    let entry = usize::try_from(c.entry).ok().filter(|&e| e < entries.len());
    let (Some(entry), Ok(offset), Ok(length)) = (entry, offset, length) else {
        return Err(Error::program(&c.name, format!("entry {} of {}", c.entry, entries.len())));
    };
    if offset.checked_add(length).is_none_or(|end| end > entries[entry].1) || !offset.is_multiple_of(4) {
        let (key, have) = &entries[entry];
        return Err(Error::program(&c.name, format!("bytes {offset}+{length} of entry {key} with {have}")));
    }
    if c.format != Format::Plain && c.format_version != tandem_kernels::panels::VERSION {
        return Err(Error::program(&c.name, format!("format {:?} version {}", c.format, c.format_version)));
    }
    Ok(Constant { name: c.name, entry, offset, length, dtype: c.dtype, format: c.format })
}

fn value(v: tandem_schemas::program::ValueT, constants: &[Constant]) -> Result<Value, Error> {
    let wrong = |what: String| Error::program(&v.name, what);
    let mut sizes = Vec::new();
    let mut elements = 1usize;
    for dim in v.shape.as_deref().unwrap_or_default() {
        if dim.expr >= 0 {
            return Err(Error::unsupported(&v.name, "symbolic sizes"));
        }
        let size = usize::try_from(dim.size_).map_err(|_| wrong(format!("size {}", dim.size_)))?;
        elements = elements.saturating_mul(size.max(1));
        sizes.push(size);
    }
    if sizes.len() > tandem_base::strided::MAX_RANK || elements > MAX_ELEMENTS {
        return Err(wrong(format!("sizes {sizes:?} beyond rank 8 or 2^31 elements")));
    }
    let rank = sizes.len();
    let mut dim_order = v.dim_order.clone().unwrap_or_default();
    if dim_order.is_empty() {
        dim_order = (0..rank as u8).collect();
    }
    let mut sorted = dim_order.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..rank as u8) {
        return Err(wrong(format!("dim order {dim_order:?} of rank {rank}")));
    }
    let mut index = None;
    if v.kind == ValueKind::Constant {
        let i = usize::try_from(v.constant).ok().filter(|&i| i < constants.len());
        let i = i.ok_or_else(|| wrong(format!("constant {} of {}", v.constant, constants.len())))?;
        let need = sizes.iter().product::<usize>() * width(v.dtype);
        if constants[i].format != Format::Plain || constants[i].length < need || constants[i].dtype != v.dtype
        {
            return Err(wrong(format!(
                "constant {} with {} bytes for {need}",
                constants[i].name, constants[i].length
            )));
        }
        index = Some(i);
    }
    Ok(Value { name: v.name, kind: v.kind, dtype: v.dtype, sizes, dim_order, constant: index })
}
