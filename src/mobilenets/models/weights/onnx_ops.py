"""ONNX operators with floating point as those of graph.py, by the ONNX specification (opsets 7 to 24).

Each function reads one operator and gives (operator, form of its result), or None where graph.py has no word for it.
"""

import math
from typing import Literal

import numpy as np

from ...errors import BadData
from ...specs.activation import LeakyRelu, PlainActivation
from .assembly import (
    GELU_BY_TANH,
    Assembly,
    Made,
    Translate,
    clip,
    convolution,
    dense,
    hard_sigmoid,
    mean,
    norm,
    padding,
    pads_of,
    pool,
)
from .constants import whole
from .forms import Form, beside, reshaped, transposed, with_axes, without_axes
from .graph import ActOp, OtherOp, Pads, PReluOp, ShapeOp, SoftmaxOp
from .operators import AnyArray, Operator, decimal


def conv(a: Assembly, o: Operator, weight: AnyArray | None, bias: AnyArray | None) -> Made:
    """A convolution's geometry from the attributes; that of its weights must agree."""
    if weight is None or weight.ndim != 4:
        return None
    kernel = weight.shape[2], weight.shape[3]
    if o.pair("kernel_shape", kernel) != kernel:
        raise BadData(f"{o}: kernel_shape is {o.pair('kernel_shape', kernel)}, its weights have {weight.shape}")
    stride, dilation = o.pair("strides"), o.pair("dilations")
    pads = _pads(o, is_odd=stride == (1, 1) and kernel[0] % 2 == kernel[1] % 2 == 1)
    form = a.form(o.input(0))
    return convolution(form, weight, bias, stride=stride, dilation=dilation, groups=o.integer("group", 1), pads=pads)


def _pads(o: Operator, *, is_odd: bool) -> Pads | None:
    pads = o.ints("pads", (0, 0, 0, 0))
    half = len(pads) // 2
    return pads_of(o.text("auto_pad", "NOTSET"), pads[:half], pads[half:], is_odd=is_odd)


def _conv(a: Assembly, o: Operator) -> Made:
    bias = a.constant(o.input(2))
    return None if o.input(2) and bias is None else conv(a, o, a.constant(o.input(1)), bias)


def _gemm(a: Assembly, o: Operator) -> Made:
    weight, bias = a.constant(o.input(1)), a.constant(o.input(2))
    if weight is None or o.integer("transA", 0) or (o.input(2) and bias is None):
        return None
    weight = weight if o.integer("transB", 0) else weight.T
    alpha, beta = o.number("alpha", 1.0), o.number("beta", 1.0)
    if alpha != 1.0:
        weight = weight * np.float32(alpha)
    if bias is not None and beta != 1.0:
        bias = bias * np.float32(beta)
    if bias is not None and bias.ndim == 2 and bias.shape[0] != 1:
        return None  # one bias per image of a fixed batch
    return dense(a.form(o.input(0)), weight, bias)


def _matmul(a: Assembly, o: Operator) -> Made:
    weight = a.constant(o.input(1))
    return None if weight is None else dense(a.form(o.input(0)), weight.T)


def _norm(a: Assembly, o: Operator) -> Made:
    constants = [a.constant(o.input(i)) for i in range(1, 5)]
    return norm(a.form(o.input(0)), (constants[0], constants[1], constants[2], constants[3]), o.number("epsilon", 1e-5))


def _act(act: PlainActivation) -> Translate:
    return lambda a, o: (ActOp(act), a.form(o.input(0)))


def _leaky(a: Assembly, o: Operator) -> Made:
    slope = o.number("alpha", 0.01)
    return (ActOp(LeakyRelu(slope)), a.form(o.input(0))) if math.isfinite(slope) else None


def _prelu(a: Assembly, o: Operator) -> Made:
    slopes, form = a.constant(o.input(1)), a.form(o.input(0))
    value = None if slopes is None else beside(form, slopes)
    return None if value is None or value.ndim > 1 else (PReluOp(value.reshape(-1)), form)


def _hard_sigmoid(a: Assembly, o: Operator) -> Made:
    act = hard_sigmoid(o.number("alpha", 0.2), o.number("beta", 0.5))
    return None if act is None else (ActOp(act), a.form(o.input(0)))


def _gelu(a: Assembly, o: Operator) -> Made:
    if o.text("approximate", "none") == "tanh":
        a.note(GELU_BY_TANH)
    return ActOp("gelu"), a.form(o.input(0))


def _swish(a: Assembly, o: Operator) -> Made:
    return (ActOp("swish"), a.form(o.input(0))) if o.number("alpha", 1.0) == 1.0 else None


def _scalar(a: Assembly, name: str) -> float | None:
    """A constant of one number."""
    value = a.constant(name)
    return None if value is None or value.size != 1 else decimal(float(value.reshape(-1)[0]))


def _clip(a: Assembly, o: Operator) -> Made:
    """Limits are attributes up to opset 10, inputs after it."""
    limits = []
    for at, key, open_end in ((1, "min", -math.inf), (2, "max", math.inf)):
        limit = _scalar(a, o.input(at)) if o.input(at) else o.number(key, open_end)
        if limit is None:
            return None
        limits.append(limit)
    return clip(a.form(o.input(0)), limits[0], limits[1])


