"""SqueezeSAM: promptable segmentation with a U-Net image encoder and a small two-way transformer.

Written from the published description (arXiv:2312.06736). Images are 512 x 512; the prompt enters as two more image
channels, so the network is one graph from a `[n, 5, 512, 512]` tensor to mask logits and their predicted IoU.
"""

import itertools
import math

import torch
from torch import Tensor, nn

SIZE = 512
PARAMETERS = 10_159_260
GMAC = 26.26

ENCODER_WIDTHS = (64, 128, 128, 128, 128, 164, 256, 256)
EMBED_DIM = 256
MASK_TOKENS = 4


class DoubleConv(nn.Module):
    """Twice conv 3x3 -> ReLU -> BatchNorm; `[n, c_in, h, w]` to `[n, c_out, h, w]`."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.bn2 = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.relu1(self.conv1(x)))
        return self.bn2(self.relu2(self.conv2(x)))


class Down(nn.Module):
    """Halves the image and convolves."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.conv = DoubleConv(c_in, c_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.pool(x))


class PixelShuffleUp(nn.Module):
    """Linear -> ReLU -> BatchNorm -> pixel shuffle; `[n, c, h, w]` to `[n, c / 2, 2h, 2w]`.

    With `contiguous` the permuted image is copied behind the linear layer, which is a form that exporters to
    NHWC-only backends get on with better.
    """

    def __init__(self, channels: int, contiguous: bool):
        super().__init__()
        self.linear = nn.Linear(channels, 4 * (channels // 2))
        self.relu = nn.ReLU()
        self.bn = nn.BatchNorm2d(4 * (channels // 2))
        self.contiguous = contiguous

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        if self.contiguous:
            x = x.contiguous()
        x = self.bn(self.relu(x))
        x = x.reshape(n, c // 2, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3)
        return x.reshape(n, c // 2, 2 * h, 2 * w)


class Up(nn.Module):
    """Doubles the image, joins the encoder's map of that size, and convolves."""

    def __init__(self, c_in: int, c_skip: int, c_out: int, contiguous: bool):
        super().__init__()
        self.up = PixelShuffleUp(c_in, contiguous)
        self.conv = DoubleConv(c_in // 2 + c_skip, c_out)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.conv(torch.cat([skip, self.up(x)], dim=1))


class Attention(nn.Module):
    """Multi-head attention with an internal width of `dim / downsample`."""

    def __init__(self, dim: int, heads: int, downsample: int = 1):
        super().__init__()
        inner = dim // downsample
        self.heads = heads
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(dim, inner)
        self.v_proj = nn.Linear(dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    def split(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        return x.reshape(n, tokens, self.heads, width // self.heads).transpose(1, 2)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = self.split(self.q_proj(q)), self.split(self.k_proj(k)), self.split(self.v_proj(v))
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        out = scores.softmax(dim=-1) @ v
        return self.out_proj(out.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, *widths: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)


class TwoWayBlock(nn.Module):
    """Tokens attend to each other and to the image, then the image attends to the tokens."""

    def __init__(self, dim: int, heads: int, first: bool):
        super().__init__()
        self.first = first
        self.self_attn = Attention(dim, heads)
        self.norm1 = nn.LayerNorm(dim)
        self.token_to_image = Attention(dim, heads, downsample=2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, dim, dim)
        self.norm3 = nn.LayerNorm(dim)
        self.image_to_token = Attention(dim, heads, downsample=2)
        self.norm4 = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, image: Tensor, token_pe: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pe
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        tokens = self.norm2(tokens + self.token_to_image(tokens + token_pe, image, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.image_to_token(image, tokens + token_pe, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Exchanges information between prompt tokens `[n, t, c]` and image positions `[n, h * w, c]`."""

    def __init__(self, dim: int, depth: int, heads: int):
        super().__init__()
        self.blocks = nn.ModuleList(TwoWayBlock(dim, heads, first=i == 0) for i in range(depth))
        self.final_attn = Attention(dim, heads, downsample=2)
        self.norm_final = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        token_pe = tokens
        for block in self.blocks:
            tokens, image = block(tokens, image, token_pe)
        tokens = self.norm_final(tokens + self.final_attn(tokens + token_pe, image, image))
        return tokens, image


class SqueezeSam(nn.Module):
    """`[n, 5, 512, 512]` (normalised RGB, box mask, point mask) to masks `[n, 3, 256, 256]` and IoU `[n, 3]`.

    `contiguous` and `channels_last` change what memory looks like inside, not the answer.
    """

    def __init__(self, contiguous: bool = False, channels_last: bool = False):
        super().__init__()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        widths = ENCODER_WIDTHS
        self.patch_embed = nn.Conv2d(5, widths[0], 2, stride=2)
        self.patch_norm = nn.GroupNorm(1, widths[0])
        self.stem = DoubleConv(widths[0], widths[0])
        self.downs = nn.ModuleList(Down(a, b) for a, b in itertools.pairwise(widths))
        self.iou_token = nn.Parameter(torch.empty(1, 1, EMBED_DIM))
        self.mask_tokens = nn.Parameter(torch.empty(1, MASK_TOKENS, EMBED_DIM))
        self.transformer = TwoWayTransformer(EMBED_DIM, depth=2, heads=8)
        skips = widths[-2::-1]
        inputs = (widths[-1], *skips)
        self.ups = nn.ModuleList(Up(a, s, s, contiguous) for a, s in zip(inputs, skips, strict=False))
        self.hyper = nn.ModuleList(Mlp(EMBED_DIM, EMBED_DIM, EMBED_DIM, widths[0]) for _ in range(MASK_TOKENS))
        self.iou_head = Mlp(EMBED_DIM, EMBED_DIM, EMBED_DIM, MASK_TOKENS)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Maps of every resolution, largest first."""
        x = self.patch_norm(self.patch_embed(x)).contiguous(memory_format=self.memory_format)
        maps = [self.stem(x)]
        for down in self.downs:
            maps.append(down(maps[-1]))
        return maps

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.encode(x)
        n, c, h, w = maps[-1].shape
        prompt = torch.zeros(1, 1, EMBED_DIM, dtype=x.dtype)
        tokens = torch.cat([self.iou_token, self.mask_tokens, prompt], dim=1).expand(n, -1, -1)
        tokens, image = self.transformer(tokens, maps[-1].flatten(2).transpose(1, 2))

        features = image.transpose(1, 2).reshape(n, c, h, w)
        for up, skip in zip(self.ups, maps[-2::-1], strict=True):
            features = up(features, skip)

        weights = torch.stack([mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.hyper)], dim=1)
        n, c, h, w = features.shape
        masks = torch.bmm(weights, features.flatten(2)).reshape(n, MASK_TOKENS, h, w)
        return masks[:, 1:], self.iou_head(tokens[:, 0])[:, 1:]


def randomise(model: nn.Module, seed: int = 0) -> None:
    """Gives every layer seeded weights that keep activations near unit variance, as training would.

    BatchNorm scales vary in size and include negative ones, so that folding them wrongly shows.
    """
    g = torch.Generator().manual_seed(seed)

    def uniform(t: Tensor, low: float, high: float) -> None:
        t.data.uniform_(low, high, generator=g)

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, math.sqrt(1.5 / fan_in), generator=g)
            uniform(module.bias, -0.1, 0.1)
        elif isinstance(module, nn.BatchNorm2d):
            uniform(module.weight, 0.6, 1.4)
            module.weight.data[::7].neg_()
            uniform(module.bias, -0.2, 0.2)
            uniform(module.running_mean, 0.5, 0.9)
            uniform(module.running_var, 0.8, 2.0)
        elif isinstance(module, nn.LayerNorm | nn.GroupNorm):
            uniform(module.weight, 0.8, 1.2)
            uniform(module.bias, -0.1, 0.1)
    for token in (model.iou_token, model.mask_tokens):
        token.data.normal_(0, 1, generator=g)


def macs(model: nn.Module, x: Tensor) -> int:
    """Multiply-accumulates of one forward pass: convolutions, linear layers and matrix products."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    return counter.get_total_flops() // 2


def squeezesam(contiguous: bool = False, channels_last: bool = False, seed: int = 0) -> SqueezeSam:
    """The model in eval mode with seeded random weights; its size is checked against the published one."""
    model = SqueezeSam(contiguous, channels_last).eval().requires_grad_(False)
    randomise(model, seed)
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == PARAMETERS, f"{parameters} parameters, expected {PARAMETERS}"
    return model


if __name__ == "__main__":
    net = squeezesam()
    gmac = macs(net, torch.zeros(1, 5, SIZE, SIZE)) / 1e9
    assert round(gmac, 2) == GMAC, f"{gmac:.4f} GMAC, expected {GMAC}"
    print(f"{PARAMETERS:,} parameters, {gmac:.2f} GMAC at {SIZE} x {SIZE}")
