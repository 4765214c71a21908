"""dst[..., n] = src[..., k] * weight^T + bias."""

from ..call import Call
from . import op


@op("aten.linear.default", keep=True)
def linear(call: Call) -> None:
    call.require_constant("weight", "bias")
    call.require_rank("weight", 2)
    call.require(len(call.shape("input")) >= 1, "input has no dimensions")


@op("aten.addmm.default")
@op("aten.addmv.default", keep=True)
def addmm(call: Call) -> None:
    pass
