//! Programs of symbolic sizes.

use tandem_schemas::program::*;

use super::{Builder, Model, Stages};

/// A program of these sizes.
pub type Make = fn(&[usize]) -> Model;

/// The program of symbols `bounds` whose sizes are those of `make`: an extent that follows a symbol's value at two places
/// by the same step is that expression of it.
pub fn dynamic(make: Make, bounds: &[(i64, i64)]) -> Model {
    let base: Vec<usize> = (0..bounds.len()).map(|i| 16 + 8 * i).collect();
    let mut model = make(&base);
    let symbol = |(i, &(min, max)): (usize, &(i64, i64))| {
        let mut symbol = SymbolT::default();
        (symbol.name, symbol.min, symbol.max) = (format!("s{i}"), min, max);
        symbol
    };
    model.program.symbols = Some(bounds.iter().enumerate().map(symbol).collect());
    let mut exprs = Exprs(vec![]);
    for (i, &at) in base.iter().enumerate() {
        let further = |by: usize| {
            let mut sizes = base.clone();
            sizes[i] += by;
            make(&sizes)
        };
        let (near, far) = (further(8), further(16));
        for (v, value) in model.program.values.iter_mut().enumerate() {
            let shape = |m: &Model| m.program.values[v].shape.clone().unwrap_or_default();
            let (near, far) = (shape(&near), shape(&far));
            for (d, dim) in value.shape.iter_mut().flatten().enumerate() {
                let (here, step) = (dim.size_, near[d].size_ - dim.size_);
                if step == 0 {
                    continue;
                }
                assert_eq!(far[d].size_, here + 2 * step, "{} is not linear", value.name);
                assert!(dim.expr < 0, "{} follows two symbols", value.name);
                dim.expr = exprs.linear(i, at as i64, here, step);
            }
        }
    }
    model.program.exprs = Some(exprs.0);
    model
}

struct Exprs(Vec<ExprT>);

impl Exprs {
    fn add(&mut self, op: ExprOp, a: i64, b: i64) -> i64 {
        let mut expr = ExprT::default();
        (expr.op, expr.a, expr.b) = (op, a, b);
        self.0.push(expr);
        self.0.len() as i64 - 1
    }

    /// `here` where the symbol is `at`, and `step` more for each 8: the symbol times or divided by a number.
    fn linear(&mut self, symbol: usize, at: i64, here: i64, step: i64) -> i32 {
        let bare = self.add(ExprOp::Symbol, symbol as i64, 0);
        let scaled = if step >= 8 {
            let factor = self.add(ExprOp::Const, step / 8, 0);
            self.add(ExprOp::Mul, bare, factor)
        } else {
            let divisor = self.add(ExprOp::Const, 8 / step, 0);
            self.add(ExprOp::CeilDiv, bare, divisor)
        };
        let rest = here - at * step / 8;
        let rest = self.add(ExprOp::Const, rest, 0);
        self.add(ExprOp::Add, scaled, rest) as i32
    }
}

/// Convolutions, a skip, pooling and resizing back, of `[2, 3, h, w]`.
pub fn image(sizes: &[usize]) -> Model {
    let &[h, w] = sizes else { panic!("{sizes:?}") };
    let mut b = Builder::default();
    let x = b.input(&[2, 3, h, w]);
    let skip = b.conv(&[x], 8, 3, 1, &Stages { bias: true, relu: true, ..Stages::default() });
    let low = b.conv(&[skip], 12, 3, 2, &Stages::default());
    let up = b.resize(ResizeKind::Bilinear, low, [h, w]);
    let both = b.concat(&[skip, up], 1);
    let y = b.conv(&[both], 4, 1, 1, &Stages { residual: None, ..Stages::default() });
    b.output(y);
    b.output(low);
    b.finish()
}

/// Rows through layers and a norm, of `[n, 24]`, and one of them, the last.
pub fn rows(sizes: &[usize]) -> Model {
    let &[n] = sizes else { panic!("{sizes:?}") };
    let mut b = Builder::default();
    let x = b.input(&[n, 24]);
    let y = b.norm(NormKind::Layer, x, 1);
    let y = b.linear(y, 40, &Stages { bias: true, relu: true, ..Stages::default() });
    let last = b.slice(y, 0, n - 1, 1);
    b.output(y);
    b.output(last);
    b.finish()
}

/// [`rows`] of symbolic size: the start of the slice is `n - 1`.
pub fn dynamic_rows(max: i64) -> Model {
    let mut model = dynamic(rows, &[(1, max)]);
    let exprs = model.program.exprs.as_mut().unwrap();
    let mut all = Exprs(std::mem::take(exprs));
    let bare = all.add(ExprOp::Symbol, 0, 0);
    let one = all.add(ExprOp::Const, 1, 0);
    let start = all.add(ExprOp::Sub, bare, one) as i32;
    *exprs = all.0;
    for op in &mut model.program.ops {
        if let OpKindT::Slice(slice) = &mut op.kind {
            (slice.start, slice.start_expr) = (max - 1, start);
        }
    }
    model
}
