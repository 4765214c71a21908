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


@pytest.mark.parametrize("eps", [None, 1e-5])
def test_rms_norm(eps):
    for norm, shape in [(nn.RMSNorm(33, eps), (2, 5, 33)), (nn.RMSNorm((4, 6), eps, False), (2, 4, 6))]:
        if norm.weight is not None:
            norm.weight.data.normal_()
        exported = check(norm, [torch.randn(shape)])
        assert exported.ops() == ["Norm"]


def test_computed_parameters():
    x, w, b = torch.randn(2, 4, 6), torch.randn(6), torch.randn(6)
    layer, group = nn.functional.layer_norm, nn.functional.group_norm
    check(lambda x, w, b: (layer(x, (6,), w, b), layer(x, (6,), w), layer(x, (4, 6))), [x, w, b])
    check(lambda x, w, b: (group(x, 2, w[:4], b[:4]), nn.functional.rms_norm(x, (6,), w)), [x, w, b])


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_instance_norm(axes):
    norm = [nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d][axes - 1]
    x = 1 + torch.randn(2, 4, *(3, 5, 6)[-axes:])
    check(norm(4), [x])
    check(randomised(norm(4, affine=True)), [x])


def test_statistics_of_the_batch():
    check(lambda x: nn.functional.batch_norm(x, None, None, training=True), [1 + torch.randn(3, 4, 5, 6)])
