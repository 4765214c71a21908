"""ExecuTorch's backend test suite through Tandem: a pytest plugin that adds a flow named ``tandem``.

    pytest -p executorch_tandem.conformance executorch/backends/test/suite/operators -m flow_tandem

The suite's tolerance is loose (1e-1): the flow also compares within 1e-4, of the range of answers that are large.
"""

import functools
import hashlib
import json
import random
from pathlib import Path

import pytest
import torch
from executorch.backends.test.harness import Tester
from executorch.backends.test.harness.stages import StageType, ToEdgeTransformAndLower
from executorch.backends.test.suite import flow, runner
from executorch.exir.backend.utils import get_delegates
from torch.utils import _pytree as pytree

from . import TandemPartitioner

TOLERANCE = 1e-4


class TandemLower(ToEdgeTransformAndLower):
    """The suite's lowering stage with Tandem's partitioner."""

    def __init__(self, partitioners=None, edge_compile_config=None):
        super().__init__(
            default_partitioner_cls=TandemPartitioner,
            partitioners=partitioners,
            edge_compile_config=edge_compile_config,
        )


class TandemTester(Tester):
    """The suite's tester, comparing more closely."""

    __test__ = False

    def __init__(self, module, example_inputs, dynamic_shapes=None, **kwargs):
        stages = Tester.default_stage_classes() | {StageType.TO_EDGE_TRANSFORM_AND_LOWER: TandemLower}
        super().__init__(
            module=module,
            example_inputs=example_inputs,
            dynamic_shapes=dynamic_shapes,
            stage_classes=stages,
            **kwargs,
        )

    @staticmethod
    def _compare_outputs(reference_output, stage_output, quantization_scale=None, *tolerances, **options):
        """The suite's comparison, then a closer one.

        That is relative to an output's largest magnitude where it is above 1, as sums that cancel are only as exact as
        their terms.
        """
        Tester._compare_outputs(reference_output, stage_output, quantization_scale, *tolerances, **options)
        for want, got in zip(pytree.tree_leaves(reference_output), pytree.tree_leaves(stage_output), strict=True):
            atol = TOLERANCE * max(1.0, _largest(want))
            Tester._compare_outputs(want, got, atol=atol, rtol=TOLERANCE)


    def _dump_golden_artifacts(self, artifact_dir, artifact_name, inputs, reference_output):
        """Every tensor's bytes as the program declares it: the suite leaves out nested inputs, and a declared order of axes.

        Files are named as the suite names them, counting tensors.
        """
        program = self.get_artifact(StageType.TO_EDGE_TRANSFORM_AND_LOWER).exported_program()
        named = {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}
        Path(artifact_dir).mkdir(parents=True, exist_ok=True)
        for kind, tensors, names in (
            ("input", inputs, program.graph_signature.user_inputs),
            ("expected_output", reference_output, program.graph_signature.user_outputs),
        ):
            declared = [(t, named[n]) for t, n in zip(pytree.tree_leaves(tensors), names, strict=True) if n in named]
            for i, (tensor, value) in enumerate(declared):
                suffix = f"_{i}" if len(declared) > 1 else ""
                ordered = tensor.detach().permute(value.dim_order()).contiguous()
                ordered.numpy().tofile(Path(artifact_dir, f"{artifact_name}_{kind}{suffix}.bin"))


def _largest(tensor: torch.Tensor) -> float:
    """Largest finite magnitude of floats; 0 of anything else."""
    if not tensor.is_floating_point():
        return 0.0
    return tensor.nan_to_num(0.0, 0.0, 0.0).abs().max().item() if tensor.numel() else 0.0


FLOW = flow.TestFlow("tandem", backend="tandem", tester_factory=TandemTester)


def _flows() -> dict[str, flow.TestFlow]:
    from executorch.backends.test.suite.flows.xnnpack import XNNPACK_TEST_FLOW

    return {each.name: each for each in (FLOW, XNNPACK_TEST_FLOW)}


# The suite asks for its flows when its own conftest is imported, which is after plugins.
flow.all_flows = _flows


