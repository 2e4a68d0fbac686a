"""The one way an image file becomes pixels: used by training, evaluation, prediction and export alike.

Upright, 8-bit RGB, or one error that names the file, the kind and the cause. Pillow decodes; what it leaves open is
decided in formats.py (which decoder, how large), orientation.py (which way is up) and modes.py (which colours).
"""

import contextlib
import importlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from ..errors import BadData, UnreadableImage
from .formats import READERS, Declared, Undecodable, sniff
from .modes import over_background, to_rgb
from .orientation import orientation_of, turned
from .quiet import pillow_is_quiet

ImageSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | NDArray[np.uint8]

MAX_PIXELS = 64_000_000
"""Larger pictures are refused by the size they declare, before memory is asked for: a 61-megapixel camera still fits.
Of formats whose decoders take about 20 bytes a pixel instead of 8 (_HEAVY), half as many. Peak: 650 MB."""

_HEAVY = ("WEBP", "AVIF", "JPEG2000")


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """An image file as read, with what the health check wants to know of it.

    pixels: uint8 (H, W, 3), upright. mode: Pillow's name of the stored colour mode. orientation: 1..8 as stored
    (1 for TIFF, which the decoder turns). size_px: (h, w) of the whole upright picture, also where `pixels` was
    decoded at a fraction of it.
    """

    pixels: NDArray[np.uint8]
    format: str
    mode: str
    orientation: int
    size_px: tuple[int, int]


def read_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """One picture as uint8 (H, W, 3), RGB, upright; of several frames or pages the first, of an icon the largest.

    Args:
        source: a path, the bytes of an image file, a file open for binary reading (read from its start), or a uint8
            array (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA, which goes through the same colour rules.
        max_pixels: a picture that declares more is refused before it is decoded; WebP, AVIF and JPEG 2000 at half of
            it, because their decoders take more than twice the memory.

    Transparency is composed onto white, 16-bit and float grey are scaled, not clipped, ICC profiles are left aside;
    docs/data.md has every rule. Safe to call from several threads; no global setting of Pillow is changed.

    Raises: UnreadableImage naming the file, the kind and the cause, whatever the decoder raised; BadData for an
    array of another shape or dtype.

    Example:
        >>> read_image(np.zeros((2, 3), np.uint8)).shape
        (2, 3, 3)
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    return decode_image(source, max_pixels=max_pixels).pixels


def decode_image(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO,
    *,
    max_pixels: int = MAX_PIXELS,
    enough_px: int | None = None,
) -> DecodedImage:
    """As `read_image`, with the mode, the format and the stored orientation beside the pixels.

    enough_px: where given, a JPEG whose shorter side is at least twice that long may be decoded at 1/2, 1/4 or 1/8
        of its size (never under twice `enough_px`), which is several times faster for photos straight from a camera.
    """
    name = _name_of(source)
    try:
        with _opened(source) as file:
            return _decode(file, max_pixels, enough_px)
    except Undecodable as error:
        raise UnreadableImage(name, error.kind, error.cause) from error
    except OSError as error:  # of the file system: what a decoder raises has become Undecodable
        raise UnreadableImage(name, "missing", error.strerror or str(error)) from error


def _name_of(source: object) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"<{len(source)} bytes>"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "<file>"


@contextlib.contextmanager
def _opened(source: object) -> Iterator[BinaryIO]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source)
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if "\0" in str(path):
            raise Undecodable("missing", "no file name has a null character")
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise Undecodable("not an image", "a folder" if stat.S_ISDIR(mode) else "not a regular file")
        with path.open("rb") as opened:
            yield opened
    elif hasattr(source, "read") and not isinstance(source, io.TextIOBase):
        file = cast(BinaryIO, source)
        yield file if file.seekable() else io.BytesIO(file.read())
    else:
        raise BadData(
            f"an image is a path, bytes, a file open for binary reading or a uint8 array, not {type(source).__name__}"
        )


def _decode(file: BinaryIO, max_pixels: int, enough_px: int | None) -> DecodedImage:
    length = file.seek(0, os.SEEK_END)
    declared = sniff(file, length)
    if declared.format in _HEAVY:
        max_pixels //= 2
    _refuse_large(declared.size_px, max_pixels)
    file.seek(0)
    try:
        with pillow_is_quiet():
            image = _reader(declared.format)(file)
            _refuse_large((image.size[1], image.size[0]), max_pixels)
            whole = image.size
            if enough_px is not None and declared.format == "JPEG":
                image.draft(None, (2 * enough_px, 2 * enough_px))
            # Once: after a failed load() a second one on the same object may return, the missing part black.
            image.load()
            # TIFF is turned by Pillow while it loads; the tag must not be obeyed twice. Read after load(): a PNG
            # may keep its EXIF behind its pixels.
            orientation = 1 if declared.format == "TIFF" else orientation_of(image.info)
            mode = image.mode
            pixels = to_rgb(image)
            del image
    except Undecodable:
        raise
    except Exception as error:  # whatever a decoder raises on a bad file becomes the one error of ours
        raise Undecodable(*_diagnosis(declared, error)) from error
    pixels = turned(pixels, orientation)
    size = whole if orientation >= 5 else whole[::-1]
    if declared.format == "TIFF":
        size = pixels.shape[:2]
    return DecodedImage(pixels, declared.format, mode, orientation, (size[0], size[1]))


def _reader(name: str) -> type[ImageFile.ImageFile]:
    module, attribute = READERS[name]
    try:
        return cast(type[ImageFile.ImageFile], getattr(importlib.import_module(module), attribute))
    except ImportError as error:
        raise Undecodable("unsupported", f"this Pillow reads no {name}") from error


def _refuse_large(size_px: tuple[int, int] | None, max_pixels: int) -> None:
    if size_px is not None and size_px[0] * size_px[1] > max_pixels:
        raise Undecodable("too large", f"declares {size_px[1]} x {size_px[0]} pixels, more than {max_pixels:,}")


def _diagnosis(declared: Declared, error: Exception) -> tuple[str, str]:
    """The kind and the cause for an exception of the decoder, told by its type and its words."""
    cause = f"{declared.format}: {' '.join(str(error).split()) or type(error).__name__}"
    text = str(error).lower()
    if isinstance(error, (MemoryError, Image.DecompressionBombError)) or "too large" in text:
        return "too large", cause
    if isinstance(error, EOFError) or any(word in text for word in ("truncated", "premature", "no more image data")):
        return "truncated", cause
    if isinstance(error, NotImplementedError) or any(word in text for word in ("unknown", "unsupported", "support")):
        return "unsupported", cause
    return "corrupt", cause


def _from_array(array: NDArray[np.uint8], max_pixels: int) -> NDArray[np.uint8]:
    shape = array.shape
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 3, 4)):
        raise BadData(
            f"an image array must be uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not {array.dtype} {shape}",
            hint="RGB in that order, 0..255, channels last",
        )
    if 0 in shape:
        raise UnreadableImage("<array>", "corrupt", f"no pixels in shape {shape}")
    if shape[0] * shape[1] > max_pixels:
        raise UnreadableImage("<array>", "too large", f"{shape[1]} x {shape[0]} pixels, more than {max_pixels:,}")
    if array.ndim == 2 or shape[2] == 1:
        return np.repeat(array.reshape(*shape[:2], 1), 3, axis=2)
    return over_background(array) if shape[2] == 4 else np.ascontiguousarray(array)
