"""MobileNetV1: Howard et al. 2017, arXiv:1704.04861, table 1, and the two ablations of section 4.1.

The last depthwise convolution strides by 1: table 1 prints 2, which its own output size contradicts.
"""

from typing import Literal

from .rows import Conv, Row, Separable
from .spec import Head, Spec
from .width import WidthRule

SLIM = WidthRule(rounding="truncate")

# Table 1: (stride, c_out) of the thirteen depthwise separable blocks.
TABLE = (
    (1, 64),
    (2, 128), (1, 128),
    (2, 256), (1, 256),
    (2, 512), (1, 512), (1, 512), (1, 512), (1, 512), (1, 512),
    (2, 1024), (1, 1024),
)  # fmt: skip
SHALLOW = TABLE[:6] + TABLE[11:]


def mobilenet_v1(name: str, variant: Literal["separable", "full", "shallow", "head"] = "separable") -> Spec:
    """V1; with all convolutions full (table 4); without the five 14x14x512 blocks (table 5); or with timm's 1x1
    convolution of 1024 before pooling ("head", timm's 100h)."""
    rows: list[Row] = [
        Conv(3, c_out, stride) if variant == "full" else Separable(3, c_out, stride)
        for stride, c_out in (SHALLOW if variant == "shallow" else TABLE)
    ]
    if variant == "head":
        rows.append(Conv(1, 1024))
    return Spec(name, Conv(3, 32, 2), tuple(rows), Head(dropout=0.001), generation="v1")
