"""Nearest, linear and cubic resizing of one to three dimensions, and sampling at given places."""

from ..call import Call
from . import op


@op(
    "aten.upsample_nearest1d.vec",
    "aten.upsample_nearest2d.vec",
    "aten.upsample_nearest3d.vec",
    "aten.upsample_linear1d.vec",
    "aten.upsample_bilinear2d.vec",
    "aten.upsample_trilinear3d.vec",
    "aten.upsample_bicubic2d.vec",
    keep=True,
)
def resize(call: Call) -> None:
    pass


@op("aten._upsample_bilinear2d_aa.default", "aten._upsample_bicubic2d_aa.default", keep=True)
def antialiased(call: Call) -> None:
    pass


@op("aten.grid_sampler_2d.default", "aten.grid_sampler_3d.default", keep=True)
def grid(call: Call) -> None:
    pass
