"""What the builder hands to the compiler."""

import executorch_tandem
import pytest
import torch
from executorch.exir import to_edge
from executorch_tandem import TandemPartitioner
from executorch_tandem.builder import Builder
from executorch_tandem.schema import blob
from executorch_tandem.schema.subgraph_generated import ArgValue, ExprOp, ValueKind
from helpers import Fn
from torch import nn


def edge(module, inputs, dynamic_shapes=None):
    module = module if isinstance(module, nn.Module) else Fn(module)
    program = torch.export.export(module.eval(), inputs, dynamic_shapes=dynamic_shapes)
    return to_edge(program).exported_program()


def build(module, inputs, dynamic_shapes=None):
    built = Builder(edge(module, inputs, dynamic_shapes), dynamic=dynamic_shapes is not None).build()
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
    batch = torch.export.Dim("batch", min=2, max=16)
    graph, _ = build(lambda x: torch.cat([x, x]).neg(), (torch.randn(4, 3),), (({0: batch},),))
    (symbol,) = graph.symbols
    assert (symbol.min, symbol.max) == (2, 16)
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
    "topk": (lambda x: x.topk(2)[0], (3, 5), "aten.topk.default is not among"),
    "dtype": (lambda x: x.double().neg().float(), (3, 5), "float64, not float32"),
    "ceil": (nn.MaxPool2d(2, ceil_mode=True), (1, 2, 5, 5), "ceil_mode"),
    "rank": (lambda x: x.reshape([1] * 8 + [15]).neg(), (3, 5), "9 dimensions"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_why(name):
    function, shape, reason = REFUSED[name]
    program = edge(function, (torch.randn(shape),))
    builder = Builder(program)
    reasons = [builder.reason(node) for node in program.graph.nodes if node.op == "call_function"]
    assert any(reason in (given or "") for given in reasons), reasons


def test_symbolic_sizes_are_refused_for_now():
    program = edge(lambda x: x.neg(), (torch.randn(4, 3),), (({0: torch.export.Dim("n", max=8)},),))
    (node,) = [node for node in program.graph.nodes if node.op == "call_function"]
    assert "symbolic size" in Builder(program).reason(node)


def test_verbose_partitioner_prints_reasons(capsys):
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(Fn(lambda x: x.topk(2)[0]), (torch.randn(3, 5),))
    to_edge_transform_and_lower(program, partitioner=[TandemPartitioner(verbose=True)])
    out = capsys.readouterr().out
    assert "takes 0 of 2 nodes" in out and "aten.topk.default is not among Tandem's operators" in out


def test_unknown_option():
    with pytest.raises(ValueError, match="no option 'speed'"):
        executorch_tandem.set_option("speed", "fast")
