"""Padding by a constant, or by the tensor's own edge."""

from ..call import Call
from . import op


@op("aten.constant_pad_nd.default")
def constant_pad(call: Call) -> None:
    pass


@op("aten.pad.default", keep=True)
def pad(call: Call) -> None:
    if call["mode"] != "constant":
        call.require(min(call["pad"]) >= 0, f"{call['mode']} padding that crops")


@op(
    "aten.reflection_pad1d.default",
    "aten.reflection_pad2d.default",
    "aten.reflection_pad3d.default",
    "aten.replication_pad1d.default",
    "aten.replication_pad2d.default",
    "aten.replication_pad3d.default",
    keep=True,
)
def edge_pad(call: Call) -> None:
    call.require(min(call["padding"]) >= 0, "padding that crops")
