"""The 32 bytes in front of every blob; `schemas/README.md` has the table."""

import struct

import flatbuffers

from . import program_generated, subgraph_generated

MAGIC = b"TNDM"
MAJOR, MINOR = 1, 0
SUBGRAPH, PROGRAM = 1, 2
HEADER = struct.Struct("<4sHBBHHIQQ")

_MASK = (1 << 64) - 1


def checksum(payload: bytes) -> int:
    """FNV-1a over 64-bit words, the tail zero-padded."""
    words = struct.unpack_from(f"<{len(payload) // 8}Q", payload)
    tail = int.from_bytes(payload[len(words) * 8 :], "little")
    value = 0xCBF29CE484222325 ^ len(payload)
    for word in (*words, tail):
        value = ((value ^ word) * 0x100000001B3) & _MASK
        value = (value << 29 | value >> 35) & _MASK
    return value


def write_subgraph(subgraph: subgraph_generated.SubgraphT) -> bytes:
    """Serialises a subgraph with its header."""
    builder = flatbuffers.Builder()
    builder.Finish(subgraph.Pack(builder))
    payload = bytes(builder.Output())
    header = HEADER.pack(MAGIC, HEADER.size, SUBGRAPH, 0, MAJOR, MINOR, 0, len(payload), checksum(payload))
    return header + payload


def read_program(blob: bytes) -> program_generated.ProgramT:
    """Copies a program out of a blob this process has just lowered; nothing but its header is checked."""
    return program_generated.ProgramT.InitFromPackedBuf(_payload(blob, PROGRAM), 0)


def read_subgraph(blob: bytes) -> subgraph_generated.SubgraphT:
    """Copies a subgraph out of a blob; nothing but its header is checked."""
    return subgraph_generated.SubgraphT.InitFromPackedBuf(_payload(blob, SUBGRAPH), 0)


def _payload(blob: bytes, expected: int) -> bytes:
    magic, start, kind, _, major, minor, _, length, _ = HEADER.unpack_from(blob)
    if magic != MAGIC or kind != expected:
        raise ValueError(f"blob: magic {magic!r} and kind {kind}, expected {MAGIC!r} and {expected}")
    if (major, minor) > (MAJOR, MINOR):
        raise ValueError(f"blob: format {major}.{minor} is newer than this package's {MAJOR}.{MINOR}")
    return blob[start : start + length]
