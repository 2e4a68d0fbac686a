"""Small .tflite files written field by field through the schema's bindings, right or wrong as a test wants them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_OPTIONS = {
    "CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions", "ADD": "AddOptions", "MUL": "MulOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions", "SUB": "SubOptions", "DIV": "DivOptions", "GELU": "GeluOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions", "MAX_POOL_2D": "Pool2DOptions", "SOFTMAX": "SoftmaxOptions",
    "LEAKY_RELU": "LeakyReluOptions", "MEAN": "ReducerOptions",
}  # fmt: skip


@dataclass(frozen=True)
class T:
    """A tensor; `values` makes it a constant, written as it is (numpy) or byte by byte."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "FLOAT32"
    values: np.ndarray | bytes | None = None
    scales: tuple[float, ...] = ()
    zeros: tuple[int, ...] = ()
    axis: int = 0
    signature: tuple[int, ...] = ()
    buffer: int | None = None


@dataclass(frozen=True)
class O:  # noqa: E742  # an operator, beside T, a tensor
    """An operator; `options` by the schema's field names."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)


def tiny_tflite(
    tensors: Sequence[T], operators: Sequence[O], inputs: Sequence[int] = (0,), outputs: Sequence[int] = (-1,)
) -> bytes:
    """The file. An output of -1 is the last tensor."""
    import flatbuffers
    import tflite

    build = flatbuffers.Builder(1024)

    def table(name: str, **values: Any) -> int:
        getattr(tflite, f"{name}Start")(build)
        for key, value in values.items():
            if value is not None:
                getattr(tflite, f"{name}Add{key}")(build, value)
        return getattr(tflite, f"{name}End")(build)

    def offsets(name: str, items: Sequence[int]) -> int:
        getattr(tflite, name)(build, len(items))
        for item in reversed(items):
            build.PrependUOffsetTRelative(item)
        return build.EndVector()

    def vector(values: Any, dtype: Any) -> int:
        return build.CreateNumpyVector(np.array(values, dtype))

    buffers, built = [table("Buffer")], []
    for t in tensors:
        held = 0
        if t.values is not None:
            raw = t.values if isinstance(t.values, bytes) else t.values.tobytes()
            held = len(buffers)
            buffers.append(table("Buffer", Data=vector(np.frombuffer(raw, np.uint8), np.uint8)))
        quantised = None
        if t.scales:
            scales, zeros = vector(t.scales, np.float32), vector(t.zeros, np.int64)
            quantised = table("QuantizationParameters", Scale=scales, ZeroPoint=zeros, QuantizedDimension=t.axis)
        name, shape = build.CreateString(t.name), vector(t.shape, np.int32)
        signature = vector(t.signature, np.int32) if t.signature else None
        built.append(
            table("Tensor", Name=name, Shape=shape, Type=getattr(tflite.TensorType, t.dtype), Quantization=quantised,
                  Buffer=held if t.buffer is None else t.buffer, ShapeSignature=signature)
        )  # fmt: skip
    codes, run = [], []
    for i, o in enumerate(operators):
        builtin = getattr(tflite.BuiltinOperator, o.kind, tflite.BuiltinOperator.CUSTOM)
        custom = build.CreateString(o.kind) if builtin == tflite.BuiltinOperator.CUSTOM else None
        codes.append(table("OperatorCode", DeprecatedBuiltinCode=min(builtin, 127), BuiltinCode=builtin, Version=1,
                           CustomCode=custom))  # fmt: skip
        options = _OPTIONS.get(o.kind)
        fields = table(options, **o.options) if options else None
        code = getattr(tflite.BuiltinOptions, options) if options else None
        read, made = vector(o.inputs, np.int32), vector(o.outputs, np.int32)
        run.append(table("Operator", OpcodeIndex=i, Inputs=read, Outputs=made, BuiltinOptionsType=code,
                         BuiltinOptions=fields))  # fmt: skip
    last = [len(tensors) - 1 if i == -1 else i for i in outputs]
    parts = offsets("SubGraphStartTensorsVector", built), offsets("SubGraphStartOperatorsVector", run)
    fed, taken = vector(inputs, np.int32), vector(last, np.int32)
    graph = table("SubGraph", Tensors=parts[0], Operators=parts[1], Inputs=fed, Outputs=taken)
    about = build.CreateString("tiny")
    vectors = {
        "Subgraphs": offsets("ModelStartSubgraphsVector", [graph]),
        "OperatorCodes": offsets("ModelStartOperatorCodesVector", codes),
        "Buffers": offsets("ModelStartBuffersVector", buffers),
    }
    build.Finish(table("Model", Version=3, Description=about, **vectors), b"TFL3")
    return bytes(build.Output())
