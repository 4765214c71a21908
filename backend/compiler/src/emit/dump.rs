//! A program as text.

use std::fmt::Write;

use tandem_schemas::program::ProgramT;
use tandem_schemas::read_program;

use crate::graph::{Naming, ValueId, op_text};
use crate::{LowerError, Lowered};

struct InProgram<'p>(&'p ProgramT);

impl Naming for InProgram<'_> {
    fn value(&self, id: ValueId) -> String {
        self.0.values.get(id as usize).map_or(format!("?{id}"), |v| v.name.clone())
    }
    fn constant(&self, id: ValueId) -> String {
        self.0.constants.get(id as usize).map_or(format!("?{id}"), |c| c.name.clone())
    }
}

/// One line per op, then what is returned and where constants lie.
///
/// # Errors
/// If the program is not one that [`crate::lower`] gave.
pub fn dump(lowered: &Lowered) -> Result<String, LowerError> {
    let program = read_program(&lowered.program)?;
    let naming = InProgram(&program);
    let mut text = String::new();
    for op in &program.ops {
        for &output in &op.outputs {
            let value = program.values.get(output as usize);
            let shape: Vec<i64> =
                value.and_then(|v| v.shape.as_ref()).map_or(vec![], |s| s.iter().map(|d| d.size_).collect());
            let _ = writeln!(
                text,
                "{} {} {shape:?} = {}",
                op.name,
                naming.value(output),
                op_text(&op.kind, &naming)
            );
        }
    }
    let returned: Vec<String> = program.outputs.iter().map(|&o| naming.value(o)).collect();
    let _ = writeln!(text, "return {}", returned.join(", "));
    for entry in &program.entries {
        let _ = writeln!(text, "entry {} {} bytes", entry.key, entry.length);
    }
    Ok(text)
}
