"""Exports the cases whose instructions are counted: ``CASE.xnnpack.pte``, and ``CASE.tandem.pte`` of those in f32."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
from executorch.exir.backend.partitioner import Partitioner
from executorch.exir.backend.utils import get_non_lowered_nodes
from executorch_tandem import TandemPartitioner
from torch import Tensor, nn
from torchao.quantization.granularity import PerGroup
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.quant_api import Int8DynamicActivationIntxWeightConfig, quantize_

Inputs = tuple[Tensor, ...]
# Gives a module the numbers of a case: f16, int8, int4.
Numbers = Callable[[nn.Module, Inputs], tuple[nn.Module, Inputs]]


class MatMul(nn.Module):
    def forward(self, lhs: Tensor, rhs: Tensor) -> Tensor:
        return torch.bmm(lhs, rhs)


def f32(module: nn.Module, inputs: Inputs) -> tuple[nn.Module, Inputs]:
    return module, inputs


def f16(module: nn.Module, inputs: Inputs) -> tuple[nn.Module, Inputs]:
    return module.half(), tuple(x.half() for x in inputs)


def pt2e(**options: object) -> Numbers:
    """Symmetric weights per channel through PyTorch's export quantisation."""

    def quantise(module: nn.Module, inputs: Inputs) -> tuple[nn.Module, Inputs]:
        config = get_symmetric_quantization_config(is_per_channel=True, **options)
        prepared = prepare_pt2e(torch.export.export(module, inputs).module(), XNNPACKQuantizer().set_global(config))
        prepared(*inputs)
        return convert_pt2e(prepared), inputs

    return quantise


def torchao_int4(module: nn.Module, inputs: Inputs) -> tuple[nn.Module, Inputs]:
    """8da4w: dynamic int8 activations, int4 weights in groups of 32."""
    config = Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int4, weight_granularity=PerGroup(32))
    quantize_(module, config)
    return module, inputs


STATIC_INT8 = pt2e()
DYNAMIC_INT8 = pt2e(is_dynamic=True)
DYNAMIC_INT4 = pt2e(is_dynamic=True, weight_qmin=-8, weight_qmax=7)


@dataclass
class Case:
    module: Callable[[], nn.Module]
    shapes: list[tuple[int, ...]]
    numbers: Numbers = f32


def linear(numbers: Numbers, rows: int = 256) -> Case:
    return Case(lambda: nn.Linear(1024, 1024), [(rows, 1024)], numbers)


def conv(numbers: Numbers, groups: int = 1) -> Case:
    return Case(lambda: nn.Conv2d(64, 64, 3, padding=1, groups=groups), [(1, 64, 56, 56)], numbers)


CASES = {
    "linear_f32": linear(f32),
    "gemv_f32": linear(f32, rows=1),
    "linear_f16": linear(f16),
    "linear_dynamic_int8": linear(DYNAMIC_INT8),
    "linear_dynamic_int4": linear(DYNAMIC_INT4),
    "linear_8da4w_g32": linear(torchao_int4),
    "linear_static_int8": linear(STATIC_INT8),
    "conv_f32": conv(f32),
    "conv_f16": conv(f16),
    "conv_static_int8": conv(STATIC_INT8),
    "matmul_f32": Case(MatMul, [(8, 256, 64), (8, 64, 256)]),
    "softmax_f32": Case(lambda: nn.Softmax(-1), [(256, 1024)]),
    "depthwise_f32": conv(f32, groups=64),
    "mobilenet_v2_f32": Case(lambda: torchvision.models.mobilenet_v2(weights=None), [(1, 3, 224, 224)]),
}


def lower(program: torch.export.ExportedProgram, partitioner: Partitioner, path: Path) -> None:
    """Writes the file, and fails where an operator stays outside the delegate."""
    lowered = to_edge_transform_and_lower(
        program, partitioner=[partitioner], compile_config=EdgeCompileConfig(_check_ir_validity=False)
    )
    host = [str(node.target) for node in get_non_lowered_nodes(lowered.exported_program().graph)]
    if host:
        raise RuntimeError(f"{path.name}: left to the host: {', '.join(host)}")
    with open(path, "wb") as file:
        lowered.to_executorch().write_to_file(file)


def export(name: str, out: Path) -> None:
    """Writes the files of one case."""
    torch.manual_seed(0)
    case = CASES[name]
    inputs = tuple(2 * torch.rand(shape) - 1 for shape in case.shapes)
    module, inputs = case.numbers(case.module().eval(), inputs)
    program = torch.export.export(module, inputs)
    lower(program, XnnpackPartitioner(), out / f"{name}.xnnpack.pte")
    if case.numbers is f32:
        lower(program, TandemPartitioner(), out / f"{name}.tandem.pte")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, action="append", help="default: all")
    parser.add_argument("--out", type=Path, default=Path(), help="folder")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.case or CASES:
        export(name, args.out)


if __name__ == "__main__":
    main()
