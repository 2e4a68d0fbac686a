"""MobileNetV4: Qin et al. 2024, arXiv:2404.10518, appendix D, as TensorFlow's Model Garden and timm release it.

UIB(start, middle, c_hidden, c_out, stride); MQA(heads, key_dim, kv_stride).
"""

from dataclasses import replace
from typing import Literal

from .activation import Activation
from .rows import MQA, UIB, Conv, Downsample, FusedBottleneck, Pool, Row
from .spec import Head, Spec

LAYER_SCALE = 1e-5


def _fused(c_hidden: int, c_out: int) -> Row:
    return FusedBottleneck(3, c_hidden, c_out, stride=2)


# fmt: off
# Table 11, whose two FusedIB rows are released as pairs of convolutions, each with its activation.
CONV_SMALL: tuple[Row, ...] = (
    Conv(3, 32, 2), Conv(1, 32),
    Conv(3, 96, 2), Conv(1, 64),
    UIB(5, 5, 192, 96, 2), UIB(0, 3, 192, 96), UIB(0, 3, 192, 96), UIB(0, 3, 192, 96), UIB(0, 3, 192, 96),
    UIB(3, 0, 384, 96),
    UIB(3, 3, 576, 128, 2), UIB(5, 5, 512, 128), UIB(0, 5, 512, 128), UIB(0, 5, 384, 128), UIB(0, 3, 512, 128),
    UIB(0, 3, 512, 128),
)

# Table 12.
CONV_MEDIUM: tuple[Row, ...] = (
    _fused(128, 48),
    UIB(3, 5, 192, 80, 2), UIB(3, 3, 160, 80),
    UIB(3, 5, 480, 160, 2), UIB(3, 3, 640, 160), UIB(3, 3, 640, 160), UIB(3, 5, 640, 160), UIB(3, 3, 640, 160),
    UIB(3, 0, 640, 160), UIB(0, 0, 320, 160), UIB(3, 0, 640, 160),
    UIB(5, 5, 960, 256, 2), UIB(5, 5, 1024, 256), UIB(3, 5, 1024, 256), UIB(3, 5, 1024, 256),
    UIB(0, 0, 1024, 256), UIB(3, 0, 1024, 256), UIB(3, 5, 512, 256), UIB(5, 5, 1024, 256), UIB(0, 0, 1024, 256),
    UIB(0, 0, 1024, 256), UIB(5, 0, 512, 256),
)

# Table 14.
CONV_LARGE: tuple[Row, ...] = (
    _fused(96, 48),
    UIB(3, 5, 192, 96, 2), UIB(3, 3, 384, 96),
    UIB(3, 5, 384, 192, 2), *(UIB(3, 3, 768, 192),) * 3, UIB(3, 5, 768, 192), *(UIB(5, 3, 768, 192),) * 5,
    UIB(3, 0, 768, 192),
    UIB(5, 5, 768, 512, 2), *(UIB(5, 5, 2048, 512),) * 3, UIB(5, 0, 2048, 512), UIB(5, 3, 2048, 512),
    *(UIB(5, 0, 2048, 512),) * 2, UIB(5, 3, 2048, 512), UIB(5, 5, 2048, 512), *(UIB(5, 0, 2048, 512),) * 3,
)

# The released network; table 13 prints HYBRID_MEDIUM_PRINTED instead.
HYBRID_MEDIUM: tuple[Row, ...] = (
    _fused(128, 48),
    UIB(3, 5, 192, 80, 2), UIB(3, 3, 160, 80),
    UIB(3, 5, 480, 160, 2), UIB(0, 0, 320, 160), UIB(3, 3, 640, 160), UIB(3, 5, 640, 160), MQA(4, 64, 2),
    UIB(3, 3, 640, 160), MQA(4, 64, 2), UIB(3, 0, 640, 160), MQA(4, 64, 2), UIB(3, 3, 640, 160),
    MQA(4, 64, 2), UIB(3, 0, 640, 160),
    UIB(5, 5, 960, 256, 2), UIB(5, 5, 1024, 256), UIB(3, 5, 1024, 256), UIB(3, 5, 1024, 256),
    UIB(0, 0, 512, 256), UIB(3, 5, 512, 256), UIB(0, 0, 512, 256), UIB(0, 0, 1024, 256), MQA(4, 64),
    UIB(3, 0, 1024, 256), MQA(4, 64), UIB(5, 5, 1024, 256), MQA(4, 64), UIB(5, 0, 1024, 256),
    MQA(4, 64), UIB(5, 0, 1024, 256),
)

