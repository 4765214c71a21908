"""Symbolic sizes as tables of a Subgraph."""

import math
import random

import sympy
import torch
from torch import fx
from torch.utils._sympy import functions
from torch.utils._sympy.numbers import int_oo
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

_QUOTIENTS = (functions.FloorDiv, functions.CleanDiv, functions.CeilDiv)

# Sizes beyond this are no bounds that anyone chose.
LARGEST = 1 << 40


class Symbols:
    """The free integers of a program and the expressions over them, each stored once.

    Sizes of the program's inputs are given: their symbols are those that these tell.
    """

    def __init__(self, ranges: dict[sympy.Symbol, ValueRanges], given: list[sympy.Expr] | None = None):
        self.symbols: list[SymbolT] = []
        self.exprs: list[ExprT] = []
        self._told = Told(given or [], ranges)
        self._ranges = ranges | self._told.ranges
        self._indices: dict[sympy.Expr, int] = {}

    def size(self, size: int | torch.SymInt) -> int:
        """Index of the expression of a number or a symbolic integer."""
        return self.expr(sympy.Integer(size) if isinstance(size, int) else self._told(size.node.expr))

    def dim(self, size: int | torch.SymInt) -> DimT:
        """A dimension: its extent, or its upper bound and the index of its expression."""
        if isinstance(size, int):
            return _dim(size, -1)
        expr = self._told(size.node.expr)
        upper = _bounds(expr, self._ranges)[1]
        if upper is None:
            raise Unsupported(f"size {expr} has no upper bound")
        return _dim(upper, self.expr(expr))

    def integer(self, value: int | torch.SymInt) -> DimT:
        """An integer that is no dimension: nothing depends on its upper bound, so it may have none."""
        return _dim(value, -1) if isinstance(value, int) else _dim(LARGEST, self.size(value))

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
        if expr.is_Pow and expr.exp.is_Integer and expr.exp > 1:
            return _expr(ExprOp.Mul, self.expr(expr.base), self.expr(expr.base ** (expr.exp - 1)))
        if expr.func in _NARY:
            first, rest = expr.args[0], expr.func(*expr.args[1:])
            return _expr(_NARY[expr.func], self.expr(first), self.expr(rest))
        if expr.func in _BINARY:
            return _expr(_BINARY[expr.func], *(self.expr(a) for a in expr.args))
        raise Unsupported(f"size {expr} is not made of sums, products, quotients, minima and maxima")

    def _symbol(self, symbol: sympy.Symbol) -> int:
        bounds = self._ranges.get(symbol)
        if bounds is None or not isinstance(bounds.upper, sympy.Integer | int) or bounds.upper > LARGEST:
            raise Unsupported(f"size {symbol} has no upper bound")
        entry = SymbolT()
        # A lower bound of 2 also stands for none: torch takes sizes of 0 and 1 for constants, and 1 does no harm.
        lower = 1 if bounds.lower == 2 else max(0, int(bounds.lower))
        entry.name, entry.min, entry.max = str(symbol), lower, int(bounds.upper)
        self.symbols.append(entry)
        return len(self.symbols) - 1


def sizes(node: fx.Node) -> list[sympy.Expr]:
    """Every symbolic size of what a node gives, or the symbolic integer it is."""
    value = node.meta.get("val")
    found: list[sympy.Expr] = []
    for item in value if isinstance(value, tuple | list) else [value]:
        parts = item.shape if isinstance(item, torch.Tensor) else [item]
        found += [part.node.expr for part in parts if isinstance(part, torch.SymInt)]
    return found


