"""Keras layers as operators: one function per kind, and the table of the weights that each kind holds.

Keras lays kernels out (kh, kw, in, out) and depthwise ones (kh, kw, channels, multiplier). A layer that is not here
becomes an OtherOp of its class; a Lambda holds marshalled code and is never run.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...errors import BadData
from ...specs.activation import Activation, ClippedRelu, HardSigmoid, LeakyRelu
from .graph import (
    ActOp,
    Array,
    BinaryOp,
    ClipOp,
    ConvOp,
    DenseOp,
    MeanOp,
    NormOp,
    Op,
    OtherOp,
    PadOp,
    PoolOp,
    PReluOp,
    ShapeOp,
    SoftmaxOp,
)  # fmt: skip

Map = tuple[int, int, int]
"""(h, w, channels) of a tensor; 0 where it is not known."""

ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "hard_sigmoid": "hard_sigmoid",
    "hard_swish": "hard_swish",
    "hard_silu": "hard_swish",
    "swish": "swish",
    "silu": "swish",
    "gelu": "gelu",
    "tanh": "tanh",
    "leaky_relu": LeakyRelu(0.2),
}
"""Keras's words; leaky_relu's slope is that of the function, not the layer's 0.3."""
HARD_SIGMOID_2 = HardSigmoid(0.2, 0.5, 1.0)
"""What Keras 2 means by hard_sigmoid; Keras 3 means x / 6 + 0.5."""

ARITHMETIC: dict[str, Literal["add", "sub", "mul", "div"]] = {
    "Add": "add", "AddV2": "add", "math.add": "add", "__operators__.add": "add",
    "Subtract": "sub", "Sub": "sub", "math.subtract": "sub", "__operators__.sub": "sub",
    "Multiply": "mul", "Mul": "mul", "math.multiply": "mul", "__operators__.mul": "mul",
    "Divide": "div", "TrueDivide": "div", "RealDiv": "div", "math.divide": "div", "math.truediv": "div",
    "__operators__.truediv": "div",
}  # fmt: skip
"""Merging layers, Keras 3's operations, TensorFlow's node types and functions."""

FUNCTIONS = {
    "nn.relu": "relu",
    "nn.relu6": "relu6",
    "math.sigmoid": "sigmoid",
    "nn.silu": "swish",
    "math.tanh": "tanh",
    "nn.softmax": "softmax",
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_swish",
    "HardSwish": "hard_swish",
    "Silu": "swish",
    "Tanh": "tanh",
}
RESHAPING = ("Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "ActivityRegularization", "Identity",
             "Reshape", "Flatten")  # fmt: skip
