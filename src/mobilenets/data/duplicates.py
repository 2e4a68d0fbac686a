"""Which pictures are the same: equal in bytes or pixels, or nearly so by a difference hash and a second look.

The hash (Krawetz 2013, "Kind of like that"): 64 signs of brightness steps in the 9 x 8 picture; near means at most
3 bits apart and, because simple pictures share hashes without being alike, 16 x 16 thumbnails that correlate.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_BITS = 3
MIN_CORRELATION = 0.99
"""Of thumbnails, all three colours together. 362 photos: recompressed at quality 20, halved, or 15 % darker, 99 in 100
stay above it; the closest two of 1092 different photos with hashes up to 9 bits apart reach 0.93."""
MIN_SIDE_PX = 32
"""Smaller pictures hold too little for a hash to tell apart: for them only equal pixels count."""
MIN_CONTRAST = 4.0
"""Standard deviation, in grey levels, of the 9 x 8 picture under which it counts as flat: then equal pixels only."""

_THUMB_PX = 16
_BANDS = MAX_BITS + 1


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What of a picture is kept to compare it. hash: None where it says too little (tiny or flat pictures).

    thumbnail: uint8 (16, 16, 3), where there is a hash.
    """

    content: bytes
    pixels: bytes
    hash: int | None
    thumbnail: NDArray[np.uint8] | None


def difference_hash(pixels: NDArray[np.uint8]) -> int | None:
    """The 64-bit difference hash of uint8 (H, W, 3); None for a tiny or a flat picture."""
    if min(pixels.shape[:2]) < MIN_SIDE_PX:
        return None
    small = Image.fromarray(pixels).resize((9, 8), Image.Resampling.BILINEAR).convert("L")
    grey = np.asarray(small).astype(np.int16)
    if grey.std() < MIN_CONTRAST:
        return None
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).resize((_THUMB_PX, _THUMB_PX), Image.Resampling.BILINEAR))


def same_pictures(prints: Sequence[Fingerprint]) -> list[tuple[bool, list[int]]]:
    """Groups of like pictures among `prints`: (all equal in bytes or pixels?, indices), each of 2 or more.

    Cost: linear but for pictures whose hashes share a quarter; 100,000 photos take seconds, not pairs.
    """
    exact = _Groups(len(prints))
    for kind in ("content", "pixels"):
        first: dict[Hashable, int] = {}
        for index, print_ in enumerate(prints):
            exact.join(first.setdefault(getattr(print_, kind), index), index)
    near = _Groups(len(prints))
    for index in range(len(prints)):
        near.join(exact.root(index), index)
    for a, b in _near_pairs(prints, [i for i in range(len(prints)) if exact.root(i) == i]):
        near.join(a, b)
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(len(prints)):
        members[near.root(index)].append(index)
    groups = (group for group in members.values() if len(group) > 1)
    return [(len({exact.root(i) for i in group}) == 1, group) for group in groups]


def _near_pairs(prints: Sequence[Fingerprint], candidates: Sequence[int]) -> Iterator[tuple[int, int]]:
    by_hash: dict[int, list[int]] = defaultdict(list)
    for index in candidates:
        value = prints[index].hash
        if value is not None:
            by_hash[value].append(index)
    hashes = np.array(sorted(by_hash), np.uint64)
    alone = [(value, value) for value, indices in by_hash.items() if len(indices) > 1]
    for a, b in (*alone, *close_hashes(hashes)):
        left, right = by_hash[a], by_hash[b]
        alike = _features(prints, left) @ _features(prints, right).T >= MIN_CORRELATION
        yield from ((left[i], right[j]) for i, j in zip(*np.nonzero(alike), strict=True))


def close_hashes(hashes: NDArray[np.uint64]) -> list[tuple[int, int]]:
    """Pairs of the distinct `hashes` (N,) at most MAX_BITS apart: they agree in at least one of four 16-bit bands."""
    found: set[tuple[int, int]] = set()
    width = 64 // _BANDS
    for band in range(_BANDS):
        keys = (hashes >> np.uint64(band * width)) & np.uint64((1 << width) - 1)
        order = np.argsort(keys, kind="stable")
        keys, ranked = keys[order], hashes[order]
        step, active = 1, np.arange(len(hashes))
        while True:  # the neighbour `step` places on, as long as the band is the same
            active = active[active + step < len(hashes)]
            active = active[keys[active] == keys[active + step]]
            if not len(active):
                break
            a, b = ranked[active], ranked[active + step]
            close = np.bitwise_count(a ^ b) <= MAX_BITS
            pairs = zip(a[close].tolist(), b[close].tolist(), strict=True)
            found.update((min(pair), max(pair)) for pair in pairs)
            step += 1
    return sorted(found)


def _features(prints: Sequence[Fingerprint], indices: Sequence[int]) -> NDArray[np.float32]:
    """Thumbnails as (N, 768) rows of mean 0 and length 1: their products are correlations."""
    rows = np.stack([t for i in indices if (t := prints[i].thumbnail) is not None]).reshape(len(indices), -1)
    rows = rows.astype(np.float32)
    rows -= rows.mean(1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    normal: NDArray[np.float32] = rows / np.maximum(lengths, 1e-6)
    return normal


class _Groups:
    """Disjoint sets (union-find); the root of a set is its smallest member."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, index: int) -> int:
        while self._parent[index] != index:
            self._parent[index] = self._parent[self._parent[index]]
            index = self._parent[index]
        return index

    def join(self, a: int, b: int) -> None:
        low, high = sorted((self.root(a), self.root(b)))
        self._parent[high] = low
