"""Symbolic sizes as tables of a Subgraph."""

import sympy
import torch
from torch.utils._sympy import functions
from torch.utils._sympy.value_ranges import ValueRanges, bound_sympy

from .call import Unsupported
from .schema.subgraph_generated import DimT, ExprOp, ExprT, SymbolT

_NARY = {sympy.Add: ExprOp.Add, sympy.Mul: ExprOp.Mul, functions.Max: ExprOp.Max, functions.Min: ExprOp.Min}
_BINARY = {
    functions.FloorDiv: ExprOp.FloorDiv,
    functions.CleanDiv: ExprOp.FloorDiv,
    functions.CeilDiv: ExprOp.CeilDiv,
    functions.Mod: ExprOp.Mod,
    functions.PythonMod: ExprOp.Mod,
}


class Symbols:
    """The free integers of a program and the expressions over them, each stored once."""

    def __init__(self, ranges: dict[sympy.Symbol, ValueRanges]):
        self.symbols: list[SymbolT] = []
        self.exprs: list[ExprT] = []
        self._ranges = ranges
        self._indices: dict[sympy.Expr, int] = {}

    def dim(self, size: int | torch.SymInt) -> DimT:
        """A dimension: its extent, or its upper bound and the index of its expression."""
        if isinstance(size, int):
            return _dim(size, -1)
        expr = size.node.expr
        upper = bound_sympy(expr, self._ranges).upper
        if not isinstance(upper, sympy.Integer | int):
            raise Unsupported(f"size {expr} has no upper bound")
        return _dim(int(upper), self.expr(expr))

    def expr(self, expr: sympy.Expr) -> int:
        """Index of an expression in `exprs`."""
        if expr not in self._indices:
            encoded = self._encode(expr)
            self._indices[expr] = len(self.exprs)
            self.exprs.append(encoded)
        return self._indices[expr]

    def _encode(self, expr: sympy.Expr) -> ExprT:
        if expr.is_Integer:
            return _expr(ExprOp.Const, int(expr), 0)
        if expr.is_Symbol:
            return _expr(ExprOp.Symbol, self._symbol(expr), 0)
        if expr.func in _NARY:
            first, rest = expr.args[0], expr.func(*expr.args[1:])
            return _expr(_NARY[expr.func], self.expr(first), self.expr(rest))
        if expr.func in _BINARY:
            return _expr(_BINARY[expr.func], *(self.expr(a) for a in expr.args))
        raise Unsupported(f"size {expr} is not made of sums, products, quotients, minima and maxima")

    def _symbol(self, symbol: sympy.Symbol) -> int:
        bounds = self._ranges[symbol]
        if not isinstance(bounds.upper, sympy.Integer | int):
            raise Unsupported(f"size {symbol} has no upper bound")
        entry = SymbolT()
        entry.name, entry.min, entry.max = str(symbol), int(bounds.lower), int(bounds.upper)
        self.symbols.append(entry)
        return len(self.symbols) - 1


def _dim(size: int, expr: int) -> DimT:
    dim = DimT()
    dim.size, dim.expr = size, expr
    return dim


def _expr(op: int, a: int, b: int) -> ExprT:
    expr = ExprT()
    expr.op, expr.a, expr.b = op, a, b
    return expr
