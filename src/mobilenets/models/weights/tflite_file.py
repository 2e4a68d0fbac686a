"""A .tflite flatbuffer as plain checked values, through the published schema bindings (`tflite`, or LiteRT's own).

The bindings follow every offset unchecked, so counts are bounded by the file's length before anything is walked, and
whatever they stumble over becomes one BadData. One subgraph is read; control flow is not followed.
"""

import contextlib
import importlib
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import BadData, MissingRuntime
from .quantisation import NOT_QUANTISED, Quantisation

MOST_TENSORS = 8192
MOST_ELEMENTS = 2**28
MOST_DIMS = 8
LONGEST_NAME = 4000
_STUMBLES = (struct.error, IndexError, TypeError, ValueError, OverflowError)
"""What the bindings raise on offsets that lead nowhere."""

# Operator -> the table that holds its options, for those that have any of the fields below.
_OPTIONS = {
    "CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions", "ADD": "AddOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions", "SUB": "SubOptions", "MUL": "MulOptions", "DIV": "DivOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions", "MAX_POOL_2D": "Pool2DOptions", "CONCATENATION": "ConcatenationOptions",
    "SOFTMAX": "SoftmaxOptions", "LEAKY_RELU": "LeakyReluOptions", "GELU": "GeluOptions",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """shape: 0 where it is left open. data: the bytes of a constant, else None. name: unique in the file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantisation: Quantisation = NOT_QUANTISED
    data: memoryview | None = None
    is_variable: bool = False
    is_sparse: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """The fields of all operators' options, each at the schema's default where the operator has none of it."""

    activation: str = "NONE"
    padding: Literal["same", "valid"] = "same"
    stride: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    kernel: tuple[int, int] = (0, 0)
    multiplier: int = 0
    number: float = 0.0
    shuffled: bool = False
    approximate: bool = False


@dataclass(frozen=True, slots=True)
class Operator:
    """kind: the schema's name, or a custom operator's own. inputs: indices of tensors, -1 where one is left out."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Options = field(default_factory=Options)

    def input(self, side: int) -> int:
        """The tensor at that place, -1 where there is none."""
        return self.inputs[side] if side < len(self.inputs) else -1


@dataclass(frozen=True, slots=True, eq=False)
class File:
    """One of `subgraphs`: tensors, operators in execution order, indices of what is fed and taken."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int
    metadata: dict[str, str]
    size_bytes: int


def read_file(data: bytes, *, where: str, subgraph: int = 0) -> File:
    """The values of a file's subgraph, every index in range. Raises BadData naming `where`; MissingRuntime without
    bindings."""
    if data[4:8] != b"TFL3":
        raise BadData(f"{where} is no TFLite file: bytes 4 to 8 are {data[4:8]!r}, not b'TFL3'")
    schema = _bindings()
    try:
        return _Walk(schema, data, where).file(subgraph)
    except _STUMBLES as error:
        raise BadData(f"{where}: damaged or truncated flatbuffer: {str(error).partition(chr(10))[0]}") from error


def _bindings() -> ModuleType:
    for name in ("tflite", "ai_edge_litert.schema_py_generated"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    raise MissingRuntime.extra("the package tflite, which reads TFLite files,", "weights")


@cache
def _names(schema_enum: type) -> dict[int, str]:
    """The words of one of the schema's enumerations."""
    return {code: name for name, code in vars(schema_enum).items() if isinstance(code, int)}


@dataclass(slots=True)
class _Walk:
    """One pass over a flatbuffer. Values of the bindings are `Any` and leave as int, str, tuple or array."""

    schema: Any
    data: bytes
    where: str
    words: int = 0
    """Elements of names, shapes and index lists met so far: a few bytes can be pointed at from many places."""

    def file(self, subgraph: int) -> File:
        model = self.schema.Model.GetRootAs(self.data, 0)
        if model.SubgraphsLength() <= subgraph:
            raise BadData(f"{self.where} holds no subgraph" + (f" {subgraph}" if subgraph else ""))
        graph = model.Subgraphs(subgraph)
        n_tensors = self.count(graph.TensorsLength(), "tensors")
        n_operators = self.count(graph.OperatorsLength(), "operators")
        n_codes = self.count(model.OperatorCodesLength(), "operator codes")
        codes = [self.code(model.OperatorCodes(i)) for i in range(n_codes)]
        return File(
            self.tensors(model, graph, n_tensors),
            tuple(self.operator(graph.Operators(i), i, codes, n_tensors) for i in range(n_operators)),
            self.indices(graph.InputsAsNumpy(), n_tensors, "the list of inputs"),
            self.indices(graph.OutputsAsNumpy(), n_tensors, "the list of outputs"),
            model.SubgraphsLength(),
            self.metadata(model),
            len(self.data),
        )

    def count(self, found: int, what: str, most: int = MOST_TENSORS) -> int:
        """A vector's length, held against the file's and against what a network can have."""
        if found > most or 4 * found > len(self.data):
            raise BadData(f"{self.where} claims {found} {what}; at most {most} are read")
        return found

    def spend(self, amount: int) -> None:
        self.words += amount
        if self.words > max(len(self.data), 2**16):
            raise BadData(f"{self.where}: names, shapes and lists are longer than the file itself; it is damaged")

    def text(self, found: bytes | None) -> str:
        self.spend(len(found or b""))
        return (found or b"").decode("utf-8", "replace").rstrip("\0")

    def ints(self, found: Any) -> tuple[int, ...]:
        """A vector as the bindings give it: an array, or the number 0 where there is none."""
        if isinstance(found, int):
            return ()
        self.spend(len(found))
        return tuple(found.tolist())

    def indices(self, found: Any, n_tensors: int, what: str) -> tuple[int, ...]:
        indices = self.ints(found)
        for i in indices:
            if not -1 <= i < n_tensors:
                raise BadData(f"{self.where}: {what} names tensor {i} of {n_tensors}")
        return indices

    def code(self, code: Any) -> str:
        """The operator's name. Files older than 128 operators have it in one byte, newer ones in both fields."""
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        name = _names(self.schema.BuiltinOperator).get(number, f"operator {number}")
        if name != "CUSTOM":
            return name
        custom = self.text(code.CustomCode())[:100]
        return custom if custom and custom.isprintable() else name

    def tensors(self, model: Any, graph: Any, n_tensors: int) -> tuple[Tensor, ...]:
        types, taken = _names(self.schema.TensorType), set[str]()
        buffers = self.buffers(model)
        found = []
        for i in range(n_tensors):
            tensor = graph.Tensors(i)
            name = self.text(tensor.Name())[:LONGEST_NAME]
            while not name or name in taken:  # names may be missing or shared; "#3#3" where "#3" itself is taken
                name += f"#{i}"
            taken.add(name)
            place = f"{self.where}: tensor {name!r}"
            found.append(
                Tensor(
                    name,
                    self.shape(tensor, place),
                    types.get(tensor.Type(), f"type {tensor.Type()}"),
                    self.quantisation(tensor.Quantization()),
                    buffers(tensor.Buffer(), place),
                    bool(tensor.IsVariable()),
                    tensor.Sparsity() is not None,
                )
            )
        return tuple(found)

    def shape(self, tensor: Any, place: str) -> tuple[int, ...]:
        shape, signature = self.ints(tensor.ShapeAsNumpy()), self.ints(tensor.ShapeSignatureAsNumpy())
        if len(signature) == len(shape):
            shape = tuple(0 if open_side == -1 else side for side, open_side in zip(shape, signature, strict=True))
        shape = tuple(0 if side == -1 else side for side in shape)
        if len(shape) > MOST_DIMS or min(shape, default=0) < 0 or math.prod(max(s, 1) for s in shape) > MOST_ELEMENTS:
            raise BadData(f"{place} can't have the shape {shape[: MOST_DIMS + 1]}")
        return shape

    def quantisation(self, found: Any) -> Quantisation:
        if found is None or not found.ScaleLength():
            return NOT_QUANTISED
        zeros: Any = found.ZeroPointAsNumpy()
        zeros = NOT_QUANTISED.zero_points if isinstance(zeros, int) else zeros
        return Quantisation(found.ScaleAsNumpy(), zeros, found.QuantizedDimension())

    def buffers(self, model: Any) -> Callable[[int, str], memoryview | None]:
        """A look-up of buffers by index: None for those without data. Large files keep the data behind the tables."""
        n_buffers, whole = model.BuffersLength(), memoryview(self.data)

        def find(index: int, place: str) -> memoryview | None:
            if not 0 <= index < n_buffers:
                raise BadData(f"{place} names buffer {index} of {n_buffers}")
            buffer = model.Buffers(index)
            start, size = buffer.Offset(), buffer.Size()
            if start > 1 and size > 1:
                if start + size > len(whole):
                    raise BadData(f"{place}: its data of {size} bytes at {start} ends behind the file")
                return whole[start : start + size]
            inside: NDArray[np.uint8] | int = buffer.DataAsNumpy()
            return None if isinstance(inside, int) or not len(inside) else inside.data

        return find

    def operator(self, found: Any, i: int, codes: list[str], n_tensors: int) -> Operator:
        if not 0 <= found.OpcodeIndex() < len(codes):
            raise BadData(f"{self.where}: operator {i} names code {found.OpcodeIndex()} of {len(codes)}")
        kind = codes[found.OpcodeIndex()]
        inputs = self.indices(found.InputsAsNumpy(), n_tensors, f"operator {i} ({kind})")
        outputs = self.indices(found.OutputsAsNumpy(), n_tensors, f"operator {i} ({kind})")
        return Operator(kind, inputs, outputs, self.options(found, kind))

    def options(self, operator: Any, kind: str) -> Options:
        table = operator.BuiltinOptions()
        if kind not in _OPTIONS or table is None:
            return Options()
        name = _OPTIONS[kind]
        if operator.BuiltinOptionsType() != getattr(self.schema.BuiltinOptions, name):
            raise BadData(f"{self.where}: the options of a {kind} are those of another operator")
        fields = getattr(self.schema, name)()
        fields.Init(table.Bytes, table.Pos)

        def get(field_name: str, default: Any) -> Any:
            return getattr(fields, field_name)() if hasattr(fields, field_name) else default

        act = get("FusedActivationFunction", 0)
        return Options(
            _names(self.schema.ActivationFunctionType).get(act, f"activation {act}"),
            "valid" if get("Padding", 0) == self.schema.Padding.VALID else "same",
            (get("StrideH", 0), get("StrideW", 0)),
            (get("DilationHFactor", 1), get("DilationWFactor", 1)),
            (get("FilterHeight", 0), get("FilterWidth", 0)),
            get("DepthMultiplier", 0),
            float(get("Beta", get("Alpha", 0.0))),
            get("WeightsFormat", 0) != 0,
            bool(get("Approximate", False)),
        )

    def metadata(self, model: Any) -> dict[str, str]:
        found = {"description": self.text(model.Description())}
        buffers = self.buffers(model)
        for i in range(self.count(model.MetadataLength(), "metadata entries")):
            entry = model.Metadata(i)
            if entry is not None and entry.Name() == b"min_runtime_version":
                version = buffers(entry.Buffer(), f"{self.where}: metadata")
                found["min_runtime"] = self.text(bytes(version[:64])) if version else ""
        return {key: value for key, value in found.items() if value}
