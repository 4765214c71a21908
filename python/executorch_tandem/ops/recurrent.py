"""Recurrent layers over whole sequences."""

from ..call import Call
from . import op

# Every step of every layer and direction becomes some ten small ops. 1024 of an LSTM load in half a second; planning
# grows as their square.
MAX_STEPS = 1024


@op("aten.lstm.input", "aten.gru.input", "aten.rnn_tanh.input", "aten.rnn_relu.input", keep=True)
def recurrent(call: Call) -> None:
    call.require_rank("input", 2, 3)
    call.require_constant("params")
    call.require(not call["train"] or call["dropout"] == 0, "dropout in training")
    directions = 2 if call["bidirectional"] else 1
    weights = 4 if call["has_biases"] else 2
    call.require(len(call["params"]) == call["num_layers"] * directions * weights, "hidden states are projected")
    shape = call.shape("input")
    steps = shape[1 if call["batch_first"] and len(shape) == 3 else 0] * call["num_layers"] * directions
    call.require(steps <= MAX_STEPS, f"{steps} steps of all layers, more than {MAX_STEPS}")
