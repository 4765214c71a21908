"""What the builder hands to the compiler."""

import executorch_tandem
import pytest
import torch
from executorch.exir import EdgeCompileConfig, to_edge
from executorch_tandem import TandemPartitioner
from executorch_tandem.builder import Builder, is_size
from executorch_tandem.schema import blob
from executorch_tandem.schema.subgraph_generated import ArgValue, ExprOp, ValueKind
from helpers import Fn
from torch import nn


def edge(module, inputs, dynamic_shapes=None):
    module = module if isinstance(module, nn.Module) else Fn(module)
    program = torch.export.export(module.eval(), inputs, dynamic_shapes=dynamic_shapes)
    return to_edge(program, compile_config=EdgeCompileConfig(_check_ir_validity=False)).exported_program()


def build(module, inputs, dynamic_shapes=None):
    built = Builder(edge(module, inputs, dynamic_shapes)).build()
    return blob.read_subgraph(built.blob), built.constants


def arguments(node):
    return {arg.name.decode(): arg.value for arg in node.args}


def test_arguments_carry_schema_names_and_defaults():
    graph, constants = build(nn.Conv2d(3, 4, 3, bias=False), (torch.randn(1, 3, 8, 8),))
    (node,) = graph.nodes
    args = arguments(node)
    assert node.op == b"aten.convolution.default"
    assert set(args) == {
        "input", "weight", "stride", "padding", "dilation", "transposed", "output_padding", "groups",
    }  # fmt: skip
    assert list(args["stride"].values) == [1, 1] and args["transposed"].value is False and args["groups"].value == 1
    assert list(constants) == ["weight"]
    weight = graph.values[args["weight"].value]
    assert weight.kind == ValueKind.Constant and [d.size for d in weight.shape] == [4, 3, 3, 3]


def test_scalar_type_follows_the_schema():
    graph, _ = build(lambda x: torch.nn.functional.leaky_relu(x, 1), (torch.randn(3),))
    (arg,) = [arg for arg in graph.nodes[0].args if arg.name == b"negative_slope"]
    assert arg.valueType in (ArgValue.IntArg, ArgValue.FloatArg) and arg.value.value == 1


def test_only_used_outputs_have_values():
    graph, _ = build(lambda x: x.split([1, 2, 3])[1], (torch.randn(6),))
    assert list(graph.nodes[0].outputs[:1]) == [-1] and graph.nodes[0].outputs[2] == -1
    assert graph.nodes[0].outputs[1] == graph.outputs[0]


def test_names_are_module_paths_and_unique():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))

        def forward(self, x):
            return self.layers(x) + x + x

    graph, _ = build(Net(), (torch.randn(1, 3, 4, 4),))
    assert [node.name.decode() for node in graph.nodes] == ["layers.0", "layers.1", "add", "add_2"]
    assert len({node.debugHandle for node in graph.nodes}) == 4


def test_constant_expressions_are_computed_and_their_inputs_dropped():
    table = torch.arange(6)

    def net(x):
        return x * (table.reshape(2, 3) * 0.5 + 1).sqrt()

    graph, constants = build(net, (torch.randn(2, 3),))
    assert [node.op for node in graph.nodes] == [b"aten.mul.Tensor"]
    (value,) = constants.values()
    torch.testing.assert_close(value, (table.reshape(2, 3) * 0.5 + 1).sqrt())


def test_random_numbers_are_no_constants():
    program = edge(lambda x: x + torch.rand(3), (torch.randn(3),))
    builder = Builder(program)
    calls = {node.target.__name__: node for node in program.graph.nodes if node.op == "call_function"}
    assert not any(builder.folds(node) for name, node in calls.items() if "rand" in name)


def test_dim_order_of_inputs_outputs_and_weights():
    conv = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    image = torch.randn(1, 3, 6, 7).to(memory_format=torch.channels_last)
    graph, constants = build(conv, (image,))
    for index in (graph.inputs[0], graph.outputs[0]):
        assert list(graph.values[index].dimOrder) == [0, 2, 3, 1]
    assert constants["weight"].is_contiguous()
    torch.testing.assert_close(constants["weight"], conv.weight)


