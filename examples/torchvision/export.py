"""Exports a torchvision model twice, for Tandem and for XNNPACK: ``MODEL.tandem.pte`` and ``MODEL.xnnpack.pte``."""

import argparse
from pathlib import Path

import torch
import torchvision
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
from executorch_tandem import TandemPartitioner

MODELS = ["resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_large", "vit_b_16"]


def build(name: str) -> torch.nn.Module:
    """The model in inference mode, with seeded random weights and batch-norm statistics that keep activations small."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.8, 1.2)
            module.bias.data.uniform_(-0.1, 0.1)
        elif isinstance(module, torch.nn.Linear) and not module.weight.any():
            module.weight.data.normal_(0, 0.02)
    return model


def export(name: str, out: Path) -> None:
    """Writes both files of one model."""
    inputs = (torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1)),)
    program = torch.export.export(build(name), inputs, strict=False)
    for backend, partitioner in (("tandem", TandemPartitioner()), ("xnnpack", XnnpackPartitioner())):
        lowered = to_edge_transform_and_lower(
            program, partitioner=[partitioner], compile_config=EdgeCompileConfig(_check_ir_validity=False)
        )
        with open(out / f"{name}.{backend}.pte", "wb") as file:
            lowered.to_executorch().write_to_file(file)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, action="append", help="default: all")
    parser.add_argument("--out", type=Path, default=Path())
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.model or MODELS:
        export(name, args.out)


if __name__ == "__main__":
    main()
