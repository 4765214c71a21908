"""Programs of which the host keeps a part."""

import pytest
import sympy
import torch
from executorch.exir import to_edge_transform_and_lower
from executorch_tandem import TandemPartitioner, partitioner
from executorch_tandem.symbols import Told
from helpers import F32, Fn, error, export, load, run
from torch import nn
from torch.utils._sympy.functions import Mod
from torch.utils._sympy.value_ranges import ValueRanges


def check(module, inputs, delegates, host):
    """`delegates` delegates, `host` ATen operators on the host, eager's answer."""
    exported = export(module, inputs)
    on_host = [name for name in exported.host_ops if "getitem" not in name]
    assert (exported.delegates, len(on_host)) == (delegates, host), on_host
    with torch.no_grad():
        want = module(*inputs)
    want = [want] if isinstance(want, torch.Tensor) else want
    for got, expected in zip(run(exported.pte(), inputs), want, strict=True):
        assert error(got, expected) <= F32
    return exported


def on_host(x):
    """The same numbers, by an operator that Tandem leaves to the host."""
    return torch.native_dropout(x, 0.0, True)[0]


def distances(x):
    """Of 257 rows, which are too many for Tandem."""
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


def test_host_operator_between_delegates():
    check(Fn(lambda x: on_host(x.neg()).exp()), [torch.rand(3, 3)], delegates=2, host=1)


def test_weight_of_two_delegates_is_stored_once():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(257, 257)

        def forward(self, x):
            return self.linear(distances(self.linear(x)))

    exported = check(Net(), [torch.randn(257, 257)], delegates=2, host=1)
    assert len(exported.pte()) < 1.3 * 4 * 257 * 257


def test_computed_constant_of_two_delegates():
    table = torch.rand(4)

    def net(x):
        scale = table * 2 + 1
        return on_host(x * scale) * scale

    # The host computes it: two casts of scalars, two operators; and the sum.
    check(Fn(net), [torch.rand(4, 4)], delegates=2, host=5)


def test_kept_operator_with_one_use_declined():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 6)

        def forward(self, x, weight):
            return nn.functional.linear(self.linear(x), weight)

    check(Net(), [torch.randn(2, 6), torch.randn(3, 6)], delegates=1, host=0)


def test_kept_operator_that_nothing_decomposes():
    x = torch.randn(1, 4, 3, 3)
    exported = export(Fn(lambda x: nn.functional.gelu(x.double()).float().neg()), [x])
    assert any("gelu" in name for name in exported.host_ops)
    assert error(run(exported.pte(), [x])[0], -nn.functional.gelu(x)) <= F32


def test_tokens_come_as_integers():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.linear = nn.Embedding(10, 8), nn.Linear(8, 5)

        def forward(self, tokens):
            return self.linear(self.embedding(tokens))

    check(Net(), [torch.tensor([[1, 2, 3]])], delegates=1, host=0)


def test_views_of_the_host_are_not_worth_a_delegate():
    check(Fn(lambda x: on_host(x).reshape(9).unsqueeze(0)), [torch.rand(3, 3)], delegates=0, host=3)
    check(Fn(lambda x: x.t().reshape(12).unsqueeze(0)), [torch.rand(3, 4)], delegates=1, host=0)


def test_buffer_that_changes():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("total", torch.zeros(3))

        def forward(self, x):
            self.total.add_(x)
            return self.total * 2

    exported = export(Net(), [torch.ones(3)])
    assert exported.delegates == 1
    from executorch.exir import ExecutorchBackendConfig
    from executorch.exir.passes.init_mutable_pass import InitializedMutableBufferPass

    config = ExecutorchBackendConfig(passes=[InitializedMutableBufferPass(["total"])])
    pte = exported.manager.to_executorch(config).buffer
    method = load(pte)
    assert [method.execute([torch.ones(3)])[0][0].item() for _ in range(3)] == [2, 4, 6]


def test_unused_and_returned_inputs():
    check(Fn(lambda x, y, z: (x.neg(), y)), [torch.rand(2), torch.rand(3), torch.rand(4)], delegates=1, host=0)


