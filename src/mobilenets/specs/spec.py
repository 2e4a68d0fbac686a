"""A whole network as one hashable value: stem, rows, head, and what all of them share.

It says nothing about weights or tasks. Reads and writes itself as JSON through `codec`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..codec import from_json, to_json
from ..errors import SpecError
from .activation import Activation, check_activation
from .checks import MOST_CHANNELS, check_count, check_share, pair
from .rows import Conv, NormKind, Row, stride_of
from .steps import ConvStep, Pair, Step, map_size

Generation = Literal["v1", "v2", "v3", "edgetpu", "v4", "mnasnet", "own"]


@dataclass(frozen=True, slots=True)
class Norm:
    """Batch norm of the whole network; `momentum` is the weight of the new batch, as PyTorch counts it."""

    eps: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.eps) and 0 < self.eps < 1):
            raise SpecError(f"norm: eps must be in (0, 1), not {self.eps!r}")
        if not 0 < self.momentum <= 1:
            raise SpecError(f"norm: momentum must be in (0, 1], not {self.momentum!r}")


@dataclass(frozen=True, slots=True)
class Head:
    """What follows global average pooling: a hidden 1x1 convolution of c_hidden channels (0 for none), dropout.

    V3 gives the hidden layer a bias and no norm, V4 a norm and no bias. The classifier itself is `Spec.classes`.
    """

    c_hidden: int = 0
    act: Activation = "none"
    norm: NormKind = "bias"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.c_hidden != 0:
            check_count("head: c_hidden", self.c_hidden)
        check_activation("head: act", self.act)
        check_share("head: dropout", self.dropout)

    def steps(self, c_in: int) -> tuple[ConvStep, ...]:
        """The hidden layer on the pooled 1x1 map, or nothing."""
        if not self.c_hidden:
            return ()
        batch, bias = self.norm in ("batch", "batch_bias"), self.norm in ("bias", "batch_bias")
        return (ConvStep("hidden", c_in, self.c_hidden, act=self.act, norm=batch, bias=bias),)


@dataclass(frozen=True, slots=True)
class Tap:
    """A tensor that a task may read: float (N, channels, ceil(h / stride), ceil(w / stride_w)).

    name: "stem" or "blocks.12" is a block's output; "blocks.12.expand" what its expansion leaves (SSDLite);
    "blocks.12.dw" what its depthwise convolution leaves, before squeeze-and-excite (LR-ASPP).
    stride_w differs from stride only in networks with stride pairs.
    """

    name: str
    channels: int
    stride: int
    stride_w: int


@dataclass(frozen=True, slots=True)
class Spec:
    """A MobileNet. Every width is final; `classes` 0 ends it at the embedding.

    name: what it is called; need not stand in the catalogue. alpha: the width multiplier that its widths came from,
    for the record: nothing is computed from it.
    resolution_px: (h, w) it is meant for; any other works too unless a row pads nothing.
    padding: "symmetric" is PyTorch's, "same" TensorFlow's.
    drop_path: peak chance that a residual branch is dropped in training; rises linearly from 0 with depth.
    Raises: SpecError at construction for a network that can't be, naming the row.
    """

    name: str
    stem: Conv
    rows: tuple[Row, ...]
    head: Head = Head()
    classes: int = 1000
    in_channels: int = 3
    resolution_px: tuple[int, int] = (224, 224)
    padding: Literal["symmetric", "same"] = "symmetric"
    norm: Norm = Norm()
    generation: Generation = "own"
    alpha: float = 1.0
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        check(self)

    @property
    def channels(self) -> int:
        """Channels of the last feature map."""
        return list(self.blocks())[-1][3]

    @property
    def embedding(self) -> int:
        """D: channels that the classifier reads."""
        return self.head.c_hidden or self.channels

    def blocks(self) -> Iterator[tuple[str, Row, int, int]]:
        """Every block from the stem on, as (name, row, c_in, c_out)."""
        c_in = self.in_channels
        for name, row in (("stem", self.stem), *((f"blocks.{i}", row) for i, row in enumerate(self.rows))):
            c_out = row.outputs(c_in)
            yield name, row, c_in, c_out
            c_in = c_out

    def steps(self) -> Iterator[tuple[str, Row, Step]]:
        """Every step of the backbone in execution order, as (block name, row, step)."""
        for name, row, c_in, _ in self.blocks():
            for step in row.steps(c_in, self.padding):
                yield name, row, step

    def taps(self) -> tuple[Tap, ...]:
        """Every tensor that the backbone can hand out, in execution order."""
        found: list[Tap] = []
        stride = (1, 1)
        for name, row, c_in, c_out in self.blocks():
            inner = stride
            for step in row.steps(c_in, self.padding):
                if isinstance(step, ConvStep):
                    inner = (inner[0] * step.stride[0], inner[1] * step.stride[1])
                    if step.name in ("expand", "dw"):
                        found.append(Tap(f"{name}.{step.name}", step.c_out, *inner))
            vertical, horizontal = stride_of(row)
            stride = (stride[0] * vertical, stride[1] * horizontal)
            found.append(Tap(name, c_out, *stride))
        return tuple(found)

    def tap(self, name: str) -> Tap:
        """The tap called `name`. Raises SpecError where there is none."""
        for tap in self.taps():
            if tap.name == name:
                return tap
        raise SpecError(f"{self.name} has no tap called {name!r}; see Spec.taps()")

    def pyramid(self) -> tuple[Tap, ...]:
        """The last block of each stride: what a feature pyramid reads.

        A pointwise convolution that leads straight to the classifier (V1-100h, V2, EdgeTPU) belongs to the tail and is
        left out; V3's 960 and V4's 960, which feed a hidden layer, are the last level, as in timm.
        """
        ends = len(self.rows)
        while ends > 1 and not self.head.c_hidden and is_pointwise(self.rows[ends - 1]):
            ends -= 1
        blocks = {"stem", *(f"blocks.{i}" for i in range(ends))}
        return tuple({(t.stride, t.stride_w): t for t in self.taps() if t.name in blocks}.values())


def is_pointwise(row: Row) -> bool:
    """Whether the row is a plain 1x1 convolution that keeps the map's size."""
    return isinstance(row, Conv) and row.kernel in (1, (1, 1)) and stride_of(row) == (1, 1)


