"""The ONNX target: the traced graph as it is, and a session in ONNX Runtime on the CPU.

One file, a dynamic batch, no weights beside it; float16 stores the weights in half the bytes, which ONNX Runtime turns
back into float32 when it loads them.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadModelFile, MissingRuntime, MobilenetsError, UsageError
from ..files import replacing
from ..records import Structure
from ..tasks.interface import Outputs
from .embedded import Embedded, embedded_from_strings
from .feeding import check_batch
from .inside import PREFIX, Resizing, put_inside
from .tracing import Source, check_graph, first_line
from .trained import as_arrays

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from .targets import Precision

log = logging.getLogger(__name__)

NOWHERE = "/nonexistent"
FRAME_BYTES, NODE_BYTES = 4096, 1024
"""What names and shapes may take in a file beside its weights: a few hundred bytes for an operator are usual."""

# A graph of one operator, y = relu(x) for float32 (2,), as `onnx.helper` writes it (opset 17, IR 8).
_PROBE = bytes.fromhex(
    "08083a370a0c0a0178120179220452656c75120570726f62655a0f0a0178120a0a08080112040a020802620f0a0179120a0a08080112040a020802"
    "42040a001011"
)
FLOAT16_LOSS = 1e-3
"""Rounding to 11 bits loses 2e-4 of a tensor's norm."""
_DTYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}


def export_onnx(source: Source, path: Path, *, facts: Embedded, precision: "Precision") -> None:
    """Write one ONNX file with input `image` (N, C, h, w), N free (h and w too where the form asks for more sizes), and
    the task's output names; uint8 (N, H, W, 3), all free, where `facts.inside` is "everything". Facts go into
    metadata_props. Takes 3 to 12 s on a quiet core, nearly all of it tracing.

    Raises: UsageError for a network that the exporter can't express.
    """
    with replacing(path) as temporary:  # first of all: a folder that can't be written must not cost an export
        proto = graph_for(source, facts, resizing="operator")
        for key, text in facts.as_strings().items():
            entry = proto.metadata_props.add()
            entry.key, entry.value = key, text
        if precision == "float16":
            _halve(proto)
        check_graph(proto)
        temporary.write_bytes(proto.SerializeToString())
    log.info("wrote %s (%s, opset %d)", path, precision, proto.opset_import[0].version)


def graph_for(source: Source, facts: Embedded, *, resizing: Resizing) -> "ModelProto":
    """The float32 graph in the form that is asked for: of one size, of any, or with the preprocessing inside."""
    if facts.inside != "everything":
        return source.graph_of_any_size() if source.form.sizes_px else source.graph()
    if source.form.sizes_px:
        raise UsageError("with the preprocessing inside, pictures of any size go in: leave the further sizes out")
    proto = source.graph()
    put_inside(proto, facts.preprocess, resizing=resizing)
    return proto


def _halve(proto: "ModelProto") -> None:
    """Store kernels and matrices as float16, each with a Cast that the runtime does once, when it loads the file."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in proto.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2 or _inside(tensor.name):
            continue
        values = numpy_helper.to_array(tensor)
        if fits_float16(values):
            whole, stored = tensor.name, f"{tensor.name}.float16"
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
            casts.append(helper.make_node("Cast", [stored], [whole], name=whole, to=TensorProto.FLOAT))
    network = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*casts, *network])


def fits_float16(values: NDArray[np.float32]) -> bool:
    """Whether float16 holds the values to its 11 bits: none beyond 65504, and not so small that they fade away (kernels
    into which a norm of a huge variance was folded); such tensors stay in float32."""
    if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        return False
    lost = values.astype(np.float16).astype(np.float32) - values
    return bool(np.linalg.norm(lost) <= FLOAT16_LOSS * np.linalg.norm(values))


def layers_onnx(path: Path, batch: NDArray[np.generic]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Every value of the network for a batch, unoptimised, so that all of them exist.

    Raises: MissingRuntime without the package onnx; BadModelFile, BadData as opening and running do.
    """
    onnx = _package()
    proto = _parsed(path)
    known = {value.name for value in proto.graph.output}
    names = [name for name in _computed(proto) if not _inside(name)]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    session = _opened(path, proto.SerializeToString(), threads=1, as_written=True)
    values = as_arrays(session.run(batch))
    place = {name: index for index, name in enumerate(session.output_names)}
    yield from ((name, values[place[name]]) for name in names)


