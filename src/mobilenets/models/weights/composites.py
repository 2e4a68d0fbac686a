"""Activations that a file spells out in arithmetic, found again: hard sigmoid, h-swish, swish, GELU.

x * relu6(x + 3) / 6, x * clip(0.2 x + 0.5, 0, 1), relu6(x + 3) * 0.16667 and their kin are scalar functions of one
tensor. Each tensor that is such a function is remembered as one; it is written down as a single activation when
something else reads it. The numbers are kept as the file has them: 0.16667 is not 1/6.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...specs.activation import Activation, ClippedRelu, HardSigmoid, HardSwish
from .graph import ActOp, BinaryOp, ClipOp, Graph, Node, OtherOp, ShapeOp

NEAR = 1e-6
"""Relative distance at which a number of a float32 file is taken for the one meant: 8 roundings."""


@dataclass(frozen=True, slots=True)
class _Line:
    """slope * base + offset."""

    base: str
    slope: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class _Clamp:
    """min(max(slope * base + offset, 0), ceiling), times the base where `times_base`."""

    base: str
    slope: float
    offset: float
    ceiling: float
    times_base: bool = False


@dataclass(frozen=True, slots=True)
class _Sigmoid:
    """sigmoid(base), times the base where `times_base`."""

    base: str
    times_base: bool = False


@dataclass(frozen=True, slots=True)
class _Erf:
    """GELU's parts: factor * erf(base / sqrt 2), then factor * (1 + that), then that times the base."""

    base: str
    factor: float = 1.0
    part: Literal["erf", "plus_one", "times_base"] = "erf"


_Form = _Line | _Clamp | _Sigmoid | _Erf


@dataclass(frozen=True, slots=True, eq=False)
class Plain:
    """A graph without composites. results: what the file answers with, by the tensors that they only rename."""

    nodes: tuple[Node, ...]
    results: frozenset[str]


def without_composites(graph: Graph) -> Plain:
    """`graph` with every composite activation as one ActOp, and without ShapeOps.

    A tensor keeps the name that it has in the file; one that only renames another disappears into it.
    """
    forms: dict[str, _Form] = {}
    same: dict[str, str] = {}
    written: set[str] = set()
    nodes: list[Node] = []

    def real(name: str) -> str:
        while name in same:
            name = same[name]
        return name

    def write(name: str) -> None:
        """Put the nodes down that make `name` out of what it is a function of."""
        if name in forms and name not in written:
            written.add(name)
            nodes.extend(_nodes(name, forms[name]))

    for node in graph.nodes:
        inputs = tuple(real(name) for name in node.inputs)
        if isinstance(node.op, ShapeOp) and inputs:
            same[node.output] = inputs[0]
            continue
        form = _form(node, inputs, forms)
        if isinstance(form, _Line) and (form.slope, form.offset) == (1.0, 0.0):
            same[node.output] = form.base
        elif form is not None:
            forms[node.output] = form
        else:
            for name in inputs:
                write(name)
            nodes.append(Node(node.op, inputs, node.outputs, node.name))
    results = frozenset(real(fed.name) for fed in graph.outputs)
    for name in sorted(results):
        write(name)
    return Plain(tuple(nodes), results)


def _form(node: Node, inputs: tuple[str, ...], forms: dict[str, _Form]) -> _Form | None:
    """What the node's output is as a function of one tensor, or None."""
    if len(inputs) == 2 and isinstance(node.op, BinaryOp) and node.op.kind == "mul":
        first, second = inputs
        return _product(first, second, forms) or _product(second, first, forms)
    if len(inputs) != 1:
        return None
    form = forms.get(inputs[0], _Line(inputs[0]))
    match node.op:
        case BinaryOp(kind=kind, constant=constant, reverse=reverse) if constant is not None and constant.size == 1:
            return _arithmetic(kind, float(constant.reshape(())), reverse, form)
        case ClipOp(low=low, high=high):
            return _clamped(form, high) if low == 0.0 and isinstance(form, _Line) else None
        case ActOp(act="relu"):
            return _clamped(form, math.inf)
        case ActOp(act="relu6"):
            return _clamped(form, 6.0)
        case ActOp(act="hard_sigmoid"):
            return _hard_sigmoid(HardSigmoid(), form)
        case ActOp(act=HardSigmoid() as act):
            return _hard_sigmoid(act, form)
        case ActOp(act="sigmoid") if form == _Line(inputs[0]):
            return _Sigmoid(inputs[0])
        case OtherOp(kind="Erf") if isinstance(form, _Line) and _near(form.slope, math.sqrt(0.5)) and not form.offset:
            return _Erf(form.base)
        case _:
            return None


