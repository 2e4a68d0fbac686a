"""What can be said of a finished spec, as functions Spec -> Spec. None of them looks at a name."""

from dataclasses import replace
from typing import Literal

from ..errors import SpecError
from .activation import Activation, ClippedRelu, LeakyRelu
from .rows import MQA, UIB, Bottleneck, Conv, FusedBottleneck, NormKind, Pool, Row, stride_of
from .spec import Spec
from .width import make_divisible, squeezed


def with_name(spec: Spec, name: str) -> Spec:
    """The same network under another name."""
    return replace(spec, name=name)


def with_classes(spec: Spec, classes: int) -> Spec:
    """The same network with another classifier; 0 ends it at the embedding."""
    return replace(spec, classes=classes)


def with_in_channels(spec: Spec, in_channels: int) -> Spec:
    """The same network for images of another number of channels."""
    return replace(spec, in_channels=in_channels)


def with_resolution(spec: Spec, resolution_px: tuple[int, int]) -> Spec:
    """The same network meant for another image size (h, w)."""
    return replace(spec, resolution_px=resolution_px)


def with_stem_stride(spec: Spec, stride: int) -> Spec:
    """The same network whose stem moves by `stride`; 1 suits images of 32 to 96 px: every map is twice as large."""
    return replace(spec, stem=replace(spec.stem, stride=stride))


def with_dropout(spec: Spec, dropout: float) -> Spec:
    """The same network with another share of the embedding dropped in training."""
    return replace(spec, head=replace(spec.head, dropout=dropout))


def with_drop_path(spec: Spec, drop_path: float) -> Spec:
    """The same network with another peak chance that a residual branch is dropped in training."""
    return replace(spec, drop_path=drop_path)


def with_activation(spec: Spec, act: Activation) -> Spec:
    """The same network with `act` wherever it has a ReLU of any kind (ReLU6, clipped, leaky): what files of weights
    do not store. Gates keep theirs."""
    rows = tuple(row if isinstance(row, (MQA, Pool)) else replace(row, act=_other(row.act, act)) for row in spec.rows)
    stem = replace(spec.stem, act=_other(spec.stem.act, act))
    return replace(spec, stem=stem, rows=rows, head=replace(spec.head, act=_other(spec.head.act, act)))


def _other(act: Activation, wanted: Activation) -> Activation:
    return wanted if act in ("relu", "relu6") or isinstance(act, (ClippedRelu, LeakyRelu)) else act


def dilate(spec: Spec, output_stride: int, *, when: Literal["next", "at_once"] = "next") -> Spec:
    """Trade strides past `output_stride` for dilation, for dense tasks (V1's slim code; V2, section 6.3).

    The row that loses its stride keeps the dilation reached so far and the rows after it take the new one
    (TensorFlow, timm); "at_once" gives it the new one already (torchvision's segmentation backbones).

    Raises: SpecError for another output stride than 8, 16 or 32, or where a pooling stands past it.
    """
    if output_stride not in (8, 16, 32):
        raise SpecError(f"output_stride must be 8, 16 or 32, not {output_stride!r}")
    rows: list[Row] = []
    stride, dilation = max(stride_of(spec.stem)), 1
    for i, row in enumerate(spec.rows):
        own = max(stride_of(row))
        if own > 1 and stride * own > output_stride:
            if isinstance(row, (Pool, MQA)):
                raise SpecError(f"{spec.name}: blocks.{i} is a pooling, which can't be dilated to {output_stride}")
            reached = dilation * own
            rows.append(replace(row, stride=1, dilation=reached if when == "at_once" else dilation))
            dilation = reached
        else:
            stride *= own
            rows.append(row if isinstance(row, Pool) else replace(row, dilation=dilation))
    return replace(spec, rows=tuple(rows))


def reduced_tail(spec: Spec, how: Literal["detection", "segmentation"] = "detection") -> Spec:
    """Half the channels from the row that brings the last stride on; expansions keep their ratio to the halved input.

    "detection" (the dagger of V3's table 6; slim's `_reduce_consecutive_layers`) keeps the first row's expansion,
    "segmentation" (RF2 of V3's table 7; deeplab's feature extractor) halves it too. The head stays.

    Raises: SpecError where no row has a stride, or where a row of the tail is none that can be halved.
    """
    first = max((i for i, row in enumerate(spec.rows) if stride_of(row) != (1, 1)), default=-1)
    if first < 0:
        raise SpecError(f"{spec.name}: no row has a stride, so there is no tail to reduce")
    rows = list(spec.rows)
    listed = c_in = list(spec.blocks())[first + 1][2]
    for i, row in enumerate(rows[first:], start=first):
        halved = _halved(row, listed, c_in, keep_hidden=i == first and how == "detection", halve_hidden=i == first)
        if halved is None:
            raise SpecError(f"{spec.name}: blocks.{i} is a {type(row).__name__}, which has no reduced form")
        listed, c_in = row.outputs(listed), halved.outputs(c_in)
        rows[i] = halved
    return replace(spec, rows=tuple(rows))


def _halved(row: Row, listed: int, c_in: int, *, keep_hidden: bool, halve_hidden: bool) -> Row | None:
    match row:
        case Conv() if row.groups == 1:
            return replace(row, c_out=make_divisible(row.c_out / 2))
        case Bottleneck() | FusedBottleneck():
            c_hidden = row.c_hidden
            if not keep_hidden:
                c_hidden = make_divisible(c_hidden / 2 if halve_hidden else c_in * (c_hidden / listed))
            se = row.se and squeezed(row.se, row.c_hidden, c_hidden)
            return replace(row, c_hidden=c_hidden, c_out=make_divisible(row.c_out / 2), se=se)
        case _:
            return None


def folded(spec: Spec) -> Spec:
    """The same network with every batch norm and layer scale folded into its convolution, which has a bias instead.

    The norm in front of attention stays: no convolution precedes it. Its output projection takes the layer scale.
    """
    stem = replace(spec.stem, norm=_folded(spec.stem.norm))
    head = replace(spec.head, norm=_folded(spec.head.norm))
    return replace(spec, stem=stem, rows=tuple(_folded_row(row) for row in spec.rows), head=head)


def _folded_row(row: Row) -> Row:
    match row:
        case Pool():
            return row
        case UIB() | MQA():
            return replace(row, norm=_folded(row.norm), scale=None)
        case _:
            return replace(row, norm=_folded(row.norm))


def _folded(norm: NormKind) -> NormKind:
    return "bias" if norm in ("batch", "batch_bias") else norm
