"""Nearest, bilinear and bicubic resizing of images."""

from ..call import Call
from . import op


@op(
    "aten.upsample_nearest2d.vec",
    "aten.upsample_bilinear2d.vec",
    "aten.upsample_bicubic2d.vec",
    keep=True,
)
def resize(call: Call) -> None:
    call.require_rank("input", 4)
