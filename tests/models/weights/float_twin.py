"""An oracle for graphs in TFLite files: the file's own runtime, with the taps of every tensor, in floating point.

`float_twin` rewrites a quantised file so that LiteRT runs the very same operators on dequantised constants. It shares
no line with the reader under test: the rules of the format are written down here a second time.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

_NONE, _RELU, _RELU6 = 0, 1, 3
_LOWEST = {"UINT8": 0, "INT8": -128}
_NUMPY = {"UINT8": np.uint8, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64}


def float_twin(data: bytes, *, restore: bool = True) -> bytes:
    """The same graph in float32: constants dequantised, QUANTIZE and DEQUANTIZE bypassed.

    restore: put the ReLU (ReLU6 for a range of 0 to 6) that uint8 files lost back as fused activations; without it
    the twin is broken, as a float network that never clips.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    types = {code: name for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    kinds = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]

    def kind(operator: Any) -> str:
        code = model.operatorCodes[operator.opcodeIndex]
        return kinds[max(code.deprecatedBuiltinCode, code.builtinCode)]

    if restore:
        for operator in graph.operators:
            output = graph.tensors[operator.outputs[0]]
            if kind(operator) in ("CONV_2D", "DEPTHWISE_CONV_2D") and types[output.type] == "UINT8":
                _restore(operator.builtinOptions, output.quantization)
    bypassed: dict[int, int] = {}
    kept = []
    for operator in graph.operators:
        operator.inputs = [bypassed.get(int(i), int(i)) for i in operator.inputs]
        if kind(operator) in ("QUANTIZE", "DEQUANTIZE"):
            bypassed[int(operator.outputs[0])] = operator.inputs[0]
        else:
            kept.append(operator)
    graph.operators = kept
    graph.outputs = [bypassed.get(int(i), int(i)) for i in graph.outputs]
    for tensor in graph.tensors:
        if types[tensor.type] in _NUMPY and tensor.quantization is not None and _given(tensor.quantization.scale):
            buffer = model.buffers[tensor.buffer]
            if _given(buffer.data):
                stored = np.asarray(buffer.data, np.uint8).view(_NUMPY[types[tensor.type]]).reshape(tensor.shape)
                model.buffers.append(schema.BufferT())
                model.buffers[-1].data = np.frombuffer(_real(stored, tensor.quantization).tobytes(), np.uint8)
                tensor.buffer = len(model.buffers) - 1
            tensor.type = schema.TensorType.FLOAT32
            tensor.quantization = None
    model.signatureDefs = []
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run_tensors(data: bytes, feeds: Mapping[str, np.ndarray], names: Iterable[str]) -> dict[str, np.ndarray]:
    """Tensors of the graph by their names, N H W C, as LiteRT's own kernels compute them; all `names` must be there."""
    interpreter = _interpreter(data)
    inputs = {detail["name"]: detail["index"] for detail in interpreter.get_input_details()}
    for name, values in feeds.items():
        interpreter.set_tensor(inputs[name], values)
    interpreter.invoke()
    indices: dict[str, int] = {}
    for detail in interpreter.get_tensor_details():
        indices.setdefault(detail["name"], detail["index"])
    return {name: np.array(interpreter.get_tensor(indices[name])) for name in names}


def outputs_of(data: bytes, batches: Iterable[np.ndarray]) -> np.ndarray:
    """The first output for each picture (1, h, w, c), stacked; integers as they are."""
    interpreter = _interpreter(data)
    fed, taken = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    found = []
    for batch in batches:
        interpreter.set_tensor(fed, batch)
        interpreter.invoke()
        found.append(np.array(interpreter.get_tensor(taken)[0]))
    return np.stack(found)


def _interpreter(data: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=data,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return interpreter


def _given(vector: Any) -> bool:
    return vector is not None and len(vector) > 0


def _restore(options: Any, quantization: Any) -> None:
    if options.fusedActivationFunction == _NONE and int(quantization.zeroPoint[0]) == _LOWEST["UINT8"]:
        ends_at_six = abs(255 * float(quantization.scale[0]) - 6) < 0.06
        options.fusedActivationFunction = _RELU6 if ends_at_six else _RELU


def _real(stored: np.ndarray, quantization: Any) -> np.ndarray:
    scale = np.asarray(quantization.scale, np.float64)
    zero = np.asarray(quantization.zeroPoint, np.float64)
    if len(scale) > 1:
        sides = [1] * stored.ndim
        sides[quantization.quantizedDimension] = len(scale)
        scale, zero = scale.reshape(sides), zero.reshape(sides)
    return ((stored.astype(np.float64) - zero) * scale).astype(np.float32)
