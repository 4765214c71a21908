"""Exports modules through Tandem, runs them with ExecuTorch, compares with eager PyTorch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import executorch_tandem
import torch
from executorch.exir import EdgeCompileConfig, EdgeProgramManager, to_edge_transform_and_lower
from executorch.exir.backend.utils import get_delegates, get_non_lowered_nodes
from executorch_tandem import TandemPartitioner
from executorch_tandem.schema.blob import read_program
from executorch_tandem.schema.program_generated import OpKind, ProgramT
from torch import Tensor, nn

# f32 sums in another order than eager's: each rounding is 6e-8 of the running sum, and these tests add at most some
# thousand terms. Relative to the largest output, since sums that cancel are only as exact as their terms.
F32 = 1e-5

OP_NAMES = {value: name for name, value in vars(OpKind).items() if isinstance(value, int)}


class Fn(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Tensor | tuple[Tensor, ...]]):
        super().__init__()
        self.function = function

    def forward(self, *args: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.function(*args)


@dataclass
class Exported:
    """A lowered program and what became of it."""

    manager: EdgeProgramManager
    delegates: int
    host_ops: list[str]
    programs: list[ProgramT]

    def ops(self) -> list[str]:
        """Kinds of all ops of all delegates, in order."""
        return [OP_NAMES[op.kindType] for program in self.programs for op in program.ops]

    def pte(self) -> bytes:
        """The file."""
        return self.manager.to_executorch().buffer


def export(
    module: nn.Module,
    inputs: Sequence[Tensor],
    dynamic_shapes: object = None,
    config: EdgeCompileConfig | None = None,
) -> Exported:
    """Exports for Tandem, strictly: what stays on the host is an error for the caller to look for."""
    program = torch.export.export(module.eval(), tuple(inputs), dynamic_shapes=dynamic_shapes)
    manager = to_edge_transform_and_lower(program, partitioner=[TandemPartitioner()], compile_config=config)
    graph_module = manager.exported_program().graph_module
    lowered = [getattr(graph_module, node.name) for node in get_delegates(graph_module.graph)]
    host_ops = [str(node.target) for node in get_non_lowered_nodes(graph_module.graph)]
    return Exported(manager, len(lowered), host_ops, [read_program(m.processed_bytes) for m in lowered])


def load(pte: bytes):
    """The file's forward method in ExecuTorch's Python runtime, which reads the bytes for as long as it lives."""
    from executorch.runtime import Runtime

    assert executorch_tandem.can_run(), "the runtime library is not built: cargo xtask build"
    method = Runtime.get().load_program(pte).load_method("forward")
    method.pte = pte
    return method


def run(pte: bytes, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Outputs of the file's forward method."""
    return load(pte).execute(list(inputs))


def error(got: Tensor, want: Tensor) -> float:
    """Largest difference relative to the largest expected magnitude; 1 if integers or truth values differ at all."""
    assert got.shape == want.shape and got.dtype == want.dtype, (got.shape, want.shape, got.dtype, want.dtype)
    if not want.is_floating_point():
        return float(not torch.equal(got, want))
    got, want = got.double(), want.double()
    assert torch.isfinite(want).all(), "the reference itself is not finite"
    assert torch.isfinite(got).all(), "not finite"
    return ((got - want).abs().max() / want.abs().max().clamp_min(1e-30)).item()


def check(
    module: nn.Module | Callable,
    inputs: Sequence[Tensor],
    tolerance: float = F32,
    config: EdgeCompileConfig | None = None,
) -> Exported:
    """One delegate, nothing on the host, and eager's answer within `tolerance` of its largest magnitude."""
    module = module if isinstance(module, nn.Module) else Fn(module)
    exported = export(module, inputs, config=config)
    assert exported.delegates == 1 and not exported.host_ops, exported.host_ops
    with torch.no_grad():
        want = module(*inputs)
    want = [want] if isinstance(want, Tensor) else list(want)
    for got, expected in zip(run(exported.pte(), inputs), want, strict=True):
        assert error(got, expected) <= tolerance
    return exported
