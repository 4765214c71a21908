"""One ATen call of an exported graph, seen through its schema."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from executorch.exir.dialects.edge._ops import EdgeOpOverload
from torch import fx


class Unsupported(Exception):
    """Why a node stays on the host."""


class Call:
    """A call: `op` is "namespace.name.overload", `args` has every argument of the schema, defaults filled in.

    Tensors among the arguments are fx nodes, outputs are fake tensors.
    """

    def __init__(self, node: fx.Node, is_constant: Callable[[fx.Node], bool]):
        target = aten(node.target)
        if not isinstance(target, torch._ops.OpOverload):
            raise Unsupported(f"{target} is not an ATen operator")
        if node.meta.get("val") is None:
            raise Unsupported(f"{target} gives nothing")
        self.node = node
        self.op = str(target)
        self.schema = target._schema
        self._is_constant = is_constant
        self.args: dict[str, Any] = {}
        for i, argument in enumerate(self.schema.arguments):
            if not argument.kwarg_only and i < len(node.args):
                self.args[argument.name] = node.args[i]
            elif argument.name in node.kwargs:
                self.args[argument.name] = node.kwargs[argument.name]
            else:
                self.args[argument.name] = argument.default_value

    def __getitem__(self, name: str) -> Any:
        return self.args[name]

    def rename(self, op: str, /, **args: Any) -> None:
        """Makes this another call with the same outputs."""
        self.op, self.args = op, args

    @property
    def tensors(self) -> list[fx.Node]:
        """Every tensor argument."""
        return tensors_of(self.args.values())

    @property
    def outputs(self) -> list[torch.Tensor]:
        """Every output; where the call returns one tensor, that one."""
        value = self.node.meta["val"]
        return list(value) if isinstance(value, tuple | list) else [value]

    @property
    def used_outputs(self) -> list[int]:
        """Which outputs something reads."""
        if not isinstance(self.node.meta["val"], tuple | list):
            return [0]
        return sorted({user.args[1] for user in self.node.users if user.target is operator.getitem})

    def tensor(self, name: str) -> torch.Tensor:
        """The fake tensor of a tensor argument."""
        return self.args[name].meta["val"]

    def shape(self, name: str) -> list[int]:
        """Sizes of a tensor argument."""
        return list(self.tensor(name).shape)

    def is_constant(self, name: str) -> bool:
        """Whether an argument is absent or known at export, every tensor of a list."""
        return all(map(self._is_constant, tensors_of([self.args[name]])))

    def require(self, condition: bool, reason: str) -> None:
        """Leaves the node to the host unless `condition` holds."""
        if not condition:
            raise Unsupported(reason)

    def require_constant(self, *names: str) -> None:
        """Leaves the node to the host unless these arguments are absent or known at export."""
        for name in names:
            self.require(self.is_constant(name), f"{name} is not a constant")

    def require_rank(self, name: str, *ranks: int) -> None:
        """Leaves the node to the host unless the argument has one of these ranks."""
        rank = len(self.shape(name))
        wanted = " or ".join(map(str, ranks))
        self.require(rank in ranks, f"{name} has {rank} dimensions, not {wanted}")


def aten(target: Any) -> Any:
    """The ATen operator behind an edge operator; anything else as it is."""
    return target._op if isinstance(target, EdgeOpOverload) else target


def tensors_of(values: Any) -> list[fx.Node]:
    """Nodes among argument values, lists included."""
    found = []
    for value in values:
        if isinstance(value, fx.Node):
            found.append(value)
        elif isinstance(value, tuple | list):
            found.extend(tensors_of(value))
    return found
