"""Softmax and its logarithm along one dimension."""

from ..call import Call
from . import op


@op("aten._softmax.default", "aten._log_softmax.default")
def softmax(call: Call) -> None:
    call.require(not call["half_to_float"], "half_to_float")
