//! Expressions for sizes that are known at some samples.

use std::collections::HashMap;

use tandem_schemas::program::ExprOp;
use tandem_schemas::symbols::{Expr, Symbols, Values};

use super::samples::Sample;

/// Finds expressions by their values at the samples.
pub(super) struct Finder {
    pub symbols: Symbols,
    samples: Vec<Vec<Option<i64>>>,
    /// The first expression with these values at the samples.
    known: HashMap<Vec<i64>, i32>,
    /// The keys of `known`, in the order they came in.
    columns: Vec<Vec<i64>>,
    /// Values of every expression, if it has all.
    of: Vec<Option<Vec<i64>>>,
}

/// Most expressions that pairs are made of.
const PAIRED: usize = 64;

impl Finder {
    pub fn new(symbols: Symbols, samples: &[Sample]) -> Self {
        let numbers = samples.iter().map(|s| s.symbols.iter().copied().map(Some).collect()).collect();
        let mut finder =
            Self { symbols, samples: numbers, known: HashMap::new(), columns: vec![], of: vec![] };
        finder.learn();
        for symbol in 0..finder.symbols.symbols().len() {
            finder.add(Expr { op: ExprOp::Symbol, a: symbol as i64, b: 0 });
        }
        finder
    }

    /// Values of an expression at the samples, if it has all.
    pub fn column(&self, expr: usize) -> Option<&[i64]> {
        self.of.get(expr)?.as_deref()
    }

    /// Values of the expressions that are new.
    fn learn(&mut self) {
        let mut all: Vec<Values> = vec![vec![]; self.samples.len()];
        for (sample, values) in self.samples.iter().zip(&mut all) {
            self.symbols.evaluate(sample, values);
        }
        for expr in self.of.len()..self.symbols.exprs().len() {
            let column: Option<Vec<i64>> = all.iter().map(|values| values[expr]).collect();
            if let Some(column) = column.as_ref().filter(|c| !is_constant(c) && !self.known.contains_key(*c))
            {
                self.known.insert(column.clone(), expr as i32);
                self.columns.push(column.clone());
            }
            self.of.push(column);
        }
    }

    fn add(&mut self, expr: Expr) -> i32 {
        let expr = self.symbols.intern(expr);
        self.learn();
        expr as i32
    }

    fn constant(&mut self, value: i64) -> i32 {
        self.add(Expr { op: ExprOp::Const, a: value, b: 0 })
    }

    fn binary(&mut self, op: ExprOp, a: i32, b: i32) -> i32 {
        self.add(Expr { op, a: i64::from(a), b: i64::from(b) })
    }

    /// An expression of these values: -1 of the same everywhere; one that is known; a known one plus, times or divided by
    /// a number; or a product of two known ones, perhaps times or divided by a number.
    pub fn find(&mut self, column: &[i64]) -> Option<i32> {
        if is_constant(column) {
            return Some(-1);
        }
        if let Some(&known) = self.known.get(column) {
            return Some(known);
        }
        let columns: Vec<Vec<i64>> = self.columns.iter().take(PAIRED).cloned().collect();
        if let Some((base, op, number)) = columns.iter().find_map(|base| affine(base, column, true)) {
            return Some(self.apply(base, op, number));
        }
        for (i, a) in columns.iter().enumerate() {
            for b in &columns[i..] {
                let Some(product) = times(a, b) else { continue };
                let step =
                    if product == column { Some(None) } else { affine(&product, column, false).map(Some) };
                if let Some(step) = step {
                    let (a, b) = (self.known[a], self.known[b]);
                    let product_expr = self.binary(ExprOp::Mul, a, b);
                    return Some(match step {
                        None => product_expr,
                        Some((_, op, number)) => {
                            let number = self.constant(number);
                            self.binary(op, product_expr, number)
                        }
                    });
                }
            }
        }
        None
    }

    fn apply(&mut self, base: &[i64], op: ExprOp, number: i64) -> i32 {
        let (base, number) = (self.known[base], self.constant(number));
        self.binary(op, base, number)
    }
}

fn is_constant(column: &[i64]) -> bool {
    column.iter().all(|value| *value == column[0])
}

fn times(a: &[i64], b: &[i64]) -> Option<Vec<i64>> {
    a.iter().zip(b).map(|(a, b)| a.checked_mul(*b)).collect()
}

/// What a number does to `base` everywhere to give `column`; adding only where it may.
fn affine<'c>(base: &'c [i64], column: &[i64], adds: bool) -> Option<(&'c [i64], ExprOp, i64)> {
    let all = |holds: &dyn Fn(i64, i64) -> bool| base.iter().zip(column).all(|(&a, &c)| holds(a, c));
    let difference = column[0].checked_sub(base[0])?;
    if adds && all(&|a, c| c.checked_sub(a) == Some(difference)) {
        return Some((base, ExprOp::Add, difference));
    }
    if base[0] > 0 && column[0] % base[0] == 0 {
        let factor = column[0] / base[0];
        if all(&|a, c| a.checked_mul(factor) == Some(c)) {
            return Some((base, ExprOp::Mul, factor));
        }
    }
    if column[0] > 0 && base[0] % column[0] == 0 {
        let divisor = base[0] / column[0];
        if divisor > 1 && all(&|a, c| c.checked_mul(divisor) == Some(a)) {
            return Some((base, ExprOp::FloorDiv, divisor));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_expressions() {
        let symbol = |name: &str| tandem_schemas::symbols::Symbol { name: name.into(), min: 1, max: 50 };
        let symbols = Symbols::new(vec![symbol("b"), symbol("t")], vec![]).unwrap();
        let numbers = [[3, 7], [5, 4], [4, 9]];
        let samples: Vec<Sample> = numbers.iter().map(|n| Sample::new(&symbols, n.to_vec())).collect();
        let mut finder = Finder::new(symbols, &samples);
        let mut check = |size: fn(i64, i64) -> i64, found: bool| {
            let column: Vec<i64> = numbers.iter().map(|&[b, t]| size(b, t)).collect();
            let expr = finder.find(&column);
            assert_eq!(expr.is_some(), found, "{column:?}");
            if let Some(expr @ 0..) = expr {
                let mut values = vec![];
                finder.symbols.evaluate(&[Some(11), Some(20)], &mut values);
                assert_eq!(values[expr as usize], Some(size(11, 20)), "{column:?}");
            }
        };
        check(|_, _| 12, true);
        check(|b, _| b, true);
        check(|b, t| b * t, true);
        check(|b, t| 12 * b * t, true);
        check(|_, t| t + 1, true);
        check(|_, t| 16 * t, true);
        check(|_, t| t * t, true);
        check(|b, t| b * t * t, true);
        check(|b, t| b * b + t, false);
    }
}