class _Between(nn.Module):
    """What the host computes lies between two delegates: the second is given the first one's sizes alone."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.linear = nn.Linear(8, 5)

    def forward(self, x):
        y = on_host(self.first(x))
        y = nn.functional.max_pool2d(self.second(y).relu(), 2)
        return self.linear(y.permute(0, 2, 3, 1))


def test_rounded_sizes_of_inputs_are_sizes_of_their_own():
    height, width = torch.export.Dim("h", min=16, max=128), torch.export.Dim("w", min=16, max=90)
    net = _Between().eval()
    exported = export(net, [torch.randn(1, 3, 40, 30)], dynamic_shapes=(({2: height, 3: width}),))
    assert exported.delegates == 2 and not any("linear" in op or "conv" in op for op in exported.host_ops)
    method = load(exported.pte())
    for h, w in ((16, 16), (128, 90), (33, 47), (34, 18)):
        x = torch.randn(1, 3, h, w)
        assert error(method.execute([x])[0], net(x).detach()) <= F32


class _Shuffle(nn.Module):
    """Reads sizes of what a convolution has computed, as ShuffleNet does."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x):
        y = self.conv(x)
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        return nn.functional.max_pool2d(y, 2).relu()


def test_sizes_of_what_a_delegate_computes_split_it_not():
    dims = {2: torch.export.Dim("h", min=2, max=8) * 16, 3: torch.export.Dim("w", min=2, max=8) * 16}
    net = _Shuffle().eval()
    exported = export(net, [torch.randn(1, 3, 64, 48)], dynamic_shapes=(dims,))
    assert (exported.delegates, exported.host_ops) == (1, [])
    method = load(exported.pte())
    for h, w in ((32, 32), (128, 48), (64, 112)):
        x = torch.randn(1, 3, h, w)
        assert error(method.execute([x])[0], net(x).detach()) <= F32


