import pytest
import torch
from helpers import check
from torch import nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle


@pytest.mark.parametrize("factor", [2, 3])
def test_shuffle(factor):
    check(lambda x: pixel_shuffle(x.neg(), factor), [torch.randn(2, 2 * factor**2, 3, 5)], tolerance=0)


@pytest.mark.parametrize("factor", [2, 3])
def test_unshuffle(factor):
    check(lambda x: pixel_unshuffle(x.neg(), factor), [torch.randn(2, 2, 3 * factor, 2 * factor)], tolerance=0)


def test_behind_conv():
    net = nn.Sequential(nn.Conv2d(6, 20, 3, padding=1), nn.PixelShuffle(2), nn.ReLU())
    exported = check(net, [torch.randn(1, 6, 7, 8)], tolerance=5e-5)
    assert exported.ops() == ["Conv"]
