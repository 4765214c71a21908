import importlib.util
from pathlib import Path

import pytest
import torch
from helpers import error, export, run

EXAMPLE = Path(__file__).parents[2] / "examples/torchvision/export.py"

# Relative to the output's range, with Winograd convolutions allowed.
TOLERANCE = 1e-3


def example():
    spec = importlib.util.spec_from_file_location("torchvision_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", example().MODELS)
def test_one_delegate_and_eagers_answer(name):
    model, image = example().build(name), torch.randn(1, 3, 224, 224)
    exported = export(model, [image])
    assert exported.delegates == 1 and not exported.host_ops, exported.host_ops
    with torch.no_grad():
        want = model(image)
    (got,) = run(exported.pte(), [image])
    assert error(got, want) <= TOLERANCE
