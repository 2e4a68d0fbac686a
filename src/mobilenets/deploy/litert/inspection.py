"""What a .tflite file consists of, and what XNNPACK makes of it: its parts, and the operators it leaves out."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...models.weights.tflite_file import File, Operator
from ...records import Structure
from .file import check_file, load, read_subgraphs

if TYPE_CHECKING:
    from ..targets import Precision

_WEIGHED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def inspect_litert(path: Path, *, precision: "Precision") -> Structure:
    """Operators by the schema's names, numbers per type, and what should not be so.

    Operators and partitions are those of the main subgraph; subgraphs for other sizes are made of the same ones.
    Raises: BadModelFile for a damaged file.
    """
    data = check_file(path)
    graphs = read_subgraphs(data, where=str(path))
    operators = Counter(operator.kind for operator in graphs[0].operators)
    delegates, outside = _delegated(path, data)
    transposes = operators["TRANSPOSE"]
    first = graphs[0].operators[0].kind if graphs[0].operators else ""
    slow = sorted({kind for kind in outside if (kind, first) != ("CAST", "CAST")})  # of pixels: XNNPACK takes floats
    complaints = [
        *([f"XNNPACK takes it in {delegates} parts, not in one"] if delegates != 1 else []),
        *([f"XNNPACK leaves out {', '.join(slow)}"] if slow else []),
        *([f"{transposes} TRANSPOSE that only move numbers"] if transposes else []),
        *_wrong_weights(graphs[0], precision),
    ]
    if broken := _spelled_out(graphs[0]):
        complaints.append(f"hard-swish is spelled out {broken} times: HARD_SWISH is one pass over the map")
    return Structure(dict(operators), _weights(graphs), transposes, delegates, len(outside), tuple(complaints))


def _weights(graphs: Sequence[File]) -> dict[str, int]:
    """Numbers per type; what several subgraphs share counts once. Shapes and axes are no weights."""
    seen, found = set[object](), Counter[str]()
    for graph in graphs:
        for tensor in graph.tensors:
            if tensor.data is None or not tensor.shape or tensor.name.startswith("/"):
                continue
            key = (tensor.dtype, np.frombuffer(tensor.data, np.uint8).ctypes.data, tensor.shape)
            if key not in seen:
                seen.add(key)
                found[tensor.dtype.lower()] += math.prod(tensor.shape)
    return dict(found)


def _delegated(path: Path, data: bytes) -> tuple[int, list[str]]:
    """How many parts XNNPACK has taken over, and the kinds of the operators in none of them.

    The runtime lists an operator also where a part has replaced it: a part's are those between its tensors.
    """
    interpreter = load(path, data, threads=1)
    listed = interpreter._get_ops_details()
    parts = [operator for operator in listed if operator["op_name"] == "DELEGATE"]
    plain = [operator for operator in listed if operator["op_name"] != "DELEGATE"]
    makers = {int(index): number for number, operator in enumerate(plain) for index in operator["outputs"]}
    taken = set[int]()
    for part in parts:
        ends = {int(index) for index in part["inputs"]}
        waiting = [int(index) for index in part["outputs"]]
        while waiting:
            index = waiting.pop()
            number = makers.get(index, -1)
            if index in ends or number < 0 or number in taken:
                continue
            taken.add(number)
            waiting += [int(index) for index in plain[number]["inputs"]]
    return len(parts), [plain[number]["op_name"] for number in range(len(plain)) if number not in taken]


def _wrong_weights(graph: File, precision: "Precision") -> list[str]:
    """Complaints about weights that are stored in another type than the precision says."""
    halves = {o.outputs[0]: o.inputs[0] for o in graph.operators if o.kind == "DEQUANTIZE" and o.inputs and o.outputs}
    found = Counter[str]()
    for operator in graph.operators:
        if operator.kind in _WEIGHED:
            index = halves.get(operator.input(1), operator.input(1))
            if index >= 0 and graph.tensors[index].data is not None:
                found[graph.tensors[index].dtype.lower()] += 1
    wanted = "float16" if precision == "float16" else "float32"
    return [f"{n} layers hold their weights in {kind}, not {wanted}" for kind, n in found.items() if kind != wanted]


def _spelled_out(graph: File) -> int:
    """How many times x * relu6(x + 3) / 6 stands there as several operators."""
    makers = {index: operator for operator in graph.operators for index in operator.outputs}

    def gated(index: int) -> int:
        """The x of relu6(x + constant), times a constant perhaps; -1 where `index` is nothing of the kind."""
        maker: Operator | None = makers.get(index)
        if maker is not None and maker.kind == "MUL" and _held(graph, maker.input(1)):
            maker = makers.get(maker.input(0))
        is_gate = maker is not None and maker.kind == "ADD" and maker.options.activation == "RELU6"
        return maker.input(0) if maker is not None and is_gate and _held(graph, maker.input(1)) else -1

    products = [operator for operator in graph.operators if operator.kind == "MUL" and len(operator.inputs) == 2]
    sides = [(operator.inputs, operator.inputs[::-1]) for operator in products]
    return sum(any(x >= 0 and gated(gate) == x for x, gate in pairs) for pairs in sides)


def _held(graph: File, index: int) -> bool:
    return index >= 0 and graph.tensors[index].data is not None
