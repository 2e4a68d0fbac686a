"""The OpenVINO target: the ONNX graph as an .xml with its weights in a .bin beside it, and a session on the CPU.

A file says itself in which arithmetic it is to run: float32 unless it was made as bfloat16. Left to itself OpenVINO
takes bfloat16 wherever the CPU has it, and float32 without a word where it is asked for bfloat16 and has none.
"""

import hashlib
import logging
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadModelFile, MissingRuntime, MobilenetsError, UsageError
from ..files import replacing
from ..tasks.interface import Outputs
from .embedded import PREFIX, Embedded
from .feeding import check_batch
from .onnx import graph_for
from .openvino_graph import (
    BIN_SHA256,
    ROOM,
    decompresses,
    hint_of,
    inspect_openvino,
    nodes_inside,
    openvino_package,
    openvino_reason,
    read_openvino,
)
from .tracing import Source, check_graph

if TYPE_CHECKING:
    from .targets import Precision

__all__ = [
    "export_openvino",
    "inspect_openvino",
    "layers_openvino",
    "open_openvino",
    "preparing_openvino",
    "probe_openvino",
]

log = logging.getLogger(__name__)

_NO_HASH = "0" * 64
_FIRST = re.compile(r"backbone\.(stem|blocks\.0)(\.|$)")
_PRECISE = "precise_0"
"""The mark in a node's rt_info with which OpenVINO keeps it in its own type."""
_TYPES = {"f32": np.float32, "u8": np.uint8, "i8": np.int8}


def export_openvino(source: Source, path: Path, *, facts: Embedded, precision: "Precision") -> None:
    """Write `path` (.xml) and its .bin, with input `image` as the ONNX file of the same form has it.

    float16 stores the weights in half the bytes; bfloat16 stores them in float32 and says how to run, but for
    what stays in float32 (`_keep_float32`). Facts go into rt_info under "mobilenets", and under "model_info" what
    Intel's Model API can be told of them.
    Raises: UsageError for a network that the exporter can't express, for bfloat16 with the preprocessing inside.
    """
    import openvino
    from openvino import passes

    if precision == "bfloat16" and facts.inside == "everything":
        raise UsageError(
            "with its preprocessing inside OpenVINO would compute the places of the pixels in bfloat16, in 8 bits",
            hint="export it in float32, or without --with-preprocess",
        )

    # The .bin takes its name first: an .xml without weights is no file, one with others is caught by their hash.
    with replacing(path) as text, replacing(path.with_suffix(".bin")) as binary:
        proto = graph_for(source, facts, resizing="products")
        check_graph(proto)
        model = openvino.Core().read_model(proto.SerializeToString())
        folding = passes.Manager()  # read as it is, every bias is reshaped to the rank of its map: 9 operators each
        folding.register_pass(passes.ConstantFolding())
        folding.run_passes(model)
        if precision == "bfloat16":
            _keep_float32(model)
        for key, value in facts.as_strings().items():
            model.set_rt_info(value, [ROOM, key.removeprefix(PREFIX)])
        for key, value in _model_api(facts).items():
            model.set_rt_info(value, ["model_info", key])
        model.set_rt_info(_NO_HASH, [ROOM, BIN_SHA256])  # its own is known when the .bin is written
        with tempfile.TemporaryDirectory(prefix="mobilenets-openvino-") as folder:
            saved = Path(folder, "model.xml")
            openvino.save_model(model, str(saved), compress_to_fp16=precision == "float16")
            weights = saved.with_suffix(".bin").read_bytes()
            binary.write_bytes(weights)
            text.write_bytes(
                saved.read_bytes().replace(_NO_HASH.encode(), hashlib.sha256(weights).hexdigest().encode())
            )
    log.info("wrote %s (%s)", path, precision)


