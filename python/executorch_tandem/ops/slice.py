"""A run of indices of one dimension, or one of them."""

from ..call import Call
from . import op


@op("aten.slice_copy.Tensor", "aten.select_copy.int", view=True)
def slice_(call: Call) -> None:
    pass


@op("aten.split_with_sizes_copy.default", view=True)
def split(call: Call) -> None:
    pass
