"""Exports SqueezeSAM for Tandem, and for XNNPACK in the forms a user would write.

Writes `squeezesam.FORM.pte` for each of

    tandem                 the module as it is
    xnnpack                the module as it is
    xnnpack_contiguous     with `.contiguous()` behind the up-block's permute
    xnnpack_channels_last  with activations in channels-last memory from the first normalisation on

and, if asked for,

    tandem_f16             the module with weights and activations of 16 bits
"""

import argparse
import time
from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
from executorch.exir.backend.partitioner import Partitioner
from executorch.exir.backend.utils import get_delegates, get_non_lowered_nodes
from executorch.exir.passes import MemoryPlanningPass
from executorch_tandem import TandemPartitioner
from model import SIZE, SqueezeSam, squeezesam

# The program reads the caller's image where it lies, instead of copying its 5 MB into planned memory.
IN_PLACE = ExecutorchBackendConfig(memory_planning_pass=MemoryPlanningPass(alloc_graph_input=False))


def form(name: str) -> tuple[SqueezeSam, torch.Tensor, Partitioner]:
    """Module, example image and partitioner of a form."""
    image = torch.randn(1, 5, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    model = squeezesam(contiguous=name == "xnnpack_contiguous", channels_last=name == "xnnpack_channels_last")
    if name == "tandem_f16":
        model, image = model.half(), image.half()
    return model, image, TandemPartitioner(verbose=True) if name.startswith("tandem") else XnnpackPartitioner()


def export(name: str, path: Path) -> None:
    """Writes one form and prints how much of it was delegated."""
    start = time.perf_counter()
    model, image, partitioner = form(name)
    program = torch.export.export(model, (image,))
    lowered = to_edge_transform_and_lower(program, partitioner=[partitioner])
    with open(path, "wb") as file:
        lowered.to_executorch(IN_PLACE).write_to_file(file)
    graph = lowered.exported_program().graph
    delegates, host = len(get_delegates(graph)), len(get_non_lowered_nodes(graph))
    seconds = time.perf_counter() - start
    print(f"{path.name}: {delegates} delegates, {host} operators on the host, {seconds:.1f} s", flush=True)


def main() -> None:
    """Command line."""
    forms = ["tandem", "xnnpack", "xnnpack_contiguous", "xnnpack_channels_last"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form", choices=[*forms, "tandem_f16"], action="append", help="default: all but tandem_f16")
    parser.add_argument("--out", type=Path, default=Path(), help="folder")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.form or forms:
        export(name, args.out / f"squeezesam.{name}.pte")


if __name__ == "__main__":
    main()
