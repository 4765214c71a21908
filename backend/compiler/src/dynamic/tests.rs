//! Small subgraphs of symbolic sizes.

use std::collections::HashMap;

use tandem_schemas::program::{OpKindT, ProgramT};
use tandem_schemas::read_program;
use tandem_schemas::subgraph::*;
use tandem_schemas::symbols::Symbols;
use tandem_schemas::write_subgraph;

use crate::graph::table;
use crate::{Options, check, lower};

/// A subgraph of one symbol n, whose expressions are n, 2, 2 n, n - 1 and 3.
struct Small(SubgraphT);

/// A size: a number, or an expression of a [`Small`] as a negative one.
const N: i64 = -1;
const TWICE: i64 = -3;

fn dim(size: i64) -> DimT {
    *table(|dim: &mut DimT| (dim.size_, dim.expr) = if size < 0 { (0, -size as i32 - 1) } else { (size, -1) })
}

fn arg(name: &str, value: ArgValueT) -> ArgT {
    *table(|arg: &mut ArgT| (arg.name, arg.value) = (name.to_owned(), value))
}

fn tensor(value: i32) -> ArgValueT {
    ArgValueT::TensorArg(table(|arg: &mut TensorArgT| arg.value = value))
}

fn int(value: i64) -> ArgValueT {
    ArgValueT::IntArg(table(|arg: &mut IntArgT| arg.value = value))
}

fn symbolic(expr: i32) -> ArgValueT {
    ArgValueT::SymIntArg(table(|arg: &mut SymIntArgT| arg.value = expr))
}

impl Small {
    fn new(min: i64, max: i64) -> Self {
        let exprs = [
            (ExprOp::Symbol, 0, 0),
            (ExprOp::Const, 2, 0),
            (ExprOp::Mul, 0, 1),
            (ExprOp::Const, -1, 0),
            (ExprOp::Add, 0, 3),
        ];
        let expr = |(op, a, b)| *table(|expr: &mut ExprT| (expr.op, expr.a, expr.b) = (op, a, b));
        let symbol = table(|s: &mut SymbolT| (s.name, s.min, s.max) = ("n".to_owned(), min, max));
        Self(*table(|subgraph: &mut SubgraphT| {
            (subgraph.symbols, subgraph.exprs) = (Some(vec![*symbol]), Some(exprs.map(expr).to_vec()));
        }))
    }

    fn value(&mut self, kind: ValueKind, shape: &[i64]) -> i32 {
        let id = self.0.values.len() as i32;
        self.0.values.push(*table(|value: &mut ValueT| {
            (value.name, value.kind) = (format!("v{id}"), kind);
            value.shape = Some(shape.iter().map(|&size| dim(size)).collect());
        }));
        id
    }

    fn input(&mut self, shape: &[i64]) -> i32 {
        let id = self.value(ValueKind::Input, shape);
        self.0.inputs.push(id);
        id
    }

    fn node(&mut self, op: &str, args: Vec<ArgT>, shape: &[i64]) -> i32 {
        let output = self.value(ValueKind::Node, shape);
        self.0.nodes.push(*table(|node: &mut NodeT| {
            (node.name, node.op) = (format!("n{output}"), op.to_owned());
            (node.args, node.outputs) = (Some(args), Some(vec![output]));
        }));
        output
    }

    fn lowered(&mut self, output: i32) -> Result<ProgramT, String> {
        self.0.outputs = vec![output];
        let (blob, none) = (write_subgraph(&self.0), HashMap::<String, Vec<u8>>::new());
        check(&blob, &none).map_err(|error| error.to_string())?;
        let lowered = lower(&blob, &none, &Options::default()).map_err(|error| error.to_string())?;
        Ok(read_program(&lowered.program).unwrap())
    }
}

/// Shapes of all values where n is `n`.
fn shapes(program: &ProgramT, n: i64) -> Vec<Vec<i64>> {
    let mut values = vec![];
    Symbols::of_program(program).unwrap().evaluate(&[Some(n)], &mut values);
    let size = |dim: &tandem_schemas::program::DimT| match usize::try_from(dim.expr) {
        Ok(expr) => values[expr].unwrap(),
        Err(_) => dim.size_,
    };
    program.values.iter().map(|v| v.shape.iter().flatten().map(size).collect()).collect()
}