def preparing_onnx(path: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """The part of a file that prepares pictures, alone. Raises: BadModelFile for a file that has none."""
    onnx = _package()
    proto = _parsed(path)
    made = [node.output[0] for node in proto.graph.node if _inside(node.name)]
    if not made:
        raise BadModelFile(f"{path}: says that it prepares pictures itself, and holds nothing that does")
    del proto.graph.output[:]
    proto.graph.output.append(onnx.ValueInfoProto(name=made[-1]))
    session = _opened(path, proto.SerializeToString(), threads=1, as_written=True)
    return lambda pictures: np.asarray(session.run(pictures), np.float32)


def inspect_onnx(path: Path, *, precision: "Precision") -> Structure:
    """What the graph consists of, preprocessing inside apart: its operators and weights count, its Transpose does not.

    Raises: MissingRuntime without the package onnx; BadModelFile for a damaged file.
    """
    onnx = _package()
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    proto = _parsed(path)
    graph = proto.graph
    nodes = [node for node in graph.node if not _inside(node.name)]
    transposes = sum(node.op_type == "Transpose" for node in nodes)
    weights: Counter[str] = Counter()
    odd: Counter[str] = Counter()
    size = 0
    for tensor in graph.initializer:
        dtype, count = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)), math.prod(tensor.dims)
        size += dtype.itemsize * count
        if tensor.dims:
            weights[dtype.name] += count
        wrong = len(tensor.dims) > 1 and dtype.kind == "f" and dtype.name != precision and not _inside(tensor.name)
        if wrong and (precision != "float16" or fits_float16(numpy_helper.to_array(tensor))):
            odd[dtype.name] += count
    complaints = [f"{count} weights are {kind}, not {precision}" for kind, count in odd.items()]
    complaints += _complaints(nodes, {tensor.name for tensor in graph.initializer})
    read = {name for node in graph.node for name in node.input}
    idle = [tensor.name for tensor in graph.initializer if tensor.name not in read]
    if idle:
        complaints.append(f"{len(idle)} constants are read by no operator ({idle[0]})")
    facts = sum(len(entry.value) for entry in proto.metadata_props)
    if (have := path.stat().st_size) > (want := size + facts + FRAME_BYTES + NODE_BYTES * len(graph.node)):
        complaints.append(f"the file has {have / 1e6:.2f} MB, its weights and operators fit {want / 1e6:.2f}")
    operators = Counter(node.op_type for node in graph.node)
    return Structure(dict(operators), dict(weights), transposes, complaints=tuple(complaints))


def _complaints(nodes: "list[NodeProto]", constants: set[str]) -> Iterator[str]:
    """What a network's operators should not be: leftovers of training, moved data, activations in pieces."""
    makers = {output: node for node in nodes for output in node.output}
    kinds = Counter(node.op_type for node in nodes)
    attention = kinds["Softmax"] > 0  # it moves data, and asks for shapes where height and width are free
    for kind in ("Transpose", "Shape", "If"):
        if kinds[kind] and not (attention and kind != "If"):
            yield f"{kinds[kind]} {kind} in a network of convolutions"
    for kind in ("Identity", "Dropout"):
        if kinds[kind]:
            yield f"{kinds[kind]} {kind} that does nothing"
    for node in nodes:
        before = makers.get(node.input[0]) if node.input else None
        kind = "" if before is None else before.op_type
        if node.op_type == "BatchNormalization" and kind != "Add":  # after a sum there is nothing to fold it into
            yield f"{node.name}: a BatchNormalization that could be folded into {kind or 'nothing'}"
        elif node.op_type == "Clip" and kind == "Add" and constants.intersection(makers[node.input[0]].input):
            yield f"{node.name}: a hard-sigmoid in pieces (Add, Clip)"
        elif node.op_type == "Mul":
            for x, gate in (node.input, node.input[::-1]):
                made = makers.get(gate)
                if made is not None and made.op_type == "HardSigmoid" and made.input[0] == x:
                    yield f"{node.name}: a hard-swish in pieces (HardSigmoid, Mul)"


def _inside(name: str) -> bool:
    """Whether a value belongs to the preprocessing in front of the network."""
    return name.startswith(PREFIX)


def _computed(proto: "ModelProto") -> list[str]:
    """The first output of every operator that depends on the input, in order: a weight's Cast does not."""
    live = {value.name for value in proto.graph.input}
    names = []
    for node in proto.graph.node:
        if live.intersection(node.input):
            live.update(node.output)
            names.append(node.output[0])
    return names


