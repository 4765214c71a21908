import pytest
import torch
from helpers import check

FUNCTIONS = {
    "add": torch.add,
    "add_alpha": lambda a, b: torch.add(a, b, alpha=0.25),
    "sub": torch.sub,
    "sub_alpha": lambda a, b: torch.sub(a, b, alpha=2),
    "mul": torch.mul,
    "div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "pow": torch.pow,
}

SHAPES = [
    ((2, 3, 4, 5), (2, 3, 4, 5)),
    ((2, 3, 4, 17), (3, 1, 1)),
    ((4, 1, 5), (1, 6, 1)),
    ((7,), ()),
    ((1, 1), (3, 33)),
]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    check(FUNCTIONS[name], [0.5 + torch.rand(3, 19), 0.5 + torch.rand(3, 19)])


@pytest.mark.parametrize(("a", "b"), SHAPES)
@pytest.mark.parametrize("name", ["add", "sub", "div"])
def test_broadcast(name, a, b):
    check(FUNCTIONS[name], [torch.randn(a), 0.5 + torch.rand(b)])


def test_same_operand_twice():
    check(lambda x: x * x + x, [torch.randn(5, 6)])


def test_constant_operand():
    table = torch.randn(6)
    check(lambda x: x * table + table, [torch.randn(5, 6)])


def test_mixed_dim_orders():
    image = torch.randn(2, 5, 6, 7)
    check(torch.add, [image.to(memory_format=torch.channels_last), image.clone()])
