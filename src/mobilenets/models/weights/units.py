"""Operators gathered into what a MobileNet is made of: convolutions with their norm and activation, gates, sums.

Pads go into the convolution after them, constants per channel into the one before, a norm stays beside it.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from ...specs.activation import Activation, PRelu
from .composites import without_composites
from .graph import (
    ActOp,
    Array,
    BinaryOp,
    ConvOp,
    DenseOp,
    Graph,
    MeanOp,
    Node,
    NormOp,
    PadOp,
    Pads,
    PoolOp,
    PReluOp,
    SoftmaxOp,
)


@dataclass(frozen=True, slots=True, eq=False)
class ConvUnit:
    """Convolution (or dense layer, as a 1x1 one), norm, activation: from the tensor `input` to `output`."""

    input: str
    output: str
    weight: Array
    bias: Array | None = None
    norm: NormOp | None = None
    act: Activation = "none"
    slopes: Array | None = None
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    pads: Pads = (0, 0, 0, 0)

    @property
    def c_in(self) -> int:
        return int(self.weight.shape[1]) * self.groups

    @property
    def c_out(self) -> int:
        return int(self.weight.shape[0])

    @property
    def kernel(self) -> tuple[int, int]:
        return int(self.weight.shape[2]), int(self.weight.shape[3])

    @property
    def is_depthwise(self) -> bool:
        return self.groups == self.c_in > 1

    @property
    def is_pointwise(self) -> bool:
        return self.kernel == (1, 1) and self.groups == 1 and self.stride == (1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class GateUnit:
    """Squeeze-and-excite: two 1x1 convolutions on the mean of `input`, whose answer multiplies it."""

    input: str
    output: str
    reduce: ConvUnit
    expand: ConvUnit


@dataclass(frozen=True, slots=True, eq=False)
class NormUnit:
    """Batch norm that no convolution precedes."""

    input: str
    output: str
    norm: NormOp


@dataclass(frozen=True, slots=True, eq=False)
class AttentionUnit:
    """Mobile multi-query attention (V4, section 5) without its skip; see attention.py. Reduces: the depthwise
    convolutions that key and value are read through, or None."""

    input: str
    output: str
    norm: NormOp
    query: ConvUnit
    key: ConvUnit
    value: ConvUnit
    project: ConvUnit
    key_reduce: ConvUnit | None
    value_reduce: ConvUnit | None


@dataclass(frozen=True, slots=True)
class SumUnit:
    """Two tensors added."""

    inputs: tuple[str, str]
    output: str


@dataclass(frozen=True, slots=True)
class MeanUnit:
    """Global mean."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class PoolUnit:
    """Maximum or mean over a window."""

    input: str
    output: str
    kind: Literal["max", "avg"]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: Pads


@dataclass(frozen=True, slots=True)
class SoftmaxUnit:
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class InputScale:
    """factor * picture + shift, per channel, that the file computes before its first convolution."""

    input: str
    output: str
    factor: tuple[float, ...]
    shift: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class OtherUnit:
    """What is no part of a MobileNet."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


Unit: TypeAlias = (
    ConvUnit
    | GateUnit
    | NormUnit
    | AttentionUnit
    | SumUnit
    | MeanUnit
    | PoolUnit
    | SoftmaxUnit
    | InputScale
    | OtherUnit
)


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """A graph's units in execution order, and the tensors that it answers with."""

    units: tuple[Unit, ...]
    results: frozenset[str]


def gather(graph: Graph) -> Units:
    """The units of `graph`."""
    plain = without_composites(graph)
    fed = frozenset(fed.name for fed in graph.inputs)
    return Units(_with_gates(_fused(plain.nodes, fed, plain.results)), plain.results)


def _fused(nodes: tuple[Node, ...], fed: frozenset[str], results: frozenset[str]) -> list[Unit]:
    fuser = _Fuser(fed, Counter(name for node in nodes for name in node.inputs) + Counter(results))
    for node in nodes:
        fuser.take(node)
    return fuser.found


