"""The rows of a network's table: one frozen value per block, in the papers' own columns.

Every width is absolute and final; a kernel or a stride is one number or a pair (vertical, horizontal). A row lowers
itself to steps (see steps.py) for a number of input channels. Left out: anything that needs more than one input.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..errors import SpecError
from .activation import Activation, check_activation
from .checks import Sides, check_count, pair
from .steps import AttentionStep, ConvStep, Padding, Pair, PoolStep, ScaleStep, SqueezeStep, Step

NormKind = Literal["batch", "batch_bias", "bias", "none"]
"""What follows each convolution of a row: a batch norm; a bias and a batch norm; a bias alone, as files with folded
norms have; nothing."""

Downsample = Literal["stride", "avg", "blur"]
"""How a row gets smaller: its strided convolution, or that one at stride 1 and then a pooling (timm's aa and blur)."""


@dataclass(frozen=True, slots=True)
class SE:
    """Squeeze-and-excite on a row's hidden channels (V3, section 5.3); c_squeeze is absolute."""

    c_squeeze: int
    act: Activation = "relu"
    gate: Activation = "hard_sigmoid"

    def __post_init__(self) -> None:
        check_count("SE.c_squeeze", self.c_squeeze)
        check_activation("SE.act", self.act)
        check_activation("SE.gate", self.gate)


@dataclass(frozen=True, slots=True)
class Conv:
    """Plain convolution, norm, activation."""

    kernel: Sides
    c_out: int
    stride: Sides = 1
    act: Activation = "relu"
    groups: int = 1
    dilation: int = 1
    norm: NormKind = "batch"
    downsample: Downsample = "stride"

    def __post_init__(self) -> None:
        _check_row(self, kernel=self.kernel, c_out=self.c_out, groups=self.groups)

    def steps(self, c_in: int, padding: Padding) -> tuple[Step, ...]:
        return tuple(_spatial("conv", c_in, self.c_out, self.kernel, self, padding, act=self.act, groups=self.groups))

    def outputs(self, c_in: int) -> int:
        return self.c_out

    def has_skip(self, c_in: int) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Depthwise:
    """Depthwise convolution alone, with `multiplier` outputs per channel.

    pad False pads nothing: with a kernel as large as the map it is the global depthwise tail of MobileFaceNet
    (Chen et al. 2018, arXiv:1804.07573, section 3.2).
    """

    kernel: Sides
    multiplier: int = 1
    stride: Sides = 1
    act: Activation = "relu"
    dilation: int = 1
    norm: NormKind = "batch"
    downsample: Downsample = "stride"
    pad: bool = True

    def __post_init__(self) -> None:
        _check_row(self, kernel=self.kernel if self.pad else 1, multiplier=self.multiplier)
        pair("Depthwise.kernel", self.kernel)

    def steps(self, c_in: int, padding: Padding) -> tuple[Step, ...]:
        c_out, pads = c_in * self.multiplier, padding if self.pad else "valid"
        return tuple(_spatial("dw", c_in, c_out, self.kernel, self, pads, act=self.act, groups=c_in))

    def outputs(self, c_in: int) -> int:
        return c_in * self.multiplier

    def has_skip(self, c_in: int) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Separable:
    """Depthwise, then pointwise convolution, each with norm and activation (V1, figure 3 right)."""

    kernel: Sides
    c_out: int
    stride: Sides = 1
    act: Activation = "relu"
    dilation: int = 1
    norm: NormKind = "batch"
    downsample: Downsample = "stride"

    def __post_init__(self) -> None:
        _check_row(self, kernel=self.kernel, c_out=self.c_out)

    def steps(self, c_in: int, padding: Padding) -> tuple[Step, ...]:
        dw = _spatial("dw", c_in, c_in, self.kernel, self, padding, act=self.act, groups=c_in)
        return (*dw, _pointwise("pw", c_in, self.c_out, self.norm, self.act))

    def outputs(self, c_in: int) -> int:
        return self.c_out

    def has_skip(self, c_in: int) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """Inverted residual: expand 1x1, depthwise, squeeze-and-excite, linear project 1x1 (V2, table 1; V3, figure 4).

    No expansion where c_hidden equals the input. skip False leaves the residual out where it could be.
    """

    kernel: Sides
    c_hidden: int
    c_out: int
    stride: Sides = 1
    act: Activation = "relu"
    se: SE | None = None
    skip: bool = True
    dilation: int = 1
    norm: NormKind = "batch"
    downsample: Downsample = "stride"

    def __post_init__(self) -> None:
        _check_row(self, kernel=self.kernel, c_hidden=self.c_hidden, c_out=self.c_out)

    def steps(self, c_in: int, padding: Padding) -> tuple[Step, ...]:
        h = self.c_hidden
        expand = () if h == c_in else (_pointwise("expand", c_in, h, self.norm, self.act),)
        dw = _spatial("dw", h, h, self.kernel, self, padding, act=self.act, groups=h)
        return (*expand, *dw, *_squeeze(self.se, h), _pointwise("project", h, self.c_out, self.norm))

    def outputs(self, c_in: int) -> int:
        return self.c_out

    def has_skip(self, c_in: int) -> bool:
        return self.skip and _keeps_shape(self.stride, c_in, self.c_out)


@dataclass(frozen=True, slots=True)
class FusedBottleneck:
    """Bottleneck whose expansion and depthwise are one (grouped) kxk convolution: FusedIB in V4, MobileNetEdgeTPU."""

    kernel: Sides
    c_hidden: int
    c_out: int
    stride: Sides = 1
    act: Activation = "relu"
    se: SE | None = None
    skip: bool = True
    groups: int = 1
    dilation: int = 1
    norm: NormKind = "batch"
    downsample: Downsample = "stride"

    def __post_init__(self) -> None:
        _check_row(self, kernel=self.kernel, c_hidden=self.c_hidden, c_out=self.c_out, groups=self.groups)

    def steps(self, c_in: int, padding: Padding) -> tuple[Step, ...]:
        h = self.c_hidden
        expand = _spatial("expand", c_in, h, self.kernel, self, padding, act=self.act, groups=self.groups)
        return (*expand, *_squeeze(self.se, h), _pointwise("project", h, self.c_out, self.norm))

    def outputs(self, c_in: int) -> int:
        return self.c_out

    def has_skip(self, c_in: int) -> bool:
        return self.skip and _keeps_shape(self.stride, c_in, self.c_out)


@dataclass(frozen=True, slots=True)
class UIB:
    """Universal inverted bottleneck (V4, figure 4); a kernel of 0 leaves that depthwise out.

    (start, middle): (k, k) ExtraDW, (0, k) inverted bottleneck, (k, 0) ConvNext-like, (0, 0) FFN. The start depthwise
    has no activation, and strides only where there is no middle one. scale: layer scale at this start, None for none.
    """

    start: int
    middle: int
    c_hidden: int
    c_out: int
    stride: Sides = 1
    act: Activation = "relu"
    scale: float | None = None
    dilation: int = 1
    norm: NormKind = "batch"
    downsample: Downsample = "stride"

    def __post_init__(self) -> None:
        _check_row(self, kernel=1, c_hidden=self.c_hidden, c_out=self.c_out)
        for name, kernel in (("start", self.start), ("middle", self.middle)):
            if kernel:
                _check_kernel(f"UIB.{name}", kernel)
        if pair("UIB.stride", self.stride) != (1, 1) and not (self.start or self.middle):
            raise SpecError("UIB without a depthwise (start and middle 0) can't have a stride")
        _check_scale("UIB.scale", self.scale)

    def steps(self, c_in: int, padding: Padding) -> tuple[Step, ...]:
        h, steps = self.c_hidden, list[Step]()
        if self.start:
            steps += _spatial("start_dw", c_in, c_in, self.start, self, padding, groups=c_in, strided=not self.middle)
        steps.append(_pointwise("expand", c_in, h, self.norm, self.act))
        if self.middle:
            steps += _spatial("dw", h, h, self.middle, self, padding, act=self.act, groups=h)
        steps.append(_pointwise("project", h, self.c_out, self.norm))
        if self.scale is not None:
            steps.append(ScaleStep("scale", self.c_out, self.scale))
        return tuple(steps)

    def outputs(self, c_in: int) -> int:
        return self.c_out

    def has_skip(self, c_in: int) -> bool:
        return _keeps_shape(self.stride, c_in, self.c_out)


@dataclass(frozen=True, slots=True)
class MQA:
    """Mobile multi-query attention with a residual (V4, section 5); keys and values at 1 / kv_stride resolution."""

    heads: int
    key_dim: int
    kv_stride: int = 1
    kernel: int = 3
    scale: float | None = None
    dilation: int = 1
    norm: NormKind = "batch"

    def __post_init__(self) -> None:
        for name in ("heads", "key_dim", "kv_stride", "dilation"):
            check_count(f"MQA.{name}", getattr(self, name), most=65_536)
        _check_kernel("MQA.kernel", self.kernel)
        _check_scale("MQA.scale", self.scale)
        if self.norm not in ("batch", "bias"):
            raise SpecError(f"MQA.norm must be 'batch' or 'bias', not {self.norm!r}")

    def steps(self, c_in: int, padding: Padding) -> tuple[Step, ...]:
        attention = AttentionStep(
            "attention", c_in, self.heads, self.key_dim, self.kv_stride, self.kernel, self.dilation, padding,
            self.norm == "batch",
        )  # fmt: skip
        return (attention,) if self.scale is None else (attention, ScaleStep("scale", c_in, self.scale))

    def outputs(self, c_in: int) -> int:
        return c_in

    def has_skip(self, c_in: int) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Pool:
    """Maximum, mean or binomial blur over a window; no parameters."""

    kind: Literal["max", "avg", "blur"]
    kernel: Sides
    stride: Sides

    def __post_init__(self) -> None:
        if self.kind not in ("max", "avg", "blur"):
            raise SpecError(f"Pool.kind must be 'max', 'avg' or 'blur', not {self.kind!r}")
        kernel = pair("Pool.kernel", self.kernel)
        pair("Pool.stride", self.stride)
        if self.kind == "blur" and kernel not in ((3, 3), (5, 5)):
            raise SpecError(f"Pool.kernel must be 3 or 5 for a blur, not {self.kernel!r}")

    def steps(self, c_in: int, padding: Padding) -> tuple[Step, ...]:
        kernel, stride = pair("Pool.kernel", self.kernel), pair("Pool.stride", self.stride)
        return (PoolStep("pool", c_in, self.kind, kernel, stride, padding),)

    def outputs(self, c_in: int) -> int:
        return c_in

    def has_skip(self, c_in: int) -> bool:
        return False


Row: TypeAlias = Conv | Depthwise | Separable | Bottleneck | FusedBottleneck | UIB | MQA | Pool
_Strided: TypeAlias = Conv | Depthwise | Separable | Bottleneck | FusedBottleneck | UIB


def stride_of(row: Row) -> Pair:
    """(vertical, horizontal) stride of the whole row."""
    return (1, 1) if isinstance(row, MQA) else pair("stride", row.stride)


def _check_row(row: _Strided, *, kernel: Sides, **counts: int) -> None:
    kind = type(row).__name__
    _check_kernel(f"{kind}.kernel", kernel)
    for name, value in counts.items():
        check_count(f"{kind}.{name}", value)
    pair(f"{kind}.stride", row.stride, most=64)
    check_count(f"{kind}.dilation", row.dilation, most=1024)
    check_activation(f"{kind}.act", row.act)
    if row.norm not in ("batch", "batch_bias", "bias", "none"):
        raise SpecError(f"{kind}.norm must be 'batch', 'batch_bias', 'bias' or 'none', not {row.norm!r}")
    if row.downsample not in ("stride", "avg", "blur"):
        raise SpecError(f"{kind}.downsample must be 'stride', 'avg' or 'blur', not {row.downsample!r}")


def _check_kernel(where: str, kernel: Sides) -> None:
    for side in pair(where, kernel):
        if side % 2 == 0:
            raise SpecError(f"{where} must be odd, not {kernel!r}")


def _check_scale(where: str, scale: float | None) -> None:
    if scale is not None and not -1e6 < scale < 1e6:
        raise SpecError(f"{where} must be a number or left out, not {scale!r}")


def _keeps_shape(stride: Sides, c_in: int, c_out: int) -> bool:
    return stride in (1, (1, 1)) and c_in == c_out


def _pointwise(name: str, c_in: int, c_out: int, norm: NormKind, act: Activation = "none") -> ConvStep:
    batch, bias = norm in ("batch", "batch_bias"), norm in ("bias", "batch_bias")
    return ConvStep(name, c_in, c_out, act=act, norm=batch, bias=bias)


def _spatial(
    name: str,
    c_in: int,
    c_out: int,
    kernel: Sides,
    row: _Strided,
    padding: Padding,
    *,
    act: Activation = "none",
    groups: int = 1,
    strided: bool = True,
) -> Iterator[Step]:
    """The convolution of `row` that looks around, and the pooling that takes over its stride where the row says so."""
    stride = pair("stride", row.stride) if strided else (1, 1)
    pooled = row.downsample != "stride" and stride != (1, 1)
    batch, bias = row.norm in ("batch", "batch_bias"), row.norm in ("bias", "batch_bias")
    yield ConvStep(
        name, c_in, c_out, pair("kernel", kernel), (1, 1) if pooled else stride, row.dilation, groups, act, batch, bias,
        padding,
    )  # fmt: skip
    if pooled and row.downsample != "stride":
        window = stride if row.downsample == "avg" else (3, 3)
        yield PoolStep("aa", c_out, row.downsample, window, stride, "symmetric")


def _squeeze(se: SE | None, channels: int) -> tuple[Step, ...]:
    return () if se is None else (SqueezeStep("se", channels, se.c_squeeze, se.act, se.gate),)
