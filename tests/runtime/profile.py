"""Profiles: ExecuTorch's Inspector and Tandem's own report show the same operators."""

import gc

import executorch_tandem
import pytest
import torch
from executorch.devtools import Inspector
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime
from executorch_tandem import TandemPartitioner
from helpers import export, load
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.pool(self.stem(x)).mean((2, 3))).softmax(-1)


@pytest.fixture(scope="module")
def exported():
    return export(Net(), [torch.randn(1, 3, 8, 8)])


def names(exported):
    return [op.name.decode() for op in exported.programs[0].ops]


def test_names_are_the_models(exported):
    assert {"stem.0", "pool", "head"} <= set(names(exported))


def test_report_has_a_step_for_each_op(exported):
    method = load(exported.pte())
    method.execute([torch.randn(1, 3, 8, 8)])
    delegate = executorch_tandem.delegates()[-1]
    assert (delegate.method, delegate.executions) == ("forward", 1)
    steps = {step.name: step for step in delegate.steps}
    assert steps["stem.0"].category == "Convolution" and steps["stem.0"].kernel
    assert steps["stem.0"].flops == 2 * 8 * 8 * 8 * 27
    assert steps["head"].category == "GEMM"
    # The folded normalisation and the activation belong to the convolution's step.
    assert len(steps["stem.0"].debug_handles) == 3
    assert delegate.arena_bytes >= delegate.live_bytes > 0 and delegate.weight_bytes > 0


def test_a_method_gone_is_no_longer_listed(exported):
    gc.collect()
    before = len(executorch_tandem.delegates())
    method = load(exported.pte())
    assert len(executorch_tandem.delegates()) == before + 1
    del method
    assert len(executorch_tandem.delegates()) == before


def test_inspector_shows_each_op_with_its_source(tmp_path):
    program = torch.export.export(Net().eval(), (torch.randn(1, 3, 8, 8),))
    lowered = to_edge_transform_and_lower(program, partitioner=[TandemPartitioner()], generate_etrecord=True)
    executorch = lowered.to_executorch()
    pte, record, dump = (str(tmp_path / name) for name in ("net.pte", "etrecord", "etdump"))
    with open(pte, "wb") as file:
        executorch.write_to_file(file)
    executorch.get_etrecord().save(record)

    loaded = Runtime.get().load_program(pte, enable_etdump=True, debug_buffer_size=1 << 20)
    method = loaded.load_method("forward")
    for _ in range(3):
        method.execute([torch.randn(1, 3, 8, 8)])
    loaded.write_etdump_result_to_file(dump, str(tmp_path / "debug"))
    blocks = Inspector(etdump_path=dump, etrecord=record).event_blocks
    events = {e.name: e for block in blocks for e in block.events if e.is_delegated_op}

    steps = executorch_tandem.delegates()[-1].steps
    assert set(events) == {step.name for step in steps}
    conv = events["stem.0"]
    assert conv.delegate_backend_name == "TandemBackend"
    assert set(conv.op_types) >= {"aten.convolution.default", "aten.relu.default"}
    assert len(conv.perf_data.raw) == 3 and min(conv.perf_data.raw) > 0
