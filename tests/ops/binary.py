import pytest
import torch
from executorch_tandem import edge_config
from helpers import Fn, check, export, run

# Some functions are no core ATen operators, which exports refuse unless told otherwise.
ANY = edge_config()

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


def test_composed():
    a, b = torch.randn(4, 9), torch.randn(9)
    functions = (torch.hypot, torch.fmax, torch.fmin, torch.copysign, torch.logaddexp, torch.logaddexp2, torch.xlogy)
    check(lambda a, b: tuple(f(a, b) for f in functions[:-1]), [a, b], config=ANY)
    check(lambda a, b: (torch.ldexp(a, (4 * b).round()), torch.xlogy(a, b.abs() + 0.1)), [a, b], config=ANY)
    check(lambda a: (torch.exp2(a), torch.signbit(a), torch.nan_to_num(a, 1.0)), [8 * a], config=ANY)


NAN, INF = float("nan"), float("inf")


def test_composed_at_the_ends():
    a = torch.tensor([NAN, 1.0, INF, -INF, 0.0, -0.0, 3e38, 1e-30, -0.0, INF])
    b = torch.tensor([1.0, NAN, INF, 2.0, 0.0, 0.0, 1e38, 1e-30, -INF, -0.0])
    functions = (torch.fmax, torch.fmin, torch.copysign, torch.hypot, lambda a, b: torch.signbit(b))

    def both(a, b):
        return tuple(torch.nan_to_num(f(a, b).float(), 7.0) for f in functions)

    got = run(export(Fn(both), [a, b], config=ANY).pte(), [a, b])
    for have, want in zip(got, both(a, b), strict=True):
        torch.testing.assert_close(have, want)


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0, INF])
def test_distances(p):
    # Powers take logarithms and exponentials of f32.
    check(lambda a, b: torch.cdist(a, b, p), [torch.randn(2, 5, 7), torch.randn(1, 4, 7)], 5e-5, ANY)


def test_between_tensors():
    x, low = torch.randn(4, 6), torch.randn(6) - 1
    check(lambda x, low: (x.clamp(low, low + 1), x.clamp(min=low), x.clamp(max=low[0])), [x, low])
    check(lambda a, b: torch.nn.functional.cosine_similarity(a, b), [x, torch.randn(4, 6)])


def test_sum_of_scaled_product():
    inputs = [torch.randn(3, 5), torch.randn(3, 4), torch.randn(4, 5)]
    check(lambda x, a, b: (torch.addmm(x, a, b, beta=0.5, alpha=2), torch.addmm(x, a, b, beta=0)), inputs)
    check(
        lambda x, a, b: torch.addmv(x, a, b, alpha=2), [torch.randn(3), torch.randn(3, 4), torch.randn(4)], config=ANY
    )


def test_shifts():
    check(lambda x: (x << 3, x >> 2), [torch.randint(-99, 99, (3, 7))], config=ANY)
