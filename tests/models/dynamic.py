"""Models of symbolic sizes against eager PyTorch: one file each, run at sizes that go up and down."""

import pytest
import torch
import torch.nn.functional as F
from helpers import F32, error, export, load
from torch import Tensor, nn
from torch.export import Dim


class Inverted(nn.Module):
    """MobileNetV2's block: 1x1, depthwise, 1x1, each with BatchNorm, and a skip."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = 3 * channels
        self.expand = nn.Sequential(nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6())
        depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False)
        self.depthwise = nn.Sequential(depthwise, nn.BatchNorm2d(hidden), nn.ReLU6())
        self.project = nn.Sequential(nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(self.depthwise(self.expand(x)))


class Classifier(nn.Module):
    """A small MobileNetV2."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.blocks = nn.Sequential(Inverted(16), Inverted(16))
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x))
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Segmenter(nn.Module):
    """A fully convolutional net: pooling, resizing to a skip's size and by a factor, concatenation."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.low = nn.Conv2d(12, 12, 3, padding=1)
        self.head = nn.Conv2d(20, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        skip = self.first(x)
        low = F.relu(self.low(F.max_pool2d(self.down(skip), 2)))
        up = F.interpolate(low, size=skip.shape[2:], mode="bilinear", align_corners=False)
        return self.head(torch.cat([skip, up], 1)), F.interpolate(low, scale_factor=2.0)


class Transformer(nn.Module):
    """Embedding with positions, a causal and a masked attention, a feed-forward net; and the last token."""

    def __init__(self, width: int = 32, heads: int = 4, longest: int = 24):
        super().__init__()
        self.heads = heads
        self.tokens, self.places = nn.Embedding(50, width), nn.Embedding(longest, width)
        self.table = nn.Parameter(torch.randn(1, longest, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(2))
        self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def attend(self, layer: int, x: Tensor, mask: Tensor | None) -> Tensor:
        b, t, width = x.shape
        parts = self.qkv[layer](self.norms[layer](x)).view(b, t, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None)
        return x + self.out[layer](y.transpose(1, 2).reshape(b, t, width))

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        t = tokens.shape[1]
        x = self.tokens(tokens) + self.table[:, :t] + self.places(torch.arange(t))
        x = self.attend(1, self.attend(0, x, None), mask[:, None, None, :])
        x = x + self.narrow(F.gelu(self.wide(self.norms[2](x))))
        return x, x[:, -1]


def image(n: int, h: int, w: int) -> tuple[Tensor]:
    return (torch.randn(n, 3, h, w),)


def text(b: int, t: int) -> tuple[Tensor, Tensor]:
    mask = torch.rand(b, t) > 0.3
    mask[:, 0] = True
    return torch.randint(0, 50, (b, t)), mask


B, T = Dim("b", min=1, max=6), Dim("t", min=1, max=24)
H, W = Dim("h", min=8, max=64), Dim("w", min=8, max=80)

MODELS = {
    "batch": (Classifier, image, ({0: B},), (3, 32, 32), [(1, 32, 32), (6, 32, 32), (2, 32, 32), (1, 32, 32)]),
    "height_width": (
        Segmenter, image, ({2: H, 3: W},), (1, 24, 33),
        [(1, 8, 8), (1, 64, 80), (1, 17, 40), (1, 33, 9), (1, 64, 80), (1, 8, 8)],
    ),
    "sequence": (Transformer, text, ({1: T}, {1: T}), (2, 9), [(2, 1), (2, 24), (2, 7), (2, 8), (2, 2), (2, 24)]),
    "batch_sequence": (
        Transformer, text, ({0: B, 1: T}, {0: B, 1: T}), (2, 9),
        [(1, 1), (6, 24), (1, 24), (6, 1), (3, 5), (5, 3), (2, 17), (4, 8), (3, 11), (3, 5)],
    ),
}  # fmt: skip


def randomized(module: nn.Module) -> nn.Module:
    """In evaluation, with statistics that matter."""
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.uniform_(-0.2, 0.2)
        norm.running_var.uniform_(0.5, 1.5)
    return module.eval()


@pytest.mark.parametrize("name", MODELS)
def test_answers_are_eagers_at_every_size(name):
    model, inputs, dynamic_shapes, traced, sizes = MODELS[name]
    model = randomized(model())
    exported = export(model, inputs(*traced), dynamic_shapes=dynamic_shapes)
    assert exported.delegates == 1
    assert all("sym_size" in op or "operator" in op or "built-in" in op for op in exported.host_ops), exported.host_ops
    method = load(exported.pte())
    for size in sizes:
        given = inputs(*size)
        with torch.no_grad():
            want = model(*given)
        want = want if isinstance(want, tuple) else (want,)
        for got, expected in zip(method.execute(list(given)), want, strict=True):
            assert error(got, expected) <= F32, size


def test_sizes_out_of_bounds_are_refused():
    model = randomized(Classifier())
    method = load(export(model, image(3, 32, 32), dynamic_shapes=({0: B},)).pte())
    for wrong in (image(7, 32, 32), image(2, 32, 31)):
        with pytest.raises(RuntimeError):
            method.execute(list(wrong))
    (given,) = image(4, 32, 32)
    assert error(method.execute([given])[0], model(given)) <= F32
