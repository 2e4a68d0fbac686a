"""MobileNetV2: Sandler et al. 2018, arXiv:1801.04381, table 2."""

from collections.abc import Sequence

from .rows import Bottleneck, Conv, Row
from .spec import Head, Spec

# Table 2: expansion t, channels c, repeats n, stride s of the first.
TABLE = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
REPEATS = tuple(row[2] for row in TABLE)
# timm's depth multipliers: repeats of the middle stages * 1.2 or 1.4, rounded up, first and last stage kept.
REPEATS_110D = (1, 3, 4, 5, 4, 4, 1)
REPEATS_120D = (1, 3, 5, 6, 5, 5, 1)


def mobilenet_v2(name: str, repeats: Sequence[int] = REPEATS) -> Spec:
    """V2, with other `repeats` per stage where timm's depth multiplier asks for them."""
    stem = Conv(3, 32, 2, act="relu6")
    rows: list[Row] = []
    c_in = stem.c_out
    for (t, c, _, s), n in zip(TABLE, repeats, strict=True):
        for i in range(n):
            rows.append(Bottleneck(3, c_in * t, c, stride=s if i == 0 else 1, act="relu6"))
            c_in = c
    rows.append(Conv(1, 1280, act="relu6"))
    return Spec(name, stem, tuple(rows), Head(dropout=0.2), generation="v2")
