import pytest
import torch
from helpers import check


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (3, 2, 1, 0), (0, 1, 3, 2), (1, 0, 2, 3)])
def test_permute(order):
    check(lambda x: x.permute(order).neg(), [torch.randn(2, 3, 4, 5)], tolerance=0)


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (2, 0, 3, 1)])
def test_permute_of_result(order):
    check(lambda x: x.neg().permute(order), [torch.randn(2, 3, 4, 5)], tolerance=0)


def test_contiguous():
    check(lambda x: x.transpose(1, 2).contiguous().neg(), [torch.randn(2, 3, 4)], tolerance=0)
