"""Turns an exported program, node by node, into a Subgraph."""

import operator
from dataclasses import dataclass

import sympy
import torch
from executorch.exir.tensor import dim_order_from_stride
from torch import fx
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from . import encode, lower, ops
from .call import Call, Unsupported, aten, tensors_of
from .names import Names
from .schema import subgraph_generated as schema
from .schema.blob import write_subgraph
from .schema.subgraph_generated import ValueKind
from .symbols import Symbols, sizes

# A constant that grows by more than this when computed at export is computed at run time instead.
FOLD_LIMIT = 1 << 20


@dataclass
class Subgraph:
    """A blob for the compiler, and the bytes its constants name (contiguous tensors)."""

    blob: bytes
    constants: dict[str, torch.Tensor]


class Builder:
    """Builds the Subgraph of a program; asking for a node's `reason` builds it alone and asks the compiler.

    Nodes that depend on constants only are computed here and handed over as constants. Sizes are numbers or
    expressions; nodes that compute a size stay with the host.
    """

    def __init__(self, program: ExportedProgram):
        self._program = program
        self.ranges = program.range_constraints
        self._foldable: dict[fx.Node, bool] = {}
        self._constants = _constants(program)
        for node in program.graph.nodes:
            self._foldable[node] = self._is_foldable(node)
        self._names = Names(program.graph)
        self._folded: dict[fx.Node, torch.Tensor] = {}

    def reason(self, node: fx.Node) -> str | None:
        """Why a call_function node cannot be taken; None if it can."""
        try:
            if node.target is operator.getitem:
                return self.reason(node.args[0])
            alone = _Build(self, Symbols(self.ranges)).part([node])
        except Unsupported as unsupported:
            return str(unsupported)
        refusal = lower.refusal(alone.blob, alone.constants)
        return refusal and refusal.reason

    def refusals(self, nodes: set[fx.Node]) -> dict[fx.Node, str]:
        """Why nodes of which each can be taken cannot be taken together; {} if they can.

        What next to a part tells a size may tell less of it than the program's inputs do.
        """
        part = [node for node in self._program.graph.nodes if node in nodes]
        build = _Build(self, Symbols(self.ranges, self.given(part)))
        try:
            subgraph = build.part([node for node in part if _is_call(node)])
        except Unsupported as unsupported:
            return dict.fromkeys(part, str(unsupported))
        refusal = lower.refusal(subgraph.blob, subgraph.constants)
        if refusal is None:
            return {}
        return dict.fromkeys(build.named(refusal.node) or part, refusal.reason)

    def given(self, nodes: list[fx.Node]) -> list[sympy.Expr]:
        """Sizes of what nodes read of others, in the graph's order."""
        around = dict.fromkeys(source for node in nodes for source in node.all_input_nodes)
        known = set(nodes)
        return [e for node in around if node not in known and not self.folds(node) for e in sizes(node)]

    def folds(self, node: fx.Node) -> bool:
        """Whether a call_function node is computed at export."""
        return node.op == "call_function" and self._foldable[node]

    def build(self) -> Subgraph:
        """The whole program.

        Raises:
            Unsupported: if a node cannot be taken, which a partitioner has ruled out.
        """
        names = set(self._program.graph_signature.user_inputs)
        inputs = [node for node in self._program.graph.nodes if node.op == "placeholder" and node.name in names]
        return _Build(self, Symbols(self.ranges, [expr for node in inputs for expr in sizes(node)])).run(inputs)

    def _is_constant(self, node: fx.Node) -> bool:
        """Whether a node is constant in whatever partition its user ends up in: a folded one follows its only user."""
        if node.op == "placeholder":
            return self._foldable[node]
        return self.folds(node) and len(node.users) == 1 and all(map(self._is_constant, node.all_input_nodes))

    def _is_foldable(self, node: fx.Node) -> bool:
        if node.op == "placeholder":
            return self._constant(node) is not None
        if node.op != "call_function" or node.is_impure() or not all(map(self._foldable.get, node.all_input_nodes)):
            return False
        if node.target is operator.getitem:
            return True
        value = node.meta.get("val")
        if not isinstance(aten(node.target), torch._ops.OpOverload) or not isinstance(value, torch.Tensor):
            return False
        if torch.Tag.nondeterministic_seeded in aten(node.target).tags:
            return False
        if any(isinstance(size, torch.SymInt) for size in value.shape):
            return False
        inputs = sum(n.meta["val"].numel() for n in tensors_of((*node.args, *node.kwargs.values())))
        return value.numel() - inputs <= FOLD_LIMIT

    def _constant(self, node: fx.Node) -> tuple[str, torch.Tensor] | None:
        """Name and tensor of a parameter, an unchanging buffer or a lifted tensor."""
        return self._constants.get(node.name)


