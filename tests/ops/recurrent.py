import pytest
import torch
from executorch_tandem.builder import Builder
from helpers import check
from torch import nn

# Roundings of the sums pass through every later step.
STEPS = 2e-5

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "tanh": nn.RNN, "relu": lambda *a, **k: nn.RNN(*a, **k, nonlinearity="relu")}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"num_layers": 2, "bidirectional": True},
        {"num_layers": 3, "batch_first": True},
        {"bidirectional": True, "batch_first": True, "bias": False},
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_from_zeros(kind, options, batch):
    check(Flat(LAYERS[kind](5, 7, **options)), [_sequences(options, batch, 5)], STEPS)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}])
def test_from_given_states(kind, options):
    layer = LAYERS[kind](5, 7, **options)
    states = [torch.randn(4 if options else 1, 3, 7) for _ in range(2 if kind == "lstm" else 1)]

    check(Flat(layer), [_sequences(options, 3, 5), *states], STEPS)


@pytest.mark.parametrize("kind", LAYERS)
def test_without_batch(kind):
    check(Outputs(LAYERS[kind](5, 7)), [torch.randn(6, 5)], STEPS)


@pytest.mark.parametrize("kind", LAYERS)
def test_one_step(kind):
    check(Outputs(LAYERS[kind](33, 65)), [torch.randn(1, 2, 33)], STEPS)


def test_long_sequence():
    exported = check(Outputs(nn.LSTM(8, 16)), [torch.randn(200, 1, 8)], STEPS)
    # One product for all steps of the input, two for each step.
    assert exported.ops().count("Linear") == 1 + 2 * 200


@pytest.mark.parametrize("kind", LAYERS)
def test_last_state_alone(kind):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = LAYERS[kind](5, 7, num_layers=2, bidirectional=True)

        def forward(self, x):
            return Flat.forward(self, x)[-1]

    check(Last(), [torch.randn(6, 2, 5)], STEPS)


REFUSED = {
    "1026 steps of all layers, more than 1024": (nn.RNN(3, 4, num_layers=2), 513),
    "hidden states are projected": (nn.LSTM(3, 4, proj_size=2), 5),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refusals_say_why(reason):
    layer, steps = REFUSED[reason]
    program = torch.export.export(layer, (torch.randn(steps, 1, 3),))
    assert reason in [Builder(program).reason(node) for node in program.graph.nodes if node.op == "call_function"]


class Flat(nn.Module):
    """A layer with its states listed behind its sequence, in and out."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x, *states):
        given = (states if len(states) == 2 else states[0]) if states else None
        y, last = self.layer(x, given)
        return (y, *last) if isinstance(last, tuple) else (y, last)


class Outputs(nn.Module):
    """The outputs of a layer without its last states."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


def _sequences(options: dict, batch: int, width: int) -> torch.Tensor:
    return torch.randn((batch, 6, width) if options.get("batch_first") else (6, batch, width))
