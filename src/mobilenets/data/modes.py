"""Decoded pictures of every colour mode as 8-bit RGB: what is composed, scaled and refused stands in docs/data.md.

Works in bands of rows, so that a large picture costs its decoded form plus the result and nothing in between.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .formats import Undecodable

BACKGROUND = (255, 255, 255)
"""What stands behind transparent pixels: white, as viewers and web pages show it."""

_BAND_PX = 1_000_000
_PLAIN = ("RGB", "RGBX", "L", "1", "P", "CMYK", "YCbCr", "HSV")
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """The loaded `image` as uint8 (H, W, 3). Raises Undecodable (unsupported) for a mode that has no RGB form here."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        low, scale = _range(image)
        for rows, band in _bands(image):
            values = _values(band)
            pixels[rows] = np.clip((values - low) * scale + 0.5, 0, 255).astype(np.uint8)[:, :, None]
    elif image.mode in _WITH_ALPHA or (image.mode in _PLAIN and _has_transparency(image)):
        for rows, band in _bands(image):
            straight = band.convert("LA") if band.mode == "La" else band  # Pillow knows no other way out of La
            pixels[rows] = over_background(np.asarray(straight.convert("RGBA")))
    elif image.mode in _PLAIN:
        for rows, band in _bands(image):
            pixels[rows] = np.asarray(band if band.mode == "RGB" else band.convert("RGB"))
    else:
        raise Undecodable("unsupported", f"colour mode {image.mode}")
    return pixels


def over_background(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (H, W, 4), alpha not multiplied in, over BACKGROUND: uint8 (H, W, 3), rounded to nearest."""
    alpha = rgba[:, :, 3:].astype(np.uint16)
    mixed = rgba[:, :, :3] * alpha
    mixed += np.array(BACKGROUND, np.uint16) * (255 - alpha) + np.uint16(128)
    mixed += mixed >> 8  # with the shift below: the nearest of x / 255, exactly, within 16 bits
    return (mixed >> 8).astype(np.uint8)


def _has_transparency(image: Image.Image) -> bool:
    palette = image.palette
    return "transparency" in image.info or (palette is not None and image.mode == "P" and palette.mode == "RGBA")


def _bands(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    width, height = image.size
    step = max(1, _BAND_PX // width)
    if step >= height:
        yield slice(0, height), image
        return
    for top in range(0, height, step):
        bottom = min(height, top + step)
        yield slice(top, bottom), image.crop((0, top, width, bottom))


def _values(band: Image.Image) -> NDArray[np.float32]:
    values = np.asarray(band).astype(np.float32)
    return np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _range(image: Image.Image) -> tuple[float, float]:
    """(low, scale) that take grey values of more than 8 bits to 0..255.

    16-bit: 0..65535, whatever the picture holds, so that dark stays dark. 32-bit integers and floats carry no range:
    the first of 0..1 (floats only), 0..255 and 0..65535 that holds all values is taken, else their own range.
    """
    if image.mode.startswith("I;16"):
        return 0.0, 255 / 65535
    extremes = [(float(values.min()), float(values.max())) for values in (_values(band) for _, band in _bands(image))]
    low, high = min(e[0] for e in extremes), max(e[1] for e in extremes)
    tops = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
    for top in tops:
        if low >= 0.0 and high <= top:
            return 0.0, 255 / top
    return low, 255 / (high - low) if high > low else 0.0