def check(spec: Spec) -> None:
    """Raises SpecError, naming the place, for a network that can't be."""
    if not spec.name or len(spec.name) > 200 or not spec.name.isprintable():
        raise SpecError(f"spec: name must be 1 to 200 printable characters, not {spec.name[:40]!r}")
    if not spec.rows:
        raise SpecError(f"{spec.name}: needs at least one row")
    if len(spec.rows) > 10_000:
        raise SpecError(f"{spec.name}: {len(spec.rows)} rows are more than 10000")
    check_count(f"{spec.name}: in_channels", spec.in_channels)
    if spec.classes != 0:
        check_count(f"{spec.name}: classes", spec.classes, most=100_000_000)
    size = pair(f"{spec.name}: resolution_px", spec.resolution_px, most=100_000)
    if spec.padding not in ("symmetric", "same"):
        raise SpecError(f"{spec.name}: padding must be 'symmetric' or 'same', not {spec.padding!r}")
    if not (math.isfinite(spec.alpha) and spec.alpha > 0):
        raise SpecError(f"{spec.name}: alpha must be a positive number, not {spec.alpha!r}")
    check_share(f"{spec.name}: drop_path", spec.drop_path)
    check_size(spec, size)


def check_size(spec: Spec, size_px: Pair) -> None:
    """Raises SpecError where an image of `size_px` does not pass, or where groups do not divide channels."""
    size = size_px
    for name, _, step in spec.steps():
        where = f"{spec.name}: {name}"
        if isinstance(step, ConvStep):
            if step.c_out > MOST_CHANNELS:
                raise SpecError(f"{where}: {step.c_out} channels are more than {MOST_CHANNELS}")
            if step.c_in % step.groups or step.c_out % step.groups:
                raise SpecError(f"{where}: {step.groups} groups do not divide {step.c_in} -> {step.c_out} channels")
        size = map_size(step, size)
        if min(size) < 1:
            raise SpecError(f"{where}: an image of {size_px[0]}x{size_px[1]} px leaves nothing for {step.name!r}")


def spec_to_json(spec: Spec) -> str:
    """The spec as JSON text; `spec_from_json` gives back an equal value."""
    return to_json(spec) + "\n"


def spec_from_json(text: str, *, where: str = "spec") -> Spec:
    """The spec that `text` holds. Raises BadData or SpecError, in one line that names the place."""
    return from_json(Spec, text, where=where)
