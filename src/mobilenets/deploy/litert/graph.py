"""One ONNX graph on its way into one TFLite subgraph: values, their order, and what the operators' functions share.

A tensor of the file may hold the dimensions of its ONNX value in another order (`Value.order`), so an ONNX Transpose
costs nothing: only its label changes. Where an operator can't take the order it meets, a TRANSPOSE is written, which
`inspect` counts. Tensors bear the names of the ONNX values, except those of no value of their own, which have a slash.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from .writer import Subgraph

Ints = tuple[int, ...]
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the file that holds an ONNX value.

    shape: the ONNX value's, its batch as 1. order: dimension k of the tensor is axis order[k] of the value.
    """

    index: int
    shape: Ints
    order: Ints

    @property
    def stored(self) -> Ints:
        """The tensor's own shape."""
        return tuple(self.shape[axis] for axis in self.order)


@dataclass(frozen=True, slots=True)
class Node:
    """An ONNX node. name: of the layer, for errors."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]

    def ints(self, name: str, default: Ints) -> Ints:
        return tuple(int(i) for i in self.attributes.get(name, default))


@dataclass(slots=True)
class Translation:
    """One ONNX graph on its way into one subgraph. half: weights are stored as float16."""

    subgraph: Subgraph
    network: str
    constants: dict[str, Array]
    shapes: dict[str, Ints]
    half: bool
    values: dict[str, Value] = field(default_factory=dict)
    fused: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Value that only an activation reads -> what the activation makes, and its word."""
    padded: dict[str, tuple[str, Ints, float]] = field(default_factory=dict)
    """Value that a Pad makes -> what it pads, (top, left, bottom, right), and the number that it pads with."""

    def refuse(self, node: Node, why: str) -> UsageError:
        return UsageError(f"{self.network}: {node.name} is a {node.kind} that the LiteRT writer can't say: {why}")

    def value(self, node: Node, side: int = 0, *, order: Ints | None = None) -> Value:
        """The node's input, its dimensions in `order` where that matters."""
        name = node.inputs[side]
        if name in self.padded and name not in self.values:
            source, pads, number = self.padded[name]
            self.values[name] = self.pad(self.values[source], pads, name, number)
        if name not in self.values:
            raise self.refuse(node, f"its input {name} is a constant")
        found = self.values[name]
        if order is None or found.order == order:
            return found
        moved = self.make(f"{name}/{''.join(map(str, order))}", found.shape, order)
        if long_axes(order, found.shape) == long_axes(found.order, found.shape):  # axes of 1 move no number
            shape = self.integers("shape", [-1, *moved.stored[1:]])
            self.subgraph.operator("RESHAPE", (found.index, shape), moved.index)
        else:
            places = self.integers("order", [found.order.index(axis) for axis in order])
            self.subgraph.operator("TRANSPOSE", (found.index, places), moved.index, "TransposeOptions")
        return moved

    def make(self, name: str, shape: Ints, order: Ints) -> Value:
        """A new tensor for `name`. A name without a slash promises the usual order to whoever reads the file."""
        plain = name if order == usual(len(shape)) or "/" in name else f"{name}/{''.join(map(str, order))}"
        stored = tuple(shape[axis] for axis in order)
        free = 0 if order and order[0] == 0 else None
        return Value(self.subgraph.tensor(plain, stored, free=free), shape, order)

    def number(self, name: str, value: float) -> int:
        """A constant of one float32 that is no weight."""
        return self.subgraph.constant(f"/{name}", np.array([value], np.float32))

    def integers(self, name: str, values: Sequence[Any]) -> int:
        """A constant of int32 that is no weight: axes, a shape."""
        return self.subgraph.constant(f"/{name}", np.array(values, np.int32))

    def weight(self, name: str, values: Array) -> int:
        """A constant that counts: in float16 where the file is to be half as large."""
        if not self.half:
            return self.subgraph.constant(name, values.astype(np.float32))
        if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            raise UsageError(f"{self.network}: {name} holds numbers that float16 can't; export it in float32")
        stored = self.subgraph.constant(name, values.astype(np.float16))
        whole = self.subgraph.tensor(f"{name}/float32", values.shape)
        self.subgraph.operator("DEQUANTIZE", (stored,), whole, "DequantizeOptions")
        return whole

    def emit(
        self,
        kind: str,
        inputs: Ints,
        node: Node,
        order: Ints,
        table: str = "",
        options: dict[str, Any] | None = None,
    ) -> Value:
        """Add the operator that makes the node's output, with the activation behind it where that is fused."""
        name, act = self.fused.get(node.output, (node.output, "NONE"))
        options = dict(options or {})
        if act != "NONE":
            options["fusedActivationFunction"] = getattr(self.subgraph.writer.schema.ActivationFunctionType, act)
        made = self.make(name, self.shapes[node.output], order)
        self.subgraph.operator(kind, inputs, made.index, table, options)
        self.values[name] = made
        return made

    def inner(self, kind: str, inputs: Ints, like: Value, name: str, table: str = "", **options: Any) -> Value:
        """Add an operator on the way to a node's output."""
        made = self.make(name, like.shape, like.order)
        self.subgraph.operator(kind, inputs, made.index, table, options)
        return made

    def pad(self, value: Value, pads: Ints, name: str, number: float = 0.0) -> Value:
        """A map (channels last) with a number around it."""
        top, left, bottom, right = pads
        n, c, h, w = value.shape
        made = self.make(name, (n, c, top + h + bottom, left + w + right), value.order)
        inputs = value.index, self.integers("pads", [[0, 0], [top, bottom], [left, right], [0, 0]])
        if number == 0:
            self.subgraph.operator("PAD", inputs, made.index, "PadOptions")
        else:
            self.subgraph.operator("PADV2", (*inputs, self.number("around", number)), made.index, "PadV2Options")
        return made

    def constant(self, node: Node, side: int) -> Array | None:
        """The node's input as an array; None where there is none or it is no constant."""
        return self.constants.get(node.inputs[side]) if side < len(node.inputs) else None


def usual(rank: int) -> Ints:
    """The order in which tensors of the file are read by others: maps channels last, all else as it is."""
    return (0, 2, 3, 1) if rank == 4 else tuple(range(rank))


def long_axes(order: Ints, shape: Ints) -> list[int]:
    """The axes that hold more than one number, in their order."""
    return [axis for axis in order if shape[axis] > 1]


MAP = usual(4)
Emitter = Callable[[Translation, Node], None]
"""Writes what a node does."""