NORMS = ("BatchNormalization", "SyncBatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2")


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One call of a layer.

    where: for messages. keras: the major version whose words the configuration speaks. arrays: by Keras's names.
    constant: the number among its arguments, if there is one; leading: whether it stands first.
    """

    where: str
    kind: str
    config: Mapping[str, Any]
    keras: int
    inputs: int = 1
    constant: float | None = None
    leading: bool = False
    arrays: Mapping[str, Array] | None = None

    def flag(self, key: str, default: bool = True) -> bool:
        value = self.config.get(key, default)
        if not isinstance(value, bool):
            raise BadData(f"{self.where}: {key} must be true or false, not {str(value)[:40]!r}")
        return value

    def number(self, key: str, default: float) -> float:
        value = self.config.get(key)
        return default if value is None else _number(value, f"{self.where}: {key}")

    def count(self, key: str, default: int) -> int:
        return _count(self.config.get(key, default), f"{self.where}: {key}")

    def pair(self, key: str, default: object = 1) -> tuple[int, int]:
        value = self.config.get(key)
        value = default if value is None else value
        sides = value if isinstance(value, (list, tuple)) and len(value) == 2 else (value, value)
        return _count(sides[0], f"{self.where}: {key}"), _count(sides[1], f"{self.where}: {key}")

    def padding(self) -> Literal["same", "valid"]:
        value = self.config.get("padding", "valid")
        if value not in ("same", "valid"):
            raise BadData(f"{self.where}: padding must be 'same' or 'valid', not {str(value)[:40]!r}")
        return "same" if value == "same" else "valid"

    def array(self, key: str, rank: int) -> Array:
        value = (self.arrays or {}).get(key)
        if value is None or value.ndim != rank or not value.size:
            shape = None if value is None else value.shape
            raise BadData(f"{self.where}: {key} must have {rank} axes, the file has {shape}")
        return value

    def vector(self, key: str, size: int) -> Array:
        """One number per channel."""
        value = self.array(key, 1)
        if value.shape != (size,):
            raise BadData(f"{self.where}: {key} has {value.shape[0]} numbers for {size} channels")
        return value


def weights_of(kind: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """The arrays that a layer of `kind` holds, in Keras's order."""
    bias = ("bias",) if config.get("use_bias", True) else ()
    if kind in NORMS:
        gamma = ("gamma",) if config.get("scale", True) else ()
        beta = ("beta",) if config.get("center", True) else ()
        return (*gamma, *beta, "moving_mean", "moving_variance")
    match kind:
        case "Conv2D" | "Dense":
            return ("kernel", *bias)
        case "DepthwiseConv2D":
            return ("depthwise_kernel", *bias)
        case "SeparableConv2D":
            return ("depthwise_kernel", "pointwise_kernel", *bias)
        case "PReLU":
            return ("alpha",)
        case "Normalization" if config.get("mean") is None:
            return ("mean", "variance")
        case _:
            return ()


def operators(layer: Layer, size: Map) -> tuple[Op, ...]:
    """The chain of operators that `layer` is, on an input of `size`. Raises BadData for a malformed layer."""
    if layer.kind in NORMS:
        return (_norm(layer),)
    if layer.kind in RESHAPING:
        return (ShapeOp(layer.kind.lower()),)
    match layer.kind:
        case "Conv2D" | "DepthwiseConv2D" | "SeparableConv2D":
            return (*_convolutions(layer), *_fused(layer))
        case "Dense":
            weight = np.ascontiguousarray(layer.array("kernel", 2).T)
            return (DenseOp(weight, _bias(layer, weight.shape[0])), *_fused(layer))
        case "ZeroPadding2D":
            return (PadOp(_pads(layer)),)
        case "GlobalAveragePooling2D":
            return (MeanOp(),)
        case "AveragePooling2D" | "MaxPooling2D":
            return (_pool(layer, size),)
        case "ReLU" | "LeakyReLU":
            return (_relu(layer),)
        case "PReLU":
            return (_prelu(layer),)
        case "Softmax":
            return (SoftmaxOp(),)
        case "Activation":
            return _activation(layer, layer.config.get("activation")) or (ShapeOp("identity"),)
        case "Rescaling" | "Normalization":
            return _scaling(layer)
        case "TFOpLambda":
            return (_function(layer, str(layer.config.get("function"))),)
        case "TensorFlowOpLayer":
            return (_function(layer, _node_type(layer.config.get("node_def"))),)
        case "Clip" if layer.inputs == 1:
            return (ClipOp(layer.number("x_min", -math.inf), layer.number("x_max", math.inf)),)
        case _:
            return (_function(layer, layer.kind),)


def size_after(op: Op, sizes: list[Map]) -> Map:
    """(h, w, channels) that `op` leaves."""
    h, w, c = (max(side) for side in zip(*sizes, strict=True)) if sizes else (0, 0, 0)
    match op:
        case ConvOp():
            reach = [d * (k - 1) + 1 for d, k in zip(op.dilation, op.weight.shape[2:], strict=True)]
            return (*_positions((h, w), reach, op.stride, op.pads == "same"), op.weight.shape[0])
        case PoolOp():
            return (*_positions((h, w), list(op.kernel), op.stride, op.pads == "same"), c)
        case DenseOp():
            return h, w, op.weight.shape[0]
        case MeanOp():
            return 1, 1, c
        case PadOp(pads=(top, left, bottom, right)):
            return (h + top + bottom if h else 0), (w + left + right if w else 0), c
        case ShapeOp(kind="flatten"):
            return 1, 1, h * w * c
        case _:
            return h, w, c


