"""Max, average and adaptive pooling."""

from ..call import Call
from . import op


def _windows(call: Call) -> None:
    call.require_rank("self", 3, 4)
    call.require(not call["ceil_mode"], "ceil_mode")


@op("aten.max_pool2d.default", keep=True)
def max_pool2d(call: Call) -> None:
    _windows(call)


@op("aten.max_pool2d_with_indices.default")
def max_pool2d_with_indices(call: Call) -> None:
    _windows(call)
    call.require(call.used_outputs == [0], "the indices are used")


@op("aten.avg_pool2d.default")
def avg_pool2d(call: Call) -> None:
    _windows(call)


@op("aten.adaptive_avg_pool2d.default", keep=True)
def adaptive_avg_pool2d(call: Call) -> None:
    call.require_rank("self", 3, 4)


@op("aten._adaptive_avg_pool2d.default")
def _adaptive_avg_pool2d(call: Call) -> None:
    call.require_rank("self", 3, 4)
