"""What every graph file becomes: operators in execution order, float32 constants, one layout (N C H W).

A reader of a format translates its operators into these, one to one where it can, and owns its format's conventions:
layouts of weights, padding words, quantisation (constants are dequantised; an activation that the file only implies by
an output range is made explicit). It simplifies nothing: composite activations, squeeze-and-excite, pads before a
convolution and norms after one are found in simplify.py and recognise.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...specs.activation import Activation

Array: TypeAlias = NDArray[np.float32]
Pads: TypeAlias = Literal["same", "valid"] | tuple[int, int, int, int]
"""TensorFlow's words, or cells added at the top, left, bottom and right."""
Format: TypeAlias = Literal["tflite", "onnx", "openvino", "keras"]


@dataclass(frozen=True, slots=True, eq=False)
class ConvOp:
    """Convolution. weight (c_out, c_in / groups, kh, kw); bias (c_out,) or None. Depthwise: groups == c_in."""

    weight: Array
    bias: Array | None = None
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    pads: Pads = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class DenseOp:
    """Fully connected layer. weight (c_out, c_in); bias (c_out,) or None."""

    weight: Array
    bias: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class NormOp:
    """Batch norm in evaluation: (x - mean) / sqrt(variance + eps) * gamma + beta, each (c,)."""

    gamma: Array
    beta: Array
    mean: Array
    variance: Array
    eps: float


@dataclass(frozen=True, slots=True)
class ActOp:
    """An activation of `specs.activation` that the format has a word for (its own fused ones too)."""

    act: Activation


@dataclass(frozen=True, slots=True, eq=False)
class PReluOp:
    """PReLU with its slopes, (c,) or (1,)."""

    slopes: Array


@dataclass(frozen=True, slots=True)
class ClipOp:
    """min(max(x, low), high); an open side is infinite."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class BinaryOp:
    """Elementwise arithmetic of two tensors, or of one tensor and a constant.

    constant: None where both sides are tensors; else a number () or one per channel (c,), or (1, c, h, w) where it
    differs by place. reverse: the constant stands on the left.
    """

    kind: Literal["add", "sub", "mul", "div"]
    constant: Array | None = None
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class PoolOp:
    """Pooling over a window. count_pads: whether a mean counts padded cells."""

    kind: Literal["max", "avg"]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: Pads = (0, 0, 0, 0)
    count_pads: bool = False


@dataclass(frozen=True, slots=True)
class MeanOp:
    """Mean over height and width (global average pooling), whatever shape it leaves."""


@dataclass(frozen=True, slots=True)
class PadOp:
    """Cells of `value` added at the top, left, bottom and right."""

    pads: tuple[int, int, int, int]
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class ShapeOp:
    """The same numbers under another shape or layout: reshape, squeeze, flatten, transpose, cast, identity, dropout,
    quantize and dequantize (whose rounding is not repeated)."""

    kind: str


@dataclass(frozen=True, slots=True)
class SoftmaxOp:
    """Softmax over the channels."""


@dataclass(frozen=True, slots=True)
class OtherOp:
    """Anything else, by the format's own name: resizes, concatenations, matmuls of tensors, post-processing."""

    kind: str


Op: TypeAlias = (
    ConvOp
    | DenseOp
    | NormOp
    | ActOp
    | PReluOp
    | ClipOp
    | BinaryOp
    | PoolOp
    | MeanOp
    | PadOp
    | ShapeOp
    | SoftmaxOp
    | OtherOp
)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operator. inputs: names of tensors that are computed or fed (constants live in `op`); outputs likewise."""

    op: Op
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str = ""

    @property
    def output(self) -> str:
        return self.outputs[0]


@dataclass(frozen=True, slots=True)
class Fed:
    """A tensor that the caller feeds or takes.

    shape: as the file has it, 0 where it is left open. layout: where the channels are. dtype: "float32", "uint8",
    "int8", ... scale, zero_point: real = scale * (byte - zero_point) where the file is quantised there, else 1 and 0.
    """

    name: str
    shape: tuple[int, ...]
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: str = "float32"
    scale: float = 1.0
    zero_point: int = 0

    @property
    def size_px(self) -> tuple[int, int]:
        """(h, w); 0 where open, and where the tensor is no picture."""
        if len(self.shape) != 4:
            return (0, 0)
        return (self.shape[2], self.shape[3]) if self.layout == "nchw" else (self.shape[1], self.shape[2])

    @property
    def channels(self) -> int:
        if len(self.shape) != 4:
            return 0
        return self.shape[1] if self.layout == "nchw" else self.shape[3]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A file's operators in an order in which they can run, its feeds and its results.

    labels: one per class where the file brings them. notes: what the reader had to decide, one sentence each.
    quantised: whether the file computes in integers, so that its own answers carry their rounding.
    """

    format: Format
    nodes: tuple[Node, ...]
    inputs: tuple[Fed, ...]
    outputs: tuple[Fed, ...]
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    quantised: bool = False
    metadata: dict[str, str] = field(default_factory=dict)

    def producers(self) -> dict[str, Node]:
        """The node that makes each tensor."""
        return {name: node for node in self.nodes for name in node.outputs}

    def consumers(self) -> dict[str, tuple[Node, ...]]:
        """The nodes that read each tensor, in order."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    def convolutions(self) -> Iterator[tuple[Node, ConvOp]]:
        for node in self.nodes:
            if isinstance(node.op, ConvOp):
                yield node, node.op
