"""Tandem for ExecuTorch: export with :class:`TandemPartitioner`; the import itself registers the runtime backend."""

from .backend import TandemBackend
from .call import Unsupported
from .config import edge_config
from .partitioner import TandemPartitioner
from .report import Delegate
from .report import delegates as _delegates
from .runtime import register as _register
from .runtime import set_option

__all__ = [
    "TandemBackend",
    "TandemPartitioner",
    "Unsupported",
    "can_run",
    "delegates",
    "edge_config",
    "set_option",
    "version",
]

__version__ = "0.1.0"

_runtime = _register()


def can_run() -> bool:
    """Whether the runtime library is there; without it programs can be exported only."""
    return _runtime is not None


def delegates() -> list[Delegate]:
    """Plans of the delegates that loaded methods hold, oldest first."""
    return [] if _runtime is None else _delegates(_runtime)


def version() -> str:
    """Version of the runtime library, or of this package where there is none."""
    return __version__ if _runtime is None else _runtime.tandem_version().decode()
