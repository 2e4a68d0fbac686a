"""Which network of the catalogue a chain of rows is: by its lowered steps, at any width, dilated or with half a tail.

Norms, padding and the numbers of an activation are details of a file; channels, kernels, strides, gates and the kind of
activation say which network it is.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from ...errors import SpecError
from ...specs.activation import Activation, ClippedRelu, HardSigmoid, HardSwish, LeakyRelu, PRelu
from ...specs.catalogue import CATALOGUE, Dialect, Entry, dialect_rule
from ...specs.rows import Conv, Row
from ...specs.spec import Head, Spec, is_pointwise
from ...specs.steps import AttentionStep, ConvStep, PoolStep, ScaleStep, SqueezeStep, Step
from ...specs.transform import dilate, reduced_tail
from ...specs.width import WidthRule, at_alpha

ALPHAS = (0.1, 0.125, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.625, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0, 1.1, 1.2, 1.25,
          1.3, 1.4, 1.5, 1.6, 1.75, 1.8, 2.0)  # fmt: skip
"""Widths that people train; the file's own ratio of channels says which of them come into question."""
DEEPLAB = WidthRule(rounding="truncate")
"""Segmentation networks scale V2 without rounding to eight: 24 channels at 0.5 are 12."""
_DIALECTS: tuple[Dialect, ...] = ("paper", "timm", "torchvision")
_TAILS: tuple[Literal["detection", "segmentation"], ...] = ("detection", "segmentation")
_Mark: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """A network of the catalogue at a width: `spec` lowers to the chain's first `rows` rows."""

    spec: Spec
    rows: int
    variant: str = ""


def identify(
    stem: Conv, rows: Sequence[Row], head: Head | None, *, in_channels: int, backbone: bool
) -> Identity | None:
    """The network whose rows these are, None where there is none.

    head: what follows pooling, None to leave it out of account. backbone: the network may end before the chain does
    (what follows is somebody else's), may be dilated, and may have a reduced tail; the longest one wins.
    """
    found: Identity | None = None
    for entry in CATALOGUE.values():
        for alpha in _alphas(entry, rows, backbone=backbone):
            for spec, variant in _candidates(entry.name, alpha, backbone):
                kept = _matches(spec, stem, rows, head, in_channels, backbone=backbone)
                better = found is None or kept > found.rows
                if kept and better:
                    found = Identity(spec, kept, variant)
    return found


def _alphas(entry: Entry, rows: Sequence[Row], *, backbone: bool) -> tuple[float, ...]:
    """Widths near the ratio of the channels in the middle of the network, where no rule keeps them."""
    listed = list(entry.spec.blocks())[1:]
    if len(rows) < len(listed) - 1 or (not backbone and len(rows) != len(listed)):
        return ()
    middle = len(listed) // 2
    c_in = listed[middle][2]
    for row, c_in in list(_fed(rows, 0))[: middle + 1]:
        c_out = row.outputs(c_in)
    ratio = c_out / listed[middle][3]
    return tuple(a for a in sorted({*ALPHAS, entry.alpha}) if 0.8 * ratio <= a <= 1.25 * ratio)


@lru_cache(maxsize=2048)
def _candidates(name: str, alpha: float, backbone: bool) -> tuple[tuple[Spec, str], ...]:
    entry = CATALOGUE[name]
    rules = dict.fromkeys((entry.rule, *(dialect_rule(entry, dialect) for dialect in _DIALECTS), DEEPLAB))
    specs = dict.fromkeys(at_alpha(entry.spec, alpha, rule) for rule in rules)
    found = [(spec, "") for spec in specs]
    if backbone:
        found += [variant for spec in specs for variant in _variants(spec)]
    return tuple(found)


def _variants(spec: Spec) -> Iterator[tuple[Spec, str]]:
    """What detectors and segmenters make of a backbone."""
    for size in (16, 8):
        with suppress(SpecError):
            yield dilate(spec, size), f"output stride {size}"
    for how in _TAILS:
        with suppress(SpecError):
            yield reduced_tail(spec, how), f"tail reduced for {how}"


def _matches(
    spec: Spec, stem: Conv, rows: Sequence[Row], head: Head | None, in_channels: int, *, backbone: bool
) -> int:
    """How many rows of the chain are those of `spec`: all of its own, but for the pointwise convolution that ends a
    backbone; 0 where it is another network."""
    if head is not None and (spec.head.c_hidden, _kind(spec.head.act)) != (head.c_hidden, _kind(head.act)):
        return 0
    ours, theirs = (spec.stem, *spec.rows), (stem, *rows)
    shared = 0
    for (own, c_own), (other, c_other) in zip(_fed(ours, spec.in_channels), _fed(theirs, in_channels), strict=False):
        if shared and c_own != c_other:
            break
        if _marks(own, c_own, first=not shared) != _marks(other, c_other, first=not shared):
            break
        shared += 1
    if shared == len(ours) or (backbone and shared == len(ours) - 1 and is_pointwise(spec.rows[-1])):
        return shared - 1 if backbone or len(ours) == len(theirs) else 0
    return 0


def _fed(rows: Sequence[Row], c_in: int) -> Iterator[tuple[Row, int]]:
    """Each row with the channels it gets."""
    for row in rows:
        yield row, c_in
        c_in = row.outputs(c_in)


@lru_cache(maxsize=65536)
def _marks(row: Row, c_in: int, *, first: bool) -> tuple[_Mark, ...]:
    """What must be equal; the first row's input channels may differ."""
    steps = [step for step in row.steps(c_in, "symmetric") if not isinstance(step, ScaleStep)]  # folded, often
    return (("skip", row.has_skip(c_in)), *(_mark(step, first=first) for step in steps))


def _mark(step: Step, *, first: bool) -> _Mark:
    match step:
        case ConvStep():
            c_in = 0 if first else step.c_in
            groups = step.groups
            return c_in, step.c_out, step.kernel, step.stride, step.dilation, groups, _kind(step.act)
        case SqueezeStep():
            return "gate", step.channels, step.c_squeeze, _kind(step.gate)
        case PoolStep():
            return "pool", step.kind, step.kernel, step.stride
        case AttentionStep():
            kernel = step.kernel if step.kv_stride > 1 else 0
            return "attention", step.channels, step.heads, step.key_dim, step.kv_stride, kernel
        case ScaleStep():
            return ()


def _kind(act: Activation) -> str:
    """Activations that one network is found with in different files."""
    match act:
        case "relu" | "relu6" | ClippedRelu() | LeakyRelu() | PRelu():
            return "relu"
        case "hard_swish" | "swish" | HardSwish():
            return "swish"
        case "hard_sigmoid" | "sigmoid" | HardSigmoid():
            return "sigmoid"
        case _:
            return str(act)
