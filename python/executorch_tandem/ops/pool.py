"""Max, average and adaptive pooling of one to three dimensions."""

from ..call import Call
from . import op


@op("aten.max_pool2d.default", keep=True)
def max_pool2d(call: Call) -> None:
    call.require_rank("self", 3, 4)


@op("aten.max_pool2d_with_indices.default")
def max_pool2d_with_indices(call: Call) -> None:
    call.require_rank("self", 3, 4)


@op("aten.max_pool3d_with_indices.default")
def max_pool3d_with_indices(call: Call) -> None:
    call.require_rank("self", 4, 5)


@op("aten.avg_pool2d.default")
def avg_pool2d(call: Call) -> None:
    call.require_rank("self", 3, 4)


@op("aten.avg_pool3d.default")
def avg_pool3d(call: Call) -> None:
    call.require_rank("self", 4, 5)


@op("aten.adaptive_avg_pool2d.default", keep=True)
@op("aten._adaptive_avg_pool2d.default")
def adaptive_avg_pool2d(call: Call) -> None:
    call.require_rank("self", 3, 4)


@op("aten.adaptive_avg_pool3d.default", keep=True)
@op("aten._adaptive_avg_pool3d.default")
def adaptive_avg_pool3d(call: Call) -> None:
    call.require_rank("self", 4, 5)


@op("aten.adaptive_max_pool2d.default", keep=True)
def adaptive_max_pool2d(call: Call) -> None:
    call.require_rank("self", 3, 4)


@op("aten.adaptive_max_pool3d.default", keep=True)
def adaptive_max_pool3d(call: Call) -> None:
    call.require_rank("self", 4, 5)
