//! Symbolic sizes: expressions over the symbols of a blob, evaluated in checked arithmetic and solved for the symbols.

use crate::program::{ExprOp, ProgramT};
use crate::subgraph::SubgraphT;

/// A free integer, e.g. a batch or a sequence's length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// For messages.
    pub name: String,
    /// Least value.
    pub min: i64,
    /// Greatest value.
    pub max: i64,
}

/// One node of an integer; `a` and `b` as the schemas have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expr {
    /// What is done with `a` and `b`.
    pub op: ExprOp,
    /// A number, a symbol or an expression.
    pub a: i64,
    /// An expression.
    pub b: i64,
}

/// Checked symbols and expressions: every operand of an expression lies in front of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    symbols: Vec<Symbol>,
    exprs: Vec<Expr>,
}

/// Values of all expressions, `None` where a symbol is not known or the arithmetic has no answer.
pub type Values = Vec<Option<i64>>;

impl Symbols {
    /// Checks bounds and operands.
    ///
    /// # Errors
    /// Which symbol or expression is wrong.
    pub fn new(symbols: Vec<Symbol>, exprs: Vec<Expr>) -> Result<Self, String> {
        for Symbol { name, min, max } in &symbols {
            if *min < 0 || min > max {
                return Err(format!("symbol {name} lies within {min}..={max}"));
            }
        }
        for (i, expr) in exprs.iter().enumerate() {
            let below = |operand: i64, len: usize| usize::try_from(operand).is_ok_and(|o| o < len);
            let sound = match expr.op {
                ExprOp::Const => true,
                ExprOp::Symbol => below(expr.a, symbols.len()),
                op => op.variant_name().is_some() && below(expr.a, i) && below(expr.b, i),
            };
            if !sound {
                return Err(format!("expression {i} is {:?} of {} and {}", expr.op, expr.a, expr.b));
            }
        }
        Ok(Self { symbols, exprs })
    }

    /// Those of a subgraph.
    ///
    /// # Errors
    /// As [`Symbols::new`].
    pub fn of_subgraph(subgraph: &SubgraphT) -> Result<Self, String> {
        let symbols = subgraph.symbols.iter().flatten();
        let symbols = symbols.map(|s| Symbol { name: s.name.clone(), min: s.min, max: s.max });
        let exprs = subgraph.exprs.iter().flatten();
        let exprs = exprs.map(|e| Expr { op: ExprOp(e.op.0), a: e.a, b: e.b });
        Self::new(symbols.collect(), exprs.collect())
    }

    /// Those of a program.
    ///
    /// # Errors
    /// As [`Symbols::new`].
    pub fn of_program(program: &ProgramT) -> Result<Self, String> {
        let symbols = program.symbols.iter().flatten();
        let symbols = symbols.map(|s| Symbol { name: s.name.clone(), min: s.min, max: s.max });
        let exprs = program.exprs.iter().flatten().map(|e| Expr { op: e.op, a: e.a, b: e.b });
        Self::new(symbols.collect(), exprs.collect())
    }

    /// The symbols.
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// The expressions.
    pub fn exprs(&self) -> &[Expr] {
        &self.exprs
    }

    /// Adds a symbol; gives its index.
    pub fn add_symbol(&mut self, symbol: Symbol) -> usize {
        self.symbols.push(symbol);
        self.symbols.len() - 1
    }

    /// Index of an expression of known operands, added unless it is there.
    pub fn intern(&mut self, expr: Expr) -> usize {
        if let Some(known) = self.exprs.iter().position(|e| *e == expr) {
            return known;
        }
        self.exprs.push(expr);
        self.exprs.len() - 1
    }

    /// Values of all expressions where symbols have these.
    pub fn evaluate(&self, symbols: &[Option<i64>], values: &mut Values) {
        values.clear();
        for expr in &self.exprs {
            let operand = |i: i64| values.get(i as usize).copied().flatten();
            let value = match expr.op {
                ExprOp::Const => Some(expr.a),
                ExprOp::Symbol => symbols.get(expr.a as usize).copied().flatten(),
                op => operand(expr.a).zip(operand(expr.b)).and_then(|(a, b)| apply(op, a, b)),
            };
            values.push(value);
        }
    }

    /// Finds symbols by the values of some expressions; those that stay unknown are `None`. `values` becomes the values
    /// of all expressions.
    pub fn solve(&self, given: &[(usize, i64)], symbols: &mut [Option<i64>], values: &mut Values) {
        symbols.fill(None);
        loop {
            self.evaluate(symbols, values);
            let mut found = false;
            for &(expr, value) in given {
                found |= values.get(expr) == Some(&None) && self.invert(expr, value, symbols, values);
            }
            if !found {
                return;
            }
        }
    }

    /// Finds the one unknown symbol of sums, differences and multiples; whether it did.
    fn invert(&self, expr: usize, mut value: i64, symbols: &mut [Option<i64>], values: &Values) -> bool {
        let mut at = expr;
        loop {
            let Expr { op, a, b } = self.exprs[at];
            if op == ExprOp::Symbol {
                let symbol = &mut symbols[a as usize];
                let found = symbol.is_none();
                symbol.get_or_insert(value);
                return found;
            }
            let known = |i: i64| values.get(i as usize).copied().flatten();
            let (next, known, left) = match (known(a), known(b)) {
                _ if op == ExprOp::Const => return false,
                (Some(known), None) => (b, known, true),
                (None, Some(known)) => (a, known, false),
                _ => return false,
            };
            let inverse = match op {
                ExprOp::Add => value.checked_sub(known),
                ExprOp::Sub if left => known.checked_sub(value),
                ExprOp::Sub => value.checked_add(known),
                ExprOp::Mul => value.checked_rem(known).filter(|&rest| rest == 0).map(|_| value / known),
                _ => None,
            };
            let Some(inverse) = inverse else { return false };
            (at, value) = (next as usize, inverse);
        }
    }
}

