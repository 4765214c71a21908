import pytest
import torch
from helpers import check
from torch.nn.functional import interpolate

SIZES = [{"scale_factor": 2}, {"size": (7, 9)}, {"size": (3, 2)}, {"scale_factor": (1.5, 0.75)}]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_interpolated(mode, align, size):
    check(lambda x: interpolate(x, mode=mode, align_corners=align, **size), [torch.randn(2, 5, 6, 8)])


@pytest.mark.parametrize("size", SIZES)
def test_nearest(size):
    check(lambda x: interpolate(x, mode="nearest", **size), [torch.randn(2, 5, 6, 8)], tolerance=0)
