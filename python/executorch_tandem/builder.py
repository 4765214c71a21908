"""Turns an exported program, node by node, into a Subgraph."""

import operator
from dataclasses import dataclass

import torch
from executorch.exir.tensor import dim_order_from_stride
from torch import fx
from torch._export.utils import (
    get_buffer,
    get_lifted_tensor_constant,
    get_param,
    is_buffer,
    is_lifted_tensor_constant,
    is_param,
)
from torch.export import ExportedProgram

from . import encode, ops
from .call import Call, Unsupported, aten, tensors_of
from .names import Names
from .schema import subgraph_generated as schema
from .schema.blob import write_subgraph
from .schema.subgraph_generated import ValueKind
from .symbols import Symbols

# A constant that grows by more than this when computed at export is computed at run time instead.
FOLD_LIMIT = 1 << 20


@dataclass
class Subgraph:
    """A blob for the compiler, and the bytes its constants name (contiguous tensors)."""

    blob: bytes
    constants: dict[str, torch.Tensor]


class Builder:
    """Builds the Subgraph of a program; asking for a node's `reason` runs the very same steps on that node alone.

    Nodes that depend on constants only are computed here and handed over as constants. Nodes with symbolic sizes are
    refused unless `dynamic`.
    """

    def __init__(self, program: ExportedProgram, dynamic: bool = False):
        self._program = program
        self._dynamic = dynamic
        self._symbols = Symbols(program.range_constraints)
        self._foldable: dict[fx.Node, bool] = {}
        self._mutated = set(program.graph_signature.buffers_to_mutate.values())
        for node in program.graph.nodes:
            self._foldable[node] = self._is_foldable(node)

    def reason(self, node: fx.Node) -> str | None:
        """Why a call_function node cannot be taken; None if it can."""
        try:
            if node.target is operator.getitem:
                return self.reason(node.args[0])
            self._check(self._call(node), lambda _: 0)
            return None
        except Unsupported as unsupported:
            return str(unsupported)

    def folds(self, node: fx.Node) -> bool:
        """Whether a call_function node is computed at export."""
        return node.op == "call_function" and self._foldable[node]

    def build(self) -> Subgraph:
        """The whole program.

        Raises:
            Unsupported: if a node cannot be taken, which a partitioner has ruled out.
        """
        return _Build(self).run()

    def _call(self, node: fx.Node) -> Call:
        return Call(node, self._is_constant)

    def _check(self, call: Call, value_of) -> schema.NodeT:
        """Everything that can refuse a node; returns it encoded but for name and outputs."""
        if not self._dynamic:
            for tensor in [n.meta["val"] for n in call.tensors] + call.outputs:
                if any(isinstance(size, torch.SymInt) for size in tensor.shape):
                    raise Unsupported(f"symbolic size in {[str(s) for s in tensor.shape]}")
        ops.check(call)
        encoded = schema.NodeT()
        encoded.op = call.op
        encoded.args = encode.arguments(call, value_of)
        for tensor in call.outputs:
            encode.dtype(tensor.dtype)
            for size in tensor.shape:
                self._symbols.dim(size)
        return encoded

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
        program, signature = self._program, self._program.graph_signature
        if is_param(program, node):
            return signature.inputs_to_parameters[node.name], get_param(program, node)
        if is_buffer(program, node):
            name = signature.inputs_to_buffers[node.name]
            return None if name in self._mutated else (name, get_buffer(program, node))
        if is_lifted_tensor_constant(program, node):
            name = signature.inputs_to_lifted_tensor_constants[node.name]
            return name, get_lifted_tensor_constant(program, node)
        return None


class _Build:
    """One run over a program: the Subgraph under construction."""

    def __init__(self, builder: Builder):
        self.builder = builder
        self.program = builder._program
        self.names = Names(self.program.graph)
        self.subgraph = schema.SubgraphT()
        self.values: list[schema.ValueT] = []
        self.indices: dict[fx.Node, int] = {}
        self.folded: dict[fx.Node, torch.Tensor] = {}
        self.constants: dict[str, torch.Tensor] = {}

    def run(self) -> Subgraph:
        graph, signature = self.program.graph, self.program.graph_signature
        user_inputs = [n for n in graph.nodes if n.op == "placeholder" and n.name in signature.user_inputs]
        inputs = [self.host_value(node, ValueKind.Input) for node in user_inputs]
        nodes = [
            self.node(node)
            for node in graph.nodes
            if node.op == "call_function" and node.target is not operator.getitem and not self.builder.folds(node)
        ]
        outputs = [self.value(node) for node in graph.output_node().args[0]]
        for index, node in zip(outputs, graph.output_node().args[0], strict=True):
            self.values[index].dimOrder = _dim_order(node.meta["val"])

        self.subgraph.producer = "executorch_tandem"
        self.subgraph.symbols = self.builder._symbols.symbols
        self.subgraph.exprs = self.builder._symbols.exprs
        self.subgraph.values, self.subgraph.nodes = self.values, nodes
        self.subgraph.inputs, self.subgraph.outputs = inputs, outputs
        self.subgraph.mutations = []
        return Subgraph(write_subgraph(self.subgraph), self.constants)

    def node(self, node: fx.Node) -> schema.NodeT:
        call = self.builder._call(node)
        encoded = self.builder._check(call, self.value)
        encoded.name = self.names.name(node)
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
            if node.op == "placeholder":
                constant = self.builder._constant(node)
                if constant is None:
                    raise Unsupported(f"{node.name} is a buffer that changes")
                name, tensor = constant
            else:
                name, tensor = f"folded.{self.names.name(node)}", self.fold(node)
            self.constants[name] = tensor.detach().contiguous()
            self.indices[node] = self.add(name, ValueKind.Constant, tensor)
            self.values[self.indices[node]].constant = name
        return self.indices[node]

    def fold(self, node: fx.Node) -> torch.Tensor:
        """Computes a node that depends on constants only."""
        if node.op == "placeholder":
            return self.builder._constant(node)[1]
        if node not in self.folded:
            args, kwargs = fx.map_arg((node.args, node.kwargs), self.fold)
            with torch.no_grad():
                self.folded[node] = node.target(*args, **kwargs)
        return self.folded[node]

    def host_value(self, node: fx.Node, kind: int) -> int:
        index = self.indices[node] = self.add(node.name, kind, node.meta["val"])
        self.values[index].dimOrder = _dim_order(node.meta["val"])
        return index

    def add(self, name: str, kind: int, tensor: torch.Tensor) -> int:
        value = schema.ValueT()
        value.name, value.kind, value.dtype = name, kind, encode.dtype(tensor.dtype)
        value.shape = [self.builder._symbols.dim(size) for size in tensor.shape]
        self.values.append(value)
        return len(self.values) - 1


def _dim_order(tensor: torch.Tensor) -> list[int]:
    """Dimensions outermost first; empty where contiguous."""
    order = list(dim_order_from_stride(tensor.stride()))
    return [] if order == sorted(order) else order
