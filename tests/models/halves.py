"""Models of 16-bit floats: close to the same weights in f32, and half their memory."""

import os

import executorch_tandem
import pytest
import torch
from helpers import export, load, run
from model import squeezesam

# Of the range of the output. Every layer's result is rounded once, to 2^-11 (f16) or 2^-8 (bf16) of itself, and some
# forty layers add such errors up like a random walk: 40^0.5 / 2^12 is 1.5e-3, eight times that for bf16.
TOLERANCES = {torch.float16: 1e-2, torch.bfloat16: 8e-2}
SIZES = [256, 512] if os.environ.get("TANDEM_TEST_ALL") else [256]


def halved(dtype):
    """The model with rounded weights, and the same in f32."""
    return squeezesam().to(dtype), squeezesam().to(dtype).float()


def image(size):
    return torch.randn(1, 5, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_close_to_f32(dtype, size):
    model, wide = halved(dtype)
    x = image(size).to(dtype)
    exported = export(model, [x])
    assert exported.delegates == 1 and not exported.host_ops
    with torch.no_grad():
        expected = wide(x.float())
    for got, want in zip(run(exported.pte(), [x]), expected, strict=True):
        assert got.dtype == dtype
        error = (got.float() - want).abs().max() / (want.max() - want.min())
        assert error <= TOLERANCES[dtype], error


def test_half_the_memory():
    def delegate(dtype):
        x = image(512).to(dtype)
        method = load(export(squeezesam().to(dtype), [x]).pte())
        delegate = executorch_tandem.delegates()[-1]
        del method
        return delegate

    wide, half = delegate(torch.float32), delegate(torch.float16)
    assert half.weight_bytes <= 0.55 * wide.weight_bytes
    assert half.arena_bytes <= 0.55 * wide.arena_bytes
