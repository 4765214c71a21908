"""What the delegates alive in this process planned: the structures of `ffi/include/tandem.h`."""

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_double, c_size_t, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass, fields

# TANDEM_ABI_VERSION of the header these structures follow.
ABI_VERSION = 6


@dataclass(frozen=True)
class Seen:
    """What engines were seen to take for tiles of a step that either computes; it corrects how they share it."""

    core_predicted_ns: float
    unit_predicted_ns: float
    core_ns: float
    unit_ns: float
    unit_share: float
    core_tiles: int
    unit_tiles: int


@dataclass(frozen=True)
class Step:
    """One step of a plan; its name is that of its profiling events."""

    name: str
    op: str
    category: str
    shape: str
    kernel: str
    engine: str
    layout_in: str
    layout_out: str
    reason: str
    flops: float
    bytes: float
    predicted_ns: float
    debug_handles: tuple[int, ...]
    # Of a step that cores and matrix units share as they find themselves to be fast.
    seen: Seen | None


@dataclass(frozen=True)
class Delegate:
    """A delegate of a loaded method: its plan, and its memory in bytes."""

    method: str
    executions: int
    init_ns: int
    isa: str
    arena_bytes: int
    live_bytes: int
    scratch_bytes: int
    weight_bytes: int
    verify_ns: int
    plan_ns: int
    basis: str
    steps: tuple[Step, ...]


class _Delegate(Structure):
    _fields_ = (("method", c_void_p), ("method_name", c_char_p), ("executions", c_uint64), ("init_ns", c_uint64))


class _Report(Structure):
    _fields_ = (
        ("isa", c_char_p),
        ("num_inputs", c_size_t),
        ("num_outputs", c_size_t),
        ("num_steps", c_size_t),
        ("arena_bytes", c_uint64),
        ("live_bytes", c_uint64),
        ("scratch_bytes", c_uint64),
        ("weight_bytes", c_uint64),
        ("verify_ns", c_uint64),
        ("plan_ns", c_uint64),
        ("num_values", c_size_t),
        ("num_symbols", c_size_t),
        ("basis", c_char_p),
    )


class _Step(Structure):
    _fields_ = (
        *((f.name, c_char_p) for f in fields(Step)[:9]),
        *((f.name, c_double) for f in fields(Step)[9:12]),
        ("debug_handles", POINTER(c_uint32)),
        ("num_debug_handles", c_size_t),
        ("num_parts", c_size_t),
    )


class _Seen(Structure):
    _fields_ = (
        *((f.name, c_double) for f in fields(Seen)[:5]),
        *((f.name, c_uint64) for f in fields(Seen)[5:]),
    )


def delegates(runtime: ctypes.CDLL) -> list[Delegate]:
    """Every delegate alive, oldest first. None of them may be destroyed meanwhile."""
    version = runtime.tandem_abi_version()
    if version != ABI_VERSION:
        raise ImportError(f"the runtime has ABI version {version}, expected {ABI_VERSION}; run `cargo xtask build`")
    count = runtime.tandem_list_delegates(None, c_size_t(0))
    array = (_Delegate * count)()
    count = min(count, runtime.tandem_list_delegates(array, c_size_t(count)))
    return [_delegate(runtime, entry) for entry in array[:count]]


def _delegate(runtime: ctypes.CDLL, entry: _Delegate) -> Delegate:
    report = _Report()
    _check(runtime, runtime.tandem_get_report(c_void_p(entry.method), ctypes.byref(report)))
    memory = {name: getattr(report, name) for name, _ in _Report._fields_[4:10]}
    return Delegate(
        method=entry.method_name.decode(),
        executions=entry.executions,
        init_ns=entry.init_ns,
        isa=report.isa.decode(),
        basis=report.basis.decode(),
        steps=tuple(_step(runtime, entry.method, i) for i in range(report.num_steps)),
        **memory,
    )


def _step(runtime: ctypes.CDLL, method: int, index: int) -> Step:
    step = _Step()
    _check(runtime, runtime.tandem_get_step(c_void_p(method), c_size_t(index), ctypes.byref(step)))
    texts = {f.name: getattr(step, f.name).decode() for f in fields(Step)[:9]}
    figures = {f.name: getattr(step, f.name) for f in fields(Step)[9:12]}
    handles = tuple(step.debug_handles[: step.num_debug_handles])
    return Step(**texts, **figures, debug_handles=handles, seen=_seen(runtime, method, index))


def _seen(runtime: ctypes.CDLL, method: int, step: int) -> Seen | None:
    seen = _Seen()
    _check(runtime, runtime.tandem_get_seen(c_void_p(method), c_size_t(step), ctypes.byref(seen)))
    return Seen(**{f.name: getattr(seen, f.name) for f in fields(Seen)}) if seen.core_predicted_ns > 0 else None


def _check(runtime: ctypes.CDLL, status: int) -> None:
    if status != 0:
        raise RuntimeError(runtime.tandem_last_error().decode())
