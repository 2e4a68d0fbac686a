"""The width multiplier alpha: a table at another width, by its source's rounding rule as a value.

Howard et al. 2017 (arXiv:1704.04861, section 3.3); the rules are those of the released code (slim, Model Garden,
timm, torchvision, Keras), which differ: see `WidthRule`.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import SpecError
from .rows import SE, UIB, Bottleneck, Conv, FusedBottleneck, Row, Separable
from .spec import Spec, is_pointwise


def make_divisible(value: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `value`, at least `divisor`, never more than 10 % below `value`.

    Source: slim/nets/mobilenet/mobilenet.py.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


@dataclass(frozen=True, slots=True)
class WidthRule:
    """How a source applies alpha to a table.

    rounding: "divisible" is `make_divisible` to 8; "truncate" is max(int(c * alpha), 8) (V1).
    expansion: "ratio" takes the table's expansion ratio times the scaled input, rounded; "listed" scales the
        table's own number (torchvision's V3).
    stem_kept_below: under this alpha the stem keeps its channels (timm).
    last: the width that the classifier reads (a hidden layer, or the pointwise convolution that ends the network):
        "scaled", "grown" (never below the table's) or "kept".
    tail: the pointwise convolution before a hidden layer: "listed" scales the table's number, "ratio" takes its
        ratio to the scaled input (torchvision's V3).
    """

    rounding: Literal["divisible", "truncate"] = "divisible"
    expansion: Literal["ratio", "listed"] = "ratio"
    stem_kept_below: float = 0.0
    last: Literal["scaled", "grown", "kept"] = "grown"
    tail: Literal["listed", "ratio"] = "listed"

    def channels(self, listed: int, alpha: float) -> int:
        """`listed` channels at `alpha`."""
        return make_divisible(listed * alpha) if self.rounding == "divisible" else max(int(listed * alpha), 8)

    def last_channels(self, listed: int, alpha: float) -> int:
        """The width that the classifier reads, `listed` in the table, at `alpha`."""
        if self.last == "kept" or (self.last == "grown" and alpha < 1):
            return listed
        return self.channels(listed, alpha)


PUBLISHED = WidthRule()
"""slim's rule for V2, V3, EdgeTPU and the Model Garden's for V4: all scaled and rounded, the head kept below 1."""


def at_alpha(spec: Spec, alpha: float, rule: WidthRule = PUBLISHED) -> Spec:
    """The table `spec` at width multiplier `alpha`; at 1 it is the table itself.

    Raises: SpecError for an alpha that is not positive.
    """
    if not (math.isfinite(alpha) and 0 < alpha <= 1000):
        raise SpecError(f"alpha must be a positive number of at most 1000, not {alpha!r}")
    if alpha == 1.0:
        return spec
    c_stem = spec.stem.c_out if alpha < rule.stem_kept_below else rule.channels(spec.stem.c_out, alpha)
    rows: list[Row] = []
    listed, c_in = spec.stem.c_out, c_stem
    for i, row in enumerate(spec.rows):
        ends = i == len(spec.rows) - 1 and is_pointwise(row)
        scaled = _last(spec, row, listed, c_in, alpha, rule) if ends else _scaled(row, listed, c_in, alpha, rule)
        rows.append(scaled)
        listed, c_in = row.outputs(listed), scaled.outputs(c_in)
    head = spec.head
    if head.c_hidden:
        head = replace(head, c_hidden=rule.last_channels(head.c_hidden, alpha))
    stem = replace(spec.stem, c_out=c_stem)
    return replace(spec, stem=stem, rows=tuple(rows), head=head, alpha=spec.alpha * alpha)


def squeezed(se: SE, listed: int, c_hidden: int) -> SE:
    """`se`, made for `listed` hidden channels, on `c_hidden`: a quarter, rounded as the table's (V3, section 5.3)."""
    if se.c_squeeze == make_divisible(listed / 4):
        return replace(se, c_squeeze=make_divisible(c_hidden / 4))
    return replace(se, c_squeeze=max(1, round(c_hidden * se.c_squeeze / listed)))


def _last(spec: Spec, row: Row, listed: int, c_in: int, alpha: float, rule: WidthRule) -> Row:
    """The pointwise convolution that ends the backbone."""
    assert isinstance(row, Conv)
    if not spec.head.c_hidden:
        return replace(row, c_out=rule.last_channels(row.c_out, alpha))
    if rule.tail == "ratio":
        return replace(row, c_out=round(row.c_out / listed * c_in))
    return replace(row, c_out=rule.channels(row.c_out, alpha))


def _scaled(row: Row, listed: int, c_in: int, alpha: float, rule: WidthRule) -> Row:
    """`row`, whose input has `listed` channels in the table, on `c_in` channels at `alpha`."""

    def hidden(c_hidden: int) -> int:
        if rule.expansion == "listed":
            return rule.channels(c_hidden, alpha)
        return c_in if c_hidden == listed else make_divisible(c_in * (c_hidden / listed))

    match row:
        case Conv():
            c_out = rule.channels(row.c_out, alpha)
            return replace(row, c_out=c_out, groups=_groups(row.groups, listed, c_in, c_out))
        case Separable():
            return replace(row, c_out=rule.channels(row.c_out, alpha))
        case UIB():
            return replace(row, c_hidden=hidden(row.c_hidden), c_out=rule.channels(row.c_out, alpha))
        case Bottleneck():
            c_hidden = hidden(row.c_hidden)
            se = row.se and squeezed(row.se, row.c_hidden, c_hidden)
            return replace(row, c_hidden=c_hidden, c_out=rule.channels(row.c_out, alpha), se=se)
        case FusedBottleneck():
            c_hidden = hidden(row.c_hidden)
            se = row.se and squeezed(row.se, row.c_hidden, c_hidden)
            groups = _groups(row.groups, listed, c_in, c_hidden)
            return replace(row, c_hidden=c_hidden, c_out=rule.channels(row.c_out, alpha), se=se, groups=groups)
        case _:
            return row


def _groups(groups: int, listed: int, c_in: int, c_out: int) -> int:
    """As many groups as before where they divide both widths, as many as channels where it was depthwise."""
    if groups == listed > 1 and c_out % c_in == 0:
        return c_in
    return math.gcd(groups, c_in, c_out)
