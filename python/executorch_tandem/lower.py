"""Calls the compiler, `libtandem_lower`; its ABI is `ffi/include/tandem_lower.h`."""

import ctypes
import functools
import re
from ctypes import POINTER, Structure, byref, c_char_p, c_int32, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass

import torch

from . import library

ABI_VERSION = 2


class _Constant(Structure):
    _fields_ = (("key", c_char_p), ("data", c_void_p), ("length", c_uint64))


_FUNCTIONS = {
    "tandem_lower_abi_version": (c_uint32, []),
    "tandem_lower": (c_int32, [c_char_p, c_uint64, POINTER(_Constant), c_uint64, c_char_p, POINTER(c_void_p)]),
    "tandem_lower_check": (c_int32, [c_char_p, c_uint64, POINTER(_Constant), c_uint64]),
    "tandem_lowered_program": (c_void_p, [c_void_p, POINTER(c_uint64)]),
    "tandem_lowered_entry_count": (c_uint64, [c_void_p]),
    "tandem_lowered_entry": (
        c_int32,
        [c_void_p, c_uint64, POINTER(c_char_p), POINTER(c_void_p), POINTER(c_uint64)],
    ),
    "tandem_lower_dump": (c_char_p, [c_void_p]),
    "tandem_lowered_free": (None, [c_void_p]),
    "tandem_lower_last_error": (c_char_p, []),
}


# The stage, perhaps sizes and the stage there, the operator and the node's name, what is wrong.
_MESSAGE = re.compile(r'lower: \w+: (where .*?: )?(?:lower: \w+: )?\S+ "(.*?)": (.*)', re.DOTALL)


@dataclass
class Lowered:
    """A Program with its header, the packed constants it names, and a text of it for people."""

    program: bytes
    entries: dict[str, bytes]
    dump: str


def lower(subgraph: bytes, constants: dict[str, torch.Tensor], options: str | None = None) -> Lowered:
    """Lowers a subgraph whose constants are given as contiguous CPU tensors.

    `options` is "key=value;...", as the header says.

    Raises:
        RuntimeError: with the compiler's message.
    """
    compiler, array = _compiler(), _array(constants)
    handle = c_void_p()
    encoded = None if options is None else options.encode()
    status = compiler.tandem_lower(subgraph, len(subgraph), array, len(array), encoded, byref(handle))
    if status != 0:
        raise RuntimeError(f"lowering: {compiler.tandem_lower_last_error().decode()}")
    try:
        return _copy(compiler, handle)
    finally:
        compiler.tandem_lowered_free(handle)


@dataclass
class Refusal:
    """Why a subgraph is not taken, and which node is at fault, "" if no single one is."""

    node: str
    reason: str


def refusal(subgraph: bytes, constants: dict[str, torch.Tensor]) -> Refusal | None:
    """Why :func:`lower` does not take the nodes of a subgraph; None if it takes all."""
    compiler, array = _compiler(), _array(constants)
    if compiler.tandem_lower_check(subgraph, len(subgraph), array, len(array)) == 0:
        return None
    message = compiler.tandem_lower_last_error().decode()
    named = _MESSAGE.match(message)
    return Refusal(named[2], (named[1] or "") + named[3]) if named else Refusal("", message)


def _array(constants: dict[str, torch.Tensor]) -> ctypes.Array:
    return (_Constant * len(constants))(
        *(_Constant(key.encode(), tensor.data_ptr(), tensor.nbytes) for key, tensor in constants.items())
    )


def _copy(compiler: ctypes.CDLL, handle: c_void_p) -> Lowered:
    key, data, length = c_char_p(), c_void_p(), c_uint64()
    program = ctypes.string_at(compiler.tandem_lowered_program(handle, byref(length)), length.value)
    entries = {}
    for i in range(compiler.tandem_lowered_entry_count(handle)):
        if compiler.tandem_lowered_entry(handle, i, byref(key), byref(data), byref(length)) != 0:
            raise RuntimeError(f"lowering: {compiler.tandem_lower_last_error().decode()}")
        entries[key.value.decode()] = ctypes.string_at(data.value, length.value)
    return Lowered(program, entries, compiler.tandem_lower_dump(handle).decode())


@functools.cache
def _compiler() -> ctypes.CDLL:
    path = library.find("tandem_lower")
    compiler = ctypes.CDLL(str(path))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(compiler, name)
        function.restype, function.argtypes = result, arguments
    version = compiler.tandem_lower_abi_version()
    if version != ABI_VERSION:
        raise ImportError(f"{path} has ABI version {version}, expected {ABI_VERSION}; run `cargo xtask build`")
    return compiler