class _Windows(nn.Module):
    """Pads to whole windows on the host, then takes the windows apart."""

    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, 5)

    def forward(self, x):
        y = self.conv(x)
        h, w = y.shape[2:]
        y = on_host(nn.functional.pad(y, (0, (8 - w % 8) % 8, 0, (8 - h % 8) % 8)))
        n, c, h, w = y.shape
        y = y.view(n, c, h // 8, 8, w // 8, 8).permute(0, 2, 4, 3, 5, 1)
        return self.linear(y.relu())


def test_padded_sizes_of_inputs_are_whole_windows():
    dims = {2: torch.export.Dim("h", min=9, max=60) * 2, 3: torch.export.Dim("w", min=9, max=60) * 2}
    net = _Windows().eval()
    exported = export(net, [torch.randn(1, 3, 64, 48)], dynamic_shapes=(dims,))
    # Sizes that padding and windows share lie between delegates.
    assert exported.delegates <= 3 and not any("linear" in op or "view" in op for op in exported.host_ops)
    method = load(exported.pte())
    for h, w in ((18, 18), (120, 52), (34, 96)):
        x = torch.randn(1, 3, h, w)
        assert error(method.execute([x])[0], net(x).detach()) <= F32


@pytest.mark.parametrize("order", [1, -1])
def test_sizes_tell_the_same_in_any_order(order):
    size, ranges = sympy.Symbol("s", integer=True, positive=True), ValueRanges(1, 64)
    whole = size + Mod(8 - Mod(size, 8), 8)
    # What is computed of a size tells less than the size.
    told = Told([whole, Mod(whole + 4, whole)][::order], {size: ranges})
    (new,) = told.known
    assert told.replaced == {whole: 8 * new} and (told.ranges[new].lower, told.ranges[new].upper) == (1, 8)


def test_products_of_sizes_of_inputs_are_sizes_of_their_own():
    n, m = torch.export.Dim("n", min=8, max=64), torch.export.Dim("m", min=8, max=64)
    function = lambda x: nn.functional.max_pool1d(on_host(x.reshape(3, -1)).neg(), 3).abs()  # noqa: E731
    exported = export(Fn(function), [torch.randn(3, 12, 16)], dynamic_shapes=(({1: n, 2: m},),))
    assert exported.delegates == 1 and not any("max_pool" in op for op in exported.host_ops), exported.host_ops
    method = load(exported.pte())
    for sizes in ((8, 8), (64, 9), (33, 12)):
        x = torch.randn(3, *sizes)
        assert error(method.execute([x])[0], function(x)) <= F32


def test_partition_whose_inputs_do_not_tell_a_size_stays_on_the_host():
    linear = nn.Linear(3, 5)

    def function(x):
        # Half of a product of sizes, which a quarter of it cannot be told by.
        y = on_host(nn.functional.max_pool1d(x.reshape(3, -1), 2))
        return linear(nn.functional.max_pool1d(y, 2).t())

    n, m = torch.export.Dim("n", min=8, max=64), torch.export.Dim("m", min=8, max=64)
    exported = export(Fn(function), [torch.randn(3, 12, 16)], dynamic_shapes=(({1: n, 2: m},),))
    assert exported.delegates == 1 and any("addmm" in op for op in exported.host_ops), exported.host_ops
    method = load(exported.pte())
    for sizes in ((8, 8), (64, 9), (33, 12)):
        x = torch.randn(3, *sizes)
        assert error(method.execute([x])[0], function(x).detach()) <= F32


def padded(x, size):
    """With zeros, to a multiple of `size`."""
    return nn.functional.pad(x, (0, (size - x.shape[1] % size) % size))


def windows_of_two_sizes(x):
    """Sizes that follow from one another, of which the inputs of what is delegated tell each alone."""
    a, b = on_host(padded(x, 8)), on_host(padded(x, 4))
    return (a.relu()[:, : b.shape[1]] + b).sum(1)


@pytest.mark.parametrize("attempts", [1, 8])
def test_sizes_that_are_untold_together_leave_a_node_to_the_host(monkeypatch, capsys, attempts):
    monkeypatch.setattr(partitioner, "ATTEMPTS", attempts)
    module, sizes = Fn(windows_of_two_sizes), (({1: torch.export.Dim.AUTO(min=2, max=64)},),)
    program = torch.export.export(module, (torch.randn(3, 13),), dynamic_shapes=sizes)
    edge = to_edge_transform_and_lower(program, partitioner=[TandemPartitioner(verbose=True)])
    assert "slice_copy.Tensor stays on the host: start 0" in capsys.readouterr().out
    method = load(edge.to_executorch().buffer)
    for size in (2, 13, 64):
        x = torch.randn(3, size)
        assert error(method.execute([x])[0], windows_of_two_sizes(x)) <= F32


def test_two_methods_share_weights():
    from executorch.runtime import Runtime

    linear = nn.Linear(256, 256)
    programs = {
        "once": torch.export.export(Fn(lambda x: linear(x)), (torch.randn(1, 256),)),
        "twice": torch.export.export(Fn(lambda x: linear(linear(x))), (torch.randn(1, 256),)),
    }
    lowered = to_edge_transform_and_lower(programs, partitioner=[TandemPartitioner()])
    pte = lowered.to_executorch().buffer
    assert len(pte) < 1.3 * 4 * 256 * 256

    program, x = Runtime.get().load_program(pte), torch.randn(1, 256)
    for name, want in (("once", linear(x)), ("twice", linear(linear(x)))):
        assert error(program.load_method(name).execute([x])[0], want.detach()) <= F32


@pytest.mark.parametrize("strict", [True, False])
def test_strict_and_non_strict_export(strict):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    program = torch.export.export(net, (torch.randn(1, 3, 6, 6),), strict=strict)
    lowered = to_edge_transform_and_lower(program, partitioner=[TandemPartitioner()])
    names = [op.name.decode() for m in _lowered(lowered) for op in m.ops]
    assert names == ["0"], names


def _lowered(manager):
    from executorch.exir.backend.utils import get_delegates
    from executorch_tandem.schema.blob import read_program

    graph_module = manager.exported_program().graph_module
    return [read_program(getattr(graph_module, n.name).processed_bytes) for n in get_delegates(graph_module.graph)]


def test_kept_operator_reads_an_expanded_view():
    def net(x, i):
        return nn.functional.gelu(x.expand(4, 5)), x.expand(4, 5).scatter_reduce(
            0, i.expand(2, 5), x.expand(4, 5), "amax"
        )

    check(Fn(net), [torch.randn(1, 5), torch.tensor([[2], [0]])], 1, 0)
