"""Element-wise functions of two tensors, broadcast."""

from ..call import Call
from . import op


@op(
    "aten.add.Tensor",
    "aten.sub.Tensor",
    "aten.mul.Tensor",
    "aten.div.Tensor",
    "aten.maximum.default",
    "aten.minimum.default",
    "aten.pow.Tensor_Tensor",
)
def binary(call: Call) -> None:
    pass
