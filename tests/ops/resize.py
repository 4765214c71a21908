import pytest
import torch
from executorch_tandem import edge_config
from helpers import check
from torch.nn.functional import affine_grid, grid_sample, interpolate

SIZES = [{"scale_factor": 2}, {"size": (7, 9)}, {"size": (3, 2)}, {"scale_factor": (1.5, 0.75)}]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_interpolated(mode, align, size):
    check(lambda x: interpolate(x, mode=mode, align_corners=align, **size), [torch.randn(2, 5, 6, 8)])


@pytest.mark.parametrize("size", SIZES)
def test_nearest(size):
    check(lambda x: interpolate(x, mode="nearest", **size), [torch.randn(2, 5, 6, 8)], tolerance=0)


# Of the last axes of [5, 6, 8].
OTHER_SIZES = [
    (1, {"scale_factor": 2}),
    (1, {"scale_factor": 1.3}),
    (1, {"size": 11}),
    (3, {"scale_factor": 2}),
    (3, {"scale_factor": (0.7, 1.5, 1.2)}),
    (3, {"size": (7, 3, 9)}),
]


@pytest.mark.parametrize(("axes", "size"), OTHER_SIZES)
@pytest.mark.parametrize("align", [True, False])
def test_interpolated_rows_and_volumes(axes, size, align):
    mode = {1: "linear", 3: "trilinear"}[axes]
    x = torch.randn(2, 3, *(5, 6, 8)[-axes:])
    check(lambda x: interpolate(x, mode=mode, align_corners=align, **size), [x])


@pytest.mark.parametrize(("axes", "size"), OTHER_SIZES)
def test_nearest_rows_and_volumes(axes, size):
    check(lambda x: interpolate(x, mode="nearest", **size), [torch.randn(2, 3, *(5, 6, 8)[-axes:])], tolerance=0)


@pytest.mark.parametrize(("axes", "size"), [*OTHER_SIZES, (2, {"scale_factor": (1.7, 0.6)})])
def test_nearest_exact(axes, size):
    x = torch.randn(2, 3, *(5, 6, 8)[-axes:])
    check(lambda x: interpolate(x, mode="nearest-exact", **size), [x], tolerance=0)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_antialiased(mode):
    def resized(x):
        sizes = [{"size": (5, 4)}, {"size": (23, 3)}, {"scale_factor": (0.37, 1.6)}]
        return tuple(interpolate(x, mode=mode, antialias=True, **size) for size in sizes)

    check(resized, [torch.randn(2, 3, 11, 13)], config=edge_config())


def sampled(x, grid, modes):
    """At the same places in every way there is."""
    paddings = ("zeros", "border", "reflection")
    ways = [(mode, padding, align) for mode in modes for padding in paddings for align in (False, True)]
    return tuple(grid_sample(x, grid, mode, padding, align) for mode, padding, align in ways)


@pytest.mark.parametrize("last", [False, True])
def test_sampled_images(last):
    x, grid = torch.randn(2, 5, 6, 7), 3 * torch.rand(2, 4, 9, 2) - 1.5
    x = x.to(memory_format=torch.channels_last) if last else x
    # Coordinates in f32 are off by a few 1e-7 of an element, values by slopes of up to 3 along each axis.
    check(lambda x, grid: sampled(x, grid, ("bilinear", "nearest", "bicubic")), [x, grid], config=edge_config())


def test_sampled_volumes():
    x, grid = torch.randn(2, 3, 4, 6, 5), 3 * torch.rand(2, 3, 4, 5, 3) - 1.5
    check(lambda x, grid: sampled(x, grid, ("bilinear", "nearest")), [x, grid], config=edge_config())


def test_spatial_transformer():
    def turned(x, theta):
        return grid_sample(x, affine_grid(theta, x.shape, align_corners=False), align_corners=False)

    check(turned, [torch.randn(2, 3, 8, 9), torch.eye(2, 3) + 0.1 * torch.randn(2, 2, 3)])


def test_sampled_half():
    x, grid = torch.randn(1, 4, 5, 6).half(), (2 * torch.rand(1, 3, 4, 2) - 1).half()
    # Eager computes weights in 11 bits.
    check(lambda x, grid: grid_sample(x, grid, align_corners=False), [x, grid], tolerance=2e-2)
