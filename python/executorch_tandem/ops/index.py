"""Elements at places that other tensors name, and elements in order."""

from ..call import Call
from . import op


@op(
    "aten.embedding.default",
    "aten._embedding_bag.default",
    "aten._embedding_bag_forward_only.default",
    "aten.index_select.default",
    "aten.gather.default",
    "aten.index.Tensor",
    "aten.index_put.default",
    "aten.scatter.src",
    "aten.scatter.value",
    "aten.scatter_add.default",
    "aten.flip.default",
)
@op("aten.scatter_reduce.two", "aten.masked_scatter.default", keep=True)
def index(call: Call) -> None:
    pass


@op(
    "aten.topk.default",
    "aten.sort.default",
    "aten.sort.stable",
    "aten.argsort.default",
    "aten.argsort.stable",
    "aten.median.dim",
    "aten.median.default",
    "aten.cumsum.default",
)
@op(
    "aten.cumprod.default",
    "aten.logcumsumexp.default",
    "aten.cummax.default",
    "aten.cummin.default",
    "aten.kthvalue.default",
    "aten.bucketize.Tensor",
    "aten.searchsorted.Tensor",
    keep=True,
)
def order(call: Call) -> None:
    pass
