"""ONNX operators as TFLite's: the table, and a graph translated by it, maps channels last all the way."""

from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from .graph import Array, Emitter, Ints, Node, Translation, Value
from .pointwise import (
    FUSED,
    arithmetic,
    batch_norm,
    clip,
    gelu,
    hard_sigmoid,
    leaky_relu,
    limits,
    prelu,
    simple,
    softmax,
)
from .shapes import mean, reshape, same_value, transpose
from .windows import conv, gemm, matmul, pad, pool
from .writer import Subgraph

if TYPE_CHECKING:
    from onnx import GraphProto

OPERATORS: dict[str, Emitter] = {
    "Add": arithmetic,
    "AveragePool": pool,
    "BatchNormalization": batch_norm,
    "Clip": clip,
    "Conv": conv,
    "Div": arithmetic,
    "Dropout": same_value,
    "Flatten": reshape,
    "Gelu": gelu,
    "Gemm": gemm,
    "GlobalAveragePool": mean,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": simple("HARD_SWISH", "HardSwishOptions"),
    "Identity": same_value,
    "LeakyRelu": leaky_relu,
    "MatMul": matmul,
    "MaxPool": pool,
    "Mul": arithmetic,
    "PRelu": prelu,
    "Pad": pad,
    "ReduceMean": mean,
    "Relu": clip,
    "Reshape": reshape,
    "Sigmoid": simple("LOGISTIC"),
    "Softmax": softmax,
    "Squeeze": reshape,
    "Sub": arithmetic,
    "Tanh": simple("TANH"),
    "Transpose": transpose,
    "Unsqueeze": reshape,
}
"""ONNX operator -> what writes it."""
_FUSING = {"Conv", "Gemm", "Add", "Sub", "Mul", "Div", "BatchNormalization", "MaxPool", "AveragePool"}
"""What can do an activation on its way out."""


def translate(graph: "GraphProto", subgraph: Subgraph, image: Value, *, network: str, half: bool) -> tuple[Value, ...]:
    """Write the operators of a traced graph behind `image`, its float32 input; returns its outputs, in ONNX's order.

    Raises: UsageError naming the layer for an operator, or a use of one, that is not in the table.
    """
    import onnx

    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    inner = [*graph.value_info, *graph.output, *graph.input]
    shapes = {value.name: _shape(value, network) for value in inner if value.name not in constants}
    work = Translation(subgraph, network, constants, shapes, half)
    work.values[graph.input[0].name] = image
    nodes = [_node(proto) for proto in graph.node]
    work.fused.update(_fused(nodes, constants, {output.name for output in graph.output}))
    fused = {name for name, _ in work.fused.values()}
    for node in nodes:
        if node.output in fused:
            continue
        if node.kind not in OPERATORS:
            raise UsageError(f"{network}: {node.name} is a {node.kind}, which the LiteRT writer does not know")
        if any(name not in shapes for name in (node.output, *node.inputs) if name and name not in constants):
            raise work.refuse(node, "its shape is not known")
        OPERATORS[node.kind](work, node)
    ends = [Node("output", output.name, (output.name,), output.name, {}) for output in graph.output]
    return tuple(work.value(node, order=tuple(range(len(shapes[node.output])))) for node in ends)


def _shape(value: Any, network: str) -> Ints:
    """The shape of a value, 1 for a batch that is free."""
    sides = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    sides[:1] = [side or 1 for side in sides[:1]]
    if 0 in sides:
        raise UsageError(f"{network}: the shape of {value.name} is not known, which LiteRT files need")
    return tuple(sides)


def _node(proto: Any) -> Node:
    import onnx

    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
    return Node(proto.op_type, proto.name, tuple(proto.input), proto.output[0], attributes)


def _fused(nodes: list[Node], constants: dict[str, Array], outputs: set[str]) -> dict[str, tuple[str, str]]:
    """The activations that the operator before them does: those that alone read its output."""
    makers = {node.output: node.kind for node in nodes}
    read = [name for node in nodes for name in node.inputs]
    found = {}
    for node in nodes:
        if node.kind not in ("Relu", "Clip") or makers.get(node.inputs[0]) not in _FUSING:
            continue
        word = FUSED.get(limits(node, constants))
        if word and read.count(node.inputs[0]) == 1 and node.inputs[0] not in outputs:
            found[node.inputs[0]] = (node.output, word)
    return found
