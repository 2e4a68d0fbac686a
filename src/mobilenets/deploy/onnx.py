"""The ONNX target: export through torch's dynamo exporter, and a session in ONNX Runtime on the CPU.

The graph is what the runtimes are fast with: batch norms folded into the convolutions, hard-swish and hard-sigmoid
kept as one operator each (decomposed they cost 12 to 14 %), a dynamic batch, no weights beside the file. Operators
that name machine paths (the exporter notes a stack trace at each node) are stripped of them.
"""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadData, BadModelFile, MobilenetsError, UsageError
from ..files import replacing
from ..tasks.interface import Outputs
from .embedded import Embedded, embedded_from_strings

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

    from .targets import Precision

log = logging.getLogger(__name__)

INPUT = "image"
BATCH = "batch"
MIN_OPSET = 17
"""Older ones lack what later steps need (per-channel QDQ from 13, LayerNormalization 17); the exporter writes 18+."""
NOWHERE = "/nonexistent"
EXAMPLE_BATCH = 2
"""An example batch of 1 would be taken for a constant (torch.export specialises 0 and 1)."""

# A graph of one operator, y = relu(x) for float32 (2,), as `onnx.helper` writes it (opset 17, IR 8).
_PROBE = bytes.fromhex(
    "08083a370a0c0a0178120179220452656c75120570726f62655a0f0a0178120a0a08080112040a020802620f0a0179120a0a08080112040a020802"
    "42040a001011"
)
_DTYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}


def export_onnx(network: "nn.Module", path: Path, *, facts: Embedded, precision: "Precision") -> None:
    """Write `network` as one ONNX file with input `image` (N, C, h, w), N free, and the task's output names.

    The network is copied, folded and exported in eval mode on the CPU; it stays as it was, in its mode, on its device.
    Facts go into metadata_props. Takes 3 to 12 s on a quiet core, most of it in torch's tracing.

    Raises: UsageError for a network that the exporter can't express, or a preprocess record other than float32 NCHW.
    """
    record = facts.preprocess
    if record.dtype != "float32" or record.layout != "nchw":
        raise UsageError(f"ONNX export takes float32 nchw input, not {record.dtype} {record.layout}")
    with replacing(path) as temporary:  # first of all: a folder that can't be written must not cost an export
        proto = _traced(network, (record.channels, *record.size_px), facts)
        _tidy(proto)
        for key, text in facts.as_strings().items():
            entry = proto.metadata_props.add()
            entry.key, entry.value = key, text
        _check(proto)
        temporary.write_bytes(proto.SerializeToString())
    log.info("wrote %s (%s, opset %d)", path, precision, proto.opset_import[0].version)


def _traced(network: "nn.Module", shape: tuple[int, ...], facts: Embedded) -> "ModelProto":
    """The graph as torch's exporter makes it from a folded copy in eval mode."""
    import torch

    threads = torch.get_num_threads()
    folded = _folded(network).to("cpu", torch.float32).eval().requires_grad_(False)
    example = torch.rand((EXAMPLE_BATCH, *shape), generator=torch.Generator().manual_seed(0))
    try:
        with _quiet():
            program = torch.onnx.export(
                folded,
                (example,),
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=list(facts.output_names),
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                external_data=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"{facts.network} can't be exported to ONNX: {_first_line(error)}") from error
    finally:
        torch.set_num_threads(threads)
    if program is None:
        raise MobilenetsError(f"{facts.network}: torch's exporter gave no program")
    return program.model_proto


def _folded(network: "nn.Module") -> "nn.Module":
    """A copy with every backbone folded, whatever a task has put around it."""
    from ..models import Network, fold

    if isinstance(network, Network):
        return fold(network)
    whole = copy.deepcopy(network)
    for name, module in list(whole.named_modules()):
        if isinstance(module, Network):
            whole.set_submodule(name, fold(module))
    return whole


