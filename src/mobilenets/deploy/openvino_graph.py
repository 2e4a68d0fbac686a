"""What an OpenVINO file consists of: its graph read with the facts inside it, and its structure, without running it."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadModelFile, MissingRuntime
from ..records import Structure
from .embedded import PREFIX, Embedded, embedded_from_strings
from .inside import PREFIX as INSIDE
from .onnx import fits_float16
from .tracing import first_line

if TYPE_CHECKING:
    from .targets import Precision

ROOM = PREFIX.rstrip(".")
"""Where in rt_info the facts lie."""
BIN_SHA256 = "bin_sha256"
"""The fact that ties an .xml to its .bin: two files can be copied, or stopped, one without the other."""
_STORED = {"f16": "float16", "f32": "float32", "f64": "float64", "i64": "int64", "i32": "int32", "u8": "uint8"}


def read_openvino(path: Path) -> tuple[Any, Embedded | None]:
    """The graph of a file with its facts.

    Raises: BadModelFile where a part is missing, damaged or not the other's; MissingRuntime without openvino.
    """
    openvino = openvino_package()
    parts = []
    for part in (path, path.with_suffix(".bin")):
        try:
            parts.append(part.read_bytes())
        except OSError as error:
            raise BadModelFile(f"{path}: {part.name} can't be read: {error.strerror or error}") from error
    text, weights = parts
    try:
        model = openvino.Core().read_model(text, weights)
        told = model.get_rt_info([ROOM]).astype(dict) if model.has_rt_info([ROOM]) else {}
        strings = {key: value.astype(str) for key, value in told.items()}
    except (RuntimeError, ValueError, TypeError) as error:
        raise BadModelFile(f"{path}: OpenVINO can't read it: {openvino_reason(error)}") from error
    if strings.get(BIN_SHA256, "") not in ("", hashlib.sha256(weights).hexdigest()):
        raise BadModelFile(f"{path}: {path.stem}.bin holds other weights than those it was written with")
    return model, embedded_from_strings({PREFIX + key: value for key, value in strings.items()}, where=str(path))


def inspect_openvino(path: Path, *, precision: "Precision") -> Structure:
    """What the graph consists of, with the constants by the type in which they are stored.

    Raises: MissingRuntime without openvino; BadModelFile for a damaged file.
    """
    model, _ = read_openvino(path)
    stored = "float16" if precision == "float16" else "float32"
    operators: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    odd: Counter[str] = Counter()
    network: list[Any] = []
    inside = nodes_inside(model)
    for node in model.get_ordered_ops():
        kind, hidden = node.get_type_name(), node.get_friendly_name() in inside
        if kind == "Constant":
            dtype = _STORED.get(found := node.get_element_type().get_type_name(), found)
            shape = list(node.get_output_shape(0))
            if shape:
                weights[dtype] += math.prod(shape)
            wrong = dtype.startswith(("float", "bf")) and dtype != stored and not hidden and _is_weight(shape)
            if wrong and (stored != "float16" or fits_float16(node.get_data())):
                odd[dtype] += math.prod(shape)
        elif kind not in ("Parameter", "Result") and not decompresses(node):
            operators[kind] += 1
            if not hidden:
                network.append(node)
    transposes = sum(node.get_type_name() == "Transpose" for node in network)
    complaints = [f"{count} weights are {kind}, not {stored}" for kind, count in odd.items()]
    complaints += _complaints(network)
    return Structure(dict(operators), dict(weights), transposes, complaints=tuple(complaints))


def _complaints(nodes: list[Any]) -> Iterator[str]:
    """What a network's operators should not be: see `inspect_onnx`; a batch norm has become Multiply and Add."""
    kinds = Counter(node.get_type_name() for node in nodes)
    attention = kinds["Softmax"] > 0
    for kind in ("Transpose", "ShapeOf", "If"):
        if kinds[kind] and not (attention and kind != "If"):
            yield f"{kinds[kind]} {kind} in a network of convolutions"
    for node in nodes:
        kind = node.get_type_name()
        sources = [value.get_node() for value in node.input_values()]
        made = [source.get_type_name() for source in sources]
        if kind == "Clamp" and made[0] == "Add" and _sums_constant(sources[0]) and _bounds(node) in ((0, 6), (0, 1)):
            yield f"{node.get_friendly_name()}: a hard-sigmoid in pieces (Add, Clamp)"
        elif kind == "Multiply" and "HardSigmoid" in made:
            gate = sources[made.index("HardSigmoid")]
            if gate.input_value(0) in node.input_values():
                yield f"{node.get_friendly_name()}: a hard-swish in pieces (HardSigmoid, Multiply)"


def _bounds(node: Any) -> tuple[float, float]:
    attributes = node.get_attributes()
    return float(attributes["min"]), float(attributes["max"])


def _sums_constant(node: Any) -> bool:
    """Whether one number is added, as hard-sigmoid does; a convolution's bias has one for each channel."""
    sources = [value.get_node() for value in node.input_values()]
    return any(s.get_type_name() == "Constant" and math.prod(s.get_output_shape(0)) == 1 for s in sources)


def decompresses(node: Any) -> bool:
    """Whether it turns stored float16 weights into float32, which is done once, when the file is loaded."""
    return bool(node.get_type_name() == "Convert" and node.input_value(0).get_node().get_type_name() == "Constant")


def nodes_inside(model: Any) -> set[str]:
    """The names of the nodes that only the preprocessing reads; OpenVINO makes nodes with names of its own."""
    found: set[str] = set()
    for node in reversed(model.get_ordered_ops()):
        readers = [place.get_node().get_friendly_name() for out in node.outputs() for place in out.get_target_inputs()]
        if node.get_friendly_name().startswith(INSIDE) or (readers and found.issuperset(readers)):
            found.add(node.get_friendly_name())
    return found


def _is_weight(shape: list[int]) -> bool:
    """Whether a constant is a kernel or a matrix; biases are (1, C, 1, 1) here."""
    return len(shape) > 1 and max(shape) < math.prod(shape)


def hint_of(facts: Embedded | None) -> str:
    """The arithmetic that a file asks for, as OpenVINO calls it."""
    return "bf16" if facts is not None and facts.precision == "bfloat16" else "f32"


def openvino_package() -> Any:
    """The module openvino. Raises: MissingRuntime, which names the extra, where it is not installed."""
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise MissingRuntime.extra("openvino", "openvino") from error
    return openvino


def openvino_reason(error: BaseException) -> str:
    """What OpenVINO says on one line: its messages begin with the places of its source that they passed."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '")) and "failed at" not in line]
    return (told or lines or [first_line(error)])[-1 if told else 0]
