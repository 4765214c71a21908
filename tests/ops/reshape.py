import pytest
import torch
from helpers import check

# Views alone stay on the host, so each is followed by arithmetic; what is computed is exact.
X = (2, 3, 4, 5)


@pytest.mark.parametrize("shape", [(6, 20), (120,), (2, 3, 1, 20), (2, 1, 3, 4, 5), (1, 24, 5)])
def test_reshape(shape):
    check(lambda x: x.neg().reshape(shape).neg(), [torch.randn(X)], tolerance=0)


def test_reshape_of_permuted():
    check(lambda x: x.permute(0, 2, 3, 1).reshape(40, 3).neg(), [torch.randn(X)], tolerance=0)


def test_reshape_of_channels_last():
    check(lambda x: x.neg().reshape(2, 60), [torch.randn(X).to(memory_format=torch.channels_last)], tolerance=0)


def test_squeeze_unsqueeze_flatten():
    check(lambda x: x[:, :1].squeeze(1).unsqueeze(0).flatten(1).neg(), [torch.randn(X)], tolerance=0)
