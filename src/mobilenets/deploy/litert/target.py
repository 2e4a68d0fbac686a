"""The LiteRT target: a .tflite file of our own writing, and a session in LiteRT's interpreter on the CPU.

Written from the traced graph: channels last, the batch free, operators that XNNPACK takes in one piece. float16 stores
the weights in half the bytes, which XNNPACK turns back into float32 when it loads them. One file can hold several
picture sizes (a signature each, the weights once) and the normalisation of uint8 pixels.
"""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BadData, BadModelFile, MobilenetsError
from ...files import replacing
from ...tasks.interface import Outputs
from ..embedded import Embedded, embedded_from_strings
from ..feeding import check_batch
from ..tracing import INPUT, Source, first_line
from .file import REFUSALS, check_file, load, read_metadata
from .graph import MAP, Value
from .inspection import inspect_litert
from .metadata import NAME, metadata_buffer, with_label_file
from .operators import translate
from .writer import Subgraph, Writer

if TYPE_CHECKING:
    from ..targets import Precision

__all__ = ["export_litert", "inspect_litert", "layers_litert", "open_litert", "probe_litert"]

log = logging.getLogger(__name__)

MAIN = "serving_default"
"""The signature that is used where none is named: LiteRT's word for it."""
OLDEST_RUNTIME = "2.9.0"
"""The oldest TensorFlow Lite that knows every operator the writer uses (GELU and grouped convolutions came last)."""


def export_litert(source: Source, path: Path, *, facts: Embedded, precision: "Precision") -> None:
    """Write one .tflite file with input `image` (N, h, w, C), N free, and the task's outputs.

    Facts go into metadata buffers by their keys; LiteRT's own metadata and the label file are there too. Takes 3 to
    12 s a picture size, nearly all of it tracing.

    Raises: UsageError for a network that ONNX or LiteRT can't express, or whose weights float16 can't hold.
    """
    with replacing(path) as temporary:  # first of all: a folder that can't be written must not cost an export
        temporary.write_bytes(_written(source, facts, half=precision == "float16"))
    log.info("wrote %s (%s)", path, precision)


def _written(source: Source, facts: Embedded, *, half: bool) -> bytes:
    import onnx

    writer = Writer(f"{facts.network} for {facts.task}, by mobilenets")
    for number, size in enumerate(dict.fromkeys((source.size_px, *source.form.sizes_px))):
        key = MAIN if number == 0 else f"h{size[0]}w{size[1]}"
        graph = onnx.shape_inference.infer_shapes(source.graph(size), strict_mode=True).graph
        subgraph = writer.subgraph("main" if number == 0 else key)
        fed, image = _image(subgraph, facts, (1, source.channels, *size))
        outputs = translate(graph, subgraph, image, network=source.name, half=half)
        for output, name in zip(outputs, source.output_names, strict=True):
            subgraph.rename(output.index, name)
        indices = tuple(output.index for output in outputs)
        subgraph.ends((fed,), indices)
        writer.signature(key, number, {INPUT: fed}, dict(zip(source.output_names, indices, strict=True)))
    for name, text in facts.as_strings().items():
        writer.metadata(name, text.encode())
    writer.metadata("min_runtime_version", OLDEST_RUNTIME.encode().ljust(16, b"\0"))
    writer.metadata(NAME, metadata_buffer(facts))
    return with_label_file(writer.pack(), facts)


def _image(subgraph: Subgraph, facts: Embedded, shape: tuple[int, ...]) -> tuple[int, Value]:
    """The tensor that is fed, and the float32 image (N, C, h, w) that the network's graph starts from."""
    stored = tuple(shape[axis] for axis in MAP)
    if facts.inside == "nothing":
        fed = subgraph.tensor(INPUT, stored, free=0)
        return fed, Value(fed, shape, MAP)
    fed = subgraph.tensor(INPUT, stored, "UINT8", free=0)
    types = subgraph.writer.schema.TensorType
    made = [subgraph.tensor(f"{INPUT}/{what}", stored, free=0) for what in ("float32", "scaled", "normalised")]
    mean, std = (np.array(side, np.float64) for side in (facts.preprocess.mean, facts.preprocess.std))
    factor = subgraph.constant("/normalise/factor", (1 / (255 * std)).astype(np.float32))
    offset = subgraph.constant("/normalise/offset", (mean / std).astype(np.float32))
    subgraph.operator("CAST", (fed,), made[0], "CastOptions", {"inDataType": types.UINT8, "outDataType": types.FLOAT32})
    subgraph.operator("MUL", (made[0], factor), made[1], "MulOptions")
    subgraph.operator("SUB", (made[1], offset), made[2], "SubOptions")
    return fed, Value(made[2], shape, MAP)


