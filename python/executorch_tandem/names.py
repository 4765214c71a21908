"""Names a person recognises in a profile, such as "layer1.0.conv1"."""

import operator
from collections import Counter

from torch import fx

from .call import aten


class Names:
    """Unique names for the nodes of a graph: the path of the module a node comes from.

    A node alone in a module of `torch.nn` carries the module's path; others add the operator
    ("layer1.0.add"); what still collides is numbered.
    """

    def __init__(self, graph: fx.Graph):
        calls = [n for n in graph.nodes if n.op == "call_function" and n.target is not operator.getitem]
        self._nodes_of = Counter(map(_module, calls))
        self._taken: Counter[str] = Counter()

    def name(self, node: fx.Node) -> str:
        """A name no other node was given."""
        path, kind = module = _module(node)
        alone = path and kind.startswith("torch.nn.") and self._nodes_of[module] == 1
        name = path if alone else ".".join(filter(None, (path, _operator(node))))
        self._taken[name] += 1
        if self._taken[name] == 1:
            return name
        unique = f"{name}_{self._taken[name]}"
        return unique if unique not in self._taken else self.name(node)


def _module(node: fx.Node) -> tuple[str, str]:
    """Path and class of the innermost module."""
    stack = node.meta.get("nn_module_stack") or {}
    path, kind = list(stack.values())[-1] if stack else ("", "")
    return path.removeprefix("L['self'].").removeprefix("L['self']"), kind if isinstance(kind, str) else ""


def _operator(node: fx.Node) -> str:
    """ "add" of aten.add.Tensor, "view" of aten.view_copy.default."""
    parts = str(aten(node.target)).split(".")
    name = parts[1] if len(parts) == 3 else parts[-1]
    return name.strip("_").removesuffix("_dim_order").removesuffix("_copy")
