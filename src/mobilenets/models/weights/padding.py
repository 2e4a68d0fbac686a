"""How a graph's convolutions pad: PyTorch's way, TensorFlow's, or neither.

A stride-2 convolution over an even map tells them apart: TensorFlow adds the odd cell after the picture, PyTorch pads
both sides alike. Explicit pads are compared with both, at the size of the map that they are applied to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...errors import BadData
from ...specs.rows import Depthwise
from .chains import Link
from .graph import Pads
from .units import AttentionUnit, ConvUnit


@dataclass(frozen=True, slots=True)
class Padding:
    """padding: as a spec has it. unpadded: outputs of depthwise rows that pad nothing, MobileFaceNet's tail."""

    padding: Literal["symmetric", "same"]
    unpadded: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Window:
    tensor: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: int
    pads: Pads
    may_be_bare: bool = False
    aside: bool = False
    """Its result is no map that the next row reads."""


def padding_of(links: Sequence[Link], size_px: tuple[int, int], *, where: str) -> Padding:
    """The padding that all windows of `links` have, fed a picture of `size_px` (h, w).

    Raises: BadData naming the tensor whose pads are neither.
    """
    size, unpadded = size_px, set[str]()
    fits = {"symmetric": True, "same": True}
    said_same = False
    for window in _windows(links):
        same, symmetric = _same(window, size), _symmetric(window)
        said_same = said_same or (window.pads == "same" and window.stride != (1, 1))
        pads = same if window.pads == "same" else (0, 0, 0, 0) if window.pads == "valid" else window.pads
        if not any(pads) and pads not in (same, symmetric) and window.may_be_bare:
            unpadded.add(window.tensor)
        else:
            fits["symmetric"] &= pads == symmetric
            fits["same"] &= pads == same
            if not any(fits.values()):
                raise BadData(
                    f"{where}: {window.tensor!r}: pads of {pads} (top, left, bottom, right) on a map of "
                    f"{size[0]}x{size[1]} are neither TensorFlow's nor PyTorch's"
                )
        if not window.aside:
            size = _after(window, size, pads)
    return Padding(
        "same" if fits["same"] and (said_same or not fits["symmetric"]) else "symmetric", frozenset(unpadded)
    )


def _windows(links: Sequence[Link]) -> list[_Window]:
    found: list[_Window] = []
    for link in links:
        if link.pool is not None:
            found.append(_Window(link.output, link.pool.kernel, link.pool.stride, 1, link.pool.pads))
        bare = isinstance(link.row, Depthwise)
        for unit in link.units:
            if isinstance(unit, ConvUnit):
                found.append(_Window(unit.output, unit.kernel, unit.stride, unit.dilation[0], unit.pads, bare))
            elif isinstance(unit, AttentionUnit):
                found += [
                    _Window(r.output, r.kernel, r.stride, r.dilation[0], r.pads, aside=True)
                    for r in (unit.key_reduce, unit.value_reduce)
                    if r is not None
                ]
    return found


def _symmetric(window: _Window) -> tuple[int, int, int, int]:
    """What our networks pad where they pad as PyTorch's do: half an odd kernel, and nothing for an even one."""
    top, left = (window.dilation * (k // 2) if k % 2 else 0 for k in window.kernel)
    return top, left, top, left


def _same(window: _Window, size: tuple[int, int]) -> tuple[int, int, int, int]:
    totals = [
        max((-(-side // s) - 1) * s + window.dilation * (k - 1) + 1 - side, 0)
        for side, k, s in zip(size, window.kernel, window.stride, strict=True)
    ]
    top, left = totals[0] // 2, totals[1] // 2
    return top, left, totals[0] - top, totals[1] - left


def _after(window: _Window, size: tuple[int, int], pads: tuple[int, int, int, int]) -> tuple[int, int]:
    added = (pads[0] + pads[2], pads[1] + pads[3])
    h, w = (
        max((side + more - window.dilation * (k - 1) - 1) // s + 1, 1)
        for side, more, k, s in zip(size, added, window.kernel, window.stride, strict=True)
    )
    return h, w
