import pytest
import torch
from helpers import Fn, check, export, run

COMPARISONS = {name: getattr(torch, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")}
DTYPES = [torch.float32, torch.int64, torch.int32, torch.uint8]


def _numbers(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randint(0, 5, shape).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", COMPARISONS)
def test_of_two(name, dtype):
    check(COMPARISONS[name], [_numbers(4, 1, 9, dtype=dtype), _numbers(3, 9, dtype=dtype)])


@pytest.mark.parametrize("name", COMPARISONS)
def test_with_a_number(name):
    check(lambda x: COMPARISONS[name](x, 2), [_numbers(40)])


def test_of_different_dtypes():
    check(lambda a, b: (a < b, a + b, a * b), [_numbers(8, dtype=torch.int32), _numbers(8)])


def test_nan_equals_nothing():
    x = torch.tensor([float("nan"), 1.0, float("inf"), -float("inf")])
    exported = export(Fn(lambda x: (x == x, x < 2, torch.isnan(x), torch.isinf(x))), [x])
    assert exported.delegates == 1 and not exported.host_ops
    want = [x == x, x < 2, torch.isnan(x), torch.isinf(x)]
    assert all(torch.equal(a, b) for a, b in zip(run(exported.pte(), [x]), want, strict=True))


def test_truth_values():
    a, b = _numbers(50) > 2, _numbers(50) > 1
    check(lambda a, b: (a & b, a | b, a ^ b, ~a, torch.logical_and(a, b), torch.logical_not(b)), [a, b])


def test_choices():
    cond, x, y = _numbers(3, 1, 7) > 2, torch.randn(4, 7), torch.randn(3, 4, 1)
    check(lambda c, x, y: torch.where(c, x, y), [cond, x, y])
    check(lambda c, x: torch.where(c, x, 0.5), [cond, x])
    check(lambda c, x: x.masked_fill(c, -1e9), [cond, torch.randn(3, 4, 7)])
    check(lambda c, x: torch.where(c, x, -x), [cond, torch.randint(-9, 9, (3, 4, 7))])


def test_thresholds():
    x = torch.randn(2, 5, 6)
    check(lambda x: torch.nn.functional.threshold(x, 0.2, 9.0), [x])
    check(torch.nn.PReLU(5), [x])
    check(torch.nn.GLU(1), [torch.randn(2, 6, 3)])
    check(torch.nn.LogSigmoid(), [x])