class Told:
    """What values of given expressions tell.

    An expression of one unknown symbol tells it where it is linear. From any other, as half of a size rounded down
    is, no symbol can be known; but all that is computed from such values depends on them alone. A new symbol stands
    for the expression then, and the old one is replaced by what would give it: by twice the half.
    """

    def __init__(self, given: list[sympy.Expr], ranges: dict[sympy.Symbol, ValueRanges]):
        self.known: set[sympy.Symbol] = set()
        self.replaced: dict[sympy.Expr, sympy.Expr] = {}
        # Bounds of new symbols.
        self.ranges: dict[sympy.Symbol, ValueRanges] = {}
        while self._linear(given) or self._other(given, ranges):
            pass

    def __call__(self, expr: sympy.Expr) -> sympy.Expr:
        """An expression, in symbols that are told where it can be."""
        for old, new in self.replaced.items():
            expr = expr.subs(old, new)
        return expr

    def untold(self, exprs: list[sympy.Expr]) -> set[sympy.Symbol]:
        """Symbols of expressions that are not told."""
        return {symbol for expr in exprs for symbol in self(expr).free_symbols} - self.known

    def _linear(self, given: list[sympy.Expr]) -> bool:
        before = len(self.known)
        for expr in map(self, given):
            unknown = expr.free_symbols - self.known
            if len(unknown) == 1 and _is_linear(expr, *unknown):
                self.known |= unknown
        return len(self.known) > before

    def _other(self, given: list[sympy.Expr], ranges: dict[sympy.Symbol, ValueRanges]) -> bool:
        # Short ones first: what is computed of a size is told by it.
        for expr in sorted(map(self, given), key=lambda expr: (expr.count_ops(), str(expr))):
            if expr.free_symbols <= self.known:
                continue
            lower, upper = _bounds(expr, ranges | self.ranges)
            new = sympy.Symbol(f"size{len(self.ranges)}", integer=True, positive=True)
            found = _preimage(expr, new, lower)
            if found is None:
                # What is padded to whole windows is so many windows.
                multiple = _multiple(expr, ranges | self.ranges)
                found = (expr, multiple * new)
                lower, upper = -(-lower // multiple), None if upper is None else upper // multiple
            old, source = found
            self.replaced[old] = source
            self.ranges[new] = ValueRanges(lower, int_oo if upper is None else upper)
            self.known.add(new)
            return True
        return False


def _bounds(expr: sympy.Expr, ranges: dict[sympy.Symbol, ValueRanges]) -> tuple[int, int | None]:
    """Bounds of a size; no upper one beyond `LARGEST`. What sizes are divided by is never 0."""
    for divided in (*_QUOTIENTS, functions.Mod, functions.PythonMod):
        expr = expr.replace(divided, lambda a, b, divided=divided: divided(a, functions.Max(1, b)))
    bounds = bound_sympy(expr, ranges)
    lower, upper = (int(b) if isinstance(b, sympy.Integer | int) else None for b in (bounds.lower, bounds.upper))
    return max(0, lower or 0), upper if upper is not None and upper <= LARGEST else None


def _preimage(expr: sympy.Expr, value: sympy.Symbol, least: int) -> tuple[sympy.Symbol, sympy.Expr] | None:
    """The only symbol of a rounded quotient and what to put for it to have `expr` give `value`; None if not found."""
    if len(expr.free_symbols) != 1:
        return None
    (symbol,) = expr.free_symbols
    exact = expr
    for rounded in _QUOTIENTS:
        exact = exact.replace(rounded, lambda a, b: a / b)
    if not _is_linear(exact, symbol):
        return None
    slope = sympy.Poly(exact, symbol).coeff_monomial(symbol)
    source = sympy.expand((value - exact + slope * symbol) / slope)
    if not all(number.is_integer for number in sympy.Poly(source, value).all_coeffs()):
        return None
    lower = max(1, least)
    right = all(expr.subs(symbol, source.subs(value, at)) == at for at in range(lower, lower + 16))
    return (symbol, source) if right else None


def _multiple(expr: sympy.Expr, ranges: dict[sympy.Symbol, ValueRanges]) -> int:
    """What divides all values of an expression: by those at 64 values of each symbol and at 64 draws of all."""
    values = {}
    for symbol in sorted(expr.free_symbols, key=str):
        if symbol not in ranges or not ranges[symbol].lower.is_finite:
            return 1
        lower, upper = max(1, int(ranges[symbol].lower)), ranges[symbol].upper
        values[symbol] = range(lower, (min(lower + 63, int(upper)) if upper.is_finite else lower + 63) + 1)
    least = {symbol: numbers[0] for symbol, numbers in values.items()}
    points = [least | {symbol: value} for symbol, numbers in values.items() for value in numbers]
    draw = random.Random(0)
    points += [{symbol: draw.choice(numbers) for symbol, numbers in values.items()} for _ in range(64)]
    found = 0
    for point in points:
        value = expr.subs(point)
        if not value.is_Integer:
            return 1
        found = math.gcd(found, int(value))
        if found == 1:
            break
    return max(1, found)


def _is_linear(expr: sympy.Expr, symbol: sympy.Symbol) -> bool:
    return expr.count(symbol) == 1 and expr.is_polynomial(symbol) and sympy.degree(expr, symbol) == 1


def _dim(size: int, expr: int) -> DimT:
    dim = DimT()
    dim.size, dim.expr = size, expr
    return dim


def _expr(op: int, a: int, b: int) -> ExprT:
    expr = ExprT()
    expr.op, expr.a, expr.b = op, a, b
    return expr