@dataclass(slots=True, eq=False)
class _Fuser:
    """Units so far. place: where the convolution stands that a tensor is the result of; pads: tensors that are only
    padded; pooled: tensors of one cell; same: those that a second pooling leaves as they are."""

    fed: frozenset[str]
    readers: Counter[str]
    found: list[Unit] = field(default_factory=list)
    place: dict[str, int] = field(default_factory=dict)
    pads: dict[str, tuple[str, PadOp]] = field(default_factory=dict)
    pooled: set[str] = field(default_factory=set)
    same: dict[str, str] = field(default_factory=dict)

    def take(self, node: Node) -> None:
        """Add the next node, to the convolution before it where it belongs there."""
        node = replace(node, inputs=tuple(self.same.get(name, name) for name in node.inputs))
        name = node.inputs[0] if node.inputs else ""
        if name in self.pooled and isinstance(node.op, MeanOp):  # slim pools before and after the hidden layer
            self.same[node.output] = name
            self.readers[name] += self.readers[node.output] - 1
            return
        if name in self.pooled or isinstance(node.op, MeanOp):
            self.pooled.update(node.outputs)
        unit = self.before(name)
        fused = None if unit is None else _followed(unit, node)
        if fused is not None:
            self.found[self.place[name]] = fused
            self.place[fused.output] = self.place[name]
        elif isinstance(node.op, PadOp) and node.op.value == 0.0:
            self.pads[node.output] = (name, node.op)
        else:
            if isinstance(node.op, (ConvOp, DenseOp)):
                self.place[node.output] = len(self.found)
            self.found.append(self.unit(node, name))

    def before(self, name: str) -> ConvUnit | None:
        """The convolution whose result `name` is, where nothing but this reads it and no activation followed yet."""
        if name not in self.place or self.readers[name] != 1:
            return None
        unit = self.found[self.place[name]]
        return unit if isinstance(unit, ConvUnit) and unit.act == "none" else None

    def unit(self, node: Node, name: str) -> Unit:
        """The node as a unit of its own."""
        source, pad = self.pads.get(name, (name, None))
        match node.op:
            case ConvOp() as op:
                return ConvUnit(
                    source, node.output, op.weight, op.bias, stride=op.stride, dilation=op.dilation, groups=op.groups,
                    pads=_padded(op.pads, pad),
                )  # fmt: skip
            case DenseOp() as op:
                return ConvUnit(name, node.output, op.weight[:, :, None, None], op.bias)
            case BinaryOp(constant=constant) as op if constant is not None and _input_scale(name, self.fed, self.found):
                return _scaled_input(self.found, name, node.output, op, constant)
            case BinaryOp(kind="add", constant=None) if len(node.inputs) == 2:
                return SumUnit((node.inputs[0], node.inputs[1]), node.output)
            case NormOp() as op:
                return NormUnit(name, node.output, op)
            case MeanOp():
                return MeanUnit(name, node.output)
            case PoolOp() as op:
                return PoolUnit(source, node.output, op.kind, op.kernel, op.stride, _padded(op.pads, pad))
            case SoftmaxOp():
                return SoftmaxUnit(name, node.output)
            case op:
                return OtherUnit(str(getattr(op, "kind", type(op).__name__)), node.inputs, node.outputs)


def _followed(unit: ConvUnit, node: Node) -> ConvUnit | None:
    """`unit` with the node that follows it worked in; None where it is no part of it."""
    match node.op:
        case NormOp() as op if unit.norm is None:
            return replace(unit, norm=op, output=node.output)
        case ActOp(act=act):
            return replace(unit, act=act, output=node.output)
        case PReluOp(slopes=slopes):
            return replace(unit, act=PRelu(slopes.size == 1), slopes=slopes.reshape(-1), output=node.output)
        case BinaryOp(constant=constant) as op if constant is not None:
            changed = _absorbed(unit, op, constant)
            return None if changed is None else replace(changed, output=node.output)
        case _:
            return None


def _padded(pads: Pads, pad: PadOp | None) -> Pads:
    """The convolution's own pads and those of the operator before it."""
    if pad is None:
        return pads
    if pads == "same":
        return "same"  # a pad before SAME padding moves the picture: the sizes will not fit, and the file is refused
    t, left, b, r = (0, 0, 0, 0) if pads == "valid" else pads
    return t + pad.pads[0], left + pad.pads[1], b + pad.pads[2], r + pad.pads[3]


