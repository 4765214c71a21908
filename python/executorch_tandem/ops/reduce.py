"""Sums, means, extrema and truths over dimensions, and where extrema are."""

from ..call import Call
from . import op


@op(
    "aten.mean.dim",
    "aten.mean.default",
    "aten.sum.dim_IntList",
    "aten.sum.default",
    "aten.prod.default",
    "aten.prod.dim_int",
    "aten.amax.default",
    "aten.amin.default",
    "aten.max.default",
    "aten.min.default",
    "aten.max.dim",
    "aten.min.dim",
    "aten.argmax.default",
    "aten.argmin.default",
    "aten.any.default",
    "aten.any.dim",
    "aten.any.dims",
    "aten.all.default",
    "aten.all.dim",
    "aten.all.dims",
    "aten.var.correction",
    "aten.var.dim",
    "aten.std.correction",
)
def reduce(call: Call) -> None:
    pass


@op("aten.var_mean.correction", keep=True)
def spread(call: Call) -> None:
    pass
