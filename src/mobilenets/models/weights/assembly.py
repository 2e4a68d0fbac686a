"""From a format's operators to those of graph.py: the checks and the arithmetic that ONNX and OpenVINO share.

A function gives the operator and the form of its result, or None where graph.py has no word for it: it then becomes an
OtherOp. Raises BadData (without the file's name) where the numbers of the file contradict each other.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from ...errors import BadData
from ...specs.activation import Activation, HardSigmoid
from .forms import UNKNOWN, Form, Size, beside, floats, picture, window_size
from .graph import (
    BinaryOp,
    ClipOp,
    ConvOp,
    DenseOp,
    Fed,
    MeanOp,
    Node,
    NormOp,
    Op,
    OtherOp,
    PadOp,
    Pads,
    PoolOp,
    ShapeOp,
)
from .operators import MOST_SIDE, AnyArray, Described, Operator

Made: TypeAlias = tuple[Op, Form] | None
Translate: TypeAlias = "Callable[[Assembly, Operator], Made]"
Layout: TypeAlias = Literal["nchw", "nhwc"]
GELU_BY_TANH = "GELU by tanh is taken for the exact one; they differ by up to 5e-4"
PICTURE_CHANNELS = (1, 2, 3, 4)
_NHWC_TO_NCHW = (0, 3, 1, 2)
_STEPS_TO_LAYOUT = 8
"""How many operators may stand between an input and the Transpose that tells its layout."""


@dataclass(slots=True)
class Assembly:
    """The nodes of a graph so far, its constants (unread: those of a type that is not read), its tensors' forms."""

    constants: dict[str, AnyArray]
    forms: dict[str, Form]
    unread: frozenset[str] = frozenset()
    nodes: list[Node] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def constant(self, name: str) -> AnyArray | None:
        return self.constants.get(name)

    def form(self, name: str) -> Form:
        return self.forms.get(name, UNKNOWN)

    def note(self, sentence: str) -> None:
        """Keep a sentence, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def add(self, operator: Operator, made: Made) -> None:
        """Put a node down; None makes an OtherOp. Constants are left out of its inputs."""
        op, form = (OtherOp(operator.kind), UNKNOWN) if made is None else made
        inputs = tuple(
            name for name in operator.inputs if name and name not in self.constants and name not in self.unread
        )
        if not isinstance(op, OtherOp):
            count = 2 if isinstance(op, BinaryOp) and op.constant is None else 1
            inputs = inputs[:count]
            if len(inputs) != count:
                raise BadData(f"{operator} reads {len(inputs)} tensors that are computed, not {count}")
        outputs = tuple(filter(None, operator.outputs))
        self.nodes.append(Node(op, inputs, outputs, operator.name))
        self.forms[operator.output] = form

    def binary(self, kind: Literal["add", "sub", "mul", "div"], left: str | AnyArray, right: str | AnyArray) -> Made:
        """Arithmetic of two tensors, or of a tensor and a constant, by name or as it is."""
        first = self.constant(left) if isinstance(left, str) else left
        second = self.constant(right) if isinstance(right, str) else right
        if first is None and second is None:
            forms = [self.form(name) for name in (left, right) if isinstance(name, str)]
            return BinaryOp(kind), max(forms, key=lambda form: (form.rank, form.size))
        name, value = (right, first) if second is None else (left, second)
        if not isinstance(name, str) or value is None or (first is not None and second is not None):
            return None
        form = self.form(name)
        beside_it = beside(form, value)
        if beside_it is None:
            return None
        return BinaryOp(kind, beside_it, second is None and kind in ("sub", "div")), form


def convolution(
    form: Form,
    weight: AnyArray | None,
    bias: AnyArray | None,
    *,
    stride: Size,
    dilation: Size,
    groups: int,
    pads: Pads | None,
) -> Made:
    """weight (c_out, c_in / groups, kh, kw); computed weights and unknown pads are no ConvOp."""
    if weight is None or pads is None or weight.ndim != 4:
        return None
    c_out, kernel = weight.shape[0], weight.shape[2:]
    if not 1 <= groups <= c_out or c_out % groups or 0 in weight.shape:
        raise BadData(f"a convolution with weights {weight.shape} can't have {groups} groups")
    if bias is not None and bias.size != c_out:
        raise BadData(f"a convolution with weights {weight.shape} has {bias.size} biases")
    size = window_size(form.size, (kernel[0], kernel[1]), stride, dilation, pads)
    bias = None if bias is None else floats(bias).reshape(-1)
    return ConvOp(floats(weight), bias, stride, dilation, groups, pads), picture(size)


def dense(form: Form, weight: AnyArray, bias: AnyArray | None = None) -> Made:
    """weight (c_out, c_in), on the last axis. A bias may be one number for all."""
    if weight.ndim != 2 or (bias is not None and (bias.size not in (1, weight.shape[0]) or bias.ndim > 2)):
        return None
    if bias is not None:
        bias = floats(np.broadcast_to(bias.reshape(-1), weight.shape[:1]))
    return DenseOp(floats(weight), bias), Form(form.rank, max(form.rank - 1, 1))


def norm(form: Form, constants: tuple[AnyArray | None, ...], eps: float) -> Made:
    """constants: gamma, beta, mean, variance."""
    if any(value is None for value in constants):
        return None
    gamma, beta, mean, variance = (floats(value).reshape(-1) for value in constants if value is not None)
    if len({value.size for value in (gamma, beta, mean, variance)}) != 1 or not (math.isfinite(eps) and eps >= 0):
        raise BadData(f"a norm's sizes or its eps {eps} can't be")
    return NormOp(gamma, beta, mean, variance, eps), form


def pads_of(word: str, begin: tuple[int, ...], end: tuple[int, ...], *, is_odd: bool) -> Pads | None:
    """A format's auto_pad and explicit pads. is_odd: odd kernel and stride 1, where both kinds of "same" agree."""
    match word.lower():
        case "valid":
            return "valid"
        case "same_upper":
            return "same"
        case "same_lower":
            return "same" if is_odd else None
        case "notset" | "explicit" | "":
            if len(begin) != 2 or len(end) != 2 or not all(0 <= pad <= MOST_SIDE for pad in (*begin, *end)):
                raise BadData(f"pads {begin[:4]} {end[:4]} can't be")
            return begin[0], begin[1], end[0], end[1]
        case _:
            raise BadData(f"no way of padding is called {word[:40]!r}")