def scaling_of(layer: Layer) -> str:
    """What a Rescaling or Normalization layer does to pixels, in words; "" for other layers."""
    if layer.kind == "Rescaling":
        return f"x * {layer.config.get('scale')} + {layer.config.get('offset', 0.0)}"
    if layer.kind == "Normalization":
        mean, variance = _statistics(layer)
        return f"(x - {mean.tolist()}) / sqrt({variance.tolist()})"
    return ""


def _convolutions(layer: Layer) -> tuple[ConvOp, ...]:
    stride, dilation, pads = layer.pair("strides"), layer.pair("dilation_rate"), layer.padding()
    if layer.kind == "Conv2D":
        weight = np.ascontiguousarray(layer.array("kernel", 4).transpose(3, 2, 0, 1))
        groups = layer.count("groups", 1)
        if weight.shape[0] % groups:
            raise BadData(f"{layer.where}: {groups} groups do not divide {weight.shape[0]} channels")
        return (ConvOp(weight, _bias(layer, weight.shape[0]), stride, dilation, groups, pads),)
    kernel = layer.array("depthwise_kernel", 4)
    height, width, channels, multiplier = kernel.shape
    dw = np.ascontiguousarray(kernel.transpose(2, 3, 0, 1)).reshape(channels * multiplier, 1, height, width)
    if layer.kind == "DepthwiseConv2D":
        return (ConvOp(dw, _bias(layer, dw.shape[0]), stride, dilation, channels, pads),)
    pw = np.ascontiguousarray(layer.array("pointwise_kernel", 4).transpose(3, 2, 0, 1))
    return ConvOp(dw, None, stride, dilation, channels, pads), ConvOp(pw, _bias(layer, pw.shape[0]))


def _bias(layer: Layer, channels: int) -> Array | None:
    return layer.vector("bias", channels) if layer.flag("use_bias") else None


def _norm(layer: Layer) -> NormOp:
    mean = layer.array("moving_mean", 1)
    c = mean.shape[0]
    gamma = layer.vector("gamma", c) if layer.flag("scale") else np.ones(c, np.float32)
    beta = layer.vector("beta", c) if layer.flag("center") else np.zeros(c, np.float32)
    return NormOp(gamma, beta, mean, layer.vector("moving_variance", c), layer.number("epsilon", 1e-3))


def _fused(layer: Layer) -> tuple[Op, ...]:
    """A layer's own `activation=`."""
    return _activation(layer, layer.config.get("activation"))


def _activation(layer: Layer, word: object) -> tuple[Op, ...]:
    """An activation by its word, or by the object that newer files write; nothing for the linear one."""
    if isinstance(word, dict):
        named = word.get("config")
        word = named if isinstance(named, str) else word.get("registered_name") or word.get("class_name")
    word = str(word or "linear").rpartition(">")[2]
    if word == "linear":
        return ()
    if word == "softmax":
        return (SoftmaxOp(),)
    if word == "hard_sigmoid" and layer.keras < 3:
        return (ActOp(HARD_SIGMOID_2),)
    if word in ACTIVATIONS:
        return (ActOp(ACTIVATIONS[word]),)
    return (OtherOp(word[:80]),)


def _relu(layer: Layer) -> Op:
    slope = layer.number("negative_slope", layer.number("alpha", 0.3 if layer.kind == "LeakyReLU" else 0.0))
    ceiling = layer.number("max_value", math.inf)
    if layer.number("threshold", 0.0) or (slope and ceiling < math.inf) or ceiling <= 0:
        return OtherOp(layer.kind)
    if slope:
        return ActOp(LeakyRelu(slope))
    if ceiling == math.inf:
        return ActOp("relu")
    return ActOp("relu6" if ceiling == 6.0 else ClippedRelu(ceiling))


def _prelu(layer: Layer) -> Op:
    slopes = (layer.arrays or {}).get("alpha")
    if slopes is None or slopes.ndim not in (1, 3) or slopes.size != slopes.shape[-1]:
        return OtherOp(layer.kind)  # one slope per place
    return PReluOp(slopes.reshape(-1))


