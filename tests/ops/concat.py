import pytest
import torch
from helpers import check
from torch import nn


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cat_of_inputs(dim):
    check(lambda a, b: torch.cat([a, b, a], dim).neg(), [torch.randn(2, 3, 4), torch.randn(2, 3, 4)], tolerance=0)


def test_cat_of_results():
    check(lambda a, b: torch.cat([a.neg(), b], 1), [torch.randn(2, 3, 4), torch.randn(2, 5, 4)], tolerance=0)


def test_stack():
    check(lambda a, b: torch.stack([a.neg(), b], 1), [torch.randn(2, 3), torch.randn(2, 3)], tolerance=0)


def test_cat_with_constant():
    token = torch.randn(1, 1, 6)
    check(lambda x: torch.cat([token, x.neg()], 1), [torch.randn(1, 4, 6)], tolerance=0)


def test_cat_before_conv():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 10, 1), nn.Conv2d(3, 23, 1)
            self.conv = nn.Conv2d(33, 40, 3, padding=1)

        def forward(self, x):
            return self.conv(torch.cat([self.a(x), self.b(x)], 1))

    exported = check(Net(), [torch.randn(1, 3, 8, 9)], tolerance=5e-5)
    assert exported.ops() == ["Conv"] * 3


def test_value_twice_and_used_elsewhere():
    def net(x):
        y = x.neg()
        return torch.cat([y, y], 1), y.exp()

    check(net, [torch.randn(1, 3, 4, 4)])
