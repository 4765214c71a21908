"""Arguments and tensors of ATen calls as tables of a Subgraph."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from .call import Call, Unsupported
from .schema import subgraph_generated as schema
from .schema.subgraph_generated import ArgValue, DType

DTYPES = {
    torch.float32: DType.F32,
    torch.float16: DType.F16,
    torch.bfloat16: DType.BF16,
    torch.float64: DType.F64,
    torch.int8: DType.I8,
    torch.uint8: DType.U8,
    torch.int16: DType.I16,
    torch.int32: DType.I32,
    torch.int64: DType.I64,
    torch.bool: DType.Bool,
}

_NO_MEANING_HERE = torch.layout | torch.device | torch.memory_format


def dtype(dtype: torch.dtype) -> int:
    """A dtype's number in the schema."""
    if dtype not in DTYPES:
        raise Unsupported(f"dtype {dtype}")
    return DTYPES[dtype]


@dataclass
class Indices:
    """Where a Subgraph has what arguments name."""

    tensor: Callable[[fx.Node], int]
    size: Callable[[int | torch.SymInt], int]


def arguments(call: Call, indices: Indices) -> list[schema.ArgT]:
    """Every argument but None and those about devices and memory."""
    encoded = []
    types = {a.name: str(a.type) for a in call.schema.arguments}
    for name, value in call.args.items():
        if value is None or isinstance(value, _NO_MEANING_HERE):
            continue
        arg = schema.ArgT()
        arg.name = name
        arg.valueType, arg.value = _value(name, value, types.get(name, ""), indices)
        encoded.append(arg)
    return encoded


def _value(name: str, value: Any, type_: str, indices: Indices) -> tuple[int, Any]:
    match value:
        case fx.Node() if isinstance(value.meta["val"], torch.Tensor):
            return _table(ArgValue.TensorArg, schema.TensorArgT, value=indices.tensor(value))
        case fx.Node() if isinstance(value.meta["val"], torch.SymInt | int):
            return _table(ArgValue.SymIntArg, schema.SymIntArgT, value=indices.size(value.meta["val"]))
        case fx.Node():
            raise Unsupported(f"{name} is computed at run time")
        case bool():
            return _table(ArgValue.BoolArg, schema.BoolArgT, value=value)
        case int() if type_ != "float":
            return _table(ArgValue.IntArg, schema.IntArgT, value=value)
        case int() | float():
            return _table(ArgValue.FloatArg, schema.FloatArgT, value=float(value))
        case str():
            return _table(ArgValue.StringArg, schema.StringArgT, value=value)
        case torch.dtype():
            return _table(ArgValue.DTypeArg, schema.DTypeArgT, value=dtype(value))
        case tuple() | list():
            return _list(name, list(value), type_, indices)
    raise Unsupported(f"{name} = {value!r} has no form in a Subgraph")


def _list(name: str, values: list[Any], type_: str, indices: Indices) -> tuple[int, Any]:
    if "Tensor" in type_:
        indices = [-1 if v is None else indices.tensor(v) for v in values]
        return _table(ArgValue.TensorListArg, schema.TensorListArgT, values=indices)
    integers = [v.meta["val"] if isinstance(v, fx.Node) else v for v in values]
    if any(isinstance(v, fx.Node) for v in values) and all(isinstance(v, torch.SymInt | int) for v in integers):
        exprs = [indices.size(v) for v in integers]
        return _table(ArgValue.SymIntListArg, schema.SymIntListArgT, values=exprs)
    if any(isinstance(v, fx.Node) for v in values):
        raise Unsupported(f"{name} is computed at run time")
    if "bool" in type_:
        return _table(ArgValue.BoolListArg, schema.BoolListArgT, values=values)
    if "float" in type_ or any(isinstance(v, float) for v in values):
        return _table(ArgValue.FloatListArg, schema.FloatListArgT, values=[float(v) for v in values])
    return _table(ArgValue.IntListArg, schema.IntListArgT, values=values)


def _table(kind: int, table: type, **fields: Any) -> tuple[int, Any]:
    entry = table()
    for name, value in fields.items():
        setattr(entry, name, value)
    return kind, entry
