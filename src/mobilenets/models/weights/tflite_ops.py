"""TFLite's operators as those of graph.py, one to one; activations that were fused or lost become nodes again.

Layouts: CONV_2D O H W I and DEPTHWISE_CONV_2D 1 H W (C*m) become O I H W; constants beside a map N H W C become (c,)
or (1, c, h, w).
"""

import math
from typing import Literal

from ...errors import BadData
from ...specs.activation import LeakyRelu, PlainActivation
from .graph import (
    ActOp,
    Array,
    BinaryOp,
    ClipOp,
    ConvOp,
    DenseOp,
    MeanOp,
    Node,
    Op,
    OtherOp,
    PadOp,
    PoolOp,
    PReluOp,
    ShapeOp,
    SoftmaxOp,
)
from .tflite_constants import Constants, finite
from .tflite_file import File, Operator, Options
from .tflite_lost import SHAPES, lost_activations

_ACTS: dict[str, PlainActivation] = {
    "RELU": "relu", "RELU6": "relu6", "HARD_SWISH": "hard_swish", "LOGISTIC": "sigmoid", "TANH": "tanh", "GELU": "gelu",
}  # fmt: skip
_CLIPS = {"RELU_N1_TO_1": ClipOp(-1.0, 1.0), "RELU_0_TO_1": ClipOp(0.0, 1.0)}
_FUSED: dict[str, Op] = {
    "RELU": ActOp("relu"), "RELU6": ActOp("relu6"), "TANH": ActOp("tanh"), "RELU_N1_TO_1": _CLIPS["RELU_N1_TO_1"],
    "SIGN_BIT": OtherOp("SIGN_BIT"),
}  # fmt: skip
_ARITHMETIC: dict[str, Literal["add", "sub", "mul", "div"]] = {"ADD": "add", "SUB": "sub", "MUL": "mul", "DIV": "div"}
_POOLS: dict[str, Literal["max", "avg"]] = {"MAX_POOL_2D": "max", "AVERAGE_POOL_2D": "avg"}
_MOST_CELLS = 2**16