def _bound(side: Literal["low", "high"]) -> Translate:
    """Max or Min with one number."""

    def translate(a: Assembly, o: Operator) -> Made:
        if len(o.inputs) != 2:
            return None
        limits = [_scalar(a, name) for name in o.inputs]
        limit = limits[0] if limits[1] is None else limits[1]
        if limit is None or None not in limits:
            return None
        form = a.form(o.inputs[0 if limits[0] is None else 1])
        return clip(form, limit, math.inf) if side == "low" else clip(form, -math.inf, limit)

    return translate


def _arithmetic(kind: Literal["add", "sub", "mul", "div"]) -> Translate:
    return lambda a, o: a.binary(kind, o.input(0), o.input(1))


def _global_mean(a: Assembly, o: Operator) -> Made:
    return mean(a.form(o.input(0)), (2, 3), keep=True)


def _axes(a: Assembly, o: Operator) -> tuple[int, ...] | None:
    """Axes as the second input (newer files) or as an attribute; None where they are computed or left out."""
    if o.input(1):
        return whole(a.constant(o.input(1)))
    return o.ints("axes", ()) if o.has("axes") else None


def _reduce_mean(a: Assembly, o: Operator) -> Made:
    return mean(a.form(o.input(0)), _axes(a, o), keep=o.integer("keepdims", 1) == 1)


def _pool(kind: Literal["max", "avg"]) -> Translate:
    def translate(a: Assembly, o: Operator) -> Made:
        if len(o.ints("kernel_shape", ())) != 2 or o.pair("dilations") != (1, 1):
            return None
        kernel, stride = o.pair("kernel_shape"), o.pair("strides")
        pads = _pads(o, is_odd=stride == (1, 1) and kernel[0] % 2 == kernel[1] % 2 == 1)
        counted, up = o.integer("count_include_pad", 0) == 1, o.integer("ceil_mode", 0) == 1
        return pool(a.form(o.input(0)), kind, kernel, stride, pads, count_pads=counted, up=up)

    return translate


def _pad(a: Assembly, o: Operator) -> Made:
    """Pads and value are attributes up to opset 10, inputs after it; opset 18 may name the axes."""
    form, rank = a.form(o.input(0)), a.form(o.input(0)).rank or 4
    pads = whole(a.constant(o.input(1))) if o.input(1) else o.ints("pads", o.ints("paddings", ()))
    value = _scalar(a, o.input(2)) if o.input(2) else o.number("value", 0.0)
    axes = whole(a.constant(o.input(3))) if o.input(3) else tuple(range(rank))
    if pads is None or value is None or axes is None or o.text("mode", "constant") != "constant":
        return None
    if len(pads) != 2 * len(axes) or not all(-rank <= axis < rank for axis in axes):
        return None
    begin, end = [0] * rank, [0] * rank
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        begin[axis], end[axis] = before, after
    return padding(form, tuple(begin), tuple(end), value)


def _shape(kind: str) -> Translate:
    """Operators that leave numbers and axes as they are."""
    return lambda a, o: (ShapeOp(kind), a.form(o.input(0)))


def _reshape(a: Assembly, o: Operator) -> Made:
    target = whole(a.constant(o.input(1))) if o.input(1) else o.ints("shape", ())
    return ShapeOp("Reshape"), reshaped(a.form(o.input(0)), target)


def _flatten(a: Assembly, o: Operator) -> Made:
    return ShapeOp("Flatten"), Form(2, 1)


def _squeeze(a: Assembly, o: Operator) -> Made:
    form, axes = a.form(o.input(0)), _axes(a, o)
    if axes is None and form.rank == 4 and form.size == (1, 1):
        axes = form.spatial
    return ShapeOp("Squeeze"), without_axes(form, axes) if axes else Form()


def _unsqueeze(a: Assembly, o: Operator) -> Made:
    axes = _axes(a, o)
    return ShapeOp("Unsqueeze"), with_axes(a.form(o.input(0)), axes) if axes else Form()


def _transpose(a: Assembly, o: Operator) -> Made:
    return ShapeOp("Transpose"), transposed(a.form(o.input(0)), o.ints("perm", ()))


def _softmax(a: Assembly, o: Operator) -> Made:
    return SoftmaxOp(), a.form(o.input(0))


def _map(a: Assembly, o: Operator) -> Made:
    """Operators without a word of graph.py that leave the axes where they are."""
    form = a.form(o.input(0))
    return OtherOp(o.kind), Form(form.rank, form.axis)


OPERATORS: dict[str, Translate] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _norm,
    "Relu": _act("relu"),
    "Sigmoid": _act("sigmoid"),
    "Tanh": _act("tanh"),
    "HardSwish": _act("hard_swish"),
    "LeakyRelu": _leaky,
    "PRelu": _prelu,
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "com.microsoft.Gelu": _gelu,
    "Swish": _swish,
    "Clip": _clip,
    "Max": _bound("low"),
    "Min": _bound("high"),
    "Add": _arithmetic("add"),
    "Sub": _arithmetic("sub"),
    "Mul": _arithmetic("mul"),
    "Div": _arithmetic("div"),
    "GlobalAveragePool": _global_mean,
    "ReduceMean": _reduce_mean,
    "AveragePool": _pool("avg"),
    "MaxPool": _pool("max"),
    "Pad": _pad,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Identity": _shape("Identity"),
    "Cast": _shape("Cast"),
    "Dropout": _shape("Dropout"),
    "Softmax": _softmax,
    "Resize": _map,
    "Upsample": _map,
    "Concat": _map,
}