def _arithmetic(kind: str, c: float, reverse: bool, form: _Form) -> _Form | None:
    """`form` with a number added, taken away, multiplied or divided."""
    if kind == "div" and (reverse or c == 0.0):
        return None
    factor = {"mul": c, "div": 1 / c if c else 1.0}.get(kind)
    if factor is None:
        term = c if kind == "add" or reverse else -c
        sign = -1.0 if kind == "sub" and reverse else 1.0
        if isinstance(form, _Line):
            return _Line(form.base, sign * form.slope, sign * form.offset + term)
        if isinstance(form, _Erf) and form.part == "erf" and sign * form.factor == term == 1.0:
            return _Erf(form.base, 1.0, "plus_one")
        return None
    match form:
        case _Line():
            return _Line(form.base, form.slope * factor, form.offset * factor)
        case _Clamp() if factor > 0:
            return _Clamp(form.base, form.slope * factor, form.offset * factor, form.ceiling * factor, form.times_base)
        case _Erf() if form.part != "erf":
            return _Erf(form.base, form.factor * factor, form.part)
        case _:
            return None


def _clamped(form: _Form, ceiling: float) -> _Clamp | None:
    """relu, relu6 or a clip at 0 and `ceiling` of a line."""
    return _Clamp(form.base, form.slope, form.offset, ceiling) if isinstance(form, _Line) else None


def _hard_sigmoid(act: HardSigmoid, form: _Form) -> _Clamp | None:
    if not isinstance(form, _Line):
        return None
    return _Clamp(form.base, act.slope * form.slope, act.slope * form.offset + act.offset, act.ceiling)


def _product(x: str, other: str, forms: dict[str, _Form]) -> _Form | None:
    """x times a function of x, where that is an activation."""
    factor, base = 1.0, x
    if isinstance(line := forms.get(x), _Line) and line.offset == 0.0:
        factor, base = line.slope, line.base
    match forms.get(other):
        case _Clamp(times_base=False) as clamp if clamp.base == base and factor > 0:
            return _Clamp(base, clamp.slope * factor, clamp.offset * factor, clamp.ceiling * factor, times_base=True)
        case _Sigmoid(times_base=False) as sigmoid if sigmoid.base == base and factor == 1.0:
            return _Sigmoid(base, times_base=True)
        case _Erf(part="plus_one") as erf if erf.base == base:
            return _Erf(base, erf.factor * factor, "times_base")
        case _:
            return None


def _nodes(name: str, form: _Form) -> list[Node]:
    """The nodes that make the tensor `name`, which is `form`."""
    match form:
        case _Line():
            scaled = f"{name}#scaled"
            return [
                Node(BinaryOp("mul", np.array(form.slope, np.float32)), (form.base,), (scaled,)),
                Node(BinaryOp("add", np.array(form.offset, np.float32)), (scaled,), (name,)),
            ]
        case _Sigmoid():
            return [Node(ActOp("swish" if form.times_base else "sigmoid"), (form.base,), (name,))]
        case _Erf():
            gelu = form.part == "times_base" and _near(form.factor, 0.5)
            return [Node(ActOp("gelu") if gelu else OtherOp("Erf"), (form.base,), (name,))]
        case _Clamp():
            act = _activation(form)
            return [Node(OtherOp("clamp") if act is None else ActOp(act), (form.base,), (name,))]


def _activation(form: _Clamp) -> Activation | None:
    slope, offset, ceiling = form.slope, form.offset, form.ceiling
    if not form.times_base and _near(slope, 1.0) and offset == 0.0:
        return "relu" if math.isinf(ceiling) else "relu6" if _near(ceiling, 6.0) else ClippedRelu(ceiling)
    if math.isinf(ceiling) or slope <= 0:
        return None
    if _near(slope, 1 / 6) and _near(offset, 0.5) and _near(ceiling, 1.0):
        return "hard_swish" if form.times_base else "hard_sigmoid"
    return HardSwish(slope, offset, ceiling) if form.times_base else HardSigmoid(slope, offset, ceiling)


def _near(value: float, wanted: float) -> bool:
    return abs(value - wanted) <= NEAR * abs(wanted)
