"""Calls the compiler, `libtandem_lower`; its ABI is in `ffi/include/tandem_lower.h`."""

import ctypes
import functools
from dataclasses import dataclass

import torch

from . import library

_OK = 0


class _Constant(ctypes.Structure):
    _fields_ = (("key", ctypes.c_char_p), ("data", ctypes.c_void_p), ("len", ctypes.c_size_t))


@dataclass
class Lowered:
    """A Program with its header, the packed constants it names, and a text of it for people."""

    program: bytes
    entries: dict[str, bytes]
    dump: str


def lower(subgraph: bytes, constants: dict[str, torch.Tensor]) -> Lowered:
    """Lowers a subgraph whose constants are given as contiguous CPU tensors.

    Raises:
        RuntimeError: with the compiler's message.
    """
    compiler = _compiler()
    array = (_Constant * len(constants))(
        *(_Constant(key.encode(), tensor.data_ptr(), tensor.nbytes) for key, tensor in constants.items())
    )
    handle = ctypes.c_void_p()
    status = compiler.tandem_lower(subgraph, len(subgraph), array, len(constants), None, 0, ctypes.byref(handle))
    if status != _OK:
        raise RuntimeError(compiler.tandem_lower_last_error().decode())
    try:
        return _copy(compiler, handle)
    finally:
        compiler.tandem_lowered_free(handle)


def _copy(compiler: ctypes.CDLL, handle: ctypes.c_void_p) -> Lowered:
    data, length, key = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_char_p()
    compiler.tandem_lowered_program(handle, ctypes.byref(data), ctypes.byref(length))
    program = ctypes.string_at(data.value, length.value)
    entries = {}
    for i in range(compiler.tandem_lowered_entry_count(handle)):
        compiler.tandem_lowered_entry(handle, i, ctypes.byref(key), ctypes.byref(data), ctypes.byref(length))
        entries[key.value.decode()] = ctypes.string_at(data.value, length.value)
    return Lowered(program, entries, compiler.tandem_lowered_dump(handle).decode())


@functools.cache
def _compiler() -> ctypes.CDLL:
    compiler = ctypes.CDLL(str(library.find("tandem_lower")))
    compiler.tandem_lower.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.POINTER(_Constant),
        ctypes.c_size_t,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.POINTER(ctypes.c_void_p),
    ]
    compiler.tandem_lower_last_error.restype = ctypes.c_char_p
    compiler.tandem_lowered_entry_count.restype = ctypes.c_size_t
    compiler.tandem_lowered_dump.restype = ctypes.c_char_p
    return compiler
