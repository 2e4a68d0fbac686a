"""A graph run operator by operator in plain PyTorch, N C H W: an oracle for readers, which only read."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from mobilenets.models.weights.graph import (
    ActOp,
    BinaryOp,
    ClipOp,
    ConvOp,
    DenseOp,
    Graph,
    MeanOp,
    Op,
    PadOp,
    Pads,
    PoolOp,
    ShapeOp,
    SoftmaxOp,
)

_ACTS = {
    "relu": F.relu, "relu6": F.relu6, "hard_swish": F.hardswish, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
}  # fmt: skip
_ARITHMETIC = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}


def run_graph(graph: Graph, feeds: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Every tensor that can be computed; what follows an operator outside the table below is left out."""
    known = dict(feeds)
    for node in graph.nodes:
        if all(name in known for name in node.inputs):
            made = _run(node.op, [known[name] for name in node.inputs])
            if made is not None:
                known[node.output] = made
    return known


def _run(op: Op, x: list[torch.Tensor]) -> torch.Tensor | None:
    match op:
        case ConvOp():
            bias = None if op.bias is None else torch.from_numpy(op.bias)
            padded = F.pad(x[0], _sides(op.pads, x[0], op.weight.shape[2:], op.stride, op.dilation))
            return F.conv2d(padded, torch.from_numpy(op.weight), bias, op.stride, 0, op.dilation, op.groups)
        case DenseOp():
            bias = None if op.bias is None else torch.from_numpy(op.bias)
            return F.linear(x[0].flatten(1), torch.from_numpy(op.weight), bias)
        case ActOp(act) if isinstance(act, str):
            return _ACTS[act](x[0])
        case ClipOp():
            return x[0].clip(op.low, op.high)
        case BinaryOp():
            if op.constant is not None:
                constant = torch.from_numpy(op.constant)
                constant = constant.reshape(-1, 1, 1) if constant.ndim == 1 and x[0].ndim == 4 else constant
                x = [constant, x[0]] if op.reverse else [x[0], constant]
            return _ARITHMETIC[op.kind](*x)
        case MeanOp():
            return x[0].mean((2, 3), keepdim=True)
        case PadOp(pads, value):
            top, left, bottom, right = pads
            return F.pad(x[0], (left, right, top, bottom), value=value)
        case PoolOp(kind="avg", pads="valid"):
            return F.avg_pool2d(x[0], op.kernel, op.stride)
        case ShapeOp(kind) if kind in ("quantize", "dequantize"):
            return x[0]
        case ShapeOp() if x[0].ndim == 4 and x[0].shape[2:] == (1, 1):
            return x[0].flatten(1)
        case SoftmaxOp():
            return x[0].flatten(1).softmax(1)
        case _:
            return None


def _sides(
    pads: Pads, x: torch.Tensor, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """left, right, top, bottom, as F.pad wants them."""
    if isinstance(pads, tuple):
        top, left, bottom, right = pads
        return left, right, top, bottom
    if pads == "valid":
        return 0, 0, 0, 0
    found: list[int] = []
    for side, k, s, d in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], dilation[::-1], strict=True):
        surplus = max((-(-side // s) - 1) * s + d * (k - 1) + 1 - side, 0)
        found += [surplus // 2, surplus - surplus // 2]
    return found[0], found[1], found[2], found[3]
