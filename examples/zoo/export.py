"""Exports models of the zoo twice, for Tandem and for XNNPACK: ``MODEL.tandem.pte`` and ``MODEL.xnnpack.pte``."""

import argparse
from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
from executorch_tandem import TandemPartitioner
from models import MODELS, build


def export(name: str, out: Path) -> None:
    """Writes both files of one model."""
    net, example = build(name)
    program = torch.export.export(net, (example,), strict=False)
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
