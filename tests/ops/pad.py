import pytest
import torch
from helpers import check
from torch.nn.functional import pad


@pytest.mark.parametrize("padding", [(1, 2), (1, 0, 2, 3), (0, 1, 1, 0, 2, 1), (-1, 2), (-1, -1, 1, -2)])
def test_constant(padding):
    check(lambda x: pad(x, padding, value=1.5), [torch.randn(2, 3, 5, 6)], tolerance=0)


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_edge(mode):
    check(lambda x: pad(x, (1, 2, 3, 0), mode=mode), [torch.randn(2, 3, 5, 6)], tolerance=0)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [(1, 2), (1, 2, 3, 0), (2, 1, 0, 4, 1, 1)])
def test_edge_of_any_axes(mode, padding):
    axes = len(padding) // 2
    check(lambda x: pad(x, padding, mode=mode), [torch.randn(2, 3, 4, 5, 6)[(0,) * (3 - axes)]], tolerance=0)
