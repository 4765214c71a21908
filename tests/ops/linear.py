import pytest
import torch
from helpers import check
from torch import nn


@pytest.mark.parametrize("k", [1, 20, 64])
@pytest.mark.parametrize("n", [1, 16, 31, 33, 64])
def test_linear(k, n):
    check(nn.Linear(k, n), [torch.randn(5, k)])


@pytest.mark.parametrize("shape", [(7,), (1, 7), (2, 3, 7), (2, 1, 4, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_ranks(shape, bias):
    check(nn.Linear(7, 10, bias=bias), [torch.randn(shape)])


def test_computed_weight():
    linear = nn.Linear(6, 10)
    check(lambda x: nn.functional.linear(x, linear.weight * 2, linear.bias + 1), [torch.randn(3, 6)])


def test_addmm():
    check(lambda x, a, b: torch.addmm(x, a, b), [torch.randn(5), torch.randn(3, 4), torch.randn(4, 5)])


def test_pixel_shuffle_behind_linear():
    class Up(nn.Module):
        def __init__(self, channels, out):
            super().__init__()
            self.linear = nn.Linear(channels, 4 * out)
            self.bn = nn.BatchNorm2d(4 * out)
            self.bn.running_mean.uniform_(0, 1)
            self.bn.weight.data.uniform_(-1, 1)
            self.out = out

        def forward(self, x):
            n, _, h, w = x.shape
            x = self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            x = self.bn(x.relu()).reshape(n, self.out, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3)
            return x.reshape(n, self.out, 2 * h, 2 * w)

    exported = check(Up(12, 5), [torch.randn(2, 12, 3, 4)])
    assert len(exported.ops()) == 1, exported.ops()
