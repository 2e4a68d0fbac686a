"""ONNX files, float and quantised (QDQ, QOperator, dynamic), as a `Graph`.

Nothing is executed and no other file is opened. Tensors keep the file's names. The sizes of maps are worked out here,
as far as they are needed, rather than by ONNX's own shape inference, which is native code that a hostile file reaches.
"""

from dataclasses import replace

import numpy as np

from ...errors import BadData
from .assembly import Assembly, fed_forms, layout_of, taken_layout
from .constants import Constants
from .graph import ActOp, Fed, Graph, Node
from .label_texts import labels_in
from .onnx_constants import FOLDERS
from .onnx_file import OnnxFile, parse
from .onnx_ops import OPERATORS
from .onnx_quantised import QUANTISED
from .onnx_ranges import DEQUANTIZE, IN_INTEGERS, QUANTIZE, implied_activations, quantised_at
from .operators import Described, Operator, needed, ordered

TABLE = {**OPERATORS, **QUANTISED}
SHAPED_BY_OTHERS = frozenset({"Reshape", "Resize", "Upsample", "Expand", "Slice", "Tile", "Squeeze", "Unsqueeze"})
"""Kinds whose inputs after the first only say a shape."""


def read_graph(data: bytes, *, where: str) -> Graph:
    """The network that an .onnx file holds, with float32 constants.

    An activation that a quantised file only implies by the range of an output becomes a node of its own; `notes` count
    them. The result of an integer operator keeps its name, its float before that activation gets "#linear".

    Args:
        data: the file's bytes. where: its name, for errors.

    Raises: BadData in one line for what is damaged, contradicts itself or has its weights in another file;
    MissingRuntime without the package `onnx`.
    """
    try:
        return _graph(parse(data), len(data))
    except BadData as error:
        raise BadData(f"{where}: {error.message}", hint=error.hint) from None


def _graph(file: OnnxFile, size: int) -> Graph:
    results = [out.name for out in file.outputs]
    given = {*file.constants, *file.unread, *(fed.name for fed in file.inputs)}
    constants = Constants.of(file.constants, FOLDERS, size)
    computed: list[Operator] = []
    for operator in ordered(file.operators, given):
        if operator.kind == "DynamicQuantizeLinear" and len(operator.outputs) == 3:
            operator = _without_scale(operator, constants)
        if not constants.absorb(operator):
            computed.append(operator)
    known = given | {name for operator in file.operators for name in operator.outputs}
    if missing := [name for name in results if name not in known]:
        raise BadData(f"the file answers with {missing[0][:80]!r}, which nothing makes")
    operators = needed(computed, results, SHAPED_BY_OTHERS)
    feeds = tuple(_fed(described, operators, constants) for described in file.inputs)
    assembly = Assembly(constants.arrays, fed_forms(feeds), file.unread)
    _translate(operators, assembly, results)
    return Graph(
        "onnx",
        tuple(assembly.nodes),
        feeds,
        tuple(_taken(out, operators, assembly) for out in file.outputs if out.name not in constants.arrays),
        labels=labels_in(file.metadata),
        notes=tuple(assembly.notes),
        quantised=any(operator.kind in IN_INTEGERS for operator in operators),
        metadata=file.metadata,
    )


def _without_scale(operator: Operator, constants: Constants) -> Operator:
    """Numbers that are not rounded to bytes here have the scale 1 and the zero point 0."""
    constants.arrays[operator.outputs[1]] = np.ones((), np.float32)
    constants.arrays[operator.outputs[2]] = np.zeros((), np.uint8)
    return replace(operator, outputs=operator.outputs[:1])


def _translate(operators: list[Operator], assembly: Assembly, results: list[str]) -> None:
    """Put every operator down, and after it the activation that only its range tells of."""
    implied = implied_activations(operators, assembly.constants, results)
    for operator in operators:
        translate = TABLE.get(operator.kind)
        made = None if translate is None else translate(assembly, operator)
        act = implied.get(operator.output)
        if act is None:
            assembly.add(operator, made)
        elif operator.kind in (*QUANTIZE, *DEQUANTIZE):
            assembly.add(operator, (ActOp(act), assembly.form(operator.input(0))))
        else:
            name = operator.output
            linear = replace(operator, outputs=(f"{name}#linear",))
            assembly.add(linear, made)
            assembly.nodes.append(Node(ActOp(act), linear.outputs, (name,), operator.name))
            assembly.forms[name] = assembly.form(linear.output)
    if implied:
        sixes = sum(act == "relu6" for act in implied.values())
        assembly.note(
            f"{len(implied)} activations that the file only implies by the range of an output were restored: "
            f"{sixes} ReLU6, {len(implied) - sixes} ReLU"
        )


def _fed(described: Described, operators: list[Operator], constants: Constants) -> Fed:
    scale, zero_point = 1.0, 0
    if described.dtype in ("uint8", "int8"):
        scale, zero_point = quantised_at(described.name, operators, constants.arrays, is_input=True)
    layout = layout_of(described, operators, _order)
    return Fed(described.name, described.shape, layout, described.dtype, scale, zero_point)


def _taken(described: Described, operators: list[Operator], assembly: Assembly) -> Fed:
    scale, zero_point = 1.0, 0
    if described.dtype in ("uint8", "int8"):
        scale, zero_point = quantised_at(described.name, operators, assembly.constants, is_input=False)
    layout = taken_layout(assembly.form(described.name))
    return Fed(described.name, described.shape, layout, described.dtype, scale, zero_point)


def _order(operator: Operator) -> tuple[int, ...] | None:
    return operator.ints("perm", ()) if operator.kind == "Transpose" else None
