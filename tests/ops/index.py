import pytest
import torch
from executorch_tandem import edge_config
from helpers import Fn, check, export, load, run
from torch import nn

# Some of these are no core ATen operators, which exports refuse unless told otherwise.
ANY = edge_config()


@pytest.mark.parametrize("shape", [(), (7,), (2, 3, 4)])
def test_embedding(shape):
    check(nn.Embedding(10, 33), [torch.randint(0, 10, shape)])


def test_embedding_of_int32():
    check(nn.Embedding(10, 5), [torch.randint(0, 10, (6,), dtype=torch.int32)])


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag(mode):
    bag, indices = nn.EmbeddingBag(10, 6, mode=mode), torch.tensor([1, 2, 4, 5, 4, 3, 2, 9])
    check(bag, [indices, torch.tensor([0, 3, 3, 7])], config=ANY)
    last = nn.EmbeddingBag(10, 6, mode=mode, include_last_offset=True)
    check(last, [indices, torch.tensor([0, 5, 8])], config=ANY)


def test_weighted_embedding_bag():
    bag = nn.EmbeddingBag(10, 6, mode="sum")
    inputs = [torch.tensor([1, 2, 4, 5]), torch.tensor([0, 3]), torch.randn(4)]
    check(lambda i, o, w: bag(i, o, per_sample_weights=w), inputs, config=ANY)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_index_select(dim):
    check(lambda x, i: x.index_select(dim, i), [torch.randn(4, 5, 6), torch.tensor([3, 0, 3])])


def test_gather():
    x, i = torch.randn(4, 5, 6), torch.randint(0, 5, (3, 8, 6))
    check(lambda x, i: x.gather(1, i), [x, i])
    check(lambda x, i: torch.take_along_dim(x, i, 1), [x, torch.randint(0, 5, (4, 2, 6))])


INDEXED = {
    "one": lambda x, i, j: x[i],
    "middle": lambda x, i, j: x[:, i],
    "two": lambda x, i, j: x[i, j],
    "broadcast": lambda x, i, j: x[i[:, None], j],
    "apart": lambda x, i, j: x[i, :, j],
    "behind": lambda x, i, j: x[:, :, i, j],
    "negative": lambda x, i, j: x[-1 - i, -1 - j],
}


@pytest.mark.parametrize("name", INDEXED)
def test_index(name):
    x, i, j = torch.randn(4, 5, 6, 7), torch.tensor([3, 0, 1]), torch.tensor([2, 2, 0])
    check(INDEXED[name], [x, i, j])


@pytest.mark.parametrize("accumulate", [True, False])
def test_index_put(accumulate):
    x, i, j = torch.randn(4, 5, 6), torch.tensor([3, 0, 1]), torch.tensor([2, 4, 0])
    put = torch.ops.aten.index_put
    check(lambda x, i, v: put(x, [i], v, accumulate), [x, i, torch.randn(3, 5, 6)])
    check(lambda x, i, v: put(x, [None, i], v, accumulate), [x, i, torch.randn(6)])
    check(lambda x, i, j, v: put(x, [i, j], v, accumulate), [x, i, j, torch.randn(3, 6)])
    check(lambda x, i, j, v: put(x, [i, None, j], v, accumulate), [x, i, j, torch.randn(3, 5)])


def test_scatter():
    x, i = torch.randn(4, 5), torch.tensor([[0, 2, 1], [3, 4, 0]])
    check(lambda x, i, v: x.scatter(1, i, v), [x, i, torch.randn(2, 3)])
    check(lambda x, i: x.scatter(1, i, 2.5), [x, i])
    check(lambda x, i, v: x.scatter_add(0, i, v), [x, i % 4, torch.randn(2, 3)])


def test_place_outside_is_refused_and_the_next_call_works():
    exported = export(Fn(lambda x, i: x.index_select(0, i)), [torch.randn(4, 5), torch.tensor([0])])
    method, x = load(exported.pte()), torch.randn(4, 5)
    with pytest.raises(RuntimeError):
        method.execute([x, torch.tensor([4])])
    assert torch.equal(method.execute([x, torch.tensor([3])])[0], x[3:])


def test_orders():
    x = torch.randn(3, 20, 4)
    check(lambda x: tuple(x.topk(5, dim=1)), [x])
    check(lambda x: tuple(x.topk(3, dim=0, largest=False)), [x])
    check(lambda x: (*x.sort(1), *x.sort(-1, descending=True), x.argsort(0)), [x], config=ANY)
    check(lambda x: tuple(torch.sort(x, stable=True)), [torch.randint(0, 4, (30,))], config=ANY)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_median(dim):
    check(lambda x: (*x.median(dim), x.median()), [torch.randn(4, 5, 6)], config=ANY)