# Table 13, with the attention widths of the release, which the table leaves out.
HYBRID_MEDIUM_PRINTED: tuple[Row, ...] = (
    _fused(128, 48),
    UIB(3, 5, 192, 80, 2), UIB(3, 3, 160, 80),
    UIB(3, 5, 480, 160, 2), UIB(3, 3, 640, 160), UIB(3, 3, 640, 160), UIB(3, 5, 640, 160), MQA(4, 64, 2),
    UIB(3, 3, 640, 160), MQA(4, 64, 2), UIB(3, 0, 640, 160), MQA(4, 64, 2), UIB(0, 0, 640, 160),
    MQA(4, 64, 2), UIB(3, 0, 640, 160),
    UIB(5, 5, 960, 256, 2), UIB(5, 5, 1024, 256), UIB(3, 5, 1024, 256), UIB(3, 5, 1024, 256),
    UIB(0, 0, 1024, 256), UIB(3, 0, 1024, 256), UIB(3, 5, 512, 256), MQA(4, 64), UIB(5, 5, 1024, 256),
    MQA(4, 64), UIB(0, 0, 1024, 256), MQA(4, 64), UIB(0, 0, 1024, 256), MQA(4, 64),
    UIB(5, 0, 1024, 256),
)

# Table 15.
HYBRID_LARGE: tuple[Row, ...] = (
    _fused(96, 48),
    UIB(3, 5, 192, 96, 2), UIB(3, 3, 384, 96),
    UIB(3, 5, 384, 192, 2), *(UIB(3, 3, 768, 192),) * 3, UIB(3, 5, 768, 192), *(UIB(5, 3, 768, 192),) * 2,
    *(MQA(8, 48, 2), UIB(5, 3, 768, 192)) * 3, MQA(8, 48, 2), UIB(3, 0, 768, 192),
    UIB(5, 5, 768, 512, 2), *(UIB(5, 5, 2048, 512),) * 3, UIB(5, 0, 2048, 512), UIB(5, 3, 2048, 512),
    *(UIB(5, 0, 2048, 512),) * 2, UIB(5, 3, 2048, 512), UIB(5, 5, 2048, 512),
    *(MQA(8, 64), UIB(5, 0, 2048, 512)) * 4,
)

# fmt: on
# name: stem channels, activation, resolution, rows
NETWORKS: dict[str, tuple[int, Activation, int, tuple[Row, ...]]] = {
    "conv_small": (32, "relu", 224, CONV_SMALL),
    "conv_medium": (32, "relu", 256, CONV_MEDIUM),
    "conv_large": (24, "relu", 384, CONV_LARGE),
    "hybrid_medium": (32, "relu", 256, HYBRID_MEDIUM),
    "hybrid_medium_printed": (32, "relu", 256, HYBRID_MEDIUM_PRINTED),
    "hybrid_large": (24, "gelu", 384, HYBRID_LARGE),
}
Network = Literal[
    "conv_small", "conv_medium", "conv_large", "hybrid_medium", "hybrid_medium_printed", "hybrid_large"
]  # fmt: skip


def mobilenet_v4(name: str, network: Network, *, downsample: Downsample = "stride") -> Spec:
    """A V4 network. Hybrids scale every UIB and MQA branch (layer scale). "avg" and "blur" are timm's aa and blur
    forms: strided convolutions in blocks move by 1 and a pooling follows."""
    c_stem, act, side_px, table = NETWORKS[network]
    scale = LAYER_SCALE if network.startswith("hybrid") else None
    rows = tuple(_styled(row, act, scale, downsample) for row in table)
    head = Head(1280, act, norm="batch", dropout=0.3 if network == "conv_small" else 0.2)
    return Spec(
        name,
        Conv(3, c_stem, 2, act=act),
        (*rows, Conv(1, 960, act=act)),
        head,
        resolution_px=(side_px, side_px),
        generation="v4",
    )


def _styled(row: Row, act: Activation, scale: float | None, downsample: Downsample) -> Row:
    match row:
        case UIB():
            return replace(row, act=act, scale=scale, downsample=downsample)
        case MQA():
            return replace(row, scale=scale)
        case Pool():
            return row
        case _:
            return replace(row, act=act, downsample=downsample)