def pool(
    form: Form,
    kind: Literal["max", "avg"],
    kernel: Size,
    stride: Size,
    pads: Pads | None,
    *,
    count_pads: bool = False,
    up: bool = False,
) -> Made:
    """A window over (N, C, h, w); a mean over the whole map is a MeanOp.

    up: sizes are rounded up, which is no PoolOp where it makes a difference.
    """
    if pads is None or form.axis != 1 or form.rank not in (0, 4):
        return None
    size = window_size(form.size, kernel, stride, (1, 1), pads)
    if up and (0 in size or size != window_size(form.size, kernel, stride, (1, 1), pads, up=True)):
        return None
    bare = pads in ("valid", (0, 0, 0, 0)) or (pads == "same" and size == (1, 1))
    if kind == "avg" and bare and kernel == form.size:
        return MeanOp(), picture((1, 1))
    return PoolOp(kind, kernel, stride, pads, count_pads), picture(size)


def mean(form: Form, axes: tuple[int, ...] | None, *, keep: bool) -> Made:
    """A mean over `axes`, which must be all that are neither batch nor channels."""
    if not axes:
        return None
    known = form if form.rank else picture()
    if {axis % known.rank for axis in axes} != set(known.spatial):
        return None
    return MeanOp(), Form(known.rank, known.axis, (1, 1)) if keep else Form(2, 1)


def clip(form: Form, low: float, high: float) -> Made:
    return None if math.isnan(low) or math.isnan(high) else (ClipOp(low, high), form)


def padding(form: Form, begin: tuple[int, ...], end: tuple[int, ...], value: float) -> Made:
    """Cells around a map; begin and end have one number per axis of the tensor."""
    known = form if form.rank else picture()
    if len(begin) != known.rank or len(end) != known.rank or known.rank != 4 or not math.isfinite(value):
        return None
    if not any((*begin, *end)):
        return ShapeOp("Pad"), known
    h, w = known.spatial[0], known.spatial[1]
    pads = begin[h], begin[w], end[h], end[w]
    if begin[0] or end[0] or begin[known.axis] or end[known.axis] or not all(0 <= pad <= MOST_SIDE for pad in pads):
        return None
    size = window_size(known.size, (1, 1), (1, 1), (1, 1), pads)
    return PadOp(pads, value), Form(4, known.axis, size)


def hard_sigmoid(slope: float, offset: float) -> Activation | None:
    """The paper's by its name where the float32 numbers are its, else as a value; None where it is none."""
    if abs(slope - 1 / 6) < 1e-7 and offset == 0.5:
        return "hard_sigmoid"
    return HardSigmoid(slope, offset) if 0 < slope < math.inf and math.isfinite(offset) else None


def layout_of(
    described: Described, operators: Sequence[Operator], order_of: "Callable[[Operator], tuple[int, ...] | None]"
) -> Layout:
    """Where a fed picture has its channels: by the one axis that is as long as a picture has channels, else by a
    Transpose soon after it. order_of: the order of axes that a Transpose makes, None for other operators."""
    if len(described.shape) != 4:
        return "nchw"
    first, last = (described.shape[axis] in PICTURE_CHANNELS for axis in (1, 3))
    if first != last:
        return "nhwc" if last else "nchw"
    name = described.name
    for _ in range(_STEPS_TO_LAYOUT):
        reader = next((operator for operator in operators if name in operator.inputs), None)
        if reader is None:
            break
        order = order_of(reader)
        if order is not None:
            return "nhwc" if order == _NHWC_TO_NCHW else "nchw"
        name = reader.output
    return "nchw"


def fed_forms(feeds: Iterable[Fed]) -> dict[str, Form]:
    return {fed.name: Form(len(fed.shape), 3 if fed.layout == "nhwc" else 1, fed.size_px) for fed in feeds}


def taken_layout(form: Form) -> Layout:
    return "nhwc" if (form.rank, form.axis) == (4, 3) else "nchw"
