import pytest
import torch
from helpers import check


@pytest.mark.parametrize(("shape", "to"), [((1, 3), (4, 3)), ((3, 1), (2, 3, 5)), ((1,), (7,))])
def test_expand(shape, to):
    check(lambda x: x.expand(to).neg(), [torch.randn(shape)], tolerance=0)


def test_expand_of_result():
    check(lambda x: x.neg().expand(4, -1, 5), [torch.randn(3, 1)], tolerance=0)
