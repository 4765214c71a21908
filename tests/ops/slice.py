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


ROLLS = {
    "rows": lambda x: x.roll(2, 1),
    "window": lambda x: x.roll((-3, 1), (2, 1)),
    "several_times_around": lambda x: x.roll((-12, 5), (1, 0)),
    "all": lambda x: x.roll(17),
    "none": lambda x: x.roll(0, 2),
}


@pytest.mark.parametrize("name", ROLLS)
def test_roll(name):
    check(lambda x: ROLLS[name](x), [torch.randn(2, 5, 6, 16)], tolerance=0)
    check(lambda x: ROLLS[name](x), [torch.randint(0, 9, (2, 5, 6, 3))], tolerance=0)
