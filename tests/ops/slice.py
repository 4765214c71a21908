import pytest
import torch
from helpers import check

SLICES = {
    "first": lambda x: x[:, :2],
    "last": lambda x: x[..., -3:],
    "step": lambda x: x[:, :, 1::2],
    "middle": lambda x: x[1:2, 1:3, :, 2:],
    "select": lambda x: x[:, 2],
    "select_last": lambda x: x[..., -1],
}


@pytest.mark.parametrize("name", SLICES)
def test_slice(name):
    check(lambda x: SLICES[name](x).neg(), [torch.randn(2, 5, 6, 7)], tolerance=0)


@pytest.mark.parametrize("name", SLICES)
def test_slice_of_result(name):
    check(lambda x: SLICES[name](x.neg()), [torch.randn(2, 5, 6, 7)], tolerance=0)


def test_chunk():
    check(lambda x: torch.mul(*x.chunk(2, 1)), [torch.randn(2, 6, 5)])


def test_split_with_one_part_unused():
    def ends(x):
        a, _, c = x.split([1, 2, 3], 1)
        return a * c

    check(ends, [torch.randn(2, 6, 5)])