def _tidy(proto: "ModelProto") -> None:
    """Name the free batch dimension, and drop the exporter's notes, which hold paths and half of a small file."""
    graph = proto.graph
    free = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.ClearField("metadata_props")
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param and dim.dim_param == free:
                dim.dim_param = BATCH
    for part in (*graph.node, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("metadata_props")
    graph.ClearField("doc_string")
    proto.ClearField("metadata_props")


def _check(proto: "ModelProto") -> None:
    """Raises MobilenetsError for a graph that breaks ONNX's own rules or ours: such a file must not be written."""
    import onnx

    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise MobilenetsError(f"the exported graph is not valid ONNX: {_first_line(error)}") from error
    opset = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    batch = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    if opset < MIN_OPSET or batch != BATCH or len(proto.graph.input) != 1:
        raise MobilenetsError(f"the exported graph has opset {opset} and batch {batch or 'fixed'}; want 17+ and free")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress lines and its warnings (about its own internals) from the user's terminal."""
    noise = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(noise):
        warnings.simplefilter("always")
        yield
    for warning in caught:
        log.debug("exporter: %s", warning.message)


def _first_line(error: BaseException) -> str:
    """What an error says, on one line; of a chain the cause, which names the operator."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


# --- running ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class OnnxSession:
    """An ONNX file loaded in ONNX Runtime. Safe to call from several threads."""

    path: Path
    input_name: str
    input_shape: tuple[int | None, ...]
    input_dtype: Any
    output_names: tuple[str, ...]
    facts: Embedded | None
    runtime: Any

    def run(self, batch: NDArray[np.generic]) -> Outputs:
        """The outputs for a batch. Raises BadData for a batch of another shape or type; CheckFailed never."""
        fits = len(batch.shape) == len(self.input_shape) and all(
            want in (None, have) for want, have in zip(self.input_shape, batch.shape, strict=True)
        )
        if not fits or batch.dtype != self.input_dtype or 0 in batch.shape:
            shape = ", ".join("N" if side is None else str(side) for side in self.input_shape)
            raise BadData(f"{self.path}: takes {np.dtype(self.input_dtype)} ({shape}), got {batch.dtype} {batch.shape}")
        try:
            outputs = self.runtime.run(list(self.output_names), {self.input_name: batch})
        except _runtime_errors() as error:
            raise BadModelFile(f"{self.path}: ONNX Runtime stopped: {_first_line(error)}") from error
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def open_onnx(path: Path, *, threads: int) -> OnnxSession:
    """Load an ONNX file for the CPU. `threads` work inside an operator; operators run one after the other.

    Raises: BadModelFile for a file that is missing, damaged, or no network with one image input.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadModelFile(f"{path}: can't be read: {error.strerror or error}") from error
    try:
        runtime = _session(data, threads)
    except _runtime_errors() as error:
        raise BadModelFile(f"{path}: ONNX Runtime can't load it: {_first_line(error)}") from error
    inputs = runtime.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _DTYPES:
        kinds = ", ".join(f"{i.name} {i.type}" for i in inputs)
        raise BadModelFile(f"{path}: must have one image input, not {len(inputs)} ({kinds})")
    return OnnxSession(
        path=path,
        input_name=inputs[0].name,
        input_shape=tuple(side if isinstance(side, int) else None for side in inputs[0].shape),
        input_dtype=_DTYPES[inputs[0].type],
        output_names=tuple(output.name for output in runtime.get_outputs()),
        facts=embedded_from_strings(runtime.get_modelmeta().custom_metadata_map, where=str(path)),
        runtime=runtime,
    )


def probe_onnx() -> None:
    """Run a graph of one operator. Raises whatever stands in the way, as an error of ours."""
    try:
        (answer,) = _session(_PROBE, 1).run(None, {"x": np.array([-1.0, 2.0], np.float32)})
    except _runtime_errors() as error:
        raise MobilenetsError(f"ONNX Runtime does not run: {_first_line(error)}") from error
    if answer.tolist() != [0.0, 2.0]:
        raise MobilenetsError(f"ONNX Runtime computes relu(-1, 2) as {answer.tolist()}")


def _session(data: bytes, threads: int) -> Any:
    """ONNX Runtime's session. Level ALL holds the NCHWc layout, which is a factor of two for these networks."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors; they come as exceptions as well
    # An ONNX file may name other files for its weights; ours have none, and a stranger's must not read this disk.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", NOWHERE)
    # Workers spin within a run, which batch 1 needs (25 to 48 % otherwise), and sleep after it, which others need: with
    # sessions taking turns on 2 cores, V2 on 2 threads took 12 to 15 ms beside spinning ones and 7 ms beside sleeping
    # ones; alone it takes 5.0 to 5.3 ms either way.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


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
