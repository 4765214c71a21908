"""Parts of a tensor: slices, diagonals, sliding windows; and tensors with a part replaced or with parts reordered."""

from ..call import Call
from . import op


@op("aten.slice_copy.Tensor", "aten.select_copy.int", view=True)
def slice_(call: Call) -> None:
    pass


@op("aten.split_with_sizes_copy.default", view=True)
def split(call: Call) -> None:
    pass


@op("aten.diagonal_copy.default", "aten.unfold_copy.default", view=True)
def part(call: Call) -> None:
    pass


@op("aten.slice_scatter.default", "aten.select_scatter.default")
@op("aten.diagonal_scatter.default", keep=True)
def replaced(call: Call) -> None:
    pass


@op("aten.roll.default", keep=True)
def roll(call: Call) -> None:
    pass
