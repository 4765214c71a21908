"""Tensors of one number, and counts."""

from ..call import Call
from . import op


@op(
    "aten.full.default",
    "aten.full_like.default",
    "aten.scalar_tensor.default",
    "aten.zeros.default",
    "aten.zeros_like.default",
    "aten.ones.default",
    "aten.ones_like.default",
)
def full(call: Call) -> None:
    pass


@op("aten.arange.start_step")
def arange(call: Call) -> None:
    pass