class Translation:
    """One file's operators on their way to nodes. `notes` fill while `nodes` runs."""

    def __init__(self, file: File, where: str) -> None:
        self.file = file
        self.where = where
        self.constants = Constants(file, where)
        self.notes = self.constants.notes
        self._names = {tensor.name for tensor in file.tensors}

    def nodes(self) -> tuple[Node, ...]:
        """The operators in order, each followed by its activation. Raises BadData."""
        lost = lost_activations(self.file, self.where)
        nodes: list[Node] = []
        for i, operator in enumerate(self.file.operators):
            if self.constants.passes(operator):
                continue
            act = ActOp(lost[i]) if i in lost else self._fused(operator.options)
            nodes += self._node(operator, f"{self.where}: operator {i} ({operator.kind})", act)
        for i in self.file.outputs:
            if i >= 0 and i not in self.constants.made:
                raise BadData(f"{self.where}: nothing makes the output {self.file.tensors[i].name!r}")
        if lost:
            sixes = sum(act == "relu6" for act in lost.values())
            self.notes.append(
                f"{len(lost)} activations that the file only implies by the range of an output were restored: "
                f"{sixes} ReLU6, {len(lost) - sixes} ReLU"
            )
        return tuple(nodes)

    def _node(self, operator: Operator, place: str, act: Op | None) -> list[Node]:
        op, tensors, made = self._op(operator, place), self.file.tensors, self.constants.made
        read = [i for i in operator.inputs if i >= 0 and not self.constants.holds(i)]
        if isinstance(op, ShapeOp):
            read = read[:1]  # a new shape that is computed is no part of the numbers
        for i in read:
            if i not in made and not tensors[i].is_variable:
                raise BadData(f"{place} reads tensor {tensors[i].name!r}, which nothing before it makes")
        for i in operator.outputs:
            if i < 0 or i in made or self.constants.holds(i):
                raise BadData(f"{place} makes a tensor that is there already")
            made.add(i)
        if not operator.outputs:
            raise BadData(f"{place} makes nothing")
        inputs = tuple(tensors[i].name for i in read)
        outputs = tuple(tensors[i].name for i in operator.outputs)
        if act is None:
            return [Node(op, inputs, outputs, outputs[0])]
        before = self._invented(f"{outputs[0]}/before_activation")
        return [Node(op, inputs, (before, *outputs[1:]), outputs[0]), Node(act, (before,), outputs[:1], outputs[0])]

    def _op(self, operator: Operator, place: str) -> Op:
        """The operator as ours, or as `OtherOp` by its own name where we have no word for what it does."""
        kind, options = operator.kind, operator.options
        op: Op | None = None
        match kind:
            case "CONV_2D":
                op = self._conv(operator, place)
            case "DEPTHWISE_CONV_2D":
                op = self._depthwise(operator, place)
            case "FULLY_CONNECTED":
                op = self._dense(operator, place)
            case "ADD" | "SUB" | "MUL" | "DIV":
                op = self._arithmetic(operator)
            case "AVERAGE_POOL_2D" | "MAX_POOL_2D":
                op = self._pool(operator, place)
            case "MEAN":
                op = self._mean(operator)
            case "PAD" | "PADV2":
                op = self._pad(operator)
            case "MINIMUM" | "MAXIMUM":
                op = self._clip(operator)
            case "PRELU":
                op = self._prelu(operator, place)
            case "LEAKY_RELU" if math.isfinite(options.number):
                op = ActOp(LeakyRelu(options.number))
            case "SOFTMAX" if options.number == 1:
                op = SoftmaxOp()
            case _ if kind in SHAPES:
                op = ShapeOp(kind.lower())
            case _ if kind in _ACTS:
                op = ActOp(_ACTS[kind])
                if options.approximate:
                    self.notes.append("GELU by tanh is taken for the exact one; they differ by up to 5e-4")
            case _:
                op = _CLIPS.get(kind)
        return op or OtherOp(kind)

    def _conv(self, operator: Operator, place: str) -> ConvOp | None:
        weight = self.constants.weight(operator, (0, 3, 1, 2), place)
        if weight is None:
            return None
        c_out, per_group = weight.shape[:2]
        c_in = self._channels(operator) or per_group
        if c_in % per_group or c_out % (c_in // per_group):
            raise BadData(f"{place}: weights {weight.shape} do not fit a map of {c_in} channels")
        return self._with_bias(operator, weight, c_in // per_group, place)

    def _depthwise(self, operator: Operator, place: str) -> ConvOp | None:
        weight = self.constants.weight(operator, (3, 0, 1, 2), place)
        if weight is None:
            return None
        c_out, per_group = weight.shape[:2]
        c_in = self._channels(operator) or c_out // max(operator.options.multiplier, 1)
        if per_group != 1 or not c_in or c_out % c_in:
            raise BadData(f"{place}: weights {weight.shape} do not fit a map of {c_in} channels")
        return self._with_bias(operator, weight, c_in, place)

    def _with_bias(self, operator: Operator, weight: Array, groups: int, place: str) -> ConvOp:
        options = operator.options
        _at_least_one(place, "stride", options.stride)
        _at_least_one(place, "dilation", options.dilation)
        bias = self.constants.bias(operator, len(weight), place)
        return ConvOp(weight, bias, options.stride, options.dilation, groups, options.padding)

    def _dense(self, operator: Operator, place: str) -> DenseOp | None:
        if operator.options.shuffled:
            raise BadData(f"{place}: weights in a shuffled layout can't be read; convert the network anew")
        weight = self.constants.weight(operator, (0, 1), place)
        return None if weight is None else DenseOp(weight, self.constants.bias(operator, len(weight), place))

    def _prelu(self, operator: Operator, place: str) -> PReluOp | None:
        slopes = self.constants.argument(operator.input(1))
        if slopes is None or not slopes.size or slopes.size not in (1, slopes.shape[-1]):
            return None
        return PReluOp(finite(slopes, f"{place}: its slopes").reshape(-1))

    def _arithmetic(self, operator: Operator) -> BinaryOp | None:
        kind, sides = _ARITHMETIC[operator.kind], (operator.input(0), operator.input(1))
        held = [self.constants.holds(i) for i in sides]
        if min(sides) < 0 or all(held):
            return None
        if not any(held):
            return BinaryOp(kind)
        constant = self.constants.argument(sides[held.index(True)])
        beside = None if constant is None else _beside(constant, len(self._shape(sides[held.index(False)])))
        return None if beside is None else BinaryOp(kind, beside, reverse=held[0])

    def _pool(self, operator: Operator, place: str) -> PoolOp | MeanOp:
        options, shape = operator.options, self._shape(operator.input(0))
        _at_least_one(place, "stride", options.stride)
        _at_least_one(place, "kernel", options.kernel)
        if operator.kind == "AVERAGE_POOL_2D" and len(shape) == 4 and min(shape[1:3]) > 0:
            sides = tuple(zip(shape[1:3], options.kernel, options.stride, strict=True))
            if options.padding == "same" and all(k >= side and s >= side for side, k, s in sides):
                return MeanOp()  # padded cells do not count
            if options.padding == "valid" and all(k == side for side, k, _ in sides):
                return MeanOp()
        return PoolOp(_POOLS[operator.kind], options.kernel, options.stride, options.padding)

    def _mean(self, operator: Operator) -> MeanOp | None:
        axes = self.constants.argument(operator.input(1))
        if axes is None or len(self._shape(operator.input(0))) != 4 or not (abs(axes) <= 4).all():
            return None
        return MeanOp() if {int(axis) % 4 for axis in axes.reshape(-1)} == {1, 2} else None

    def _pad(self, operator: Operator) -> PadOp | None:
        pads, value = self.constants.argument(operator.input(1)), 0.0
        if operator.kind == "PADV2":
            held = self.constants.argument(operator.input(2))
            if held is None or held.size != 1:
                return None
            value = held.item()
        if pads is None or pads.shape != (4, 2) or not ((pads >= 0) & (pads <= _MOST_CELLS)).all():
            return None
        if pads[[0, 3]].any():
            return None
        (top, bottom), (left, right) = pads[1].astype(int).tolist(), pads[2].astype(int).tolist()
        return PadOp((top, left, bottom, right), value)

    def _clip(self, operator: Operator) -> ClipOp | None:
        held = [self.constants.argument(i) for i in operator.inputs[:2]]
        limits = [float(limit.item()) for limit in held if limit is not None and limit.size == 1]
        if len(limits) != 1 or math.isnan(limits[0]):
            return None
        return ClipOp(limits[0], math.inf) if operator.kind == "MAXIMUM" else ClipOp(-math.inf, limits[0])

    def _fused(self, options: Options) -> Op | None:
        if options.activation == "NONE":
            return None
        if options.activation not in _FUSED:
            raise BadData(f"{self.where}: {options.activation} is no activation of the format")
        return _FUSED[options.activation]

    def _shape(self, index: int) -> tuple[int, ...]:
        return self.file.tensors[index].shape if index >= 0 else ()

    def _channels(self, operator: Operator) -> int:
        """Channels of the map that is read, 0 where the file leaves them open."""
        shape = self._shape(operator.input(0))
        return shape[3] if len(shape) == 4 else 0

    def _invented(self, name: str) -> str:
        while name in self._names:
            name += "'"
        self._names.add(name)
        return name


def _at_least_one(place: str, what: str, pair: tuple[int, int]) -> None:
    if min(pair) < 1:
        raise BadData(f"{place}: its {what} is {pair}; both must be at least 1")


def _beside(constant: Array, rank: int) -> Array | None:
    """A constant as `BinaryOp` has it, beside a tensor of `rank` sides with the channels last; None: no such form."""
    if constant.size == 1:
        return constant.reshape(())
    if constant.size == constant.shape[-1]:
        return constant.reshape(-1)
    if rank != 4 or constant.ndim > 4:
        return None
    whole = constant.reshape((1,) * (4 - constant.ndim) + constant.shape)
    return whole.transpose(0, 3, 1, 2) if len(whole) == 1 else None
