"""Dimensions in another order."""

from ..call import Call
from . import op


@op("aten.permute_copy.default", view=True)
def permute(call: Call) -> None:
    pass
