"""The primitive operations that every row lowers to, free of any framework.

`models` builds one module per step and `measure` counts the same steps, so the two can't drift apart.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from .activation import Activation

Padding = Literal["symmetric", "same", "valid"]
"""symmetric: dilation * (kernel // 2) on all sides, as PyTorch's networks pad. same: TensorFlow's, ceil(side / stride)
positions with the surplus after. valid: none."""

Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ConvStep:
    """Convolution, batch norm where `norm`, activation. (c_in, H, W) -> (c_out, H', W'), see `map_size`."""

    name: str
    c_in: int
    c_out: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: int = 1
    groups: int = 1
    act: Activation = "none"
    norm: bool = True
    bias: bool = False
    padding: Padding = "symmetric"

    @property
    def is_depthwise(self) -> bool:
        return self.groups == self.c_in > 1


@dataclass(frozen=True, slots=True)
class SqueezeStep:
    """Squeeze-and-excite: global mean, 1x1 to c_squeeze, act, 1x1 back, gate, multiply (V3, section 5.3)."""

    name: str
    channels: int
    c_squeeze: int
    act: Activation
    gate: Activation


@dataclass(frozen=True, slots=True)
class AttentionStep:
    """Batch norm, then Mobile MQA: `heads` queries over one key and one value (V4, section 5, equation 2).

    kv_stride > 1 reads keys and values through a strided depthwise convolution each. norm: whether those have a
    batch norm, else a bias.
    """

    name: str
    channels: int
    heads: int
    key_dim: int
    kv_stride: int
    kernel: int
    dilation: int
    padding: Padding
    norm: bool

    def reduction(self, name: str) -> ConvStep:
        """The depthwise convolution that keys (or values) are read through."""
        c, k, s = self.channels, self.kernel, self.kv_stride
        return ConvStep(
            name, c, c, (k, k), (s, s), self.dilation, c, norm=self.norm, bias=not self.norm, padding=self.padding
        )


@dataclass(frozen=True, slots=True)
class ScaleStep:
    """Learned scale per channel of a residual branch (layer scale), starting at `init`."""

    name: str
    channels: int
    init: float


@dataclass(frozen=True, slots=True)
class PoolStep:
    """Pooling without parameters. "blur" is the fixed binomial filter of Zhang 2019 (arXiv:1904.11486), zero padded.

    A max or average over an even kernel pads nothing where the network pads symmetrically; means count real cells only.
    """

    name: str
    channels: int
    kind: Literal["max", "avg", "blur"]
    kernel: Pair
    stride: Pair
    padding: Padding


Step: TypeAlias = ConvStep | SqueezeStep | AttentionStep | ScaleStep | PoolStep


def map_size(step: Step, size_px: Pair) -> Pair:
    """(h, w) of the map that `step` makes of one of `size_px`; 0 or less where the map is too small for it."""
    if not isinstance(step, (ConvStep, PoolStep)):
        return size_px
    dilation = step.dilation if isinstance(step, ConvStep) else 1
    (kh, kw), (sh, sw), padding = step.kernel, step.stride, step.padding
    return _positions(size_px[0], kh, sh, dilation, padding), _positions(size_px[1], kw, sw, dilation, padding)


def _positions(side: int, kernel: int, stride: int, dilation: int, padding: Padding) -> int:
    reach = dilation * (kernel - 1)
    if padding == "same":
        return -(-side // stride)
    if padding == "symmetric" and kernel % 2:
        side += reach
    return (side - reach - 1) // stride + 1