def _keep_float32(model: Any) -> None:
    """Have the stem and a depthwise-separable first block computed in float32, whatever the rest runs in.

    Few channels, whose scales lie far apart once the norms are folded in, and nine products a sum: nothing evens their
    rounding out, and all later layers see it. Measured with MobileNetV2's published weights on an AMD EPYC with
    AVX-512 BF16: the largest error on golden pictures falls from 2.1e-1 to 6.9e-2, and the time rises by 2 to 6 %. With
    a first block that is no depthwise one (V4's) it would rise by 11 to 15 %, and trained ones pass without it.
    """
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() != "Constant"]
    first = [node for node in nodes if _FIRST.match(node.get_friendly_name())]  # with its sum, or none compiles
    if any(node.get_type_name() == "GroupConvolution" for node in first):
        for node in first:
            node.get_rt_info()[_PRECISE] = ""


def _model_api(facts: Embedded) -> dict[str, str]:
    """What Model API reads from a file, as far as its words can say it truly: it knows no crop ratio."""
    if facts.task != "classification":
        return {}
    names = facts.labels.names or facts.labels.ids
    said = {
        "model_type": "Classification",
        "labels": " ".join("_".join(name.split()) for name in names),  # blanks part labels there
        "multilabel": "False",
        "output_raw_scores": "True",
    }
    if facts.inside == "nothing":
        said["mean_values"] = " ".join(f"{255 * value:.6g}" for value in facts.preprocess.mean)
        said["scale_values"] = " ".join(f"{255 * value:.6g}" for value in facts.preprocess.std)
        if facts.preprocess.fit == "stretch":
            said["resize_type"] = "standard"
    return said


def layers_openvino(path: Path, batch: NDArray[np.generic]) -> Iterator[tuple[str, NDArray[Any]]]:
    """The outputs of the network's inner operators for a batch, in the order of the graph.

    Raises: BadModelFile, BadData, MissingRuntime as opening and running do.
    """
    model, facts = read_openvino(path)
    given = {name for value in model.outputs for name in value.get_names()}
    names = []
    inside = nodes_inside(model)
    for node in model.get_ordered_ops():
        if node.get_type_name() in ("Constant", "Parameter", "Result") or decompresses(node):
            continue
        if node.get_friendly_name() in inside:
            continue
        known = sorted(node.output(0).get_names())
        if not known:  # a convolution before its bias is added
            continue
        if not given.intersection(known):
            model.add_outputs(known[0])
        names.append(next((name for name in known if name in given), known[0]))
    session = _compiled(path, model, facts, threads=1)
    results = session.results(batch)
    yield from ((name, results[name]) for name in names)


