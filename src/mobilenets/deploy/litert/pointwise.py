"""Operators that work on each number by itself (or on each row): arithmetic, norms, activations."""

import math

import numpy as np

from .graph import Array, Emitter, Ints, Node, Translation

FUSED = {(0.0, math.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}
"""Clips that an operator can do on its way out, as the schema calls them; each is an operator too."""


def arithmetic(work: Translation, node: Node) -> None:
    kind, table = _ARITHMETIC[node.kind]
    held = [work.constant(node, side) for side in (0, 1)]
    rank = len(work.shapes[node.output])
    first = next(work.value(node, side) for side in (0, 1) if held[side] is None)
    if len(first.shape) != rank:
        raise work.refuse(node, "its sides differ in rank")
    inputs = []
    for side, constant in enumerate(held):
        if constant is not None:
            inputs.append(work.subgraph.constant(node.inputs[side], _beside(constant, first.order)))
            continue
        value = work.value(node, side, order=first.order)
        if len(value.shape) != rank:
            raise work.refuse(node, "its sides differ in rank")
        inputs.append(value.index)
    work.emit(kind, tuple(inputs), node, first.order, table)


_ARITHMETIC = {
    "Add": ("ADD", "AddOptions"),
    "Sub": ("SUB", "SubOptions"),
    "Mul": ("MUL", "MulOptions"),
    "Div": ("DIV", "DivOptions"),
}


def _beside(constant: Array, order: Ints) -> Array:
    """A constant as it stands beside a tensor of this order: broadcast from the last dimension on."""
    whole = constant.reshape((1,) * (len(order) - constant.ndim) + constant.shape).transpose(order)
    leading = next((k for k, side in enumerate(whole.shape) if side > 1), len(order) - 1)
    return whole.reshape(whole.shape[leading:]).astype(np.float32)


def batch_norm(work: Translation, node: Node) -> None:
    """A norm that no convolution could take in: a product and a sum."""
    held = [work.constant(node, side) for side in range(1, 5)]
    value = work.value(node)
    if any(array is None for array in held) or node.attributes.get("training_mode", 0):
        raise work.refuse(node, "its statistics are no constants")
    weight, bias, mean, var = (np.asarray(array, np.float64) for array in held)
    scale = weight / np.sqrt(var + node.attributes.get("epsilon", 1e-5))
    around = (1, -1) + (1,) * (len(value.shape) - 2)
    constants = [_beside(array.reshape(around), value.order) for array in (scale, bias - mean * scale)]
    factor = work.subgraph.constant(f"{node.output}/scale", constants[0])
    offset = work.subgraph.constant(f"{node.output}/offset", constants[1])
    product = work.inner("MUL", (value.index, factor), value, f"{node.output}/scaled", "MulOptions")
    work.emit("ADD", (product.index, offset), node, value.order, "AddOptions")


def simple(kind: str, table: str = "") -> Emitter:
    def emit(work: Translation, node: Node) -> None:
        value = work.value(node)
        work.emit(kind, (value.index,), node, value.order, table)

    return emit


def clip(work: Translation, node: Node) -> None:
    low, high = limits(node, work.constants)
    value = work.value(node)
    if (low, high) in FUSED:
        work.emit(FUSED[low, high], (value.index,), node, value.order)
        return
    table = "MaximumMinimumOptions"
    if high == math.inf:
        work.emit("MAXIMUM", (value.index, work.number("floor", low)), node, value.order, table)
        return
    if low != -math.inf:
        value = work.inner("MAXIMUM", (value.index, work.number("floor", low)), value, f"{node.output}/floor", table)
    work.emit("MINIMUM", (value.index, work.number("ceiling", high)), node, value.order, table)


def hard_sigmoid(work: Translation, node: Node) -> None:
    """max(0, min(1, slope * x + offset)) as relu6(6 slope * x + 6 offset) / 6, which XNNPACK takes whole."""
    slope, offset = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    value, name = work.value(node), node.output
    if abs(6 * slope - 1) > 1e-6:
        factor = work.number("slope", 6 * slope)
        value = work.inner("MUL", (value.index, factor), value, f"{name}/line", "MulOptions")
    act = work.subgraph.writer.schema.ActivationFunctionType.RELU6
    inputs = value.index, work.number("offset", 6 * offset)
    value = work.inner("ADD", inputs, value, f"{name}/relu6", "AddOptions", fusedActivationFunction=act)
    work.emit("MUL", (value.index, work.number("sixth", 1 / 6)), node, value.order, "MulOptions")


def leaky_relu(work: Translation, node: Node) -> None:
    value, options = work.value(node), {"alpha": float(node.attributes.get("alpha", 0.01))}
    work.emit("LEAKY_RELU", (value.index,), node, value.order, "LeakyReluOptions", options)


def prelu(work: Translation, node: Node) -> None:
    value, slopes = work.value(node), work.constant(node, 1)
    if slopes is None:
        raise work.refuse(node, "its slopes are no constant")
    whole = slopes.reshape((1,) * (len(value.shape) - slopes.ndim) + slopes.shape)
    spread = np.broadcast_to(whole, (1, value.shape[1], *(1,) * (len(value.shape) - 2)))  # the kernel wants C of them
    slope = work.subgraph.constant(node.inputs[1], spread.transpose(value.order)[0].astype(np.float32))
    work.emit("PRELU", (value.index, slope), node, value.order)


def gelu(work: Translation, node: Node) -> None:
    value, options = work.value(node), {"approximate": node.attributes.get("approximate", b"none") == b"tanh"}
    work.emit("GELU", (value.index,), node, value.order, "GeluOptions", options)


def softmax(work: Translation, node: Node) -> None:
    value = work.value(node)
    axis = node.attributes.get("axis", -1) % len(value.shape)
    if value.order[-1] != axis:
        value = work.value(node, order=(*(k for k in range(len(value.shape)) if k != axis), axis))
    work.emit("SOFTMAX", (value.index,), node, value.order, "SoftmaxOptions", {"beta": 1.0})


def limits(node: Node, constants: dict[str, Array]) -> tuple[float, float]:
    """What a Relu or a Clip clips to."""
    if node.kind == "Relu":
        return 0.0, math.inf
    held = [constants.get(name) if name else None for name in (*node.inputs[1:3], "", "")[:2]]
    low, high = (
        default if side is None else float(side) for side, default in zip(held, (-math.inf, math.inf), strict=True)
    )
    return low, high
