import pytest
import torch
from helpers import check

SHAPES = [
    ((3, 4), (4, 5)),
    ((1, 1), (1, 1)),
    ((2, 3, 4), (2, 4, 5)),
    ((2, 3, 7, 17), (2, 3, 17, 33)),
    ((2, 1, 7, 8), (3, 8, 9)),
    ((6, 64), (64, 100)),
]


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_matmul(a, b):
    check(torch.matmul, [torch.randn(a), torch.randn(b)])


def test_mm_and_bmm():
    check(torch.mm, [torch.randn(5, 6), torch.randn(6, 7)])
    check(torch.bmm, [torch.randn(3, 5, 6), torch.randn(3, 6, 7)])


def test_transposed_operands():
    check(lambda a, b: a.transpose(-2, -1) @ b.transpose(-2, -1), [torch.randn(2, 8, 5), torch.randn(2, 9, 8)])


def test_constant_operand():
    weight = torch.randn(8, 12)
    check(lambda x: x @ weight, [torch.randn(2, 3, 8)])
