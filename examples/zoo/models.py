"""Models of the kinds that users bring, with seeded random weights: convolutional networks, those of torchvision that
benchmarks compare, transformers of vision, speech and language, and U-Nets with their batch norms on either side of the
activation."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "squeezesam"))
sys.path.insert(0, str(Path(__file__).parent))
import model as squeezesam
from mobile import EfficientNetLite3, MobileNetSsd, MobileNetV1


class BatchNormFirst(nn.Module):
    """Twice conv 3x3 -> BatchNorm -> ReLU, in place of SqueezeSAM's blocks; `[n, c_in, h, w]` to `[n, c_out, h, w]`."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out)
        self.conv2, self.bn2 = nn.Conv2d(c_out, c_out, 3, padding=1), nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)))


def squeezesam_bn_first() -> nn.Module:
    """SqueezeSAM with every BatchNorm of its blocks before the activation."""
    published = squeezesam.DoubleConv
    squeezesam.DoubleConv = BatchNormFirst
    try:
        net = squeezesam.SqueezeSam()
    finally:
        squeezesam.DoubleConv = published
    squeezesam.randomise(net)
    return net


class GeluBlock(nn.Sequential):
    """Twice conv 3x3 -> GELU -> BatchNorm."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__(
            nn.Conv2d(c_in, c_out, 3, padding=1),
            nn.GELU(),
            nn.BatchNorm2d(c_out),
            nn.Conv2d(c_out, c_out, 3, padding=1),
            nn.GELU(),
            nn.BatchNorm2d(c_out),
        )


class GeluUNet(nn.Module):
    """A U-Net of four levels (arXiv:1505.04597) with GELU before its BatchNorms; `[n, 3, h, w]` to `[n, 2, h, w]`."""

    WIDTHS = (32, 64, 128, 256)

    def __init__(self):
        super().__init__()
        pairs = list(zip((3, *self.WIDTHS), self.WIDTHS, strict=False))
        self.down = nn.ModuleList(GeluBlock(a, b) for a, b in pairs)
        backwards = self.WIDTHS[:0:-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(c, c // 2, 2, stride=2) for c in backwards)
        self.join = nn.ModuleList(GeluBlock(c, c // 2) for c in backwards)
        self.head = nn.Conv2d(self.WIDTHS[0], 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, skips[-2::-1], strict=True):
            x = join(torch.cat([skip, up(x)], 1))
        return self.head(x)


class Attention(nn.Module):
    """Self-attention of several heads; keys without bias where the model has them so. `[n, t, d]` to the same."""

    def __init__(self, width: int, heads: int, source: int | None = None, key_bias: bool = True):
        super().__init__()
        source = source or width
        self.heads = heads
        self.query, self.value = nn.Linear(source, width), nn.Linear(source, width)
        self.key = nn.Linear(source, width, bias=key_bias)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, values: Tensor | None = None) -> Tensor:
        def split(y: Tensor) -> Tensor:
            return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        q, k, v = self.query(x), self.key(x), self.value(x if values is None else values)
        y = F.scaled_dot_product_attention(split(q), split(k), split(v))
        return self.out(y.transpose(1, 2).flatten(2))


class WhisperBlock(nn.Module):
    """Attention and a perceptron, each normalised before; `[n, t, d]` to the same."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads, key_bias=False)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class WhisperEncoder(nn.Module):
    """Whisper-tiny's encoder (arXiv:2212.04356); log-mel frames `[n, 80, 3000]` to `[n, 1500, 384]`."""

    def __init__(self, width: int = 384, heads: int = 6, layers: int = 4, frames: int = 1500):
        super().__init__()
        self.conv1 = nn.Conv1d(80, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        steps = torch.exp(-math.log(10000) / (width // 2 - 1) * torch.arange(width // 2))
        angles = torch.arange(frames)[:, None] * steps
        self.register_buffer("positions", torch.cat([angles.sin(), angles.cos()], 1))
        self.blocks = nn.Sequential(*(WhisperBlock(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return self.norm(self.blocks(x.transpose(1, 2) + self.positions))


class NoNorm(nn.Module):
    """Scale and shift of each channel."""

    def __init__(self, width: int):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class BottleneckMlp(nn.Module):
    """A perceptron with its residual; `[n, t, d]` to the same."""

    def __init__(self, width: int):
        super().__init__()
        self.up, self.down, self.norm = nn.Linear(width, 4 * width), nn.Linear(4 * width, width), NoNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.down(F.relu(self.up(x))))


class MobileBertLayer(nn.Module):
    """Attention and four perceptrons inside a bottleneck; `[n, t, 512]` to the same."""

    def __init__(self, hidden: int, width: int, heads: int):
        super().__init__()
        self.squeeze, self.squeeze_norm = nn.Linear(hidden, width), NoNorm(width)
        self.shared, self.shared_norm = nn.Linear(hidden, width), NoNorm(width)
        self.attention, self.attention_norm = Attention(width, heads), NoNorm(width)
        self.attention.value = nn.Linear(hidden, width)
        self.mlps = nn.Sequential(*(BottleneckMlp(width) for _ in range(4)))
        self.expand, self.norm = nn.Linear(width, hidden), NoNorm(hidden)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.squeeze_norm(self.squeeze(x))
        shared = self.shared_norm(self.shared(x))
        y = self.attention_norm(inner + self.attention(shared, x))
        return self.norm(x + self.expand(self.mlps(y)))


class MobileBert(nn.Module):
    """MobileBERT (arXiv:2004.02984); tokens `[n, t]` to `[n, t, 512]`."""

    def __init__(self, layers: int = 24, words: int = 30522, length: int = 512):
        super().__init__()
        self.words, self.positions = nn.Embedding(words, 128), nn.Embedding(length, 512)
        self.kinds, self.project, self.norm = nn.Embedding(2, 512), nn.Linear(384, 512), NoNorm(512)
        self.layers = nn.Sequential(*(MobileBertLayer(512, 128, 4) for _ in range(layers)))

    def forward(self, tokens: Tensor) -> Tensor:
        words = self.words(tokens)
        neighbours = [F.pad(words[:, 1:], (0, 0, 0, 1)), words, F.pad(words[:, :-1], (0, 0, 1, 0))]
        x = self.project(torch.cat(neighbours, 2))
        x = x + self.positions(torch.arange(tokens.shape[1])) + self.kinds(torch.zeros_like(tokens))
        return self.layers(self.norm(x))


def deit_tiny() -> nn.Module:
    """DeiT-tiny without its teacher's token (arXiv:2012.12877)."""
    return torchvision.models.VisionTransformer(
        image_size=224, patch_size=16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768
    )


class Segmentation(nn.Module):
    """The segmentation alone of torchvision's DeepLabV3."""

    def __init__(self):
        super().__init__()
        self.net = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)["out"]


def image(size: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(1, 3, size, size)


def classifier(name: str) -> tuple[Callable[[], nn.Module], Callable[[], Tensor]]:
    """One of torchvision's, by its name there."""
    return lambda: torchvision.models.get_model(name, weights=None), image(224)


# What `cargo xtask bench` compares beside SqueezeSAM.
BENCHED = ("resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_large", "vit_b_16")

# Name: module and an input of it.
MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    **{name: classifier(name) for name in (*BENCHED, "efficientnet_b0", "convnext_tiny", "swin_t")},
    "deeplabv3": (Segmentation, image(224)),
    "unet_gelu": (GeluUNet, image(128)),
    "squeezesam_bn_first": (squeezesam_bn_first, lambda: torch.randn(1, 5, 512, 512)),
    "whisper_encoder": (WhisperEncoder, lambda: torch.randn(1, 80, 3000)),
    "mobilebert": (MobileBert, lambda: torch.randint(0, 30522, (1, 128))),
    "deit_tiny": (deit_tiny, image(224)),
    "mobilenet_v1": (MobileNetV1, image(224)),
    "mobilenet_ssd": (MobileNetSsd, image(300)),
    "efficientnet_lite3": (EfficientNetLite3, image(280)),
}


def build(name: str) -> tuple[nn.Module, Tensor]:
    """A model in inference mode, its batch norms with statistics that keep activations small, and an input."""
    torch.manual_seed(0)
    make, example = MODELS[name]
    net = make().eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.uniform_(0.8, 1.2)
            module.bias.uniform_(-0.1, 0.1)
        elif isinstance(module, nn.Linear) and not module.weight.any():
            module.weight.normal_(0, 0.02)
        elif isinstance(module, torchvision.models.convnext.CNBlock):
            # So that the blocks contribute: they start at 1e-6.
            module.layer_scale.fill_(0.1)
    return net, example()
