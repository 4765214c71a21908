"""Padding by a constant, or by the tensor's own edge."""

from ..call import Call
from . import op


@op("aten.constant_pad_nd.default")
def constant_pad(call: Call) -> None:
    pass


@op("aten.reflection_pad2d.default", "aten.replication_pad2d.default", keep=True)
def edge_pad(call: Call) -> None:
    call.require_rank("self", 3, 4)
