"""Published ImageNet-1k accuracies by network, width and image size, each with its source: how networks are chosen.

Float32 weights, single centre crop. V1 and V2 are slim's checkpoints (the papers' own runs differ by up to 0.6
points and cover fewer sizes), V3 the paper's table 3 and slim's README, V4 the paper's table 6, without distillation.
"""

from dataclasses import dataclass
from types import MappingProxyType

SLIM_V1 = "slim/nets/mobilenet_v1.md, 2018-02-22"
SLIM_V2 = "slim/nets/mobilenet/README.md"
V3_PAPER = "arXiv:1905.02244, table 3"
V4_PAPER = "arXiv:2404.10518, table 6"
V1_PAPER = "arXiv:1704.04861, tables 4 and 5"


@dataclass(frozen=True, slots=True)
class PublishedAccuracy:
    """Top-1 and top-5 as shares of ImageNet's validation images; top5 None where only top-1 is printed."""

    network: str
    alpha: float
    side_px: int
    top1: float
    top5: float | None
    source: str


def _points(network: str, source: str, *rows: tuple[float, int, float, float | None]) -> tuple[PublishedAccuracy, ...]:
    """Rows of (alpha, side in px, top-1 in percent, top-5 in percent) as a README prints them."""
    return tuple(
        PublishedAccuracy(
            network, alpha, px, round(top1 / 100, 5), None if top5 is None else round(top5 / 100, 5), source
        )
        for alpha, px, top1, top5 in rows
    )


# fmt: off
PUBLISHED_ACCURACY: tuple[PublishedAccuracy, ...] = (
    *_points(
        "mobilenetv1", SLIM_V1,
        (1.0, 224, 70.9, 89.9), (1.0, 192, 70.0, 89.2), (1.0, 160, 68.0, 87.7), (1.0, 128, 65.2, 85.8),
        (0.75, 224, 68.4, 88.2), (0.75, 192, 67.2, 87.3), (0.75, 160, 65.3, 86.0), (0.75, 128, 62.1, 83.9),
        (0.5, 224, 63.3, 84.9), (0.5, 192, 61.7, 83.6), (0.5, 160, 59.1, 81.9), (0.5, 128, 56.3, 79.4),
        (0.25, 224, 49.8, 74.2), (0.25, 192, 47.7, 72.3), (0.25, 160, 45.5, 70.3), (0.25, 128, 41.5, 66.3),
    ),
    *_points("mobilenetv1_full", V1_PAPER, (1.0, 224, 71.7, None)),
    *_points("mobilenetv1_shallow", V1_PAPER, (1.0, 224, 65.3, None)),
    *_points(
        "mobilenetv2", SLIM_V2,
        (1.4, 224, 75.0, 92.5), (1.3, 224, 74.4, 92.1),
        (1.0, 224, 71.8, 91.0), (1.0, 192, 70.7, 90.1), (1.0, 160, 68.8, 89.0), (1.0, 128, 65.3, 86.9),
        (1.0, 96, 60.3, 83.2),
        (0.75, 224, 69.8, 89.6), (0.75, 192, 68.7, 88.9), (0.75, 160, 66.4, 87.3), (0.75, 128, 63.2, 85.3),
        (0.75, 96, 58.8, 81.6),
        (0.5, 224, 65.4, 86.4), (0.5, 192, 63.9, 85.4), (0.5, 160, 61.0, 83.2), (0.5, 128, 57.7, 80.8),
        (0.5, 96, 51.2, 75.8),
        (0.35, 224, 60.3, 82.9), (0.35, 192, 58.2, 81.2), (0.35, 160, 55.7, 79.1), (0.35, 128, 50.8, 75.0),
        (0.35, 96, 45.5, 70.4),
    ),
    *_points("mobilenetv3_large", V3_PAPER, (1.0, 224, 75.2, None), (0.75, 224, 73.3, None)),
    *_points("mobilenetv3_large", V4_PAPER, (0.5, 224, 69.2, None)),
    *_points("mobilenetv3_small", V3_PAPER, (1.0, 224, 67.4, None), (0.75, 224, 65.4, None)),
    *_points("mobilenetv3_large_minimal", SLIM_V2, (1.0, 224, 72.3, None)),
    *_points("mobilenetv3_small_minimal", SLIM_V2, (1.0, 224, 61.9, None)),
    *_points("mobilenetv3_edgetpu", SLIM_V2, (1.0, 224, 75.6, None), (0.75, 224, 73.5, None)),
    *_points("mobilenetv4_conv_small", V4_PAPER, (1.0, 224, 73.8, None)),
    *_points("mobilenetv4_conv_medium", V4_PAPER, (1.0, 256, 79.9, None)),
    *_points("mobilenetv4_conv_large", V4_PAPER, (1.0, 384, 82.9, None)),
    *_points("mobilenetv4_hybrid_medium", V4_PAPER, (1.0, 256, 80.7, None)),
    *_points("mobilenetv4_hybrid_large", V4_PAPER, (1.0, 384, 83.4, None)),
)
# fmt: on

_TOP1 = MappingProxyType({(p.network, p.alpha, p.side_px): p.top1 for p in PUBLISHED_ACCURACY})


def published_top1(network: str, alpha: float, resolution: int | tuple[int, int]) -> float | None:
    """The published top-1 (a share) of a canonical network at width `alpha` and image size, None where there is none.

    resolution: side in px of a square image, or (h, w).
    """
    h, w = (resolution, resolution) if isinstance(resolution, int) else resolution
    return _TOP1.get((network, round(alpha, 6), h)) if h == w else None
