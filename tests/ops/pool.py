import pytest
import torch
from executorch_tandem import edge_config
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


# Adaptive maxima are not core ATen.
ADAPTIVE_MAX = edge_config()

# A kernel along each axis: (kernel, stride, padding).
VOLUME_WINDOWS = [(2, 2, 0), (3, 2, 1), ((3, 1, 2), (2, 1, 1), (1, 0, 1)), ((1, 3, 3), 1, (0, 1, 1))]


@pytest.mark.parametrize(("kernel", "stride", "padding"), VOLUME_WINDOWS)
@pytest.mark.parametrize("ceil", [False, True])
def test_max_pool3d(kernel, stride, padding, ceil):
    check(nn.MaxPool3d(kernel, stride, padding, ceil_mode=ceil), [torch.randn(2, 5, 6, 9, 10)], tolerance=0)


@pytest.mark.parametrize(("kernel", "stride", "padding"), VOLUME_WINDOWS)
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("include_pad", [True, False])
@pytest.mark.parametrize("divisor", [None, 5])
def test_avg_pool3d(kernel, stride, padding, ceil, include_pad, divisor):
    pool = nn.AvgPool3d(kernel, stride, padding, ceil, include_pad, divisor)
    check(pool, [torch.randn(2, 5, 6, 9, 10)])


@pytest.mark.parametrize("include_pad", [True, False])
@pytest.mark.parametrize("divisor", [None, 5])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (2, 3, 1), (4, 3, 0), (3, 2, 0)])
def test_ceil_mode(kernel, stride, padding, include_pad, divisor):
    pool = nn.AvgPool2d(kernel, stride, padding, True, include_pad, divisor)
    check(pool, [torch.randn(2, 17, 9, 10)])
    check(nn.MaxPool2d(kernel, stride, padding, ceil_mode=True), [torch.randn(2, 17, 9, 10)], tolerance=0)


def test_ceil_mode_with_windows_beyond_the_image():
    check(nn.MaxPool2d(3, 2, ceil_mode=True), [torch.randn(2, 17, 2, 2)], tolerance=0)
    check(nn.AvgPool2d(2, 2, ceil_mode=True), [torch.randn(2, 17, 1, 5)])


@pytest.mark.parametrize("ceil", [False, True])
def test_pools_of_rows(ceil):
    x = torch.randn(2, 6, 14)
    check(nn.MaxPool1d(3, 2, 1, ceil_mode=ceil), [x], tolerance=0)
    check(nn.AvgPool1d(3, 2, 1, ceil), [x])
    check(nn.AvgPool1d(3, 2, 1, ceil, count_include_pad=False), [x])
    check(nn.AdaptiveAvgPool1d(5), [x])
    check(nn.AdaptiveMaxPool1d(5), [x], tolerance=0, config=ADAPTIVE_MAX)


@pytest.mark.parametrize("size", [1, (2, 3, 4), (6, 4, 4), (3, 9, 10), (6, 9, 10)])
def test_adaptive_pools_of_volumes(size):
    x = torch.randn(2, 5, 6, 9, 10)
    check(nn.AdaptiveAvgPool3d(size), [x])
    check(nn.AdaptiveMaxPool3d(size), [x], tolerance=0, config=ADAPTIVE_MAX)


@pytest.mark.parametrize("size", [1, (2, 3), (4, 4), (9, 10), (7, 1)])
def test_adaptive_max_pool2d(size):
    check(nn.AdaptiveMaxPool2d(size), [-1 - torch.rand(2, 19, 9, 10)], tolerance=0, config=ADAPTIVE_MAX)


@pytest.mark.parametrize(
    ("pool", "shape"),
    [
        (nn.MaxPool1d(2), (3, 8)),
        (nn.AvgPool2d(2, ceil_mode=True), (3, 7, 8)),
        (nn.AdaptiveMaxPool2d(3), (3, 7, 8)),
        (nn.MaxPool3d(2), (3, 4, 6, 8)),
        (nn.AvgPool3d(2), (3, 4, 6, 8)),
        (nn.AdaptiveAvgPool3d(3), (3, 4, 6, 8)),
        (nn.AdaptiveMaxPool3d(3), (3, 4, 6, 8)),
    ],
)
def test_without_batch(pool, shape):
    check(pool, [torch.randn(shape)], config=ADAPTIVE_MAX)


def few_numbers(*shape):
    """Of which many are equal."""
    return torch.randint(-3, 3, shape).float()


PLACES = [
    (nn.functional.max_pool1d, (2, 3, 17), [(2, 2, 0), (5, 3, 2), (3, 1, 1, 2)]),
    (nn.functional.max_pool2d, (2, 33, 9, 10), [*WINDOWS, (2, 2, 1, 2), (3, 2, 1, (1, 2), True)]),
    (nn.functional.max_pool2d, (5, 9, 10), [(3, 2, 1)]),
    (nn.functional.max_pool3d, (2, 5, 6, 9, 10), [*VOLUME_WINDOWS, (2, 2, 1, (2, 1, 2), True)]),
]


@pytest.mark.parametrize(("pool", "shape", "windows"), PLACES)
def test_places_of_maxima(pool, shape, windows):
    def places(x):
        return tuple(y for window in windows for y in pool(x, *window, return_indices=True))

    check(places, [few_numbers(*shape)], tolerance=0)


def test_places_of_adaptive_maxima():
    def pooled(x):
        images = nn.functional.adaptive_max_pool2d(x.flatten(0, 1), (3, 4), return_indices=True)
        rows = nn.functional.adaptive_max_pool1d(x[0].flatten(1, 2), 4, return_indices=True)
        return (*rows, *images, *nn.functional.adaptive_max_pool3d(x, (3, 2, 4), return_indices=True))

    check(pooled, [few_numbers(2, 3, 4, 5, 6)], tolerance=0, config=ADAPTIVE_MAX)


def test_unpooled():
    def net(x):
        y, places = nn.functional.max_pool2d(x, 2, return_indices=True)
        return nn.functional.max_unpool2d(y, places, 2, output_size=x.shape[-2:])

    check(net, [torch.randn(2, 3, 7, 9)], tolerance=0)
