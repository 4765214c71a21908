"""Tensors joined along a dimension."""

from ..call import Call
from . import op


@op("aten.cat.default")
def concat(call: Call) -> None:
    pass