/// An operation on numbers; quotients round down, remainders have the divisor's sign.
fn apply(op: ExprOp, a: i64, b: i64) -> Option<i64> {
    match op {
        ExprOp::Add => a.checked_add(b),
        ExprOp::Sub => a.checked_sub(b),
        ExprOp::Mul => a.checked_mul(b),
        ExprOp::FloorDiv => floor_div(a, b),
        ExprOp::CeilDiv => floor_div(a.checked_neg()?, b)?.checked_neg(),
        ExprOp::Mod => a.checked_sub(floor_div(a, b)?.checked_mul(b)?),
        ExprOp::Max => Some(a.max(b)),
        ExprOp::Min => Some(a.min(b)),
        _ => None,
    }
}

fn floor_div(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

#[cfg(test)]
mod tests {
    use super::ExprOp as E;
    use super::*;

    fn expr(op: ExprOp, a: i64, b: i64) -> Expr {
        Expr { op, a, b }
    }

    fn symbol(name: &str) -> Symbol {
        Symbol { name: name.to_owned(), min: 1, max: 100 }
    }

    /// s, t, 3, 3 s, 3 s + t, t - s, -1, (t + -1) // 3
    fn sample() -> Symbols {
        let exprs = [
            expr(E::Symbol, 0, 0),
            expr(E::Symbol, 1, 0),
            expr(E::Const, 3, 0),
            expr(E::Mul, 2, 0),
            expr(E::Add, 3, 1),
            expr(E::Sub, 1, 0),
            expr(E::Const, -1, 0),
            expr(E::Add, 1, 6),
            expr(E::FloorDiv, 7, 2),
        ];
        Symbols::new(vec![symbol("s"), symbol("t")], exprs.to_vec()).unwrap()
    }

    #[test]
    fn expressions_have_values() {
        let mut values = vec![];
        sample().evaluate(&[Some(2), Some(9)], &mut values);
        assert_eq!(values, [2, 9, 3, 6, 15, 7, -1, 8, 2].map(Some));
        sample().evaluate(&[None, Some(9)], &mut values);
        assert_eq!(values, [None, Some(9), Some(3), None, None, None, Some(-1), Some(8), Some(2)]);
    }

    #[test]
    fn arithmetic_is_checked_and_rounds_as_python_does() {
        for (a, b) in [(7, 2), (-7, 2), (7, -2), (-7, -2), (6, 3), (0, 5)] {
            let floor = (a as f64 / b as f64).floor() as i64;
            assert_eq!(apply(E::FloorDiv, a, b), Some(floor), "{a} // {b}");
            assert_eq!(apply(E::CeilDiv, a, b), Some((a as f64 / b as f64).ceil() as i64), "{a} / {b}");
            assert_eq!(apply(E::Mod, a, b), Some(a - floor * b), "{a} % {b}");
        }
        assert_eq!((apply(E::Max, 2, 3), apply(E::Min, 2, 3)), (Some(3), Some(2)));
        for op in [E::FloorDiv, E::CeilDiv, E::Mod] {
            assert_eq!((apply(op, 1, 0), apply(op, i64::MIN, -1)), (None, None), "{op:?}");
        }
        assert_eq!(apply(E::Add, i64::MAX, 1), None);
        assert_eq!(apply(E::Sub, i64::MIN, 1), None);
        assert_eq!(apply(E::Mul, i64::MAX, 2), None);
    }

    #[test]
    fn symbols_are_found_by_sizes() {
        let symbols = sample();
        let solve = |given: &[(usize, i64)]| {
            let (mut found, mut values) = (vec![None; 2], vec![]);
            symbols.solve(given, &mut found, &mut values);
            (found[0], found[1])
        };
        assert_eq!(solve(&[(0, 4), (1, 5)]), (Some(4), Some(5)));
        assert_eq!(solve(&[(3, 12), (5, 1)]), (Some(4), Some(5)));
        assert_eq!(solve(&[(4, 17), (1, 5)]), (Some(4), Some(5)));
        assert_eq!(solve(&[(5, 1), (0, 4)]), (Some(4), Some(5)));
        assert_eq!(solve(&[(3, 13)]), (None, None), "no multiple of 3");
        assert_eq!(solve(&[(8, 2), (0, 1)]), (Some(1), None), "a quotient says too little");
        assert_eq!(solve(&[(4, 17)]), (None, None), "two unknowns");
        assert_eq!(solve(&[(0, 4), (0, 5)]).0, Some(4), "the first counts");
    }

    #[test]
    fn damage_is_refused() {
        let with = |exprs: &[Expr]| Symbols::new(vec![symbol("s")], exprs.to_vec());
        assert!(with(&[expr(E::Const, 5, 0), expr(E::Add, 0, 0)]).is_ok());
        for bad in [expr(E::Symbol, 1, 0), expr(E::Symbol, -1, 0), expr(E::Add, 1, 0), expr(E::Add, 0, -1)] {
            assert!(with(&[expr(E::Const, 5, 0), bad]).is_err(), "{bad:?}");
        }
        assert!(with(&[expr(ExprOp(77), 0, 0)]).is_err());
        let bounds = |min, max| Symbols::new(vec![super::Symbol { name: "s".into(), min, max }], vec![]);
        assert!(bounds(3, 2).is_err() && bounds(-1, 2).is_err() && bounds(0, 0).is_ok());
    }
}
