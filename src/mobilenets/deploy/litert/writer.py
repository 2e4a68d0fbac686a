"""A TFLite flatbuffer in the making: tensors, operators and buffers, through the published schema bindings.

Knows the format alone: what operators mean is in tflite_operators.py. Constants are stored once by content, so that
subgraphs for several picture sizes share their weights. The bindings come with the package ai_edge_litert.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

IDENTIFIER = b"TFL3"
VERSION = 3
ALIGNMENT = 16
"""Of constants, in bytes: the schema asks for it, the Python bindings don't see to it."""
_VERSIONS = {"DEQUANTIZE": 3}
"""Of operators that need another than the first: this one takes float16 since."""


@dataclass(slots=True)
class Writer:
    """One file. Metadata are named byte strings; signatures name a subgraph's inputs and outputs."""

    description: str
    schema: Any = field(init=False)
    _model: Any = field(init=False)
    _buffers: dict[bytes, int] = field(default_factory=dict)
    _codes: dict[str, int] = field(default_factory=dict)
    _bytes: int = 0

    def __post_init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self._model = schema.ModelT()
        self._model.version, self._model.description = VERSION, self.description
        self._model.buffers = [schema.BufferT()]  # by the format's rule the first one is empty
        self._model.operatorCodes, self._model.subgraphs = [], []
        self._model.metadata, self._model.signatureDefs = [], []

    def subgraph(self, name: str) -> "Subgraph":
        """A new subgraph; the first is the one that runs by default."""
        made = self.schema.SubGraphT()
        made.name, made.tensors, made.operators, made.inputs, made.outputs = name, [], [], [], []
        self._model.subgraphs.append(made)
        return Subgraph(self, made)

    def signature(self, key: str, index: int, inputs: dict[str, int], outputs: dict[str, int]) -> None:
        """Name what subgraph `index` takes and gives: words -> its tensors."""
        made = self.schema.SignatureDefT()
        made.signatureKey, made.subgraphIndex = key, index
        made.inputs, made.outputs = ([self._named(*item) for item in side.items()] for side in (inputs, outputs))
        self._model.signatureDefs.append(made)

    def metadata(self, name: str, data: bytes) -> None:
        """Put a named byte string into the file."""
        made = self.schema.MetadataT()
        made.name, made.buffer = name, self.buffer(data)
        self._model.metadata.append(made)

    def buffer(self, data: bytes) -> int:
        """The index of the buffer that holds `data`, made where there is none yet."""
        key = hashlib.sha256(data).digest()
        if key not in self._buffers:
            made = self.schema.BufferT()
            made.data = np.frombuffer(data, np.uint8)
            self._buffers[key] = len(self._model.buffers)
            self._model.buffers.append(made)
            self._bytes += len(data)
        return self._buffers[key]

    def code(self, kind: str) -> int:
        """The index of an operator kind among those of the file."""
        if kind not in self._codes:
            made = self.schema.OperatorCodeT()
            made.builtinCode = getattr(self.schema.BuiltinOperator, kind)
            made.deprecatedBuiltinCode = min(made.builtinCode, 127)  # old readers know one byte
            made.version = _VERSIONS.get(kind, 1)
            self._codes[kind] = len(self._model.operatorCodes)
            self._model.operatorCodes.append(made)
        return self._codes[kind]

    def pack(self) -> bytes:
        """The file's bytes."""
        import flatbuffers

        class Aligned(flatbuffers.Builder):  # type: ignore[misc]  # the package ships no types
            def CreateNumpyVector(self, x: NDArray[Any]) -> Any:
                self.Prep(ALIGNMENT, x.nbytes)
                return super().CreateNumpyVector(x)

        builder = Aligned(self._bytes + 2**18)
        builder.Finish(self._model.Pack(builder), file_identifier=IDENTIFIER)
        return bytes(builder.Output())

    def _named(self, name: str, index: int) -> Any:
        made = self.schema.TensorMapT()
        made.name, made.tensorIndex = name, index
        return made


@dataclass(slots=True)
class Subgraph:
    """One subgraph of a `Writer`. Tensors are numbered as they are made."""

    writer: Writer
    table: Any

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str = "FLOAT32", *, free: int | None = None) -> int:
        """A tensor that an operator fills. free: the dimension (of size 1 in `shape`) that a reader may change."""
        made = self.writer.schema.TensorT()
        made.name, made.shape, made.buffer, made.hasRank = name, list(shape), 0, True
        made.type = getattr(self.writer.schema.TensorType, dtype)
        if free is not None:
            made.shapeSignature = [-1 if k == free else side for k, side in enumerate(shape)]
        self.table.tensors.append(made)
        return len(self.table.tensors) - 1

    def constant(self, name: str, values: NDArray[Any]) -> int:
        """A tensor that is the same for every picture."""
        index = self.tensor(name, values.shape, values.dtype.name.upper())
        self.table.tensors[index].buffer = self.writer.buffer(np.ascontiguousarray(values).tobytes())
        return index

    def rename(self, index: int, name: str) -> None:
        """Give a tensor another name."""
        self.table.tensors[index].name = name

    def operator(
        self, kind: str, inputs: tuple[int, ...], output: int, table: str = "", options: dict[str, Any] | None = None
    ) -> None:
        """Add an operator. kind: the schema's word. table: that of its options ("Conv2DOptions"); options: its
        fields by the bindings' names."""
        made = self.writer.schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = self.writer.code(kind), list(inputs), [output]
        if table:
            made.builtinOptionsType = getattr(self.writer.schema.BuiltinOptions, table)
            made.builtinOptions = getattr(self.writer.schema, f"{table}T")()
            for name, value in (options or {}).items():
                if not hasattr(made.builtinOptions, name):
                    raise AttributeError(f"{table} has no {name}")
                setattr(made.builtinOptions, name, value)
        self.table.operators.append(made)

    def ends(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        """Say which tensors are fed and which are taken."""
        self.table.inputs, self.table.outputs = list(inputs), list(outputs)
