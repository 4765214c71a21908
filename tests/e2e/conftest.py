"""A small U-Net of SqueezeSAM's kind, exported once a session, with an input and eager's answer."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from executorch.exir import to_edge_transform_and_lower
from executorch_tandem import TandemPartitioner


class Block(torch.nn.Module):
    """conv → ReLU → BatchNorm, twice."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(c_in, c_out, 3, padding=1)
        self.bn1 = torch.nn.BatchNorm2d(c_out)
        self.conv2 = torch.nn.Conv2d(c_out, c_out, 3, padding=1)
        self.bn2 = torch.nn.BatchNorm2d(c_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn1(torch.relu(self.conv1(x)))
        return self.bn2(torch.relu(self.conv2(x)))


class SmallUNet(torch.nn.Module):
    """Two levels with a skip, odd widths so that panels and tiles have remainders."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(5, 20, 2, stride=2)
        self.enc = Block(20, 36)
        self.down = Block(36, 50)
        self.up = torch.nn.Conv2d(50, 4 * 18, 1)
        self.dec = Block(36 + 18, 24)
        self.head = torch.nn.Conv2d(24, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = self.enc(self.stem(x))
        low = self.down(torch.nn.functional.max_pool2d(skip, 2))
        up = torch.nn.functional.pixel_shuffle(torch.relu(self.up(low)), 2)
        return self.head(self.dec(torch.cat([skip, up], dim=1)))


@dataclass
class Exported:
    """A .pte file with one input and eager's answer to it."""

    pte: Path
    input: torch.Tensor
    expected: torch.Tensor


def export(module: torch.nn.Module, inputs: tuple, path: Path) -> Path:
    """Exports a module through TandemPartitioner to a file."""
    program = torch.export.export(module, inputs, strict=False)
    lowered = to_edge_transform_and_lower(program, partitioner=[TandemPartitioner()])
    with open(path, "wb") as file:
        lowered.to_executorch().write_to_file(file)
    return path


@pytest.fixture(scope="session")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The small U-Net, seeded."""
    torch.manual_seed(7)
    module = SmallUNet().eval()
    for bn in (m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        bn.running_mean.uniform_(-0.2, 0.2)
        bn.running_var.uniform_(0.5, 1.5)
    image = torch.randn(1, 5, 76, 92)
    path = export(module, (image,), tmp_path_factory.mktemp("e2e") / "unet.pte")
    with torch.no_grad():
        return Exported(path, image, module(image))


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A product with enough rows for several engines to share."""
    module, rows = torch.nn.Linear(256, 512).eval(), torch.randn(16384, 256)
    path = export(module, (rows,), tmp_path_factory.mktemp("e2e") / "large.pte")
    with torch.no_grad():
        return Exported(path, rows, module(rows))


@pytest.fixture(scope="session")
def cli() -> Path:
    """The `tandem` program that the test command built."""
    return Path(os.environ.get("TANDEM_CLI", Path(__file__).parents[2] / "target/release/tandem"))
