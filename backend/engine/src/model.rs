//! A program whose indices, sizes and constants have been checked; where sizes are symbolic, at one size at a time.

use tandem_kernels::types::Type;
use tandem_schemas::program::{DType, Format, OpT, ProgramT, ValueKind};
use tandem_schemas::symbols::{Symbols, Values};

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
    /// Expression of each size, -1 of one that is a number; of an integer argument, the one it has.
    pub exprs: Vec<i32>,
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
    /// What sizes are made of.
    pub symbols: Symbols,
    /// Values of all expressions where sizes are what they are now.
    numbers: Values,
}

/// Bytes of an element.
pub fn width(dtype: DType) -> usize {
    element(dtype).map_or(1, Type::width)
}

/// The kernels' name of an element type; none of one this library does not know.
pub fn element(dtype: DType) -> Option<Type> {
    Type::of(dtype.0)
}

/// Name of an element type, for messages.
pub fn dtype_name(dtype: DType) -> &'static str {
    dtype.variant_name().unwrap_or("unknown")
}

impl Model {
    /// Checks everything that is not an op's payload.
    pub fn new(program: ProgramT) -> Result<Self, Error> {
        let symbols = Symbols::of_program(&program).map_err(|what| Error::program("symbols", what))?;
        let entries: Vec<(String, usize)> = program
            .entries
            .into_iter()
            .map(|e| (e.key, usize::try_from(e.length).unwrap_or(usize::MAX)))
            .collect();
        let constants =
            program.constants.into_iter().map(|c| constant(c, &entries)).collect::<Result<Vec<_>, _>>()?;
        let values = program
            .values
            .into_iter()
            .map(|v| value(v, &constants, &symbols))
            .collect::<Result<Vec<_>, _>>()?;
        if program.mutations.is_some_and(|m| !m.is_empty()) {
            return Err(Error::unsupported("program", "mutable state"));
        }
        let count = values.len();
        let index = |what: &'static str, list: Vec<i32>, kind: ValueKind| {
            list.into_iter()
                .map(|i| match usize::try_from(i).ok().filter(|&i| i < count) {
                    Some(i) if kind != ValueKind::Input || values[i].is_argument() => Ok(i),
                    Some(i) => Err(Error::program(what, format!("value {} is not an input", values[i].name))),
                    None => Err(Error::program(what, format!("value {i} of {count}"))),
                })
                .collect::<Result<Vec<_>, _>>()
        };
        let inputs = index("inputs", program.inputs, ValueKind::Input)?;
        let outputs = index("outputs", program.outputs, ValueKind::Output)?;
        let mut model = Self {
            entries,
            constants,
            values,
            ops: program.ops,
            inputs,
            outputs,
            symbols,
            numbers: Vec::new(),
        };
        model.check_told()?;
        Ok(model)
    }

    /// Whether anything has a symbolic size.
    pub fn is_dynamic(&self) -> bool {
        !self.symbols.symbols().is_empty()
    }

    /// Every symbol must follow from the inputs.
    fn check_told(&mut self) -> Result<(), Error> {
        let upper: Vec<Option<i64>> = self.symbols.symbols().iter().map(|s| Some(s.max)).collect();
        self.symbols.evaluate(&upper, &mut self.numbers);
        let exprs = self.inputs.iter().flat_map(|&v| &self.values[v].exprs);
        let given = exprs.filter_map(|&expr| Some((usize::try_from(expr).ok()?, self.number(expr)?)));
        let (given, mut found) = (given.collect::<Vec<_>>(), vec![None; upper.len()]);
        self.symbols.solve(&given, &mut found, &mut self.numbers);
        match found.iter().zip(self.symbols.symbols()).find(|(found, _)| found.is_none()) {
            Some((_, symbol)) => Err(Error::program(&symbol.name, "a symbol that no size of an input tells")),
            None => Ok(()),
        }
    }

    /// Gives symbolic sizes the values they have for these symbols.
    ///
    /// # Errors
    /// Which value has no sensible size; the model is to be resized again then.
    pub fn resize(&mut self, symbols: &[i64]) -> Result<(), Error> {
        let symbols: Vec<Option<i64>> = symbols.iter().copied().map(Some).collect();
        self.symbols.evaluate(&symbols, &mut self.numbers);
        for value in self.values.iter_mut().filter(|value| value.kind != ValueKind::SymInt) {
            for (size, &expr) in value.sizes.iter_mut().zip(&value.exprs).filter(|(_, expr)| **expr >= 0) {
                let number = self.numbers[expr as usize].and_then(|n| usize::try_from(n).ok());
                let number =
                    number.ok_or_else(|| Error::program(&value.name, "a size below 0 or beyond 2^63"));
                *size = number?;
            }
            if elements(&value.sizes) > MAX_ELEMENTS {
                return Err(Error::program(
                    &value.name,
                    format!("sizes {:?} beyond 2^31 elements", value.sizes),
                ));
            }
        }
        Ok(())
    }

    /// Value of an expression at the present sizes.
    pub fn number(&self, expr: i32) -> Option<i64> {
        usize::try_from(expr).ok().and_then(|expr| self.numbers.get(expr).copied().flatten())
    }
}

impl Value {
    /// Whether the caller gives it.
    pub fn is_argument(&self) -> bool {
        matches!(self.kind, ValueKind::Input | ValueKind::SymInt)
    }
}

fn elements(sizes: &[usize]) -> usize {
    sizes.iter().fold(1usize, |n, &size| n.saturating_mul(size.max(1)))
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

fn value(
    v: tandem_schemas::program::ValueT,
    constants: &[Constant],
    symbols: &Symbols,
) -> Result<Value, Error> {
    let wrong = |what: String| Error::program(&v.name, what);
    let (mut sizes, mut exprs) = (Vec::new(), Vec::new());
    for dim in v.shape.as_deref().unwrap_or_default() {
        if dim.expr >= symbols.exprs().len() as i32 {
            return Err(wrong(format!("expression {} of {}", dim.expr, symbols.exprs().len())));
        }
        exprs.push(dim.expr);
        let size = usize::try_from(dim.size_).map_err(|_| wrong(format!("size {}", dim.size_)))?;
        sizes.push(if dim.expr >= 0 { 0 } else { size });
    }
    let symbolic = exprs.iter().any(|&expr| expr >= 0);
    if v.kind == ValueKind::SymInt {
        if exprs.len() != 1 || v.dtype != DType::I64 {
            return Err(wrong(format!("an integer of {} sizes and {}", exprs.len(), dtype_name(v.dtype))));
        }
        sizes.clear();
    } else if symbolic && v.kind == ValueKind::Constant {
        return Err(wrong("a constant of symbolic sizes".to_owned()));
    }
    if sizes.len() > tandem_base::strided::MAX_RANK || elements(&sizes) > MAX_ELEMENTS {
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
    Ok(Value { name: v.name, kind: v.kind, dtype: v.dtype, sizes, exprs, dim_order, constant: index })
}
