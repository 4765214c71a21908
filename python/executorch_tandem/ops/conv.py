"""Convolution and transposed convolution, of one to three dimensions, any groups."""

from ..call import Call
from . import op


@op("aten.convolution.default")
def convolution(call: Call) -> None:
    call.require_rank("input", 3, 4, 5)
    call.require_constant("weight", "bias")
    if call["transposed"]:
        spatial = len(call["stride"])
        for i in range(spatial):
            limit = max(call["stride"][i], call["dilation"][i])
            call.require(call["output_padding"][i] < limit, "output_padding is not below stride or dilation")
