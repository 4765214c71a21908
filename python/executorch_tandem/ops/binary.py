"""Element-wise functions of two tensors, broadcast; comparisons; choices."""

from ..call import Call
from . import op

FUNCTIONS = (
    "add.Tensor",
    "add.Scalar",
    "sub.Tensor",
    "sub.Scalar",
    "rsub.Scalar",
    "rsub.Tensor",
    "mul.Tensor",
    "mul.Scalar",
    "div.Tensor",
    "div.Scalar",
    "div.Tensor_mode",
    "div.Scalar_mode",
    "floor_divide.default",
    "remainder.Tensor",
    "remainder.Scalar",
    "fmod.Tensor",
    "fmod.Scalar",
    "maximum.default",
    "minimum.default",
    "pow.Tensor_Tensor",
    "pow.Scalar",
    "atan2.default",
    "bitwise_and.Tensor",
    "bitwise_and.Scalar",
    "bitwise_or.Tensor",
    "bitwise_or.Scalar",
    "bitwise_xor.Tensor",
    "bitwise_xor.Scalar",
    "bitwise_left_shift.Tensor",
    "bitwise_left_shift.Tensor_Scalar",
    "bitwise_right_shift.Tensor",
    "bitwise_right_shift.Tensor_Scalar",
    "logical_and.default",
    "logical_or.default",
    "logical_xor.default",
)
COMPARISONS = tuple(f"{name}.{kind}" for name in ("eq", "ne", "lt", "le", "gt", "ge") for kind in ("Tensor", "Scalar"))
CHOICES = (
    "where.self",
    "where.ScalarSelf",
    "where.ScalarOther",
    "where.Scalar",
    "masked_fill.Scalar",
    "masked_fill.Tensor",
)


@op(*(f"aten.{name}" for name in FUNCTIONS + COMPARISONS + CHOICES))
def binary(call: Call) -> None:
    pass


@op(
    "aten.hypot.default",
    "aten.fmax.default",
    "aten.fmin.default",
    "aten.copysign.Tensor",
    "aten.ldexp.Tensor",
    "aten.__lshift__.Scalar",
    "aten.__rshift__.Scalar",
    "aten._cdist_forward.default",
    keep=True,
)
def composed(call: Call) -> None:
    pass
