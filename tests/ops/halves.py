"""16-bit floats: computed in f32, stored as they are, rounded where eager rounds."""

import pytest
import torch
from helpers import check
from torch import nn

# Eager rounds behind every operator, Tandem behind those it does not fuse: a few roundings of each's precision apart.
TOLERANCES = {torch.float16: 5e-3, torch.bfloat16: 4e-2}


@pytest.fixture(params=TOLERANCES)
def dtype(request):
    return request.param


def test_network(dtype):
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 8, 1), nn.GELU()
    )
    check(net.eval().to(dtype), [torch.randn(1, 3, 16, 16).to(dtype)], TOLERANCES[dtype])


def test_tokens(dtype):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.up, self.down = nn.LayerNorm(32), nn.Linear(32, 64), nn.Linear(64, 32)

        def forward(self, x):
            x = x + self.down(nn.functional.silu(self.up(self.norm(x))))
            return (x @ x.transpose(-1, -2)).softmax(-1)

    check(Block().eval().to(dtype), [torch.randn(2, 9, 32).to(dtype)], TOLERANCES[dtype])


def test_moves_and_choices(dtype):
    x, y = torch.randn(3, 4).to(dtype), torch.randn(3, 4).to(dtype)
    check(lambda x, y: (torch.cat([x, y], 1).transpose(0, 1), torch.where(x > y, x, y), x[1:]), [x, y], 0)


def test_sums(dtype):
    check(lambda x: (x.sum(1), x.mean(), x.amax(0), x.argmax(1)), [torch.randn(5, 6).to(dtype)], TOLERANCES[dtype])


def casts(exported):
    ops = exported.programs[0].ops
    return [op.name for op in ops if op.kind.__class__.__name__ == "UnaryT" and op.kind.kind == 19]


def test_what_takes_halves_is_given_them(dtype):
    x = torch.randn(4, 6).to(dtype)
    exported = check(lambda x: (x.relu() * 2).view(6, 4).exp() + 1, [x], TOLERANCES[dtype])
    assert not casts(exported)


def test_the_rest_stands_between_two_casts(dtype):
    x = torch.randn(4, 6).to(dtype)
    exported = check(lambda x: x.relu().cumsum(1).tanh(), [x], TOLERANCES[dtype])
    assert len(casts(exported)) == 2
