import importlib.util
import os
import sys
from pathlib import Path

import executorch_tandem
import pytest
import torch
from helpers import error, export, load

EXAMPLE = Path(__file__).parents[2] / "examples/zoo/models.py"

# Relative to the output's range, with Winograd convolutions allowed.
TOLERANCE = 1e-3

# Steps that only move data; every other model has none. Swin: windows, whose pixels lie in no order that the linear
# layers before and behind attention could read in place, rolled over the image's border or not, and pixels that become
# channels. MobileBERT: embeddings, and words that the concatenation wants next to themselves. DeiT and ViT: the class
# token.
MOVES = {"swin_t": 23, "mobilebert": 6, "deit_tiny": 1, "vit_b_16": 1}

# Beside what benchmarks compare; a whole run takes all of them.
SAMPLE = ["unet_gelu", "whisper_encoder"]


def example():
    spec = importlib.util.spec_from_file_location("zoo_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


ZOO = example()


@pytest.mark.parametrize("name", ZOO.MODELS if os.environ.get("TANDEM_TEST_ALL") else [*ZOO.BENCHED, *SAMPLE])
def test_one_delegate_and_eagers_answer(name):
    model, data = ZOO.build(name)
    exported = export(model, [data])
    assert exported.delegates == 1 and not exported.host_ops, exported.host_ops
    with torch.no_grad():
        want = model(data)
    method = load(exported.pte())
    for got, expected in zip(method.execute([data]), want if isinstance(want, tuple) else [want], strict=True):
        assert error(got, expected) <= TOLERANCE
    steps = executorch_tandem.delegates()[-1].steps
    moves = [(step.name, step.shape, step.reason) for step in steps if step.category == "Data movement"]
    assert len(moves) <= MOVES.get(name, 0), moves
