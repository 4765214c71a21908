import pytest
import torch
from helpers import check

DIMS = [(-1,), (0,), (2, 3), (0, 2), (0, 1, 2, 3)]


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("keepdim", [True, False])
@pytest.mark.parametrize("function", [torch.mean, torch.sum, torch.amax, torch.amin])
def test_reduce(function, dims, keepdim):
    check(lambda x: function(x, dims, keepdim=keepdim), [torch.randn(2, 5, 6, 17)])


def test_all():
    check(lambda x: (x.mean(), x.sum()), [torch.randn(3, 40)])
