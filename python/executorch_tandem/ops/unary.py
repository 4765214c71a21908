"""Element-wise functions of one tensor."""

from ..call import Call
from . import op


@op(
    "aten.relu.default",
    "aten.hardtanh.default",
    "aten.clamp.default",
    "aten.clamp.Tensor",
    "aten.sigmoid.default",
    "aten.tanh.default",
    "aten.leaky_relu.default",
    "aten.elu.default",
)
@op(
    "aten.relu6.default",
    "aten.gelu.default",
    "aten.silu.default",
    "aten.hardswish.default",
    "aten.hardsigmoid.default",
    "aten.mish.default",
    "aten.softplus.default",
    keep=True,
)
def activation(call: Call) -> None:
    pass


@op(
    "aten.neg.default",
    "aten.abs.default",
    "aten.exp.default",
    "aten.log.default",
    "aten.sqrt.default",
    "aten.rsqrt.default",
    "aten.reciprocal.default",
    "aten.sin.default",
    "aten.cos.default",
    "aten.tan.default",
    "aten.asin.default",
    "aten.acos.default",
    "aten.atan.default",
    "aten.sinh.default",
    "aten.cosh.default",
    "aten.asinh.default",
    "aten.acosh.default",
    "aten.atanh.default",
    "aten.log2.default",
    "aten.log10.default",
    "aten.log1p.default",
    "aten.expm1.default",
    "aten.logical_not.default",
    "aten.bitwise_not.default",
    "aten.isnan.default",
    "aten.isinf.default",
    "aten.erf.default",
    "aten.floor.default",
    "aten.ceil.default",
    "aten.round.default",
    "aten.round.decimals",
    "aten.trunc.default",
    "aten.sign.default",
    "aten.pow.Tensor_Scalar",
)
def unary(call: Call) -> None:
    pass


@op("aten.exp2.default", "aten.signbit.default", keep=True)
def composed(call: Call) -> None:
    pass