def preparing_openvino(path: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """The part of a file that prepares pictures, alone. Raises: BadModelFile for a file that has none."""
    openvino = openvino_package()
    model, facts = read_openvino(path)
    inside = nodes_inside(model)
    made = [node for node in model.get_ordered_ops() if node.get_friendly_name() in inside and _is_read(node, inside)]
    if len(made) != 1:
        raise BadModelFile(f"{path}: says that it prepares pictures itself, and holds nothing that does")
    part = openvino.Model([made[0].output(0)], model.get_parameters(), "preprocess")
    compiled = _compiled(path, part, facts, threads=1)._any().compiled
    return lambda pictures: np.array(compiled(pictures)[0], np.float32)


def _is_read(node: Any, inside: set[str]) -> bool:
    """Whether an operator of the network reads what a part of the preprocessing makes."""
    readers = [place.get_node() for out in node.outputs() for place in out.get_target_inputs()]
    return any(reader.get_friendly_name() not in inside for reader in readers)


# --- running ------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Form:
    """A graph compiled for inputs of one shape, or of any, and the requests that wait to be used again."""

    compiled: Any
    idle: list[Any] = field(default_factory=list)

    def infer(self, batch: NDArray[np.generic]) -> dict[str, NDArray[Any]]:
        try:
            request = self.idle.pop()  # a list's pop and append are whole: each thread has a request of its own
        except IndexError:
            request = self.compiled.create_infer_request()
        found = request.infer([np.ascontiguousarray(batch)], share_inputs=True, share_outputs=False)
        self.idle.append(request)
        return {name: array for value, array in found.items() for name in value.get_names()}


@dataclass(frozen=True, slots=True, eq=False)
class OpenvinoSession:
    """An OpenVINO file compiled for the CPU. Safe to call from several threads.

    Where only the batch is free, single images have a graph compiled for just that shape: measured, it answers in 0.82
    to 0.94 of the time of the graph for any batch, which is compiled when the first larger batch comes.
    """

    path: Path
    input_shape: tuple[int | None, ...]
    input_dtype: np.dtype[Any]
    output_names: tuple[str, ...]
    facts: Embedded | None
    compiled: Any
    _single: _Form | None
    _any: Callable[[], _Form]

    def run(self, batch: NDArray[np.generic]) -> Outputs:
        """The outputs for a batch. Raises BadData for a batch of another shape or type."""
        results = self.results(batch)
        outputs = tuple(results[name] for name in self.output_names)
        return outputs[0] if len(outputs) == 1 else outputs

    def results(self, batch: NDArray[np.generic]) -> dict[str, NDArray[Any]]:
        """Every output by each of its names."""
        check_batch(batch, self.input_shape, self.input_dtype, where=self.path)
        try:
            form = self._single if self._single is not None and len(batch) == 1 else self._any()
            return form.infer(batch)
        except RuntimeError as error:
            raise BadModelFile(f"{self.path}: OpenVINO stopped: {openvino_reason(error)}") from error


def open_openvino(path: Path, *, threads: int) -> OpenvinoSession:
    """Load an .xml with the .bin beside it for the CPU, in the arithmetic that it says.

    Raises: BadModelFile for a file that is missing, damaged, without its weights, or no network with one image input;
        MissingRuntime where it wants bfloat16 and this CPU has none.
    """
    model, facts = read_openvino(path)
    return _compiled(path, model, facts, threads=threads)


def _compiled(path: Path, model: Any, facts: Embedded | None, *, threads: int) -> OpenvinoSession:
    openvino = openvino_package()
    kinds = ", ".join(f"{value.get_any_name()} {value.get_element_type().get_type_name()}" for value in model.inputs)
    if len(model.inputs) != 1 or model.input(0).get_element_type().get_type_name() not in _TYPES:
        raise BadModelFile(f"{path}: must have one image input, not {len(model.inputs)} ({kinds})")
    hint = hint_of(facts)
    options = {
        "INFERENCE_PRECISION_HINT": hint,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # workers stay where the system puts them, beside other sessions
    }

    @cache  # asked by two threads at once it may compile twice, and either will do
    def for_any() -> _Form:
        return _Form(openvino.Core().compile_model(model, "CPU", options))

    shape = tuple(None if side.is_dynamic else side.get_length() for side in model.input(0).partial_shape)
    single = None
    try:
        if shape[:1] == (None,) and None not in shape[1:]:
            fixed = model.clone()
            fixed.reshape([1, *shape[1:]])
            single = _Form(openvino.Core().compile_model(fixed, "CPU", options))
        compiled = (single or for_any()).compiled
        arithmetic = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    except RuntimeError as error:
        raise BadModelFile(f"{path}: OpenVINO can't load it: {openvino_reason(error)}") from error
    if arithmetic != hint:
        raise MissingRuntime(
            f"{path}: is to run in {facts.precision if facts else hint}, which OpenVINO does not have on this CPU",
            hint="export it in float32",
        )
    return OpenvinoSession(
        path=path,
        input_shape=shape,
        input_dtype=np.dtype(_TYPES[model.input(0).get_element_type().get_type_name()]),
        output_names=tuple(value.get_any_name() for value in model.outputs),
        facts=facts,
        compiled=compiled,
        _single=single,
        _any=for_any,
    )


def probe_openvino() -> None:
    """Run a graph of one operator. Raises whatever stands in the way, as an error of ours."""
    openvino = openvino_package()
    from openvino import opset13

    try:
        x = opset13.parameter([2], np.float32)
        compiled = openvino.Core().compile_model(openvino.Model([opset13.relu(x)], [x], "probe"), "CPU")
        answer = compiled([np.array([-1.0, 2.0], np.float32)])[0]
    except RuntimeError as error:
        raise MobilenetsError(f"OpenVINO does not run: {openvino_reason(error)}") from error
    if answer.tolist() != [0.0, 2.0]:
        raise MobilenetsError(f"OpenVINO computes relu(-1, 2) as {answer.tolist()}")
