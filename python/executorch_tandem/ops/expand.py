"""Broadcast to a larger shape."""

from ..call import Call
from . import op


@op("aten.repeat.default")
def repeat(call: Call) -> None:
    pass


@op("aten.expand_copy.default", view=True)
def expand(call: Call) -> None:
    pass