def _pads(layer: Layer) -> tuple[int, int, int, int]:
    value = layer.config.get("padding", 1)
    sides = value if isinstance(value, list) and len(value) == 2 else [value, value]
    (top, bottom), (left, right) = (
        side if isinstance(side, list) and len(side) == 2 else (side,) * 2 for side in sides
    )
    cells = tuple(_count(n, f"{layer.where}: padding", least=0) for n in (top, left, bottom, right))
    return cells[0], cells[1], cells[2], cells[3]


def _pool(layer: Layer, size: Map) -> Op:
    kernel = layer.pair("pool_size", 2)
    pool = PoolOp(
        "max" if layer.kind == "MaxPooling2D" else "avg", kernel, layer.pair("strides", kernel), layer.padding()
    )
    covers = kernel == size[:2] and pool.pads == "valid"
    return MeanOp() if pool.kind == "avg" and covers else pool


def _scaling(layer: Layer) -> tuple[Op, ...]:
    if layer.kind == "Normalization":
        mean, variance = _statistics(layer)
        deviation = np.maximum(np.sqrt(np.maximum(variance, 0)), np.float32(1e-7))
        return BinaryOp("sub", mean), BinaryOp("div", deviation)
    scale = _numbers(layer.config.get("scale"), f"{layer.where}: scale")
    offset = _numbers(layer.config.get("offset", 0.0), f"{layer.where}: offset")
    return (BinaryOp("mul", scale), BinaryOp("add", offset)) if offset.any() else (BinaryOp("mul", scale),)


def _statistics(layer: Layer) -> tuple[Array, Array]:
    if layer.config.get("mean") is not None:
        mean = _numbers(layer.config["mean"], f"{layer.where}: mean")
        return mean, _numbers(layer.config.get("variance"), f"{layer.where}: variance")
    found = [np.ravel((layer.arrays or {}).get(key, np.zeros(0, np.float32))) for key in ("mean", "variance")]
    if not found[0].size or found[0].size != found[1].size:
        raise BadData(f"{layer.where}: mean and variance do not fit each other")
    return found[0], found[1]


def _function(layer: Layer, name: str) -> Op:
    """A function or a merging layer, on two tensors or on a tensor and a number."""
    if name in ARITHMETIC and layer.inputs == 2 and layer.constant is None:
        return BinaryOp(ARITHMETIC[name])
    if name in ARITHMETIC and layer.inputs == 1 and layer.constant is not None:
        return BinaryOp(ARITHMETIC[name], np.asarray(layer.constant, np.float32), layer.leading)
    if name in FUNCTIONS and layer.inputs == 1:
        return _activation(layer, FUNCTIONS[name])[0]
    return OtherOp(name[:80])


def _node_type(node: object) -> str:
    """The type of a TensorFlow node that a file holds as an object, or as the text of one."""
    if isinstance(node, str):
        return next((word for word in ARITHMETIC if f'"op": "{word}"' in node), "TensorFlowOpLayer")
    return str(node.get("op")) if isinstance(node, dict) else "TensorFlowOpLayer"


def _positions(size: tuple[int, int], reach: list[int], stride: tuple[int, int], same: bool) -> tuple[int, int]:
    sides = [
        0 if not side else -(-side // s) if same else max((side - r) // s + 1, 0)
        for side, r, s in zip(size, reach, stride, strict=True)
    ]
    return sides[0], sides[1]


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e30:
        raise BadData(f"{where} must be a number, not {str(value)[:40]!r}")
    return float(value)


def _numbers(value: object, where: str) -> Array:
    """A number () or one per channel (c,)."""
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    if isinstance(value, list) and 0 < len(value) <= 4096:
        return np.array([_number(item, where) for item in value], np.float32)
    return np.asarray(_number(value, where), np.float32)


def _count(value: object, where: str, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 1_000_000:
        raise BadData(f"{where} must be a whole number from {least} on, not {str(value)[:40]!r}")
    return value
