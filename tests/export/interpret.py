"""Runs Subgraphs with PyTorch's own operators: what the builder hands over says what eager does."""

import pytest
import torch
import torchvision
from executorch.exir import to_edge_transform_and_lower
from executorch_tandem import TandemPartitioner, backend
from executorch_tandem.builder import Subgraph
from executorch_tandem.schema.blob import read_subgraph
from executorch_tandem.schema.subgraph_generated import ArgValue
from helpers import Fn, error
from model import squeezesam
from torch import nn
from torch.nn import functional

# Operators kept whole are the eager ones; the decomposed rest rounds differently.
TOLERANCE = 1e-5


def interpret(subgraph, inputs):
    """Outputs of a built Subgraph for these inputs."""
    graph = read_subgraph(subgraph.blob)
    values = {i: subgraph.constants[v.constant.decode()] for i, v in enumerate(graph.values) if v.constant is not None}
    values.update(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        namespace, name, overload = node.op.decode().split(".")
        operator = getattr(getattr(getattr(torch.ops, namespace), name), overload)
        given = {arg.name.decode(): argument(arg, values) for arg in node.args}
        # An absent argument is None.
        result = operator(**{a.name: given.get(a.name) for a in operator._schema.arguments})
        results = [result] if isinstance(result, torch.Tensor) else result
        for index, tensor in zip(node.outputs, results, strict=True):
            if index >= 0:
                assert list(tensor.shape) == [d.size for d in graph.values[index].shape or []], node.name
                values[index] = tensor
    return [values[index] for index in graph.outputs]


def argument(arg, values):
    match arg.valueType:
        case ArgValue.TensorArg:
            return values[arg.value.value]
        case ArgValue.TensorListArg:
            return [values[i] for i in arg.value.values]
        case ArgValue.IntListArg | ArgValue.FloatListArg | ArgValue.BoolListArg:
            return list(arg.value.values)
        case ArgValue.StringArg:
            return arg.value.value.decode()
    return arg.value.value


def built(module, inputs, monkeypatch):
    """The Subgraphs of an export, which ends where the compiler would be called."""
    subgraphs = []

    class StopHereError(Exception):
        pass

    def lower(blob, constants):
        subgraphs.append(Subgraph(blob, constants))
        raise StopHereError

    monkeypatch.setattr(backend, "lower", lower)
    program = torch.export.export(module.eval(), tuple(inputs))
    with pytest.raises(StopHereError):
        to_edge_transform_and_lower(program, partitioner=[TandemPartitioner()])
    return subgraphs[0]


class Everything(nn.Module):
    """Calls with arguments of every kind, defaults left out and given."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 8, (3, 1), stride=(2, 1), padding=(1, 0), dilation=1, groups=2)
        self.up = nn.ConvTranspose2d(8, 6, 3, stride=2, output_padding=1)
        self.norm = nn.GroupNorm(3, 6)
        self.pool = nn.AvgPool2d(3, 2, 1, count_include_pad=False)

    def forward(self, x):
        x = functional.leaky_relu(self.conv(x), 0.1)
        x = functional.elu(self.norm(self.up(x)), 0.5)
        x = functional.interpolate(self.pool(x), scale_factor=2, mode="bilinear")
        x = functional.pad(x, (1, 0, 2, 1), value=-1).clamp(max=2)
        a, _, b = x.split([2, 1, 3], dim=1)
        x = torch.cat([a.mean((2, 3), keepdim=True) * a, torch.add(b, b.amax(3, True), alpha=0.5)], 1)
        x = functional.gelu(x[:, ::2].permute(0, 2, 3, 1), approximate="tanh")
        return functional.softplus(x.softmax(-1) ** 1.5, 2, 10), x.sum((0, -1)).unsqueeze(0)


MODELS = {
    "everything": (Everything, (2, 4, 9, 10)),
    "resnet18": (lambda: torchvision.models.resnet18(weights=None), (1, 3, 64, 64)),
    "mobilenet_v3_large": (lambda: torchvision.models.mobilenet_v3_large(weights=None), (1, 3, 64, 64)),
    "attention": (lambda: nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True), (2, 7, 32)),
    "squeezesam": (squeezesam, (1, 5, 512, 512)),
    "scalars": (lambda: Fn(lambda x: 3 - (2 * x + 1) / 7 - x**2), (4, 5)),
}


@pytest.mark.parametrize("name", MODELS)
def test_subgraph_says_what_eager_does(name, monkeypatch):
    make, shape = MODELS[name]
    module, x = make().eval(), torch.randn(shape)
    subgraph = built(module, [x], monkeypatch)
    with torch.no_grad():
        want = module(x)
        got = interpret(subgraph, [x])
    for a, b in zip(got, [want] if isinstance(want, torch.Tensor) else want, strict=True):
        assert error(a, b) <= TOLERANCE