def _cache_decompositions() -> None:
    """A third of a small test goes into asking PyTorch for the same tables again."""
    from torch._export import utils
    from torch._export.utils import _collect_all_valid_cia_ops as collect
    from torch.export import decomp_utils, exported_program

    once = functools.cache(collect)
    for module in (utils, decomp_utils, exported_program):
        if hasattr(module, collect.__name__):
            setattr(module, collect.__name__, lambda: set(once()))


_cache_decompositions()


def _name_return_types() -> None:
    """ExecuTorch writes no file of a model that returns `x.median(1)`: PyTorch's named tuples have no name for it."""
    for kind in vars(torch.return_types).values():
        if isinstance(kind, type) and kind in pytree.SUPPORTED_NODES:
            known = pytree.SUPPORTED_SERIALIZED_TYPES.get(kind)
            if known is not None and known.serialized_type_name == pytree.NO_SERIALIZED_TYPE_NAME_FOUND:
                named = known._replace(serialized_type_name=f"torch.return_types.{kind.__name__}")
                pytree.SUPPORTED_SERIALIZED_TYPES[kind] = named


_name_return_types()


_DELEGATES: list[int] = []


def _count_delegates() -> None:
    """The suite tells what the host has left, but not among how many delegates the rest is."""
    lower = Tester.to_edge_transform_and_lower

    @functools.wraps(lower)
    def counted(self: Tester, *args, **kwargs):
        lowered = lower(self, *args, **kwargs)
        _DELEGATES.append(len(get_delegates(self.get_artifact().exported_program().graph)))
        return lowered

    Tester.to_edge_transform_and_lower = counted


_count_delegates()


class _Record:
    """A line of JSON for each finished test, so that a run that is interrupted loses none."""

    def __init__(self, path: Path):
        self._path = path
        self._seen: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Writes the outcome of a test: of its call, or of what kept it from being called."""
        if report.when == "call" or report.outcome != "passed":
            extra = getattr(report, "_json_report_extra", {})
            line = {"nodeid": report.nodeid, "outcome": report.outcome, "seconds": report.duration}
            if report.outcome == "failed":
                line["longrepr"] = str(report.longrepr)[-400:]
            with open(self._path, "a") as file:
                print(json.dumps(line | {"metadata": extra.get("metadata", {})}), file=file)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--sample` and `--record`."""
    parser.addoption("--sample", type=int, help="run this many tests of each flow, always the same ones")
    parser.addoption("--record", type=Path, help="file that gets a line of JSON for each finished test")


def pytest_configure(config: pytest.Config) -> None:
    """Only the controller of several processes records."""
    record = config.getoption("--record")
    if record is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Record(record))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps a sample, where one is asked for."""
    count = config.getoption("--sample")
    if count is None:
        return
    order = {name: hashlib.sha256(name.encode()).digest() for name in {_name(item) for item in items}}
    chosen = set(sorted(order, key=order.get)[:count])
    config.hook.pytest_deselected(items=[item for item in items if _name(item) not in chosen])
    items[:] = [item for item in items if _name(item) in chosen]


def pytest_json_runtest_metadata(item: pytest.Item, call: pytest.CallInfo) -> dict:
    """The number of delegates of each program that the test lowered."""
    return {"delegates": list(_DELEGATES)}


def _name(item: pytest.Item) -> str:
    """A test's name without its flow, so that every flow's sample is the same."""
    return item.nodeid.split("[")[0]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Makes weights, and the seeds of inputs, which the suite draws, the same in every run.

    The suite skips what has a 3-d convolution, which the host has no kernel for, even where it is delegated.
    """
    random.seed(_name(item))
    torch.manual_seed(random.getrandbits(32))
    _DELEGATES.clear()
    delegates = FLOW.name in item.name
    runner._graph_has_unsupported_patterns = (lambda program: False) if delegates else _HAS_UNSUPPORTED


_HAS_UNSUPPORTED = runner._graph_has_unsupported_patterns