def test_median_of_nan_is_the_first():
    x = torch.tensor([[1.0, float("nan"), 0.0, float("nan")], [4.0, 3.0, 2.0, 1.0]])
    got = run(export(Fn(lambda x: tuple(x.median(1))), [x], config=ANY).pte(), [x])
    want = x.median(1)
    assert torch.equal(got[0].isnan(), want[0].isnan()) and got[0][1] == want[0][1]
    assert torch.equal(got[1], want[1])


def test_copies():
    x = torch.randn(2, 3, 4)
    check(lambda x: (x.repeat(1, 3, 2), x.repeat(2, 1, 1, 2), x.flip(0, 2), x.roll(2, 1)), [x])


@pytest.mark.parametrize("include_self", [True, False])
def test_scatter_reduce(include_self):
    x, i, v = torch.randn(4, 5), torch.tensor([[0, 2, 1], [3, 2, 0]]), torch.randn(2, 4)
    kinds = ("sum", "prod", "mean", "amax", "amin")

    def reduced(x, i, v):
        along = [x.scatter_reduce(1, i, v, kind, include_self=include_self) for kind in kinds]
        return (*along, x.scatter_reduce(0, i, v, "amax", include_self=include_self))

    check(reduced, [x, i, v])
    check(lambda x, i, v: x.scatter_reduce(0, i, v, "prod"), [(9 * x).long(), i, (9 * v).long()])


def test_masked_scatter():
    x, v = torch.randn(4, 5), torch.randn(3, 7)
    check(lambda x, v: (x.masked_scatter(x > 0, v), x.masked_scatter(x[:, :1] > 0, v)), [x, v], 0)


def test_part_replaced():
    def assigned(x, s):
        x = x.clone()
        x[:, 1:3] = s
        x[2] = 0
        x[::2, -1] = s[0, 0]
        return x

    x = torch.randn(4, 6)
    check(assigned, [x, torch.randn(4, 2)], 0)
    check(lambda x, s: (x.slice_scatter(s, 1, 0, 6, 2), x.slice_scatter(s, 1, -3)), [x, torch.randn(4, 3)], 0)
    check(lambda x, s: (x.select_scatter(s, 1, -1), x.select_scatter(s, 1, 0)), [x, torch.randn(4)], 0)
    check(lambda x, s: x.diagonal_scatter(s, 1), [x, torch.randn(4)], 0, config=ANY)
    turned = [torch.randn(4, 5, 6), torch.randn(6, 4)]
    check(lambda x, s: x.permute(1, 2, 0).diagonal_scatter(s, -1, 0, 2), turned, 0, ANY)


def test_diagonals_and_windows():
    x = torch.randn(4, 3, 5)
    check(lambda x: (x.diagonal(), x.diagonal(1, 0, 2), x.diagonal(-2, -1, 0), x.diagonal(4, 0, 2)), [x], 0)
    check(lambda x: (torch.einsum("iji->ji", x[:, :, :4]), x[:3, :, 0].trace(), torch.diag(x[0, 0])), [x])
    check(lambda x: (x.unfold(2, 3, 2), x.unfold(0, 4, 1), x.unfold(-1, 1, 3) + 1), [x], 0)


def test_patches():
    images = torch.nn.functional
    x = torch.randn(2, 3, 7, 8)
    check(lambda x: (images.unfold(x, 3, padding=1, stride=2), images.unfold(x, (2, 3), dilation=2)), [x])
    check(lambda x: images.fold(x, (6, 8), 3, padding=1, stride=(1, 2)), [torch.randn(2, 27, 24)])


def test_places_in_sorted_boundaries():
    x, b = torch.tensor([[-3.0, -1.0, 0.3], [0.5, float("nan"), 9.0]]), torch.tensor([-1.0, 0.0, 0.5, 2.0])
    check(lambda x, b: (torch.bucketize(x, b), torch.bucketize(x, b, out_int32=True, right=True)), [x, b], config=ANY)
    rows = torch.randn(2, 5).sort(1).values
    check(lambda x, b: (torch.searchsorted(b, x), torch.searchsorted(b, x, side="right")), [x, rows], config=ANY)
    check(torch.bucketize, [torch.randint(0, 9, (20,)), torch.tensor([1, 3, 3, 7])], config=ANY)


def test_kth():
    x = torch.randn(4, 7)
    check(lambda x: (*x.kthvalue(2), *x.kthvalue(4, 0, True), *x.kthvalue(7, 1)), [x], 0, config=ANY)
    check(lambda x: (x.quantile(0.3, 1), x.quantile(0.5)), [x])


def test_one_hot():
    # Its assertions are the host's, and nothing is left of them in a file.
    x, module = torch.tensor([3, 0, 2]), Fn(lambda x: torch.nn.functional.one_hot(x, 4).float())
    exported = export(module, [x])
    assert exported.delegates == 1 and all("assert" in op for op in exported.host_ops)
    assert torch.equal(run(exported.pte(), [x])[0], module(x))
