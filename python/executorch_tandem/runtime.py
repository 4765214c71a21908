"""Registers Tandem with ExecuTorch's Python runtime."""

import ctypes
import os
import warnings

from . import library

BACKEND = "TandemBackend"
OPTIONS = ("isa", "algorithm", "layout", "device", "threads")


def register() -> ctypes.CDLL | None:
    """Loads the runtime library, which registers itself; once, and not where another copy has registered already.

    Without the library a program can still be exported; a warning says what is missing.
    """
    # The library finds ExecuTorch's symbols in what this import loads.
    from executorch.extension.pybindings import portable_lib

    try:
        path = library.find("tandem_executorch")
    except library.MissingLibrary as missing:
        warnings.warn(f"Tandem can export but not run: {missing}", stacklevel=3)
        return None
    runtime = ctypes.CDLL(str(path))
    runtime.tandem_version.restype = ctypes.c_char_p
    runtime.tandem_last_error.restype = ctypes.c_char_p
    runtime.tandem_list_delegates.restype = ctypes.c_size_t
    status = runtime.tandem_register()
    if status != 0 or BACKEND not in portable_lib._get_registered_backend_names():
        raise ImportError(f"{path} did not register {BACKEND}: ExecuTorch error {status:#x}")
    return runtime


def set_option(key: str, value: str | int) -> None:
    """Sets an option of methods loaded from now on, as the environment variable `TANDEM_<KEY>` would.

    Args:
        key: "isa" (e.g. "scalar", "avx2"), "algorithm" ("fast", "direct"), "layout" ("state", "greedy"), "device"
            (a profile's name or file) or "threads" (a number).
        value: Checked when a method is loaded.

    Raises:
        ValueError: if there is no such option.
    """
    if key not in OPTIONS:
        raise ValueError(f"no option {key!r}; there are {', '.join(OPTIONS)}")
    os.environ[f"TANDEM_{key.upper()}"] = str(value)
