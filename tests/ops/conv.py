import pytest
import torch
from helpers import check
from torch import nn

# (c_in, c_out, kernel, stride, padding, dilation, groups), (h, w): edges of the 32-column panels, of 12-row tiles,
# and every kind of window the models have.
CONVS = [
    ((3, 8, 1, 1, 0, 1, 1), (1, 1)),
    ((5, 64, 2, 2, 0, 1, 1), (10, 12)),
    ((3, 33, 3, 1, 1, 1, 1), (7, 13)),
    ((17, 31, 3, 2, 1, 1, 1), (9, 8)),
    ((3, 64, 7, 2, 3, 1, 1), (21, 23)),
    ((16, 16, (1, 5), 1, (0, 2), 1, 1), (6, 11)),
    ((8, 24, 3, 1, 2, 2, 1), (9, 9)),
    ((12, 36, 3, 1, 1, 1, 3), (5, 7)),
    ((64, 48, 1, 1, 0, 1, 1), (4, 4)),
    ((32, 32, 3, 1, 1, 1, 1), (16, 16)),
    ((1, 1, 5, 3, (4, 1), 1, 1), (8, 12)),
]


@pytest.mark.parametrize(("conv", "size"), CONVS)
@pytest.mark.parametrize("bias", [True, False])
def test_conv2d(conv, size, bias):
    # Winograd's transforms add roundings of a few times the direct sum's.
    check(nn.Conv2d(*conv, bias=bias), [torch.randn(2, conv[0], *size)], tolerance=5e-5)


@pytest.mark.parametrize("channels", [1, 7, 32, 40])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 1, 1), (5, 2, 2), (1, 1, 1)])
def test_depthwise(channels, kernel, stride, dilation):
    conv = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, dilation, groups=channels)
    check(conv, [torch.randn(1, channels, 11, 14)])


def test_depthwise_multiplier():
    check(nn.Conv2d(6, 12, 3, padding=1, groups=6), [torch.randn(1, 6, 5, 5)])


def test_conv1d():
    check(nn.Conv1d(4, 10, 3, padding=1), [torch.randn(2, 4, 15)])


def test_unbatched():
    check(nn.Conv2d(4, 10, 3), [torch.randn(4, 6, 7)])


def test_channels_last_input_and_weight():
    conv = nn.Conv2d(8, 20, 3, padding=1).to(memory_format=torch.channels_last)
    check(conv, [torch.randn(2, 8, 9, 10).to(memory_format=torch.channels_last)])


# (c_in, c_out, kernel, stride, padding, output_padding, groups, bias, dilation)
TRANSPOSED = [
    (4, 6, 2, 2, 0, 0, 1),
    (5, 7, 3, 2, 1, 1, 1),
    (8, 33, 4, 2, 1, 0, 1),
    (6, 9, 3, 1, 1, 0, 3),
    (3, 4, 3, 3, 0, 2, 1),
    (4, 4, 2, 3, 0, 0, 1),
    (4, 5, 3, 2, 2, 1, 1, True, 2),
]


@pytest.mark.parametrize("conv", TRANSPOSED)
def test_conv_transpose2d(conv):
    check(nn.ConvTranspose2d(*conv), [torch.randn(2, conv[0], 5, 6)])


# (c_in, c_out, kernel, stride, padding, dilation, groups): kernels deeper than a convolution has segments, each axis
# with its own step, and every kind of group.
CONVS3D = [
    (3, 8, 1, 1, 0, 1, 1),
    (3, 20, 3, 1, 1, 1, 1),
    (4, 33, (2, 3, 1), (2, 1, 1), (0, 1, 0), 1, 1),
    (4, 6, (1, 3, 3), 1, (0, 1, 1), 1, 1),
    (4, 6, (3, 1, 1), 1, (1, 0, 0), 1, 1),
    (2, 5, (5, 3, 3), (1, 2, 2), (2, 1, 1), 1, 1),
    (4, 6, 3, 1, 2, 2, 1),
    (4, 6, 3, 2, 1, (3, 1, 2), 1),
    (6, 9, 3, 1, 1, 1, 3),
    (5, 5, 3, 1, 1, 1, 5),
    (5, 10, (2, 3, 3), 2, 1, 1, 5),
]


@pytest.mark.parametrize("conv", CONVS3D)
@pytest.mark.parametrize(("batch", "bias"), [(1, True), (2, True), (2, False)])
def test_conv3d(conv, batch, bias):
    check(nn.Conv3d(*conv, bias=bias), [torch.randn(batch, conv[0], 6, 7, 8)], tolerance=5e-5)


