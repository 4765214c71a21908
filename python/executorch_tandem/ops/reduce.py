"""Sums, means and extrema over dimensions."""

from ..call import Call
from . import op


@op("aten.mean.dim", "aten.sum.dim_IntList")
def mean_sum(call: Call) -> None:
    call.require(call["dtype"] is None or call.outputs[0].dtype == call.tensor("self").dtype, "dtype changes")


@op("aten.mean.default", "aten.sum.default")
def mean_sum_all(call: Call) -> None:
    mean_sum(call)


@op("aten.amax.default", "aten.amin.default")
def extremum(call: Call) -> None:
    pass
