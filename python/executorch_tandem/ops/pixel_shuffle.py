"""Channels to pixels and back."""

from ..call import Call
from . import op


@op("aten.pixel_shuffle.default", "aten.pixel_unshuffle.default", keep=True)
def pixel_shuffle(call: Call) -> None:
    call.require(len(call.shape("self")) >= 3, "self is not an image")