#[test]
fn sizes_keep_and_find_expressions() {
    let mut small = Small::new(1, 9);
    let x = small.input(&[N, 6]);
    let view = small.node("aten.view.default", vec![arg("self", tensor(x))], &[TWICE, 3]);
    let negated = small.node("aten.neg.default", vec![arg("self", tensor(view))], &[TWICE, 3]);
    let times = ArgValueT::IntListArg(table(|a: &mut IntListArgT| a.values = Some(vec![5, 1])));
    let repeated = small.node(
        "aten.repeat.default",
        vec![arg("self", tensor(negated)), arg("repeats", times)],
        &[10, 3],
    );
    // 10 n has no expression in the subgraph.
    let expr = small.0.exprs.as_mut().unwrap();
    expr.push(*table(|e: &mut ExprT| (e.op, e.a) = (ExprOp::Const, 5)));
    expr.push(*table(|e: &mut ExprT| (e.op, e.a, e.b) = (ExprOp::Mul, 2, 5)));
    small.0.values[repeated as usize].shape = Some(vec![dim(-7), dim(3)]);
    let program = small.lowered(repeated).unwrap();
    for n in [1, 4, 9] {
        let shapes = shapes(&program, n);
        assert_eq!(shapes[program.inputs[0] as usize], [n, 6]);
        assert_eq!(shapes[program.outputs[0] as usize], [10 * n, 3]);
        assert!(shapes.contains(&vec![5, 2 * n, 1, 3]) || shapes.contains(&vec![5, 2 * n, 3]), "{shapes:?}");
    }
    let output = &program.values[program.outputs[0] as usize];
    assert_eq!(output.shape.as_ref().unwrap()[0].size_, 90, "sizes are those of the upper bound");
}

#[test]
fn the_last_row_starts_at_an_expression() {
    let mut small = Small::new(1, 64);
    let x = small.input(&[N, 6]);
    let args = vec![arg("self", tensor(x)), arg("dim", int(0)), arg("index", int(-1))];
    let last = small.node("aten.select.int", args, &[6]);
    let program = small.lowered(last).unwrap();
    let starts = program.ops.iter().filter_map(|op| match &op.kind {
        OpKindT::Slice(slice) => Some((slice.start, slice.start_expr)),
        _ => None,
    });
    let [(start, expr)] = starts.collect::<Vec<_>>()[..] else { panic!("one slice") };
    let mut values = vec![];
    Symbols::of_program(&program).unwrap().evaluate(&[Some(17)], &mut values);
    assert_eq!((start, values[expr as usize]), (63, Some(16)));
}

#[test]
fn a_row_of_numbers_is_the_front_of_the_longest() {
    let mut small = Small::new(1, 40);
    let x = small.input(&[N]);
    let args = vec![arg("start", int(2)), arg("end", symbolic(0)), arg("step", int(3))];
    let row = small.node("aten.arange.start_step", args, &[N]);
    let sum = small.node("aten.add.Tensor", vec![arg("self", tensor(row)), arg("other", tensor(x))], &[N]);
    let program = small.lowered(sum).unwrap();
    assert!(shapes(&program, 7).contains(&vec![40]), "the longest row is stored");
    assert!(program.ops.iter().any(|op| matches!(op.kind, OpKindT::Slice(_))));
}

#[test]
fn what_depends_on_a_size_is_refused_with_both() {
    let mut small = Small::new(2, 64);
    let x = small.input(&[N, 6]);
    let product =
        small.node("aten.mul.Scalar", vec![arg("self", tensor(x)), arg("other", symbolic(0))], &[N, 6]);
    let refused = small.lowered(product).unwrap_err();
    assert!(refused.contains("n1") && refused.matches("where n = ").count() == 2, "{refused}");
}

#[test]
fn sizes_that_no_argument_tells_are_refused() {
    let mut small = Small::new(1, 64);
    let x = small.input(&[4, 6]);
    let args = vec![arg("self", tensor(x))];
    small.0.values[x as usize].shape = Some(vec![dim(1), dim(6)]);
    let expanded = small.node("aten.expand.default", args, &[N, 6]);
    assert!(small.lowered(expanded).unwrap_err().contains("no argument tells n"));
    let integer = small.value(ValueKind::SymInt, &[N]);
    small.0.values[integer as usize].dtype = DType::I64;
    small.0.inputs.push(integer);
    let program = small.lowered(expanded).unwrap();
    assert_eq!(shapes(&program, 12)[program.outputs[0] as usize], [12, 6]);
}

#[test]
fn damaged_expressions_are_errors() {
    let damaged = |damage: &dyn Fn(&mut SubgraphT)| {
        let mut small = Small::new(1, 9);
        let x = small.input(&[N, 6]);
        let y = small.node("aten.neg.default", vec![arg("self", tensor(x))], &[N, 6]);
        damage(&mut small.0);
        small.lowered(y).err()
    };
    assert_eq!(damaged(&|_| ()), None);
    let all: &[&dyn Fn(&mut SubgraphT)] = &[
        &|s| s.exprs.as_mut().unwrap()[2].a = 2,
        &|s| s.exprs.as_mut().unwrap()[0].a = 1,
        &|s| s.exprs.as_mut().unwrap()[0].op = ExprOp(50),
        &|s| s.symbols.as_mut().unwrap()[0].min = 10,
        &|s| s.symbols = None,
        &|s| s.values[0].shape.as_mut().unwrap()[0].expr = 99,
        &|s| s.values[1].shape.as_mut().unwrap()[0].expr = 2,
        &|s| s.values[1].shape.as_mut().unwrap()[0].expr = i32::MAX,
    ];
    for (i, damage) in all.iter().enumerate() {
        assert!(damaged(damage).is_some(), "damage {i} is not seen");
    }
    let constant = |value: i64| damaged(&move |s| s.exprs.as_mut().unwrap()[1].a = value);
    assert_eq!(constant(i64::MAX), None, "an overflow where no size depends on it");
}
