"""Copies that change nothing but memory, which a delegate sees nothing of."""

from ..call import Call
from . import op


@op("dim_order_ops._clone_dim_order.default", "aten.clone.default", "aten.alias_copy.default", view=True)
def clone(call: Call) -> None:
    call.rename("aten.clone.default", self=call["self"])


@op("aten.copy.default")
def copy(call: Call) -> None:
    pass


@op("dim_order_ops._to_dim_order_copy.default", "aten._to_copy.default", view=True)
def to_copy(call: Call) -> None:
    call.rename("aten._to_copy.default", self=call["self"])
