"""Layer, group and batch normalisation."""

import torch

from ..call import Call
from . import op


@op("aten.layer_norm.default", keep=True)
def layer_norm(call: Call) -> None:
    pass


@op("aten.rms_norm.default", keep=True)
def rms_norm(call: Call) -> None:
    call.require(call["eps"] is not None or call.tensor("input").dtype == torch.float32, "eps is that of a dtype")


@op("aten.native_layer_norm.default")
def native_layer_norm(call: Call) -> None:
    call.require(call.used_outputs == [0], "mean and rstd are used")


@op("aten.group_norm.default", keep=True)
def group_norm(call: Call) -> None:
    call.require(len(call.shape("input")) >= 2, "input has no channels")


@op("aten.native_group_norm.default")
def native_group_norm(call: Call) -> None:
    call.require(call.used_outputs == [0], "mean and rstd are used")


@op("aten._native_batch_norm_legit_no_training.default")
def batch_norm(call: Call) -> None:
    call.require_constant("weight", "bias", "running_mean", "running_var")
    call.require(call.used_outputs == [0], "the saved statistics are used")


@op("aten._native_batch_norm_legit.no_stats")
def norm_of_itself(call: Call) -> None:
    call.require(call.used_outputs == [0], "mean and rstd are used")
