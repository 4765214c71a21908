"""dst[..., m, n] = a[..., m, k] * b[..., k, n]."""

from ..call import Call
from . import op


@op("aten.mm.default", "aten.bmm.default")
def mm(call: Call) -> None:
    pass


@op("aten.matmul.default", keep=True)
def matmul(call: Call) -> None:
    for name in ("self", "other"):
        call.require(len(call.shape(name)) >= 2, f"{name} has fewer than 2 dimensions")
