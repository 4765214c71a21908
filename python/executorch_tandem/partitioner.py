"""Chooses what Tandem takes of an exported program."""

import functools
import logging
import operator
from collections import Counter

import torch
from executorch.exir.backend.partitioner import DelegationSpec, Partitioner, PartitionResult
from executorch.exir.backend.utils import tag_constant_data
from executorch.exir.dialects.edge._ops import EdgeOpOverload
from torch import fx
from torch._export.passes import ReplaceViewOpsWithViewCopyOpsPass
from torch.export import ExportedProgram
from torch.fx.passes.infra.partitioner import CapabilityBasedPartitioner, Partition
from torch.fx.passes.operator_support import OperatorSupportBase

from . import ops
from .backend import TandemBackend
from .builder import Builder, is_size
from .call import aten
from .symbols import Told, sizes

_DELEGATE = torch.ops.higher_order.executorch_call_delegate

# Ways to put symbolic sizes together that are tried before what is not taken together stays on the host.
ATTEMPTS = 8

logger = logging.getLogger(__name__)


class TandemPartitioner(Partitioner):
    """Delegates every node that :class:`Builder` can build.

    Each node left to the host is logged with the reason at level INFO, and printed as well with `verbose`.
    """

    def __init__(self, verbose: bool = False):
        super().__init__()
        self.delegation_spec = DelegationSpec(TandemBackend.__name__, [])
        self.verbose = verbose
        # Kept operators of the program asked about last: the exporter asks twice.
        self._kept: tuple[ExportedProgram, list[torch._ops.OpOverload]] | None = None

    def ops_to_not_decompose(self, ep: ExportedProgram) -> tuple[list[torch._ops.OpOverload], None]:
        """Operators of which Tandem takes every use in the program.

        No per-node filter is given: with one, the exporter replaces kept operators by stand-ins whose outputs lose
        their strides. The exporter asks about the edge program as well, and takes any of the answer it finds there for
        an error; what is left by then is the host's.
        """
        if any(isinstance(node.target, EdgeOpOverload) or node.target is _DELEGATE for node in ep.graph.nodes):
            return [], None
        if self._kept is None or self._kept[0] is not ep:
            builder = Builder(ep)
            nodes = [node for node in ep.graph.nodes if node.target in ops.KEPT]
            declined = {node.target for node in nodes if builder.reason(node) is not None}
            kept = [target for target in ops.KEPT if target not in declined]
            if ep.range_constraints:
                left = _left(ep, kept)
                kept = [target for target in kept if target not in left]
            self._kept = (ep, kept)
        return self._kept[1], None

    def partition(self, exported_program: ExportedProgram) -> PartitionResult:
        """Tags every node taken with its partition's name."""
        self._kept = None
        builder = Builder(exported_program)
        partitions, reasons = _propose(exported_program, builder)
        for index, partition in enumerate(partitions):
            for node in partition.nodes:
                node.meta["delegation_tag"] = f"tandem_{index}"
        _tag_folded(exported_program.graph, builder)
        tag_constant_data(exported_program)
        self._report(reasons, builder)
        tags = {f"tandem_{index}": self.delegation_spec for index in range(len(partitions))}
        return PartitionResult(tagged_exported_program=exported_program, partition_tags=tags)

    def _report(self, reasons: dict[fx.Node, str | None], builder: Builder) -> None:
        left: Counter[tuple[str, str]] = Counter()
        for node, reason in reasons.items():
            if "delegation_tag" in node.meta or node.target is operator.getitem:
                continue
            if reason is None:
                reason = "shared with the host" if builder.folds(node) else "nothing around it to compute"
            logger.info("%s (%s) stays on the host: %s", node.name, node.target, reason)
            left[str(aten(node.target)), reason] += 1
        if self.verbose:
            taken = sum("delegation_tag" in node.meta for node in reasons)
            print(f"Tandem takes {taken} of {len(reasons)} nodes")
            for (target, reason), count in left.most_common():
                print(f"  {count:4} x {target} stays on the host: {reason}")


