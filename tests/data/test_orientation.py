"""Which way is up: EXIF 1 to 8 in every container, XMP, and metadata that lies or is damaged."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import encoded, exif, scene
from PIL import Image, PngImagePlugin

from mobilenets.data import read_image
from mobilenets.data.image import decode_image
from mobilenets.data.orientation import orientation_of, turned

UPRIGHT = scene()
AS_STORED = {
    1: lambda p: p,
    2: np.fliplr,
    3: lambda p: np.rot90(p, 2),
    4: np.flipud,
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, 1),
    7: lambda p: np.rot90(p, 2).transpose(1, 0, 2),
    8: lambda p: np.rot90(p, -1),
}
"""What a camera stores that writes this orientation, from what it saw (EXIF 2.32, section 4.6.4 A)."""


def stored(orientation: int) -> np.ndarray:
    return np.ascontiguousarray(AS_STORED[orientation](UPRIGHT))


@pytest.mark.parametrize("orientation", AS_STORED)
def test_all_eight_come_out_upright_from_a_lossless_file(orientation: int) -> None:
    data = encoded(stored(orientation), "PNG", exif=exif(orientation))
    assert np.array_equal(read_image(data), UPRIGHT)
    unread = encoded(stored(orientation), "PNG")
    assert np.array_equal(read_image(unread), UPRIGHT) == (orientation == 1), "without the tag it must not be upright"


@pytest.mark.parametrize("orientation", AS_STORED)
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "TIFF"])
def test_containers_are_turned_once(kind: str, orientation: int) -> None:
    data = encoded(stored(orientation), kind, exif=exif(orientation), quality=95)
    pixels = read_image(data)
    assert pixels.shape == UPRIGHT.shape
    assert np.abs(pixels.astype(int) - UPRIGHT).mean() < 3


@pytest.mark.parametrize("orientation", AS_STORED)
def test_turned_equals_pillow(orientation: int) -> None:
    image = Image.open(io.BytesIO(encoded(UPRIGHT, "PNG", exif=exif(orientation))))
    from PIL import ImageOps

    assert np.array_equal(turned(UPRIGHT, orientation), np.asarray(ImageOps.exif_transpose(image)))
    assert turned(UPRIGHT, orientation).flags.c_contiguous


def test_an_orientation_that_is_none_is_our_own_bug() -> None:
    with pytest.raises(ValueError, match="1 to 8"):
        turned(UPRIGHT, 9)


@pytest.mark.parametrize("value", [0, 9, 255])
def test_undefined_values_mean_as_stored(value: int) -> None:
    assert np.array_equal(read_image(encoded(UPRIGHT, "PNG", exif=exif(value))), UPRIGHT)


def block(*, order: str = "<", kind: int = 3, count: int = 1, value: int = 6, entries: int = 1) -> bytes:
    start = b"II*\0" if order == "<" else b"MM\0*"
    packed = struct.pack(order + {1: "B", 3: "H", 4: "I"}.get(kind, "I"), value).ljust(4, b"\0")
    return start + struct.pack(order + "IHHHI", 8, entries, 0x0112, kind, count) + packed


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [1, 3, 4])
def test_the_tag_is_found_in_either_byte_order_and_width(prefix: bytes, order: str, kind: int) -> None:
    assert orientation_of({"exif": prefix + block(order=order, kind=kind)}) == 6


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"Exif\0\0",
        b"II*\0",
        b"XX*\0\x08\0\0\0",
        block()[:-6],
        block(kind=2),
        block(count=2),
        b"II*\0\xff\xff\xff\xff",
    ],
)
def test_damaged_exif_means_nothing_is_said(damaged: bytes) -> None:
    assert orientation_of({"exif": damaged}) == 1


@given(st.binary(max_size=200), st.integers(0, 40))
def test_any_bytes_give_one_of_the_eight(data: bytes, cut: int) -> None:
    assert 1 <= orientation_of({"exif": b"II*\0" + data}) <= 8
    assert orientation_of({"exif": block(entries=3)[:cut] + data}) in range(1, 9)


def test_xmp_is_asked_where_exif_is_silent() -> None:
    attribute, element = b'<x tiff:Orientation="3"/>', b"<tiff:Orientation>8</tiff:Orientation>"
    assert orientation_of({"xmp": attribute}) == 3
    assert orientation_of({"XML:com.adobe.xmp": element.decode()}) == 8
    assert orientation_of({"xmp": attribute, "exif": block(value=6)}) == 6, "EXIF decides"
    assert orientation_of({"xmp": b"tiff:Orientation=9"}) == 1


def test_a_png_that_keeps_its_orientation_in_text() -> None:
    text = "\nexif\n      26\n" + (b"Exif\0\0" + block()).hex() + "\n"
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", text, zip=True)
    assert np.array_equal(read_image(encoded(stored(6), "PNG", pnginfo=info)), UPRIGHT)
    assert orientation_of({"Raw profile type exif": "\nexif\n2\nzz"}) == 1


def test_the_record_of_a_decoding_says_how_it_was_stored() -> None:
    decoded = decode_image(encoded(stored(6), "JPEG", exif=exif(6)))
    assert (decoded.orientation, decoded.size_px, decoded.mode, decoded.format) == (6, UPRIGHT.shape[:2], "RGB", "JPEG")