def test_symbolic_sizes_become_expressions():
    batch = torch.export.Dim("batch", min=3, max=16)
    graph, _ = build(lambda x: torch.cat([x, x]).neg(), (torch.randn(4, 3),), (({0: batch},),))
    (symbol,) = graph.symbols
    assert (symbol.min, symbol.max) == (3, 16)
    out = graph.values[graph.outputs[0]].shape[0]
    assert out.size == 32 and evaluate(graph, out.expr, 5) == 10


def evaluate(graph, index, symbol):
    expr = graph.exprs[index]
    match expr.op:
        case ExprOp.Const:
            return expr.a
        case ExprOp.Symbol:
            return symbol
    a, b = evaluate(graph, expr.a, symbol), evaluate(graph, expr.b, symbol)
    return {ExprOp.Add: a + b, ExprOp.Mul: a * b}[expr.op]


REFUSED = {
    "antialiased": (
        lambda x: torch.nn.functional.interpolate(x, (9000, 1), mode="bilinear", antialias=True),
        (1, 1, 2000, 1),
        "9000 by 2000 weights",
    ),
    "complex": (lambda x: torch.view_as_real(torch.fft.rfft(x)), (3, 8), "is not among"),
    "distances": (lambda x: torch.cdist(x, x, 1.0), (5000, 8), "more than 16777216 differences"),
    "dtype": (lambda x: x.double().exp().float(), (3, 5), "Exp of F64 is not defined"),
    "gamma": (lambda x: torch.lgamma(x), (3, 5), "aten.lgamma.default is not among"),
    "inner rank": (lambda x: x.repeat([2] * 8).neg(), (1,) * 7 + (3,), "more than 8 dimensions"),
    "memory": (lambda x: x.as_strided((2, 2), (1, 2)).neg(), (3, 5), "as_strided_copy.default is not among"),
    "pairs": (lambda x: torch.nn.functional.pdist(x), (3, 5), "aten._pdist_forward.default is not among"),
    "rank": (lambda x: x.reshape([1] * 8 + [15]).neg(), (3, 5), "more than 8 dimensions"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_why(name):
    function, shape, reason = REFUSED[name]
    program = edge(function, (torch.randn(shape),))
    builder = Builder(program)
    reasons = [builder.reason(node) for node in program.graph.nodes if node.op == "call_function"]
    assert any(reason in (given or "") for given in reasons), reasons


def test_symbolic_integers_are_expressions():
    n = torch.export.Dim("n", max=8)
    graph, _ = build(lambda x: x.reshape(2 * x.shape[0], -1).neg(), (torch.randn(4, 6),), (({0: n},),))
    (symbol,) = graph.symbols
    assert (symbol.min, symbol.max) == (1, 8)
    view = arguments(graph.nodes[0])["size"]
    assert [evaluate(graph, index, 5) for index in view.values] == [10, -1]
    integers = [graph.values[i] for i in graph.inputs if graph.values[i].kind == ValueKind.SymInt]
    assert all(len(value.shape) == 1 and value.shape[0].expr >= 0 for value in integers)


def test_sizes_without_bounds_are_refused():
    program = edge(lambda x: x.neg(), (torch.randn(4, 3),), (({0: torch.export.Dim.DYNAMIC},),))
    (node,) = [node for node in program.graph.nodes if node.op == "call_function"]
    assert "no upper bound" in Builder(program).reason(node)


def test_what_depends_on_a_size_is_refused():
    function, n = (lambda x: x * x.shape[0]), torch.export.Dim("n", min=2, max=8)
    program = edge(function, (torch.randn(4, 3),), (({0: n},),))
    builder = Builder(program)
    calls = [node for node in program.graph.nodes if node.op == "call_function" and not is_size(node)]
    reasons = [builder.reason(node) for node in calls]
    assert any("where" in (reason or "") for reason in reasons), reasons


def test_verbose_partitioner_prints_reasons(capsys):
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(Fn(lambda x: torch.pdist(x)), (torch.randn(3, 5),))
    to_edge_transform_and_lower(program, partitioner=[TandemPartitioner(verbose=True)])
    out = capsys.readouterr().out
    assert "takes 0 of 1 nodes" in out and "aten._pdist_forward.default is not among Tandem's operators" in out


def test_unknown_option():
    with pytest.raises(ValueError, match="no option 'speed'"):
        executorch_tandem.set_option("speed", "fast")