def _propose(program: ExportedProgram, builder: Builder) -> tuple[list[Partition], dict[fx.Node, str | None]]:
    """What is delegated together, and why a node is not."""
    calls = [n for n in program.graph.nodes if n.op == "call_function" and not is_size(n)]
    reasons = {node: builder.reason(node) for node in calls}
    taken = {n for n, reason in reasons.items() if reason is None and not builder.folds(n)}
    refusals_of = functools.cache(lambda nodes: _refusals(nodes, builder) if builder.ranges else {})
    for _ in range(ATTEMPTS):
        partitions = _partitions(program, taken)
        refusals = {node: why for p in partitions for node, why in refusals_of(frozenset(p.nodes)).items()}
        if not refusals:
            return partitions, reasons
        reasons |= refusals
        taken -= refusals.keys()
    refused = [p for p in partitions if refusals_of(frozenset(p.nodes))]
    left = {node: "next to it is more that cannot be taken together" for p in refused for node in p.nodes}
    return [p for p in partitions if p not in refused], reasons | left | refusals


def _partitions(program: ExportedProgram, taken: set[fx.Node]) -> list[Partition]:
    """Nodes that are taken, and sizes between them, as far as they can be put together."""
    partitions = _together(program, taken | _inner_sizes(program.graph, taken))
    if any(is_size(node) and set(node.users) - set(p.nodes) for p in partitions for node in p.nodes):
        # A delegate hands out no size: it is computed between the delegates then.
        partitions = _together(program, taken)
    return [p for p in partitions if not _views_of_the_host(p)]


def _refusals(nodes: frozenset[fx.Node], builder: Builder) -> dict[fx.Node, str]:
    """Why nodes of symbolic sizes, each of which is taken, are not taken together; {} if they are."""
    if untold := _untold(nodes, builder):
        return dict.fromkeys(nodes, f"no input next to it tells size {untold}")
    return builder.refusals(nodes)


def _together(program: ExportedProgram, taken: set[fx.Node]) -> list[Partition]:
    capability = CapabilityBasedPartitioner(program.graph_module, _Support(taken), allows_single_node_partition=True)
    return capability.propose_partitions()


def _inner_sizes(graph: fx.Graph, taken: set[fx.Node]) -> set[fx.Node]:
    """Sizes of what is taken, and what is computed from them, that only what is taken reads."""
    inner: set[fx.Node] = set()
    for node in graph.nodes:
        if is_size(node) and any(source in taken or source in inner for source in node.all_input_nodes):
            inner.add(node)
    for node in reversed(graph.nodes):
        if not all(user in taken or user in inner for user in node.users):
            inner.discard(node)
    return inner


def _left(program: ExportedProgram, kept: list[torch._ops.OpOverload]) -> set[torch._ops.OpOverload]:
    """Operators of which a use would be left to the host if they are kept.

    Whether sizes are told depends on all that is delegated together.
    """
    table = torch.export.default_decompositions()
    for target in kept:
        table.pop(target, None)
    program = program.run_decompositions(table)._transform_do_not_use(ReplaceViewOpsWithViewCopyOpsPass())
    reasons = _propose(program, Builder(program))[1]
    return {node.target for node, reason in reasons.items() if reason is not None}


class _Support(OperatorSupportBase):
    def __init__(self, taken: set[fx.Node]):
        self.taken = taken

    def is_node_supported(self, submodules, node: fx.Node) -> bool:
        return node in self.taken


def _views_of_the_host(partition: Partition) -> bool:
    """Whether a delegate would copy and nothing else, next to what the host computes; it often need not even copy."""
    calls = [node for node in partition.nodes if node.target is not operator.getitem and not is_size(node)]
    if not all(str(aten(node.target)) in ops.VIEWS and not _converts(node) for node in calls):
        return False
    around = {other for node in partition.nodes for other in (*node.all_input_nodes, *node.users)}
    return any(node.op == "call_function" for node in around.difference(partition.nodes))


def _untold(nodes: frozenset[fx.Node], builder: Builder) -> str:
    """Symbols of a partition's sizes that its inputs do not tell, or ""."""
    around = {source for node in nodes for source in node.all_input_nodes} - nodes
    told = Told(builder.given(nodes), builder.ranges)
    return ", ".join(sorted(map(str, told.untold([expr for node in nodes | around for expr in sizes(node)]))))


def _converts(node: fx.Node) -> bool:
    """Whether a view's result has another dtype than what it shows."""
    value, source = node.meta["val"], node.args[0].meta["val"]
    return isinstance(value, torch.Tensor) and value.dtype != source.dtype


def _tag_folded(graph: fx.Graph, builder: Builder) -> None:
    """Nodes computed at export join the partition all of their users are in."""
    for node in reversed(graph.nodes):
        if builder.folds(node):
            tags = {user.meta.get("delegation_tag") for user in node.users}
            if len(tags) == 1 and None not in tags:
                node.meta["delegation_tag"] = tags.pop()
