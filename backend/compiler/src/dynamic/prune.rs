//! Only what sizes need.

use std::collections::HashMap;

use tandem_schemas::program::{ExprOp, OpKindT};
use tandem_schemas::symbols::{Expr, Symbols};

use crate::graph::{Graph, ValueId};

/// The symbols and expressions that sizes and starts need, renumbered there.
pub(super) fn prune(
    symbols: &Symbols,
    graph: &mut Graph<'_>,
    of: &mut HashMap<ValueId, Vec<i32>>,
) -> Symbols {
    let mut places: Vec<&mut i32> = of.values_mut().flatten().filter(|expr| **expr >= 0).collect();
    for op in graph.ops.iter_mut().flatten() {
        if let OpKindT::Slice(slice) = &mut op.kind
            && slice.start_expr >= 0
        {
            places.push(&mut slice.start_expr);
        }
    }
    let mut needed = vec![false; symbols.exprs().len()];
    places.iter().for_each(|place| needed[**place as usize] = true);
    for (i, expr) in symbols.exprs().iter().enumerate().rev() {
        if needed[i] && !matches!(expr.op, ExprOp::Const | ExprOp::Symbol) {
            (needed[expr.a as usize], needed[expr.b as usize]) = (true, true);
        }
    }
    let mut kept = Symbols::default();
    let mut numbers = vec![0; needed.len()];
    let mut symbol_numbers = vec![None; symbols.symbols().len()];
    for (i, &Expr { op, a, b }) in symbols.exprs().iter().enumerate().filter(|(i, _)| needed[*i]) {
        let expr = match op {
            ExprOp::Const => Expr { op, a, b },
            ExprOp::Symbol => {
                let number = symbol_numbers[a as usize]
                    .get_or_insert_with(|| kept.add_symbol(symbols.symbols()[a as usize].clone()));
                Expr { op, a: *number as i64, b: 0 }
            }
            _ => Expr { op, a: numbers[a as usize], b: numbers[b as usize] },
        };
        numbers[i] = kept.intern(expr) as i64;
    }
    places.into_iter().for_each(|place| *place = numbers[*place as usize] as i32);
    kept
}