def _package() -> Any:
    """The package onnx, which running does without."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingRuntime.extra("onnx", "train") from error
    return onnx


def _parsed(path: Path) -> "ModelProto":
    """The graph of a file. Raises BadModelFile for one that is missing or damaged."""
    onnx = _package()
    from google.protobuf.message import DecodeError

    try:
        proto: ModelProto = onnx.load_model_from_string(_bytes(path))
    except DecodeError as error:
        raise BadModelFile(f"{path}: is no ONNX file: {first_line(error)}") from error
    if not proto.graph.node:
        raise BadModelFile(f"{path}: is no ONNX file: it holds no graph")
    return proto


# --- running ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class OnnxSession:
    """An ONNX file loaded in ONNX Runtime. Safe to call from several threads."""

    path: Path
    input_name: str
    input_shape: tuple[int | None, ...]
    input_dtype: np.dtype[Any]
    output_names: tuple[str, ...]
    facts: Embedded | None
    runtime: Any

    def run(self, batch: NDArray[np.generic]) -> Outputs:
        """The outputs for a batch. Raises BadData for a batch of another shape or type; CheckFailed never."""
        check_batch(batch, self.input_shape, self.input_dtype, where=self.path)
        try:
            outputs = self.runtime.run(list(self.output_names), {self.input_name: batch})
        except _runtime_errors() as error:
            raise BadModelFile(f"{self.path}: ONNX Runtime stopped: {first_line(error)}") from error
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def open_onnx(path: Path, *, threads: int) -> OnnxSession:
    """Load an ONNX file for the CPU. `threads` work inside an operator; operators run one after the other.

    Raises: BadModelFile for a file that is missing, damaged, or no network with one image input.
    """
    return _opened(path, _bytes(path), threads=threads)


def _opened(path: Path, data: bytes, *, threads: int, as_written: bool = False) -> OnnxSession:
    try:
        runtime = _session(data, threads, as_written=as_written)
    except _runtime_errors() as error:
        raise BadModelFile(f"{path}: ONNX Runtime can't load it: {first_line(error)}") from error
    inputs = runtime.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _DTYPES:
        kinds = ", ".join(f"{i.name} {i.type}" for i in inputs)
        raise BadModelFile(f"{path}: must have one image input, not {len(inputs)} ({kinds})")
    return OnnxSession(
        path=path,
        input_name=inputs[0].name,
        input_shape=tuple(side if isinstance(side, int) else None for side in inputs[0].shape),
        input_dtype=np.dtype(_DTYPES[inputs[0].type]),
        output_names=tuple(output.name for output in runtime.get_outputs()),
        facts=embedded_from_strings(runtime.get_modelmeta().custom_metadata_map, where=str(path)),
        runtime=runtime,
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadModelFile(f"{path}: can't be read: {error.strerror or error}") from error


def probe_onnx() -> None:
    """Run a graph of one operator. Raises whatever stands in the way, as an error of ours."""
    try:
        (answer,) = _session(_PROBE, 1).run(None, {"x": np.array([-1.0, 2.0], np.float32)})
    except _runtime_errors() as error:
        raise MobilenetsError(f"ONNX Runtime does not run: {first_line(error)}") from error
    if answer.tolist() != [0.0, 2.0]:
        raise MobilenetsError(f"ONNX Runtime computes relu(-1, 2) as {answer.tolist()}")


def _session(data: bytes, threads: int, *, as_written: bool = False) -> Any:
    import onnxruntime as ort

    options = session_options(threads, as_written=as_written)
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def session_options(threads: int, *, as_written: bool = False) -> Any:
    """How ONNX Runtime is to run a graph; as_written: unoptimised, so that all its values exist.

    Level ALL holds the NCHWc layout, which is a factor of two for these networks.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_DISABLE_ALL if as_written else level.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors; they come as exceptions as well
    # An ONNX file may name other files for its weights; ours have none, and a stranger's must not read this disk.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", NOWHERE)
    # Workers spin within a run, which batch 1 needs (25 to 48 % otherwise), and sleep after it, which others need: with
    # sessions taking turns on 2 cores, V2 on 2 threads took 12 to 15 ms beside spinning ones and 7 ms beside sleeping
    # ones; alone it takes 5.0 to 5.3 ms either way.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _runtime_errors() -> tuple[type[Exception], ...]:
    """ONNX Runtime's exceptions, which have no common base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NoModel",
        "NotImplemented",
        "RuntimeException",
    )
    return (*(getattr(state, name) for name in names), RuntimeError, ValueError)
