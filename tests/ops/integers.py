import pytest
import torch
from executorch_tandem import edge_config
from helpers import check

DTYPES = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]

# cumprod is no core ATen operator, which exports refuse unless told otherwise.
ANY = edge_config()

FUNCTIONS = {
    "add": lambda a, b: a + b,
    "add_alpha": lambda a, b: torch.add(a, b, alpha=3),
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floor_divide": lambda a, b: torch.div(a, b, rounding_mode="floor"),
    "truncated": lambda a, b: torch.div(a, b, rounding_mode="trunc"),
    "remainder": lambda a, b: a % b,
    "fmod": torch.fmod,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, dtype):
    low = 0 if dtype == torch.uint8 else -20
    a = torch.randint(low, 20, (3, 17)).to(dtype)
    b = torch.randint(1, 9, (17,)).to(dtype)
    check(FUNCTIONS[name], [a, b])


@pytest.mark.parametrize("rounding", ["floor", "trunc"])
def test_quotients_of_floats(rounding):
    a, b = 20 * torch.randn(4, 9), torch.rand(9) + 0.3
    check(lambda a, b: torch.div(a, b, rounding_mode=rounding), [a, b])
    check(lambda a, b: (a % b, torch.fmod(a, b)), [a, b])


def test_of_one():
    x = torch.randint(-20, 20, (3, 17))
    check(lambda x: (-x, x.abs(), x.sign(), ~x, x * x), [x])


def test_with_numbers():
    x = torch.randint(-20, 20, (3, 17))
    check(lambda x: torch.round(x.float() / 7, decimals=2), [x], config=ANY)
    check(lambda x: (x + 3, 5 - x, x * 2, x / 4, x.float() * 0.5), [x])


@pytest.mark.parametrize("to", [torch.float32, torch.float16, torch.int32, torch.uint8, torch.bool])
@pytest.mark.parametrize("of", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_casts(of, to):
    check(lambda x: x.to(to) if of != to else x + x, [torch.tensor([0, 1, 2, 100, 7]).to(of)])


def test_sums_and_places():
    x = torch.randint(-9, 9, (4, 5, 6))
    check(lambda x: (x.sum(), x.sum(1), x.amax((0, 2)), x.amin(-1, keepdim=True)), [x])
    check(lambda x: (x.argmax(1), x.argmin(), x.float().argmax(-1, keepdim=True)), [x])
    check(lambda x: ((x > 3).any(1), (x > -9).all(), x.bool().all(0)), [x])
    check(lambda x: (*x.max(1), *x.float().min(0, keepdim=True)), [x])


def test_clamped_and_to_a_power():
    x = torch.randint(-9, 9, (3, 17))
    check(lambda x: (x.clamp(-2, 5), x.clamp(max=3), x.int().clamp(0), x.clamp(-2.5, 2.5)), [x])
    check(lambda x, y: (x.clamp(y, y + 3), x.clamp(max=y)), [x, x[0]])
    check(lambda x: (x**2, x**3, x**7, x.to(torch.int8) ** 5), [x])


def test_roundings_of_f64():
    # Of f64 there is no arithmetic to test but what quantiles need.
    x = torch.tensor([-1e300, -1.5, -1.0, -0.2, -0.0, 0.2, 1.0, 2.7], dtype=torch.float64)
    check(lambda x: (x.floor(), x.ceil(), x.trunc()), [x], 0)
    edges = torch.tensor([-torch.inf, torch.inf, torch.nan], dtype=torch.float64)
    check(lambda x: (x.floor() == x, x.ceil() == x, x.trunc() == x), [edges], 0)


def test_spread():
    x = torch.randn(4, 5, 6)
    check(lambda x: (*torch.var_mean(x, 1), *torch.std_mean(x, (0, 2), correction=0)), [x], config=ANY)
    check(lambda x: (x.var(1), x.std((0, 2)), x.var(-1, unbiased=False, keepdim=True)), [x])


def test_running_sums():
    # f32 is accumulated in f64 by both.
    x = torch.randn(4, 5, 6)
    check(lambda x: (x.cumsum(1), x.long().cumsum(0), (1 + x / 10).cumprod(-1), x.logcumsumexp(1)), [x], config=ANY)


def test_running_extremes():
    x = torch.randint(-5, 5, (4, 9, 3))
    check(lambda x: (*x.cummax(1), *x.cummin(0), *x.float().cummax(-1), *x.half().cummin(1)), [x], config=ANY)
