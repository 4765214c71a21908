import pytest
import torch
from helpers import check
from torch import nn


def randomised(module):
    for tensor in (module.weight, module.bias):
        if tensor is not None:
            tensor.data.normal_()
    return module


@pytest.mark.parametrize("shape", [(1,), (32,), (768,), (6, 5)])
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm(shape, affine):
    norm = randomised(nn.LayerNorm(shape, elementwise_affine=affine))
    check(norm, [3 + torch.randn(2, 4, *shape)])


@pytest.mark.parametrize(("groups", "channels"), [(1, 64), (4, 12), (7, 7)])
def test_group_norm(groups, channels):
    check(randomised(nn.GroupNorm(groups, channels)), [1 + torch.randn(2, channels, 5, 6)])


def test_group_norm_of_rows():
    check(randomised(nn.GroupNorm(2, 6)), [torch.randn(2, 6, 9)])


def batch_norm(norm):
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return randomised(norm) if norm.affine else norm


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("channels", [1, 33])
def test_batch_norm2d(channels, affine):
    check(batch_norm(nn.BatchNorm2d(channels, affine=affine)), [torch.randn(2, channels, 5, 6)])


def test_batch_norm1d():
    check(batch_norm(nn.BatchNorm1d(10)), [torch.randn(3, 10)])
    check(batch_norm(nn.BatchNorm1d(10)), [torch.randn(3, 10, 7)])
