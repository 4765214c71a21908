"""What Tandem takes: one file per operator of its Program, each naming the ATen calls that become it.

A file registers a check per call with :func:`op`. A check raises :class:`Unsupported` with the reason a node is left to
the host where the compiler, which is asked next, cannot know it; it may also rename the call to a plainer one with the
same result. `keep` asks the exporter not to decompose a
call where every use of it in the program passes its check.
"""

import importlib
import pkgutil
from collections.abc import Callable

import torch

from ..call import Call, Unsupported

Check = Callable[[Call], None]

CHECKS: dict[str, Check] = {}
KEPT: list[torch._ops.OpOverload] = []
VIEWS: set[str] = set()


def op(*names: str, keep: bool = False, view: bool = False) -> Callable[[Check], Check]:
    """Registers a check for calls named "aten.name.overload"; `view` marks those that only relabel their input."""

    def register(check: Check) -> Check:
        for name in names:
            CHECKS[name] = check
            if view:
                VIEWS.add(name)
            if keep:
                namespace, packet, overload = name.split(".")
                KEPT.append(getattr(getattr(getattr(torch.ops, namespace), packet), overload))
        return check

    return register


def check(call: Call) -> None:
    """Asks the operator's file; the compiler has the last word."""
    if call.op not in CHECKS:
        raise Unsupported(f"{call.op} is not among Tandem's operators")
    CHECKS[call.op](call)


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
