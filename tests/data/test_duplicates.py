"""Like pictures: found when re-encoded, not invented for flat, tiny or simple ones, and fast for many."""

import io
import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import encoded, scene
from PIL import Image, ImageEnhance

from mobilenets.data import read_image
from mobilenets.data.duplicates import (
    MAX_BITS,
    Fingerprint,
    close_hashes,
    difference_hash,
    same_pictures,
    thumbnail,
)


def fingerprint(pixels: np.ndarray, content: bytes) -> Fingerprint:
    value = difference_hash(pixels)
    return Fingerprint(content, pixels.tobytes(), value, thumbnail(pixels) if value is not None else None)


def groups(*pictures: np.ndarray) -> list[tuple[bool, list[int]]]:
    return same_pictures([fingerprint(p, bytes([i])) for i, p in enumerate(pictures)])


def photo(seed: int = 0) -> np.ndarray:
    return scene(240, 320, seed=seed)


CHANGES = {
    "quality 30": lambda image: Image.open(io.BytesIO(encoded(image, "JPEG", quality=30))).convert("RGB"),
    "half the size": lambda image: image.resize((160, 120)),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_picture_saved_again_is_near(change: str) -> None:
    for seed in range(8):
        again = np.asarray(CHANGES[change](Image.fromarray(photo(seed))))
        assert groups(photo(seed), photo(seed + 100), again) == [(False, [0, 2])]


def test_equal_bytes_or_equal_pixels_are_exact() -> None:
    a, b = photo(), photo(1)
    assert groups(a, b, a) == [(True, [0, 2])]
    prints = [fingerprint(a, b"one"), fingerprint(b, b"two"), fingerprint(photo(2), b"one")]
    assert same_pictures(prints) == [(True, [0, 2])]


def test_different_pictures_are_different() -> None:
    assert groups(*(photo(seed) for seed in range(60))) == []


def test_the_same_drawing_in_another_colour_is_different() -> None:
    red, green = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
    rng = np.random.default_rng(0)
    drawing = np.kron(rng.integers(40, 256, (8, 8)), np.ones((8, 8))).astype(np.uint8)
    red[:, :, 0], green[:, :, 1] = drawing, drawing
    hashes = difference_hash(red), difference_hash(green)
    assert None not in hashes
    assert bin(hashes[0] ^ hashes[1]).count("1") <= MAX_BITS, "the hash alone would call them near"
    assert groups(red, green) == []


def test_flat_and_tiny_pictures_count_only_where_their_pixels_are_equal() -> None:
    flat = [np.full((64, 64, 3), level, np.uint8) for level in (100, 101, 100)]
    assert groups(*flat) == [(True, [0, 2])]
    tiny = np.random.default_rng(0).integers(0, 256, (31, 64, 3), dtype=np.uint8)
    other = tiny.copy()
    other[0, 0] ^= 1
    assert groups(tiny, other, tiny) == [(True, [0, 2])]
    assert difference_hash(np.pad(tiny, ((0, 1), (0, 0), (0, 0)))) is not None, "one row more and it has a hash"


def test_a_chain_of_near_and_exact_ones_is_one_group() -> None:
    a = photo()
    b = np.asarray(CHANGES["quality 30"](Image.fromarray(a)))
    assert groups(a, b, a, photo(5)) == [(False, [0, 1, 2])]


@settings(max_examples=30)
@given(st.sets(st.integers(0, 2**64 - 1), max_size=20), st.lists(st.sets(st.integers(0, 63), max_size=5), max_size=20))
def test_close_hashes_are_all_pairs_within_three_bits(seeds: set[int], flips: list[set[int]]) -> None:
    values = set(seeds)
    for value, bits in zip(sorted(seeds), flips, strict=False):
        values.add(value ^ sum(1 << bit for bit in bits))
    expected = [(a, b) for a, b in itertools.combinations(sorted(values), 2) if bin(a ^ b).count("1") <= MAX_BITS]
    assert close_hashes(np.array(sorted(values), np.uint64)) == sorted(expected)


def test_many_hashes_take_seconds_not_pairs() -> None:
    rng = np.random.default_rng(0)
    hashes = np.unique(rng.integers(0, 2**64, 200_000, dtype=np.uint64))
    planted = hashes[::1000] ^ np.uint64(0b1011)
    start = time.process_time()
    found = close_hashes(np.unique(np.concatenate([hashes, planted])))
    assert time.process_time() - start < 10
    assert len(found) >= len(planted)


def test_grocery_has_none_and_one_saved_again_is_found(shared) -> None:
    files = sorted((shared / "data" / "grocery" / "val").rglob("*.jpg"))
    pictures = [read_image(file) for file in files]
    again = np.asarray(Image.open(io.BytesIO(encoded(pictures[7], "JPEG", quality=60))))
    assert groups(*pictures) == []
    assert groups(*pictures, again) == [(False, [7, len(files)])]
