import pytest
import torch
from helpers import check
from torch import nn

WINDOWS = [(2, 2, 0), (3, 2, 1), ((3, 2), (1, 2), (1, 0)), (3, 1, 1)]


@pytest.mark.parametrize(("kernel", "stride", "padding"), WINDOWS)
@pytest.mark.parametrize("channels", [1, 33])
def test_max_pool2d(kernel, stride, padding, channels):
    check(nn.MaxPool2d(kernel, stride, padding), [torch.randn(2, channels, 9, 10)], tolerance=0)


def test_max_pool2d_dilated_and_negative():
    check(nn.MaxPool2d(2, 1, 1, dilation=2), [-1 - torch.rand(1, 5, 8, 7)], tolerance=0)


@pytest.mark.parametrize(("kernel", "stride", "padding"), WINDOWS)
@pytest.mark.parametrize("include_pad", [True, False])
def test_avg_pool2d(kernel, stride, padding, include_pad):
    pool = nn.AvgPool2d(kernel, stride, padding, count_include_pad=include_pad)
    check(pool, [torch.randn(2, 17, 9, 10)])


def test_avg_pool2d_divisor():
    check(nn.AvgPool2d(3, 2, 1, divisor_override=5), [torch.randn(1, 4, 9, 10)])


@pytest.mark.parametrize("size", [1, (2, 3), (4, 4), (9, 10), (7, 1)])
def test_adaptive_avg_pool2d(size):
    check(nn.AdaptiveAvgPool2d(size), [torch.randn(2, 19, 9, 10)])
