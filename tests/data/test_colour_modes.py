"""Every colour mode as 8-bit RGB: alpha over white, wide greys scaled, true CMYK, and bands equal to the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import encoded, scene
from PIL import Image

from mobilenets.data import modes, read_image
from mobilenets.data.formats import Undecodable
from mobilenets.data.modes import over_background, to_rgb
from mobilenets.errors import UnreadableImage

PIXELS = scene()
IMAGE = Image.fromarray(PIXELS)
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(values)[:, :, None], 3, 2)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB"])
def test_plain_modes_are_what_pillow_makes_of_them(mode: str) -> None:
    image = IMAGE.convert(mode)
    assert np.array_equal(read_image(encoded(image)), np.asarray(image.convert("RGB")))


@given(st.integers(0, 255), st.integers(0, 255))
def test_alpha_is_over_white_to_the_nearest_level(colour: int, alpha: int) -> None:
    pixel = np.array([[[colour, 255 - colour, 0, alpha]]], np.uint8)
    exact = (pixel[..., :3].astype(float) * alpha + 255.0 * (255 - alpha)) / 255
    assert np.array_equal(over_background(pixel), np.round(exact).astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_hidden_colours_under_transparent_pixels_stay_hidden(mode: str) -> None:
    alpha = np.zeros(PIXELS.shape[:2], np.uint8)
    alpha[:, 40:] = 255
    straight = Image.fromarray(np.dstack([PIXELS, alpha]))
    if mode in ("RGBA", "RGBa"):
        image = straight.convert(mode)
    elif mode == "PA":
        image = IMAGE.convert("L").convert("P")
        image.putalpha(Image.fromarray(alpha))
        assert image.mode == "PA"
    else:
        image = straight.convert("LA").convert(mode)
    pixels = to_rgb(image)
    assert (pixels[:, :40] == 255).all()
    opaque = np.asarray(IMAGE if mode.startswith("RGB") else IMAGE.convert("L").convert("RGB"))
    assert np.abs(pixels[:, 40:].astype(int) - opaque[:, 40:]).max() <= 1


def test_transparency_of_palettes_and_colour_keys() -> None:
    palette = IMAGE.quantize(16)
    key = palette.getpixel((0, 0))
    pixels = read_image(encoded(palette, transparency=key))
    hidden = np.asarray(palette) == key
    assert (pixels[hidden] == 255).all()
    assert np.array_equal(pixels[~hidden], np.asarray(palette.convert("RGB"))[~hidden])
    keyed = np.zeros((4, 4, 3), np.uint8)
    keyed[0] = (10, 20, 30)
    pixels = read_image(encoded(keyed, transparency=(10, 20, 30)))
    assert (pixels[0] == 255).all()
    assert (pixels[1:] == 0).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    wide = RAMP.astype(np.uint16) * 257
    assert np.array_equal(read_image(encoded(Image.fromarray(wide), kind)), grey(RAMP))
    clipped = np.asarray(Image.fromarray(wide).convert("RGB"))
    assert not np.array_equal(clipped, grey(RAMP)), "what Pillow does by itself"
    dark = np.full((4, 4), 4095, np.uint16)
    assert (read_image(encoded(Image.fromarray(dark), kind)) == 16).all(), "dark stays dark"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (RAMP / np.float32(255), RAMP),
        (RAMP.astype(np.float32), RAMP),
        (RAMP.astype(np.float32) * 257, RAMP),
        (RAMP.astype(np.float32) * 1000 - 5, RAMP),
        (RAMP.astype(np.int32), RAMP),
        (RAMP.astype(np.int32) * 257, RAMP),
        (RAMP.astype(np.int32) * 4000 - 9, RAMP),
        (np.full((3, 3), 1e9, np.float32), np.zeros((3, 3), np.uint8)),
    ],
    ids=["0..1", "0..255", "0..65535", "own range", "int 0..255", "int 0..65535", "int own range", "constant"],
)
def test_floats_and_32_bit_integers_take_the_first_range_that_holds_them(
    values: np.ndarray, expected: np.ndarray
) -> None:
    assert np.array_equal(read_image(encoded(Image.fromarray(values), "TIFF")), grey(expected))


def test_numbers_that_are_none_become_black() -> None:
    values = np.array([[np.nan, np.inf, 0.5], [-np.inf, 1.0, 0.0]], np.float32)
    assert np.array_equal(to_rgb(Image.fromarray(values)), grey([[0, 0, 128], [0, 255, 0]]).astype(np.uint8))


def test_cmyk_has_its_true_colours() -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        assert np.abs(read_image(encoded(red, kind)).astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("mode", ["YCbCr", "HSV"])
def test_other_colour_spaces_are_converted(mode: str) -> None:
    assert np.abs(to_rgb(IMAGE.convert(mode)).astype(int) - PIXELS).mean() < 4


def test_a_mode_without_an_rgb_form_is_unsupported() -> None:
    with pytest.raises(Undecodable, match="LAB"):
        to_rgb(Image.new("LAB", (4, 4)))
    with pytest.raises(UnreadableImage) as caught:
        read_image(encoded(Image.new("LAB", (4, 4)), "TIFF"))
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I", "F", "I;16", "keyed palette"])
def test_bands_are_equal_to_the_whole(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.asarray(IMAGE.convert("L")).astype(np.uint16) * 200)
    elif mode == "keyed palette":
        image = IMAGE.quantize(16)
        image.info["transparency"] = image.getpixel((0, 0))
    else:
        image = IMAGE.convert("L").convert(mode) if mode in ("I", "F") else IMAGE.convert(mode)
    whole = to_rgb(image)
    monkeypatch.setattr(modes, "_BAND_PX", 7 * image.width)
    assert np.array_equal(to_rgb(image), whole)
    monkeypatch.setattr(modes, "_BAND_PX", 1)
    assert np.array_equal(to_rgb(image), whole)
