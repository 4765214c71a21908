import pytest
import torch
from helpers import check


@pytest.mark.parametrize("dim", [-1, 0, 1])
@pytest.mark.parametrize("function", [torch.softmax, torch.log_softmax])
def test_softmax(function, dim):
    check(lambda x: function(x, dim), [5 * torch.randn(3, 7, 33)])


def test_large_values():
    check(lambda x: x.softmax(-1), [1000 * torch.randn(4, 20)])


def test_one_element():
    check(lambda x: x.softmax(-1), [torch.randn(4, 1)])
