"""A spec with arrays written as a graph, in the words that files use: what `recognise` must read back."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mobilenets.models.weights.graph import (
    ActOp,
    BinaryOp,
    ClipOp,
    ConvOp,
    DenseOp,
    Fed,
    Graph,
    MeanOp,
    Node,
    NormOp,
    Op,
    PadOp,
    PoolOp,
    ShapeOp,
    SoftmaxOp,
)
from mobilenets.models.weights.layout import slots
from mobilenets.specs import Spec
from mobilenets.specs.activation import Activation
from mobilenets.specs.steps import ConvStep, PoolStep, ScaleStep, SqueezeStep, map_size


def random_arrays(spec: Spec, seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    found = {}
    for slot in slots(spec):
        values = draw.normal(size=slot.shape).astype(np.float32)
        found[slot.name] = np.abs(values) + 0.5 if slot.role == "variance" else values
    return found


@dataclass
class Writer:
    """Nodes put down one after another. spelled_out: hard activations as arithmetic, as old files have them."""

    arrays: Mapping[str, np.ndarray]
    eps: float
    explicit_pads: bool
    spelled_out: bool
    nodes: list[Node]

    def put(self, op: Op, *inputs: str) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(Node(op, inputs, (name,), name))
        return name

    def activation(self, act: Activation, x: str) -> str:
        if act == "none":
            return x
        if self.spelled_out and act in ("hard_swish", "hard_sigmoid"):
            three = self.put(BinaryOp("add", np.float32(3).reshape(1)), x)
            clipped = self.put(ClipOp(0.0, 6.0), three)
            if act == "hard_swish":
                clipped = self.put(BinaryOp("mul"), clipped, x)
            return self.put(BinaryOp("mul", np.array(1 / 6, np.float32)), clipped)
        return self.put(ActOp(act), x)

    def conv(self, name: str, step: ConvStep, x: str, size: tuple[int, int]) -> str:
        weight = self.arrays[f"{name}.conv.weight"]
        pads = pads_of(step, size)
        padded: object = pads
        if self.explicit_pads and any(pads):
            x, padded = self.put(PadOp(pads), x), "valid"
        elif step.padding == "same":
            padded = "same"
        bias = self.arrays.get(f"{name}.conv.bias")
        dilation = (step.dilation, step.dilation)
        x = self.put(ConvOp(weight, bias, step.stride, dilation, step.groups, padded), x)  # type: ignore[arg-type]
        if step.norm:
            parts = (self.arrays[f"{name}.norm.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
            x = self.put(NormOp(*parts, self.eps), x)
        return self.activation(step.act, x)


def pads_of(step: ConvStep, size: tuple[int, int]) -> tuple[int, int, int, int]:
    if step.padding == "valid":
        return (0, 0, 0, 0)
    if step.padding == "symmetric":
        top, left = (step.dilation * (k // 2) for k in step.kernel)
        return (top, left, top, left)
    total = [
        max((-(-n // s) - 1) * s + step.dilation * (k - 1) + 1 - n, 0)
        for n, k, s in zip(size, step.kernel, step.stride, strict=True)
    ]
    return (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2)


def graph_of(
    spec: Spec,
    arrays: Mapping[str, np.ndarray],
    *,
    explicit_pads: bool = False,
    spelled_out: bool = False,
    softmax: bool = False,
) -> Graph:
    """`spec` without attention, as the operators of a file."""
    out = Writer(arrays, spec.norm.eps, explicit_pads, spelled_out, [])
    size, x = spec.resolution_px, "picture"
    for block, row, c_in, _ in spec.blocks():
        start = x
        for step in row.steps(c_in, spec.padding):
            name = f"backbone.{block}.{step.name}"
            match step:
                case ConvStep():
                    x = out.conv(name, step, x, size)
                case SqueezeStep():
                    gate = out.put(MeanOp(), x)
                    gate = out.put(ConvOp(arrays[f"{name}.reduce.weight"], arrays[f"{name}.reduce.bias"]), gate)
                    gate = out.activation(step.act, gate)
                    gate = out.put(ConvOp(arrays[f"{name}.expand.weight"], arrays[f"{name}.expand.bias"]), gate)
                    x = out.put(BinaryOp("mul"), x, out.activation(step.gate, gate))
                case ScaleStep():
                    x = out.put(BinaryOp("mul", arrays[f"{name}.gamma"].reshape(-1)), x)
                case PoolStep():
                    kind = "max" if step.kind == "max" else "avg"
                    x = out.put(PoolOp(kind, step.kernel, step.stride), x)
            size = map_size(step, size)
        if row.has_skip(c_in):
            x = out.put(BinaryOp("add"), x, start)
    if spec.classes:
        x = out.put(MeanOp(), x)
        for i, hidden in enumerate(spec.head.steps(spec.channels)):
            x = out.conv(f"hidden.{i}", hidden, x, (1, 1))
        x = out.put(ShapeOp("reshape"), x)
        x = out.put(DenseOp(arrays["classifier.weight"], arrays["classifier.bias"]), x)
        if softmax:
            x = out.put(SoftmaxOp(), x)
    fed = Fed("picture", (1, spec.in_channels, *spec.resolution_px))
    return Graph("onnx", tuple(out.nodes), (fed,), (Fed(x, (1, spec.classes)),))
