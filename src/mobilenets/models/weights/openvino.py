"""OpenVINO IR (.xml and .bin, versions 10 and 11) as a `Graph`; weights in half precision or in bytes become float32.

Layers are read by OpenVINO's operation sets (docs.openvino.ai, opset 1 to 15). Nothing is executed, no package is
needed. Tensors keep their own names, else their layers'.
"""

import math
from typing import Literal

from ...errors import BadData
from ...specs.activation import PlainActivation
from .assembly import (
    GELU_BY_TANH,
    Assembly,
    Made,
    Translate,
    clip,
    convolution,
    dense,
    fed_forms,
    hard_sigmoid,
    layout_of,
    mean,
    norm,
    padding,
    pads_of,
    pool,
    taken_layout,
)
from .constants import Constants, whole
from .forms import Form, beside, floats, reshaped, transposed, with_axes, without_axes
from .graph import ActOp, Fed, Graph, OtherOp, Pads, PReluOp, ShapeOp, SoftmaxOp
from .label_texts import labels_in
from .openvino_constants import FOLDERS
from .openvino_file import OpenVinoFile, parse
from .operators import AnyArray, Described, Operator, decimal, needed, ordered

SHAPED_BY_OTHERS = frozenset({"Reshape", "Interpolate", "Broadcast", "StridedSlice", "Slice", "Tile"})
"""Layers whose inputs after the first only say a shape."""


def read_graph(xml: bytes, weights: bytes, *, where: str) -> Graph:
    """The network that an OpenVINO IR holds, with float32 constants.

    Args:
        xml, weights: the bytes of the two files. where: the name of the first, for errors.

    Raises: BadData in one line for what is damaged, contradicts itself, or older than IR 10.
    """
    try:
        return _graph(parse(xml, weights), len(weights))
    except BadData as error:
        raise BadData(f"{where}: {error.message}", hint=error.hint) from None


def _graph(file: OpenVinoFile, size: int) -> Graph:
    given = {*file.constants, *file.unread, *(fed.name for fed in file.inputs)}
    constants = Constants.of(file.constants, FOLDERS, size)
    computed = [operator for operator in ordered(file.operators, given) if not constants.absorb(operator)]
    operators = needed(computed, [out.name for out in file.outputs], SHAPED_BY_OTHERS)
    feeds = tuple(_fed(described, operators, constants) for described in file.inputs)
    assembly = Assembly(constants.arrays, fed_forms(feeds), file.unread)
    for operator in operators:
        translate = LAYERS.get(operator.kind)
        assembly.add(operator, None if translate is None else translate(assembly, operator))
        for name in operator.outputs:
            assembly.forms[name] = _as_declared(assembly.form(name), file.shapes[name])
    taken = (out for out in file.outputs if out.name not in constants.arrays)
    return Graph(
        "openvino",
        tuple(assembly.nodes),
        feeds,
        tuple(Fed(out.name, out.shape, taken_layout(assembly.form(out.name)), out.dtype) for out in taken),
        labels=labels_in(file.metadata),
        notes=tuple(assembly.notes),
        quantised=any(operator.kind == "FakeQuantize" for operator in operators),
        metadata=file.metadata,
    )


def _fed(described: Described, operators: list[Operator], constants: Constants) -> Fed:
    def order(operator: Operator) -> tuple[int, ...] | None:
        axes = constants.arrays.get(operator.input(1)) if operator.kind == "Transpose" else None
        return None if axes is None or axes.size > 8 else tuple(int(axis) for axis in axes.reshape(-1))

    return Fed(described.name, described.shape, layout_of(described, operators, order), described.dtype)


def _as_declared(form: Form, shape: tuple[int, ...]) -> Form:
    """Rank and sizes as the layer's port has them; where the channels are is ours to follow."""
    rank = len(shape)
    if not rank:
        return form
    axis = form.axis if form.rank == rank else 1
    known = Form(rank, axis)
    return Form(4, axis, (shape[known.spatial[0]], shape[known.spatial[1]])) if rank == 4 else known


