"""Element-wise functions of one tensor."""

from ..call import Call
from . import op


@op(
    "aten.relu.default",
    "aten.hardtanh.default",
    "aten.clamp.default",
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
    "aten.erf.default",
    "aten.floor.default",
    "aten.ceil.default",
    "aten.round.default",
    "aten.trunc.default",
    "aten.sign.default",
    "aten.pow.Tensor_Scalar",
    "aten.add.Scalar",
    "aten.sub.Scalar",
    "aten.mul.Scalar",
    "aten.div.Scalar",
)
def unary(call: Call) -> None:
    pass
