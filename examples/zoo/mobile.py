"""Models that published latencies are of, for `cargo xtask published`: written from their papers, random weights."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
    """Convolution that keeps the size but for its stride, normalisation, ReLU6."""
    layers = [nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(c_out)]
    return nn.Sequential(*layers, *([nn.ReLU6()] if act else []))


def mobilenet_v1_features() -> Iterator[nn.Module]:
    """The fourteen blocks of MobileNet v1 (arXiv:1704.04861)."""
    yield conv(3, 32, 3, stride=2)
    widths = [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    for i, (c_in, c_out) in enumerate(pairwise(widths)):
        yield nn.Sequential(conv(c_in, c_in, 3, 2 if i in (1, 3, 5, 11) else 1, groups=c_in), conv(c_in, c_out, 1))


class MobileNetV1(nn.Module):
    """MobileNet v1, 1000 classes."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(*mobilenet_v1_features())
        self.classifier = nn.Linear(1024, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class MobileNetSsd(nn.Module):
    """SSD (arXiv:1512.02325) over MobileNet v1: boxes and 91 scores of three or six anchors on six maps."""

    def __init__(self):
        super().__init__()
        blocks = list(mobilenet_v1_features())
        self.stages = nn.ModuleList([nn.Sequential(*blocks[:12]), nn.Sequential(*blocks[12:])])
        widths = [(1024, 256, 512), (512, 128, 256), (256, 128, 256), (256, 64, 128)]
        self.stages.extend(nn.Sequential(conv(c, mid, 1), conv(mid, out, 3, stride=2)) for c, mid, out in widths)
        maps = zip([512, 1024, 512, 256, 256, 128], [3, *[6] * 5], strict=True)
        self.heads = nn.ModuleList(nn.ModuleList(nn.Conv2d(c, n * k, 1) for k in (4, 91)) for c, n in maps)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[list[Tensor], list[Tensor]] = ([], [])
        for stage, heads in zip(self.stages, self.heads, strict=True):
            x = stage(x)
            for each, head, k in zip(found, heads, (4, 91), strict=True):
                each.append(head(x).permute(0, 2, 3, 1).reshape(1, -1, k))
        return torch.cat(found[0], 1), torch.cat(found[1], 1)


class Inverted(nn.Module):
    """Inverted residual without squeeze and excitation."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expand: int):
        super().__init__()
        c = c_in * expand
        first = [conv(c_in, c, 1)] if expand > 1 else []
        self.layers = nn.Sequential(*first, conv(c, c, kernel, stride, groups=c), conv(c, c_out, 1, act=False))
        self.adds = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


class EfficientNetLite3(nn.Module):
    """EfficientNet-Lite3: widths times 1.2, depths times 1.4, stem and head as they are, ReLU6, no excitation."""

    def __init__(self):
        super().__init__()
        # Width, depth, kernel, stride, expansion.
        stages = [(24, 1, 3, 1, 1), (32, 3, 3, 2, 6), (48, 3, 5, 2, 6), (96, 5, 3, 2, 6)]
        stages += [(136, 5, 5, 1, 6), (232, 6, 5, 2, 6), (384, 1, 3, 1, 6)]
        blocks, c = [conv(3, 32, 3, stride=2)], 32
        for width, depth, kernel, stride, expand in stages:
            for i in range(depth):
                blocks.append(Inverted(c, width, kernel, stride if i == 0 else 1, expand))
                c = width
        self.features = nn.Sequential(*blocks, conv(c, 1280, 1))
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))
