"""Exports small models with an input and eager's answer, for machines without Python.

Writes `NAME.pte`, `NAME.input` and `NAME.expected` for each, the latter two raw elements.
"""

import argparse
import sys
from pathlib import Path

import torch
import torchvision
from executorch.exir import to_edge_transform_and_lower
from executorch_tandem import TandemPartitioner

ROOT = Path(__file__).parents[2]


def small_squeezesam() -> tuple[torch.nn.Module, torch.Tensor]:
    """Every block of SqueezeSAM, with fewer levels and odd widths, on a 48 x 48 image."""
    sys.path.insert(0, str(ROOT / "examples/squeezesam"))
    import model

    model.ENCODER_WIDTHS, model.EMBED_DIM = (20, 36, 50, 64), 64
    net = model.SqueezeSam()
    model.randomise(net)
    return net, torch.randn(1, 5, 48, 48)


def mobilenet() -> tuple[torch.nn.Module, torch.Tensor]:
    """MobileNetV2 on a 96 x 96 image."""
    net = torchvision.models.mobilenet_v2(weights=None)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net, torch.randn(1, 3, 96, 96)


def transformer() -> tuple[torch.nn.Module, torch.Tensor]:
    """A vision transformer of two layers with 17 tokens."""
    net = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=160, num_classes=10
    )
    torch.nn.init.normal_(net.heads.head.weight, std=0.1)
    return net, torch.randn(1, 3, 32, 32)


MODELS = {"squeezesam": small_squeezesam, "mobilenet_v2": mobilenet, "transformer": transformer}


def export(name: str, out: Path) -> None:
    """Writes the three files of a model."""
    torch.manual_seed(3)
    module, example = MODELS[name]()
    module = module.eval().requires_grad_(False)
    with torch.no_grad():
        expected = module(example)
    expected = expected if isinstance(expected, torch.Tensor) else expected[0]
    program = torch.export.export(module, (example,), strict=False)
    lowered = to_edge_transform_and_lower(program, partitioner=[TandemPartitioner()])
    with open(out / f"{name}.pte", "wb") as file:
        lowered.to_executorch().write_to_file(file)
    for kind, tensor in (("input", example), ("expected", expected)):
        (out / f"{name}.{kind}").write_bytes(tensor.contiguous().numpy().tobytes())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        export(name, out)


if __name__ == "__main__":
    main()