def _absorbed(unit: ConvUnit, op: BinaryOp, constant: Array) -> ConvUnit | None:
    """`unit` with a constant per channel worked into its weights; None where that can't be."""
    if constant.size not in (1, unit.c_out) or (constant.ndim == 4 and constant.shape[1] != constant.size):
        return None
    value = np.broadcast_to(constant.reshape(-1).astype(np.float64), (unit.c_out,))
    unit = folded_unit(unit)
    assert unit.bias is not None
    match op.kind:
        case "add":
            return replace(unit, bias=(unit.bias + value).astype(np.float32))
        case "sub":
            if not op.reverse:
                return replace(unit, bias=(unit.bias - value).astype(np.float32))
            return replace(unit, weight=-unit.weight, bias=(value - unit.bias).astype(np.float32))
        case "mul" | "div":
            if op.kind == "div" and (op.reverse or not value.all()):
                return None
            factor = value if op.kind == "mul" else 1 / value
            weight = unit.weight * factor[:, None, None, None]
            return replace(unit, weight=weight.astype(np.float32), bias=(unit.bias * factor).astype(np.float32))


def folded_unit(unit: ConvUnit) -> ConvUnit:
    """`unit` with its norm worked into weight and bias, in float64; it then has a bias."""
    bias = np.zeros(unit.c_out) if unit.bias is None else unit.bias.astype(np.float64)
    weight = unit.weight
    if unit.norm is not None:
        norm = unit.norm
        factor = norm.gamma.astype(np.float64) / np.sqrt(norm.variance.astype(np.float64) + norm.eps)
        weight = (weight * factor[:, None, None, None]).astype(np.float32)
        bias = (bias - norm.mean) * factor + norm.beta
    return replace(unit, weight=weight, bias=bias.astype(np.float32), norm=None)


def _input_scale(name: str, fed: frozenset[str], found: list[Unit]) -> bool:
    """Whether `name` is a fed tensor, or one that a fed tensor was only scaled to."""
    return name in fed or any(isinstance(unit, InputScale) and unit.output == name for unit in found)


def _scaled_input(found: list[Unit], name: str, output: str, op: BinaryOp, constant: Array) -> Unit:
    earlier = next((u for u in found if isinstance(u, InputScale) and u.output == name), None)
    value = constant.reshape(-1).astype(np.float64)
    if value.size > 64 or (op.kind == "div" and (op.reverse or not value.all())):
        return OtherUnit(op.kind, (name,), (output,))
    start, factor, shift = (name, np.ones(1), np.zeros(1))
    if earlier is not None:
        start, factor, shift = earlier.input, np.array(earlier.factor), np.array(earlier.shift)
    if factor.size > 1 and value.size not in (1, factor.size):
        return OtherUnit(op.kind, (name,), (output,))
    factor, shift, value = np.broadcast_arrays(factor, shift, value)
    match op.kind:
        case "mul":
            factor, shift = factor * value, shift * value
        case "div":
            factor, shift = factor / value, shift / value
        case "add":
            shift = shift + value
        case "sub":
            factor, shift = (-factor, value - shift) if op.reverse else (factor, shift - value)
    return InputScale(start, output, tuple(factor.tolist()), tuple(shift.tolist()))


def _with_gates(found: list[Unit]) -> tuple[Unit, ...]:
    """Squeeze-and-excite put together: mean, two convolutions, and the product with what the mean was of."""
    makers = {unit.output: unit for unit in found if not isinstance(unit, OtherUnit)}
    gates: dict[int, GateUnit] = {}
    inner: set[int] = set()
    for i, unit in enumerate(found):
        if isinstance(unit, OtherUnit) and unit.kind == "mul" and len(unit.inputs) == 2:
            for x, gate in (unit.inputs, unit.inputs[::-1]):
                expand = makers.get(gate)
                reduce = makers.get(expand.input) if isinstance(expand, ConvUnit) else None
                mean = makers.get(reduce.input) if isinstance(reduce, ConvUnit) else None
                if (
                    isinstance(expand, ConvUnit)
                    and isinstance(reduce, ConvUnit)
                    and isinstance(mean, MeanUnit)
                    and mean.input == x
                    and expand.c_out == reduce.c_in
                ):
                    gates[i] = GateUnit(x, unit.outputs[0], folded_unit(reduce), folded_unit(expand))
                    inner |= {id(mean), id(reduce), id(expand)}
                    break
    return tuple(gates.get(i, unit) for i, unit in enumerate(found) if id(unit) not in inner)
