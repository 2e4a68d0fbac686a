"""A graph of a whole classifier run in PyTorch, everything kept N C H W: what ONNX and OpenVINO readers are held to."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from mobilenets.models.activations import activation
from mobilenets.models.weights.graph import (
    ActOp,
    BinaryOp,
    ClipOp,
    ConvOp,
    DenseOp,
    Graph,
    MeanOp,
    NormOp,
    Op,
    PadOp,
    PoolOp,
    PReluOp,
    ShapeOp,
    SoftmaxOp,
)

_ARITHMETIC = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}


@torch.no_grad()
def answer(graph: Graph, x: np.ndarray) -> np.ndarray:
    """The first output (N, K) for a picture (N, C, H, W), in float32. KeyError for operators that are not run here."""
    known = {graph.inputs[0].name: torch.from_numpy(x)}
    for node in graph.nodes:
        known[node.output] = _run(node.op, *(known[name] for name in node.inputs))
    return known[graph.outputs[0].name].flatten(1).numpy()


def gap(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference relative to the largest number wanted."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def with_op(graph: Graph, kind: type, **changes: object) -> Graph:
    """`graph` with the first operator of `kind` changed: a broken twin."""
    at = next(i for i, node in enumerate(graph.nodes) if isinstance(node.op, kind))
    node = replace(graph.nodes[at], op=replace(graph.nodes[at].op, **changes))
    return replace(graph, nodes=(*graph.nodes[:at], node, *graph.nodes[at + 1 :]))


def _tensor(array: np.ndarray | None) -> torch.Tensor | None:
    return None if array is None else torch.from_numpy(np.array(array))


def _run(op: Op, x: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
    match op:
        case ConvOp():
            x = _padded(x, op, op.weight.shape[2:], 0.0)
            return F.conv2d(x, _tensor(op.weight), _tensor(op.bias), op.stride, 0, op.dilation, op.groups)
        case DenseOp():
            return F.linear(x.flatten(1), _tensor(op.weight), _tensor(op.bias))[:, :, None, None]
        case NormOp():
            parts = (_tensor(part) for part in (op.mean, op.variance, op.gamma, op.beta))
            return F.batch_norm(x, *parts, eps=op.eps)
        case ActOp(act):
            module = activation(act, x.shape[1])
            return x if module is None else module(x)
        case PReluOp(slopes):
            return F.prelu(x, _tensor(slopes))
        case ClipOp(low, high):
            return x.clip(low, high)
        case BinaryOp(kind, constant, reverse):
            if constant is None:
                return _ARITHMETIC[kind](x, *more)
            value = _tensor(constant)
            value = value[:, None, None] if value.ndim == 1 else value
            return _ARITHMETIC[kind](value, x) if reverse else _ARITHMETIC[kind](x, value)
        case MeanOp():
            return x.mean((2, 3), keepdim=True)
        case PadOp((top, left, bottom, right), value):
            return F.pad(x, (left, right, top, bottom), value=value)
        case PoolOp(kind="max"):
            return F.max_pool2d(_padded(x, op, op.kernel, -torch.inf), op.kernel, op.stride)
        case PoolOp() if op.count_pads or op.pads in ("valid", (0, 0, 0, 0)):
            return F.avg_pool2d(_padded(x, op, op.kernel, 0.0), op.kernel, op.stride)
        case ShapeOp():
            return x
        case SoftmaxOp():
            return x.softmax(1)
    raise KeyError(type(op).__name__)


def _padded(x: torch.Tensor, op: ConvOp | PoolOp, kernel: tuple[int, ...], value: float) -> torch.Tensor:
    if isinstance(op.pads, tuple):
        top, left, bottom, right = op.pads
        return F.pad(x, (left, right, top, bottom), value=value)
    if op.pads == "valid":
        return x
    sides: list[int] = []
    for side, k, s in ((x.shape[3], kernel[1], op.stride[1]), (x.shape[2], kernel[0], op.stride[0])):
        surplus = max((-(-side // s) - 1) * s + k - side, 0)
        sides += [surplus // 2, surplus - surplus // 2]
    return F.pad(x, tuple(sides), value=value)