def _geometry(o: Operator, kernel: tuple[int, int]) -> tuple[tuple[int, int], Pads | None]:
    stride = o.pair("strides")
    is_odd = stride == (1, 1) and kernel[0] % 2 == kernel[1] % 2 == 1
    word = o.text("auto_pad", "explicit")
    return stride, pads_of(word, o.ints("pads_begin", (0, 0)), o.ints("pads_end", (0, 0)), is_odd=is_odd)


def _conv(a: Assembly, o: Operator, weight: AnyArray | None, groups: int) -> Made:
    if weight is None or weight.ndim != 4:
        return None
    stride, pads = _geometry(o, (weight.shape[2], weight.shape[3]))
    form, dilation = a.form(o.input(0)), o.pair("dilations")
    return convolution(form, weight, None, stride=stride, dilation=dilation, groups=groups, pads=pads)


def _convolution(a: Assembly, o: Operator) -> Made:
    return _conv(a, o, a.constant(o.input(1)), 1)


def _group_convolution(a: Assembly, o: Operator) -> Made:
    """Weights (groups, c_out / groups, c_in / groups, kh, kw)."""
    weight = a.constant(o.input(1))
    if weight is None or weight.ndim != 5:
        return None
    return _conv(a, o, weight.reshape(weight.shape[0] * weight.shape[1], *weight.shape[2:]), weight.shape[0])


def _matmul(a: Assembly, o: Operator) -> Made:
    weight = a.constant(o.input(1))
    if weight is None or o.flag("transpose_a", False):
        return None
    return dense(a.form(o.input(0)), weight if o.flag("transpose_b", False) else weight.T)


def _norm(a: Assembly, o: Operator) -> Made:
    """The data come third in opset 1, first from opset 5 on."""
    at, data = ((0, 1, 3, 4), 2) if o.text("version", "") == "opset1" else ((1, 2, 3, 4), 0)
    constants = [a.constant(o.input(i)) for i in at]
    eps = o.number("epsilon", o.number("eps", 0.0))
    return norm(a.form(o.input(data)), (constants[0], constants[1], constants[2], constants[3]), eps)


def _act(act: PlainActivation) -> Translate:
    return lambda a, o: (ActOp(act), a.form(o.input(0)))


def _scalar(a: Assembly, name: str) -> float | None:
    """A constant of one number."""
    value = a.constant(name)
    return None if value is None or value.size != 1 else decimal(float(value.reshape(-1)[0]))


def _hard_sigmoid(a: Assembly, o: Operator) -> Made:
    slope, offset = _scalar(a, o.input(1)), _scalar(a, o.input(2))
    act = None if slope is None or offset is None else hard_sigmoid(slope, offset)
    return None if act is None else (ActOp(act), a.form(o.input(0)))


def _prelu(a: Assembly, o: Operator) -> Made:
    """Slopes of one axis belong to the channels whatever the rank."""
    slopes, form = a.constant(o.input(1)), a.form(o.input(0))
    value = None if slopes is None else floats(slopes) if slopes.ndim == 1 else beside(form, slopes)
    return None if value is None or value.ndim > 1 else (PReluOp(value.reshape(-1)), form)


def _swish(a: Assembly, o: Operator) -> Made:
    beta = _scalar(a, o.input(1)) if o.input(1) else 1.0
    return (ActOp("swish"), a.form(o.input(0))) if beta == 1.0 else None


def _gelu(a: Assembly, o: Operator) -> Made:
    if o.text("approximation_mode", "erf").lower() == "tanh":
        a.note(GELU_BY_TANH)
    return ActOp("gelu"), a.form(o.input(0))


def _clamp(a: Assembly, o: Operator) -> Made:
    return clip(a.form(o.input(0)), o.number("min", -math.inf), o.number("max", math.inf))


def _bound(side: Literal["low", "high"]) -> Translate:
    """Maximum or Minimum with one number."""

    def translate(a: Assembly, o: Operator) -> Made:
        limit = _scalar(a, o.input(1))
        if limit is None or a.constant(o.input(0)) is not None:
            return None
        form = a.form(o.input(0))
        return clip(form, limit, math.inf) if side == "low" else clip(form, -math.inf, limit)

    return translate


def _arithmetic(kind: Literal["add", "sub", "mul", "div"]) -> Translate:
    return lambda a, o: a.binary(kind, o.input(0), o.input(1))


