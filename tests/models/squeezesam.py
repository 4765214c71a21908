import os

import executorch_tandem
import pytest
import torch
from helpers import error, export, load, run
from model import GMAC, SIZE, macs, squeezesam

# Relative to the range of the output: on record for direct and for Winograd convolutions, through some forty layers.
TOLERANCES = {"direct": 1e-4, "fast": 1e-3}
# At each number of threads; together 100 in the full run.
RUNS = 50 if os.environ.get("TANDEM_TEST_ALL") else 5


@pytest.fixture(scope="module")
def model():
    return squeezesam()


@pytest.fixture(scope="module")
def image():
    return torch.randn(1, 5, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def exported(model, image):
    return export(model, [image])


def test_size(model, image):
    assert round(macs(model, image) / 1e9, 2) == GMAC


def test_one_delegate(exported):
    assert exported.delegates == 1 and not exported.host_ops


def test_every_pattern_is_fused(exported):
    ops = exported.ops()
    # 31 convolutions and the up-blocks' 7 linear layers, which store their pixels shuffled.
    assert ops.count("Conv") == 38, ops
    # The one concatenation left joins the hyper-networks' rows.
    assert (ops.count("Affine"), ops.count("PixelShuffle"), ops.count("Concat")) == (0, 0, 1), ops


def test_no_step_only_moves_data(exported, image):
    method = load(exported.pte())
    steps = executorch_tandem.delegates()[-1].steps
    moves = [(step.name, step.shape, step.reason) for step in steps if step.category == "Data movement"]
    assert not moves
    del method


@pytest.mark.parametrize("algorithm", TOLERANCES)
def test_matches_eager(model, image, exported, algorithm, monkeypatch):
    monkeypatch.setenv("TANDEM_ALGORITHM", algorithm)
    with torch.no_grad():
        want = model(image)
    for got, expected in zip(run(exported.pte(), [image]), want, strict=True):
        assert error(got, expected) <= TOLERANCES[algorithm]


def test_same_bits_at_any_number_of_threads_every_time(image, exported, monkeypatch):
    results = []
    for threads in ("1", "2"):
        monkeypatch.setenv("TANDEM_THREADS", threads)
        method = load(exported.pte())
        results += [[out.clone() for out in method.execute([image])] for _ in range(RUNS)]
    first = results[0]
    assert all(torch.equal(a, b) for outputs in results for a, b in zip(outputs, first, strict=True))


def test_channels_last(model, image):
    image = image.to(memory_format=torch.channels_last)
    model = squeezesam().to(memory_format=torch.channels_last)
    exported = export(model, [image])
    assert exported.delegates == 1 and not exported.host_ops
    with torch.no_grad():
        want = model(image)
    for got, expected in zip(run(exported.pte(), [image]), want, strict=True):
        assert error(got, expected) <= TOLERANCES["fast"]
