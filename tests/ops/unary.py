import pytest
import torch
from helpers import check
from torch.nn import functional

ACTIVATIONS = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "hardtanh": lambda x: functional.hardtanh(x, -0.5, 2.0),
    "clamp": lambda x: x.clamp(-0.3, 0.7),
    "clamp_min": lambda x: x.clamp(min=0.1),
    "clamp_max": lambda x: x.clamp(max=0.1),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.2),
    "elu": lambda x: functional.elu(x, 0.7),
    "mish": functional.mish,
    "softplus": functional.softplus,
}

OF_ANY = {
    "neg": torch.neg,
    "abs": torch.abs,
    "exp": torch.exp,
    "sin": torch.sin,
    "cos": torch.cos,
    "erf": torch.erf,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "trunc": torch.trunc,
    "sign": torch.sign,
    "square": lambda x: x**2,
    "cube": lambda x: x**3,
    "add_scalar": lambda x: x + 2,
    "sub_scalar": lambda x: x - 0.5,
    "rsub_scalar": lambda x: 1 - x,
    "mul_scalar": lambda x: 3 * x,
    "div_scalar": lambda x: x / 7,
}

OF_POSITIVE = {
    "log": torch.log,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "pow": lambda x: x**0.3,
    "rdiv_scalar": lambda x: 2 / x,
}


def _values() -> torch.Tensor:
    return torch.cat([4 * torch.randn(3, 37), torch.linspace(-20, 20, 37)[None], torch.zeros(1, 37)])


@pytest.mark.parametrize("name", [*ACTIVATIONS, *OF_ANY])
def test_any(name):
    x = _values() if name != "exp" else torch.randn(3, 37)
    check((ACTIVATIONS | OF_ANY)[name], [x])


@pytest.mark.parametrize("name", OF_POSITIVE)
def test_positive(name):
    check(OF_POSITIVE[name], [0.1 + 5 * torch.rand(5, 37)])


@pytest.mark.parametrize("shape", [(), (1,), (15,), (16,), (17,), (2, 3, 1, 5)])
def test_shapes(shape):
    check(torch.tanh, [torch.randn(shape)])


def test_channels_last():
    exported = check(torch.tanh, [torch.randn(2, 5, 6, 7).to(memory_format=torch.channels_last)])
    assert exported.ops() == ["Unary"]


def test_scaled_exponential():
    check(torch.nn.SELU(), [3 * torch.randn(5, 7)])
