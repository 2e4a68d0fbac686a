"""MnasNet-B1: Tan et al. 2019, arXiv:1807.11626, figure 7a without gates; the search space that V3 started from.

Here because torchvision publishes weights of it beside its MobileNets.
"""

from .rows import Bottleneck, Conv, Row
from .spec import Head, Spec

# Kernel, expansion, c_out, repeats, stride of the first.
TABLE = (
    (3, 3, 24, 3, 2),
    (5, 3, 40, 3, 2),
    (5, 6, 80, 3, 2),
    (3, 6, 96, 2, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)


def mnasnet_b1(name: str) -> Spec:
    """MnasNet-B1. Its first block has no expansion."""
    rows: list[Row] = [Bottleneck(3, 32, 16)]
    c_in = 16
    for kernel, t, c, n, s in TABLE:
        for i in range(n):
            rows.append(Bottleneck(kernel, t * c_in, c, stride=s if i == 0 else 1))
            c_in = c
    return Spec(name, Conv(3, 32, 2), (*rows, Conv(1, 1280)), Head(dropout=0.2), generation="mnasnet")
