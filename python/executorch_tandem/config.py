"""How to export with operators that are not core ATen."""

import torch
from executorch.exir import EdgeCompileConfig

from . import ops


def edge_config(**options: object) -> EdgeCompileConfig:
    """An `EdgeCompileConfig` that lets every operator of Tandem's pass.

    Some have no decomposition to core ATen, as `grid_sampler_3d` or `cummax`; the exporter refuses them otherwise,
    before it asks any partitioner. `options` are its other fields.
    """
    allowed = list(options.pop("_core_aten_ops_exception_list", []))
    return EdgeCompileConfig(_core_aten_ops_exception_list=allowed + _not_core(), **options)


def _not_core() -> list[torch._ops.OpOverload]:
    found = []
    for name in ops.CHECKS:
        namespace, packet, overload = name.split(".")
        if namespace == "aten":
            target = getattr(getattr(torch.ops.aten, packet), overload)
            if torch.Tag.core not in target.tags and torch.Tag.view_copy not in target.tags:
                found.append(target)
    return found
