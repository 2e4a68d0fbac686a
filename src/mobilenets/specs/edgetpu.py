"""MobileNetEdgeTPU: slim's V3_EDGETPU (slim/nets/mobilenet/mobilenet_v3.py; not in the V3 paper), and EdgeTPU-v2.

v2 follows the Model Garden's projects/edgetpu as timm transcribes it (timm/models/efficientnet.py).
"""

from typing import Literal

from .rows import Bottleneck, Conv, FusedBottleneck, Row
from .spec import Head, Spec

# slim: kernel, expansion, c_out, repeats, stride, fused, skip.
TABLE = (
    (3, 8, 32, 1, 2, True, True),
    (3, 4, 32, 3, 1, True, True),
    (3, 8, 48, 1, 2, True, True),
    (3, 4, 48, 3, 1, True, True),
    (3, 8, 96, 1, 2, False, True),
    (3, 4, 96, 3, 1, False, True),
    (3, 8, 96, 1, 1, False, False),
    (3, 4, 96, 3, 1, False, True),
    (5, 8, 160, 1, 2, False, True),
    (5, 4, 160, 3, 1, False, True),
    (3, 8, 192, 1, 1, False, True),
)

# size: stem kernel, stem channels, group size, channels of the seven stages, last convolution.
V2_SIZES: dict[str, tuple[int, int, int, tuple[int, ...], int]] = {
    "xs": (3, 32, 64, (16, 32, 48, 96, 144, 160, 192), 1280),
    "s": (5, 64, 64, (24, 48, 64, 128, 160, 192, 256), 1280),
    "m": (5, 64, 64, (32, 64, 80, 160, 192, 240, 320), 1344),
    "l": (7, 64, 128, (32, 64, 96, 192, 240, 256, 384), 1408),
}


def mobilenet_edgetpu(name: str) -> Spec:
    """MobileNetEdgeTPU. Its first block has expansion 1 and so shrinks to one linear 1x1 convolution."""
    rows: list[Row] = [Conv(1, 16, act="none")]
    c_in = 16
    for k, t, c, n, s, fused, skip in TABLE:
        for _ in range(n):
            c_hidden = t * c_in
            rows.append(
                FusedBottleneck(k, c_hidden, c, stride=s, skip=skip)
                if fused
                else Bottleneck(k, c_hidden, c, stride=s, skip=skip)
            )
            c_in = c
    rows.append(Conv(1, 1280))
    return Spec(name, Conv(3, 32, 2), tuple(rows), Head(dropout=0.2), generation="edgetpu")


def mobilenet_edgetpu_v2(name: str, size: Literal["xs", "s", "m", "l"]) -> Spec:
    """EdgeTPU-v2; fused rows with grouped convolutions. As in timm's weights the first 1x1 has a ReLU."""
    kernel, c_stem, group, widths, last = V2_SIZES[size]
    rows: list[Row] = [Conv(1, widths[0])]

    def fused(c_in: int, c: int, *, t: int, stride: int = 1, grouped: bool = False) -> Row:
        return FusedBottleneck(3, t * c_in, c, stride=stride, groups=t * c_in // group if grouped else 1)

    c0, c1, c2, c3, c4, c5, c6 = widths
    rows += [fused(c0, c1, t=8, stride=2), fused(c1, c1, t=4, grouped=True)]
    rows += [fused(c1, c2, t=8, stride=2), fused(c2, c2, t=4, grouped=True)]
    rows += [fused(c2, c2, t=4), fused(c2, c2, t=4, grouped=True)]
    rows += [fused(c2, c3, t=8, stride=2), *[Bottleneck(3, 4 * c3, c3)] * 3]
    rows += [Bottleneck(3, 8 * c3, c4), *[Bottleneck(3, 4 * c4, c4)] * 3]
    rows += [Bottleneck(3, 8 * c4, c5, stride=2), *[Bottleneck(3, 4 * c5, c5)] * 3]
    rows += [Bottleneck(3, 8 * c5, c6), Conv(1, last)]
    return Spec(name, Conv(kernel, c_stem, 2), tuple(rows), Head(dropout=0.2), generation="edgetpu")
