"""Finds Tandem's shared libraries."""

import os
import sys
from pathlib import Path

_SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"
_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]


class MissingLibrary(ImportError):
    """A library of Tandem's is not where it could be."""


def find(name: str) -> Path:
    """`lib<name>` in the folder `TANDEM_LIB_DIR` if that is set; else the newest of the package's and the checkout's.

    Raises:
        MissingLibrary: saying where it was looked for and how to build it.
    """
    override = os.environ.get("TANDEM_LIB_DIR")
    if override:
        folders = [Path(override)]
    else:
        target = Path(os.environ.get("CARGO_TARGET_DIR") or _CHECKOUT / "target")
        folders = [_PACKAGE / "lib", target / "release", target / "adapter"]
    built = [path for folder in folders if (path := folder / f"lib{name}{_SUFFIX}").is_file()]
    if built:
        return max(built, key=lambda path: path.stat().st_mtime)
    looked = ", ".join(map(str, folders))
    raise MissingLibrary(f"lib{name}{_SUFFIX} is not in {looked}; build it with `cargo xtask build`")
