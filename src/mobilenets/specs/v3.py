"""MobileNetV3: Howard et al. 2019, arXiv:1905.02244, tables 1 and 2, and what was released beside them."""

from collections.abc import Sequence
from typing import Literal

from .activation import Activation
from .rows import SE, Bottleneck, Conv, Row
from .spec import Head, Spec
from .width import make_divisible

RE: Activation = "relu"
HS: Activation = "hard_swish"

# Tables 1 and 2: kernel, exp size, #out, SE, NL, s.
LARGE = (
    (3, 16, 16, False, RE, 1),
    (3, 64, 24, False, RE, 2),
    (3, 72, 24, False, RE, 1),
    (5, 72, 40, True, RE, 2),
    (5, 120, 40, True, RE, 1),
    (5, 120, 40, True, RE, 1),
    (3, 240, 80, False, HS, 2),
    (3, 200, 80, False, HS, 1),
    (3, 184, 80, False, HS, 1),
    (3, 184, 80, False, HS, 1),
    (3, 480, 112, True, HS, 1),
    (3, 672, 112, True, HS, 1),
    (5, 672, 160, True, HS, 2),
    (5, 960, 160, True, HS, 1),
    (5, 960, 160, True, HS, 1),
)
SMALL = (
    (3, 16, 16, True, RE, 2),
    (3, 72, 24, False, RE, 2),
    (3, 88, 24, False, RE, 1),
    (5, 96, 40, True, HS, 2),
    (5, 240, 40, True, HS, 1),
    (5, 240, 40, True, HS, 1),
    (5, 120, 48, True, HS, 1),
    (5, 144, 48, True, HS, 1),
    (5, 288, 96, True, HS, 2),
    (5, 576, 96, True, HS, 1),
    (5, 576, 96, True, HS, 1),
)
# timm's 150d: every stage of Large 1.2 times as deep, rounded up; how often each row of LARGE then stands there.
REPEATS_150D = (2, 1, 2, 1, 1, 2, 1, 2, 1, 1, 1, 2, 1, 1, 2)


def mobilenet_v3(
    name: str, size: Literal["large", "small"], *, minimalistic: bool = False, c_hidden: int | None = None
) -> Spec:
    """V3 Large or Small. Minimalistic (slim): no squeeze-and-excite, no h-swish, no 5x5 kernel.

    c_hidden replaces the width after pooling, 1280 for Large. For Small all released code has 1024 where the paper
    prints 1280.
    """
    last = HS if not minimalistic else RE
    rows = [
        Bottleneck(3, exp, out, stride=s)
        if minimalistic
        else Bottleneck(k, exp, out, stride=s, act=nl, se=SE(make_divisible(exp / 4)) if se else None)
        for k, exp, out, se, nl, s in (LARGE if size == "large" else SMALL)
    ]
    return _network(name, rows, size=size, act=last, c_hidden=c_hidden or (1280 if size == "large" else 1024))


def mobilenet_v3_deep(name: str) -> Spec:
    """timm's Large at depth 1.2 (150d when its alpha is 1.5); its last convolution stands there twice."""
    base = mobilenet_v3(name, "large")
    rows = _repeated(base.rows[: len(LARGE)], REPEATS_150D)
    return Spec(
        name, base.stem, (*rows, base.rows[-1], base.rows[-1]), base.head, resolution_px=(256, 256), generation="v3"
    )


def mobilenet_v3_rw(name: str) -> Spec:
    """timm's first Large: no first skip, squeeze widths not rounded, the block's activation inside, no bias after
    pooling."""
    rows: list[Row] = []
    for i, (k, exp, out, se, nl, s) in enumerate(LARGE):
        squeeze = SE(round(exp / 4), act=nl) if se else None
        rows.append(Bottleneck(k, exp, out, stride=s, act=nl, se=squeeze, skip=i > 0))
    base = mobilenet_v3(name, "large")
    head = Head(1280, HS, norm="none", dropout=0.2)
    return Spec(name, base.stem, (*rows, base.rows[-1]), head, generation="v3")


def _network(name: str, rows: Sequence[Row], *, size: str, act: Activation, c_hidden: int) -> Spec:
    tail = Conv(1, 960 if size == "large" else 576, act=act)
    head = Head(c_hidden, act, norm="bias", dropout=0.2)
    return Spec(name, Conv(3, 16, 2, act=act), (*rows, tail), head, generation="v3")


def _repeated(rows: Sequence[Row], repeats: Sequence[int]) -> list[Row]:
    return [row for row, n in zip(rows, repeats, strict=True) for _ in range(n)]