def test_conv3d_of_one_plane():
    check(nn.Conv3d(3, 4, 3, stride=5, padding=1), [torch.randn(1, 3, 1, 6, 7)])


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_conv3d_padded_by_name(padding):
    check(nn.Conv3d(3, 4, 3, padding=padding), [torch.randn(1, 3, 4, 6, 7)])


def test_conv3d_without_batch():
    check(nn.Conv3d(3, 4, 3), [torch.randn(3, 4, 6, 7)])


# (c_in, c_out, kernel, stride, padding, output_padding, groups, bias, dilation)
TRANSPOSED3D = [
    (4, 6, 2, 2, 0, 0, 1),
    (4, 6, 3, 1, 1, 0, 1),
    (5, 7, 3, 2, 1, 1, 1),
    (3, 5, 4, 2, 1, 0, 1, False),
    (4, 6, (1, 2, 2), (1, 2, 2), 0, 0, 1),
    (4, 4, 2, 3, 0, 0, 1),
    (4, 4, 2, 3, 0, 2, 2),
    (6, 9, 3, 2, 2, 1, 3),
    (4, 5, 3, 2, (4, 1, 2), 1, 1, True, 2),
    (4, 5, (3, 2, 2), (2, 1, 3), 1, (2, 0, 1), 1, True, (3, 2, 1)),
    (5, 5, 3, 2, 1, 1, 5),
]


@pytest.mark.parametrize("conv", TRANSPOSED3D)
@pytest.mark.parametrize("batch", [1, 2])
def test_conv_transpose3d(conv, batch):
    check(nn.ConvTranspose3d(*conv), [torch.randn(batch, conv[0], 4, 5, 6)])


@pytest.mark.parametrize("conv", TRANSPOSED[:4] + TRANSPOSED[-1:])
def test_conv_transpose1d(conv):
    check(nn.ConvTranspose1d(*conv), [torch.randn(2, conv[0], 6)])


# What becomes of arithmetic behind a convolution of other than two dimensions: its stages, or an op of its own.
STAGES = [
    (nn.Conv1d(6, 20, 3, padding=1), nn.BatchNorm1d(20), (9,), "Conv"),
    (nn.ConvTranspose1d(6, 20, 3, stride=2), nn.BatchNorm1d(20), (9,), "ConvTranspose"),
    (nn.Conv3d(6, 20, 3, padding=1), nn.BatchNorm3d(20), (4, 5, 6), "Conv"),
    (nn.ConvTranspose3d(6, 20, 3, stride=2, padding=1), nn.BatchNorm3d(20), (4, 5, 6), "ConvTranspose"),
]


@pytest.mark.parametrize(("conv", "norm", "size", "kind"), STAGES)
def test_stages(conv, norm, size, kind):
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    norm.weight.data.uniform_(-1, 1)
    for net in ([conv, norm, nn.ReLU()], [conv, nn.SiLU(), norm]):
        exported = check(nn.Sequential(*net), [torch.randn(2, 6, *size)], tolerance=5e-5)
        views = {"Reshape", "Permute", "Slice", "Pad", "Concat"}
        assert [op for op in exported.ops() if op not in views] == [kind]


@pytest.mark.parametrize(
    "order", ["conv bn relu", "conv relu bn", "conv bn", "conv relu6", "conv silu", "conv add relu"]
)
def test_epilogues(order):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(6, 20, 3, padding=1)
            self.skip = nn.Conv2d(6, 20, 1)
            self.bn = nn.BatchNorm2d(20)
            self.bn.running_mean.uniform_(-1, 1)
            self.bn.running_var.uniform_(0.5, 2)
            self.bn.weight.data.uniform_(-1, 1)
            self.bn.bias.data.uniform_(-1, 1)

        def forward(self, x):
            y = x
            for step in order.split():
                match step:
                    case "conv":
                        y = self.conv(y)
                    case "bn":
                        y = self.bn(y)
                    case "relu":
                        y = y.relu()
                    case "relu6":
                        y = nn.functional.relu6(y)
                    case "silu":
                        y = nn.functional.silu(y)
                    case "add":
                        y = y + self.skip(x)
            return y

    check(Net(), [torch.randn(1, 6, 9, 10)], tolerance=5e-5)


@pytest.mark.parametrize(
    ("conv", "size"),
    [
        (nn.Conv1d(4, 6, 3), (9,)),
        (nn.Conv3d(4, 6, 3, padding=1), (4, 5, 6)),
        (nn.ConvTranspose3d(4, 6, 3, 2), (4, 5, 6)),
    ],
)
def test_half(conv, size):
    # Both round results to 11 bits, eager perhaps sums too.
    check(conv.half(), [torch.randn(2, 4, *size).half()], tolerance=2e-3)
