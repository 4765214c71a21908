"""softmax(scale * q k^T + mask) v."""

from ..call import Call
from . import op


@op("aten.scaled_dot_product_attention.default", keep=True)
def attention(call: Call) -> None:
    call.require(call["dropout_p"] == 0, "dropout_p is not 0")
    for name in ("query", "key", "value"):
        call.require_rank(name, 3, 4)
    heads, kv_heads = (call.shape(name)[-3] for name in ("query", "key"))
    call.require(call.shape("value")[-3] == kv_heads, "key and value have different heads")
    batch, kv_batch = (call.shape(name)[:-3] for name in ("query", "key"))
    call.require(batch == kv_batch == call.shape("value")[:-3], "batches differ")
    if call["enable_gqa"]:
        call.require(heads % kv_heads == 0, f"{heads} heads are no multiple of {kv_heads}")
    else:
        call.require(heads == kv_heads, f"{heads} query heads and {kv_heads} key heads without enable_gqa")