def _axes(a: Assembly, o: Operator) -> tuple[int, ...] | None:
    """The second input, a constant; None where it is computed or left out."""
    return whole(a.constant(o.input(1)))


def _reduce_mean(a: Assembly, o: Operator) -> Made:
    return mean(a.form(o.input(0)), _axes(a, o), keep=o.flag("keep_dims", False))


def _pool(kind: Literal["max", "avg"]) -> Translate:
    def translate(a: Assembly, o: Operator) -> Made:
        if len(o.ints("kernel", ())) != 2 or o.pair("dilations") != (1, 1):
            return None
        kernel = o.pair("kernel")
        stride, pads = _geometry(o, kernel)
        counted, up = not o.flag("exclude-pad", True), o.text("rounding_type", "floor") != "floor"
        return pool(a.form(o.input(0)), kind, kernel, stride, pads, count_pads=counted, up=up)

    return translate


def _adaptive_pool(a: Assembly, o: Operator) -> Made:
    """A mean over the whole map where one cell is asked for."""
    return mean(a.form(o.input(0)), (2, 3), keep=True) if _axes(a, o) == (1, 1) else None


def _pad(a: Assembly, o: Operator) -> Made:
    begin, end = whole(a.constant(o.input(1))), whole(a.constant(o.input(2)))
    value = _scalar(a, o.input(3)) if o.input(3) else 0.0
    if begin is None or end is None or value is None or o.text("pad_mode", "") != "constant":
        return None
    return padding(a.form(o.input(0)), begin, end, value)


def _shape(kind: str) -> Translate:
    """Layers that leave numbers and axes as they are."""
    return lambda a, o: (ShapeOp(kind), a.form(o.input(0)))


def _reshape(a: Assembly, o: Operator) -> Made:
    return ShapeOp("Reshape"), reshaped(a.form(o.input(0)), _axes(a, o))


def _squeeze(a: Assembly, o: Operator) -> Made:
    axes = _axes(a, o)
    return ShapeOp("Squeeze"), without_axes(a.form(o.input(0)), axes) if axes else Form()


def _unsqueeze(a: Assembly, o: Operator) -> Made:
    axes = _axes(a, o)
    return ShapeOp("Unsqueeze"), with_axes(a.form(o.input(0)), axes) if axes else Form()


def _transpose(a: Assembly, o: Operator) -> Made:
    order = _axes(a, o)
    return ShapeOp("Transpose"), Form() if order is None else transposed(a.form(o.input(0)), order)


def _softmax(a: Assembly, o: Operator) -> Made:
    return SoftmaxOp(), a.form(o.input(0))


def _map(a: Assembly, o: Operator) -> Made:
    """Layers without a word of graph.py that leave the axes where they are."""
    return OtherOp(o.kind), a.form(o.input(0))


LAYERS: dict[str, Translate] = {
    "Convolution": _convolution,
    "GroupConvolution": _group_convolution,
    "MatMul": _matmul,
    "BatchNormInference": _norm,
    "ReLU": _act("relu"),
    "Sigmoid": _act("sigmoid"),
    "Tanh": _act("tanh"),
    "HSwish": _act("hard_swish"),
    "HSigmoid": _act("hard_sigmoid"),
    "HardSigmoid": _hard_sigmoid,
    "PRelu": _prelu,
    "PReLU": _prelu,
    "Swish": _swish,
    "Gelu": _gelu,
    "Clamp": _clamp,
    "Maximum": _bound("low"),
    "Minimum": _bound("high"),
    "Add": _arithmetic("add"),
    "Subtract": _arithmetic("sub"),
    "Multiply": _arithmetic("mul"),
    "Divide": _arithmetic("div"),
    "ReduceMean": _reduce_mean,
    "AvgPool": _pool("avg"),
    "MaxPool": _pool("max"),
    "AdaptiveAvgPool": _adaptive_pool,
    "Pad": _pad,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Convert": _shape("Convert"),
    "FakeQuantize": _shape("FakeQuantize"),
    "SoftMax": _softmax,
    "Softmax": _softmax,
    "Interpolate": _map,
    "Concat": _map,
}