def _constants(program: ExportedProgram) -> dict[str, tuple[str, torch.Tensor]]:
    """Names and tensors of parameters, unchanging buffers and lifted tensors, by their placeholders' names."""
    kinds = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)
    mutated = set(program.graph_signature.buffers_to_mutate.values())
    tensors: dict[str, tuple[str, torch.Tensor]] = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind in kinds and not (spec.kind == InputKind.BUFFER and spec.target in mutated):
            lifted = spec.kind == InputKind.CONSTANT_TENSOR or spec.persistent is False
            stored = program.constants if lifted else program.state_dict
            tensors[spec.arg.name] = spec.target, _real(stored[spec.target])
    return tensors


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """Zeros for a tensor that has no elements yet: partitioners are shown such constants."""
    if not isinstance(tensor, FakeTensor):
        return tensor
    with unset_fake_temporarily():
        return torch.zeros(tensor.shape, dtype=tensor.dtype)


class _Build:
    """One run over a program: the Subgraph under construction."""

    def __init__(self, builder: Builder, symbols: Symbols):
        self.builder = builder
        self.symbols = symbols
        self.program = builder._program
        self.subgraph = schema.SubgraphT()
        self.values: list[schema.ValueT] = []
        self.indices: dict[fx.Node, int] = {}
        self.constants: dict[str, torch.Tensor] = {}
        self.names: dict[str, fx.Node] = {}
        self.is_constant = lambda node: True

    def part(self, nodes: list[fx.Node]) -> Subgraph:
        """Some nodes; what they read of others is an input, unless it is constant wherever they end up."""
        self.is_constant = self.builder._is_constant
        encoded = [self.node(node) for node in nodes]
        inputs = [i for i, value in enumerate(self.values) if value.kind == ValueKind.Input]
        known = set(nodes)
        outputs = [
            index
            for node, index in self.indices.items()
            if self.values[index].kind == ValueKind.Node and not (node.users and known.issuperset(node.users))
        ]
        return self.finish(encoded, inputs, outputs)

    def named(self, name: str) -> list[fx.Node]:
        """The node that the compiler made an operator of this name of, if any: of one node it may make several."""
        while name not in self.names and "." in name:
            name = name.rpartition(".")[0]
        return [self.names[name]] if name in self.names else []

    def run(self, user_inputs: list[fx.Node]) -> Subgraph:
        graph = self.program.graph
        inputs = [self.host_value(node) for node in user_inputs]
        nodes = [self.node(node) for node in graph.nodes if _is_call(node) and not self.builder.folds(node)]
        outputs = [self.value(node) for node in graph.output_node().args[0]]
        for index, node in zip(outputs, graph.output_node().args[0], strict=True):
            self.values[index].dimOrder = _dim_order(node.meta["val"])

        return self.finish(nodes, inputs, outputs)

    def finish(self, nodes: list[schema.NodeT], inputs: list[int], outputs: list[int]) -> Subgraph:
        """The blob of what was added."""
        self.subgraph.producer = "executorch_tandem"
        self.subgraph.symbols, self.subgraph.exprs = self.symbols.symbols, self.symbols.exprs
        self.subgraph.values, self.subgraph.nodes = self.values, nodes
        self.subgraph.inputs, self.subgraph.outputs = inputs, outputs
        self.subgraph.mutations = []
        return Subgraph(write_subgraph(self.subgraph), self.constants)

    def node(self, node: fx.Node) -> schema.NodeT:
        call = Call(node, self.builder._is_constant)
        ops.check(call)
        encoded = schema.NodeT()
        encoded.op = call.op
        encoded.args = encode.arguments(call, encode.Indices(self.value, self.symbols.size))
        encoded.name = self.builder._names.name(node)
        self.names[encoded.name] = node
        encoded.outputs = [-1] * len(call.outputs)
        for i in call.used_outputs:
            name = encoded.name if i == 0 else f"{encoded.name}.{i}"
            encoded.outputs[i] = self.add(name, ValueKind.Node, call.outputs[i])
        if isinstance(node.meta["val"], torch.Tensor):
            self.indices[node] = encoded.outputs[0]
        else:
            for user in node.users:
                self.indices[user] = encoded.outputs[user.args[1]]
        encoded.debugHandle = node.meta.get("debug_handle") or 0
        return encoded

    def value(self, node: fx.Node) -> int:
        """Index of a node's value; constants are added when first used."""
        if node not in self.indices:
            if not self.is_constant(node):
                return self.host_value(node)
            if node.op == "placeholder":
                constant = self.builder._constant(node)
                if constant is None:
                    raise Unsupported(f"{node.name} is a buffer that changes")
                name, tensor = constant
            else:
                name, tensor = f"folded.{self.builder._names.name(node)}", self.fold(node)
            self.constants[name] = tensor.detach().contiguous()
            self.indices[node] = self.add(name, ValueKind.Constant, tensor)
            self.values[self.indices[node]].constant = name
        return self.indices[node]

    def fold(self, node: fx.Node) -> torch.Tensor:
        """Computes a node that depends on constants only."""
        if node.op == "placeholder":
            return self.builder._constant(node)[1]
        folded = self.builder._folded
        if node not in folded:
            args, kwargs = fx.map_arg((node.args, node.kwargs), self.fold)
            with torch.no_grad():
                folded[node] = node.target(*args, **kwargs)
        return folded[node]

    def host_value(self, node: fx.Node) -> int:
        if is_size(node):
            index = self.indices[node] = self.add_size(node)
            return index
        index = self.indices[node] = self.add(node.name, ValueKind.Input, node.meta["val"])
        self.values[index].dimOrder = _dim_order(node.meta["val"])
        return index

    def add_size(self, node: fx.Node) -> int:
        value = schema.ValueT()
        value.name, value.kind, value.dtype = node.name, ValueKind.SymInt, schema.DType.I64
        value.shape = [self.symbols.integer(node.meta["val"])]
        self.values.append(value)
        return len(self.values) - 1

    def add(self, name: str, kind: int, tensor: torch.Tensor) -> int:
        value = schema.ValueT()
        value.name, value.kind, value.dtype = name, kind, encode.dtype(tensor.dtype)
        value.shape = [self.symbols.dim(size) for size in tensor.shape]
        self.values.append(value)
        return len(self.values) - 1


def _is_call(node: fx.Node) -> bool:
    """Whether a node is a call of an operator."""
    return node.op == "call_function" and node.target is not operator.getitem and not is_size(node)


def is_size(node: fx.Node) -> bool:
    """Whether a node is a symbolic integer, or one that is a number after all."""
    return isinstance(node.meta.get("val"), torch.SymInt | int)


def _dim_order(tensor: torch.Tensor) -> list[int]:
    """Dimensions outermost first; empty where contiguous, or where elements are shared: such views become copies."""
    strides = [_hint(stride) for stride in tensor.stride()]
    if 0 in strides:
        return []
    if None in strides or len(set(strides)) < len(strides):
        order = list(dim_order_from_stride(tensor.stride()))
    else:
        # Guards on symbolic strides take longer than all else of a node.
        order = sorted(range(len(strides)), key=lambda d: -strides[d])
    return [] if order == sorted(order) else order


def _hint(number: int | torch.SymInt) -> int | None:
    """A number, or what a symbolic one is where the program was exported, if it is known."""
    return number if isinstance(number, int) else number.node.hint
