"""Layer, group and batch normalisation."""

from ..call import Call
from . import op


@op("aten.layer_norm.default", keep=True)
def layer_norm(call: Call) -> None:
    call.require_constant("weight", "bias")


@op("aten.native_layer_norm.default")
def native_layer_norm(call: Call) -> None:
    call.require_constant("weight", "bias")
    call.require(call.used_outputs == [0], "mean and rstd are used")


@op("aten.group_norm.default", keep=True)
def group_norm(call: Call) -> None:
    call.require_constant("weight", "bias")
    call.require(len(call.shape("input")) >= 2, "input has no channels")


@op("aten.native_group_norm.default")
def native_group_norm(call: Call) -> None:
    call.require_constant("weight", "bias")
    call.require(call.used_outputs == [0], "mean and rstd are used")


@op("aten._native_batch_norm_legit_no_training.default")
def batch_norm(call: Call) -> None:
    call.require_constant("weight", "bias", "running_mean", "running_var")
    call.require(call.used_outputs == [0], "the saved statistics are used")
