"""The bytes of an ONNX file as plain values: operators with attributes, constants, what is fed and taken.

Protobuf ends here. Format: onnx.proto of the ONNX specification (IR versions 3 to 13). Subgraphs and functions of the
file's own are not looked into.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import BadData, MissingRuntime
from .operators import MOST_OPERATORS, AnyArray, Described, Operator, Value

if TYPE_CHECKING:
    from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

MOST_BYTES = 1 << 30
MOST_AXES = 8
STANDARD_DOMAINS = ("", "ai.onnx")
EXTERNAL = 1
"""TensorProto.DataLocation of weights that lie in another file."""

# TensorProto.DataType: (name, how numpy reads raw_data, the field of single values). The rest (strings, complex, 4 and
# 8 bit floats) is no constant that a picture network needs.
TYPES: dict[int, tuple[str, str, str]] = {
    1: ("float32", "<f4", "float_data"), 2: ("uint8", "u1", "int32_data"), 3: ("int8", "i1", "int32_data"),
    4: ("uint16", "<u2", "int32_data"), 5: ("int16", "<i2", "int32_data"), 6: ("int32", "<i4", "int32_data"),
    7: ("int64", "<i8", "int64_data"), 9: ("bool", "?", "int32_data"), 10: ("float16", "<f2", "int32_data"),
    11: ("float64", "<f8", "double_data"), 12: ("uint32", "<u4", "uint64_data"), 13: ("uint64", "<u8", "uint64_data"),
    16: ("bfloat16", "<u2", "int32_data"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class OnnxFile:
    """unread: names of constants whose type is none of `TYPES`."""

    operators: tuple[Operator, ...]
    constants: dict[str, AnyArray]
    unread: frozenset[str]
    inputs: tuple[Described, ...]
    outputs: tuple[Described, ...]
    metadata: dict[str, str]


def parse(data: bytes) -> OnnxFile:
    """Raises: BadData for what is no ONNX file, damaged, or has its weights elsewhere; MissingRuntime without onnx."""
    model = _model(data)
    graph = model.graph
    if len(graph.node) > MOST_OPERATORS or len(graph.initializer) > MOST_OPERATORS:
        raise BadData(f"{len(graph.node)} operators and {len(graph.initializer)} constants belong to no MobileNet")
    if not graph.node or not graph.output:
        raise BadData("no ONNX file, or one without a graph")
    if graph.sparse_initializer:
        raise BadData("sparse weights can't be read; save the file with dense ones")
    constants: dict[str, AnyArray] = {}
    unread: set[str] = set()
    for tensor in graph.initializer:
        name, array = _text(tensor.name), _array(tensor)
        if array is None:
            unread.add(name)
        else:
            constants[name] = array
    known = constants.keys() | unread
    return OnnxFile(
        tuple(_operator(node) for node in graph.node),
        constants,
        frozenset(unread),
        tuple(found for found in _described(graph.input) if found.name not in known),
        tuple(_described(graph.output)),
        _metadata(model),
    )


def _model(data: bytes) -> "ModelProto":
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise MissingRuntime.extra("onnx", "weights") from error
    if len(data) > MOST_BYTES:
        raise BadData(f"{len(data) / 1e6:.0f} MB are more than the {MOST_BYTES / 1e6:.0f} MB that are read")
    try:
        model: ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise BadData("no ONNX file, or a damaged one") from None
    return model


def _text(value: str | bytes) -> str:
    """Protobuf hands over a string that is no UTF-8 as bytes."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _operator(node: "NodeProto") -> Operator:
    kind, domain = _text(node.op_type), _text(node.domain)
    outputs = tuple(map(_text, node.output))
    if not any(outputs):
        raise BadData(f"an operator {kind[:40]!r} has no output")
    attributes: dict[str, Value] = {}
    for attribute in node.attribute:
        value = _value(attribute)
        if value is not None:
            attributes[_text(attribute.name)] = value
    kind = kind if domain in STANDARD_DOMAINS else f"{domain}.{kind}"
    return Operator(kind, _text(node.name), tuple(map(_text, node.input)), outputs, attributes)


def _value(attribute: "AttributeProto") -> Value | None:
    """What an attribute holds, by its declared type; None for graphs and the like."""
    match attribute.type:
        case 1:
            return float(attribute.f)
        case 2:
            return int(attribute.i)
        case 3:
            return attribute.s.decode("utf-8", "replace")
        case 4:
            return _array(attribute.t)
        case 6:
            return tuple(attribute.floats)
        case 7:
            return tuple(attribute.ints)
        case _:
            return None


def _array(tensor: "TensorProto") -> AnyArray | None:
    """A constant in its own type (bfloat16 as float32); None where the type is none of `TYPES`."""
    name = _text(tensor.name)[:80]
    if tensor.data_location == EXTERNAL or tensor.external_data:
        raise BadData(f"the weights {name!r} lie in another file; save the model with its weights inside")
    if tensor.data_type not in TYPES:
        return None
    kind, stored, values_in = TYPES[tensor.data_type]
    shape = tuple(tensor.dims)
    if len(shape) > MOST_AXES or any(side < 0 for side in shape) or math.prod(side or 1 for side in shape) > MOST_BYTES:
        raise BadData(f"the constant {name!r} has the shape {shape[:MOST_AXES]}, which can't be")
    count = math.prod(shape)
    if tensor.HasField("raw_data"):
        raw = tensor.raw_data
        if len(raw) != count * np.dtype(stored).itemsize:
            raise BadData(f"the constant {name!r} holds {len(raw)} bytes; {kind} {shape} takes another number")
        values = np.frombuffer(raw, stored)
    else:
        values = _single_values(getattr(tensor, values_in), kind, stored)
        if len(values) != count:
            raise BadData(f"the constant {name!r} holds {len(values)} numbers; its shape is {shape}")
    if kind == "bfloat16":
        values = (values.astype("<u4") << 16).view("<f4")
    return values.reshape(shape)


def _single_values(values: Any, kind: str, stored: str) -> AnyArray:
    """A repeated field as an array; both 16-bit floats stand in it as their bits."""
    if values_are_bits := kind in ("float16", "bfloat16"):
        wide: AnyArray = np.array(values, np.int64).astype("<u2")
    elif kind == "uint64":
        wide = np.array(values, np.uint64)
    else:
        wide = np.array(values, np.float64 if kind.startswith("float") else np.int64)
    return wide.view(stored) if values_are_bits else wide.astype(stored)


def _described(values: Iterable["ValueInfoProto"]) -> list[Described]:
    found: list[Described] = []
    for value in values:
        tensor = value.type.tensor_type
        shape = tuple(max(int(dim.dim_value), 0) for dim in tensor.shape.dim)
        dtype = TYPES[tensor.elem_type][0] if tensor.elem_type in TYPES else "other"
        found.append(Described(_text(value.name), shape, dtype))
    return found


def _metadata(model: "ModelProto") -> dict[str, str]:
    """The file's own strings, and who wrote it."""
    found = {
        "producer": f"{_text(model.producer_name)} {_text(model.producer_version)}".strip(),
        "domain": _text(model.domain),
        "opset": ", ".join(str(entry.version) for entry in model.opset_import if entry.domain in STANDARD_DOMAINS),
        **{_text(entry.key): _text(entry.value) for entry in model.metadata_props},
    }
    return {key: value for key, value in found.items() if value}
