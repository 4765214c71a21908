"""dst[..., n] = src[..., k] * weight^T + bias."""

from ..call import Call
from . import op


@op("aten.linear.default", keep=True)
def linear(call: Call) -> None:
    call.require_constant("weight", "bias")
    call.require_rank("weight", 2)
    call.require(len(call.shape("input")) >= 1, "input has no dimensions")


@op("aten.addmm.default")
def addmm(call: Call) -> None:
    call.require(call["beta"] == 1 and call["alpha"] == 1, "beta and alpha are not 1")