# --- running ------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class LiteRtSession:
    """A .tflite file loaded in LiteRT. Safe to call from several threads, which take turns.

    The interpreter is fitted anew when another batch comes, which takes a quarter of a millisecond.
    """

    path: Path
    input_shape: tuple[int | None, ...]
    input_dtype: np.dtype[Any]
    output_names: tuple[str, ...]
    facts: Embedded | None
    data: bytes
    """The file: the interpreter reads from it as long as it lives."""
    interpreter: Any
    runners: dict[tuple[int, int], Any]
    """(h, w) -> what runs that size, where the file takes several."""
    _fitted: tuple[int, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, batch: NDArray[np.generic]) -> Outputs:
        """The outputs for a batch. Raises BadData for a batch of another shape or type."""
        self._check(batch)
        try:
            with self._lock:
                outputs = self._from_runner(batch) if self.runners else self._from_interpreter(batch)
        except REFUSALS as error:
            raise BadModelFile(f"{self.path}: LiteRT stopped: {first_line(error)}") from error
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _check(self, batch: NDArray[np.generic]) -> None:
        check_batch(batch, self.input_shape, self.input_dtype, where=self.path)
        if self.runners and batch.shape[1:3] not in self.runners:
            sizes = ", ".join(f"{h}x{w}" for h, w in self.runners)
            raise BadData(f"{self.path}: takes pictures of {sizes} (h x w), got {batch.shape[1]}x{batch.shape[2]}")

    def _from_interpreter(self, batch: NDArray[np.generic]) -> list[NDArray[Any]]:
        place = self.interpreter.get_input_details()[0]["index"]
        if batch.shape != self._fitted:
            self._fitted = ()
            self.interpreter.resize_tensor_input(place, batch.shape)
            self.interpreter.allocate_tensors()
            self._fitted = batch.shape
        self.interpreter.set_tensor(place, batch)
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(output["index"]) for output in self.interpreter.get_output_details()]

    def _from_runner(self, batch: NDArray[np.generic]) -> list[NDArray[Any]]:
        found = self.runners[batch.shape[1], batch.shape[2]](**{INPUT: batch})
        return [found[name] for name in self.output_names]


def open_litert(path: Path, *, threads: int) -> LiteRtSession:
    """Load a .tflite file for the CPU, with XNNPACK. `threads` work inside an operator.

    Raises: BadModelFile for a file that is missing, damaged, or no network with one image input.
    """
    data = check_file(path)
    interpreter = load(path, data, threads=threads)
    facts = embedded_from_strings(read_metadata(data, where=str(path)), where=str(path))
    inputs = interpreter.get_input_details()
    if len(inputs) != 1 or len(inputs[0]["shape"]) != 4:
        shapes = ", ".join(f"{i['name']} {tuple(i['shape'])}" for i in inputs)
        raise BadModelFile(f"{path}: must have one image input of four dimensions, has {shapes or 'none'}")
    shape = (None, *(int(side) for side in inputs[0]["shape"][1:]))
    runners: dict[tuple[int, int], Any] = {}
    signatures = interpreter.get_signature_list()
    if facts is not None and len(signatures) > 1:
        found = [interpreter.get_signature_runner(key) for key in signatures]
        sides = [[int(side) for side in runner.get_input_details()[INPUT]["shape"]] for runner in found]
        runners = {(h, w): runner for (_, h, w, _), runner in zip(sides, found, strict=True)}
        shape = (None, None, None, shape[3])
    return LiteRtSession(
        path=path,
        input_shape=shape,
        input_dtype=np.dtype(inputs[0]["dtype"]),
        output_names=tuple(output["name"] for output in interpreter.get_output_details()),
        facts=facts,
        data=data,
        interpreter=interpreter,
        runners=runners,
    )


def layers_litert(path: Path, batch: NDArray[np.generic]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Every value of the main graph that the file holds, for a batch; without XNNPACK, so that all of them exist.

    A value that an activation was joined to is not there; the activation's is.
    """
    data = check_file(path)
    interpreter = load(path, data, threads=1, inner=True)
    fed, outputs = interpreter.get_input_details()[0], {o["index"] for o in interpreter.get_output_details()}
    try:
        interpreter.resize_tensor_input(fed["index"], batch.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(fed["index"], batch)
        interpreter.invoke()
    except REFUSALS as error:
        raise BadData(f"{path}: LiteRT can't run it on {batch.dtype} {batch.shape}: {first_line(error)}") from error
    names = {detail["index"]: detail["name"] for detail in interpreter.get_tensor_details()}
    for operator in interpreter._get_ops_details():
        for index in operator["outputs"]:
            if "/" in names[index]:  # none of the network's own values
                continue
            values = interpreter.get_tensor(index)
            yield names[index], values.transpose(0, 3, 1, 2) if values.ndim == 4 and index not in outputs else values


def probe_litert() -> None:
    """Run a graph of one operator, made by the writer. Raises whatever stands in the way, as an error of ours."""
    writer = Writer("probe")
    subgraph = writer.subgraph("main")
    fed, taken = subgraph.tensor("x", (1, 2), free=0), subgraph.tensor("y", (1, 2), free=0)
    subgraph.operator("RELU", (fed,), taken)
    subgraph.ends((fed,), (taken,))
    interpreter = load(Path("probe"), writer.pack(), threads=1)
    try:
        interpreter.set_tensor(fed, np.array([[-1.0, 2.0]], np.float32))
        interpreter.invoke()
        answer = interpreter.get_tensor(taken)
    except REFUSALS as error:
        raise MobilenetsError(f"LiteRT does not run: {first_line(error)}") from error
    if answer.tolist() != [[0.0, 2.0]]:
        raise MobilenetsError(f"LiteRT computes relu(-1, 2) as {answer.tolist()}")
