"""A faster way from a picture to a tensor, for long streams.

simplejpeg (where it is installed) decodes plain JPEGs to the same pixels as Pillow. Where torch happens to be installed
it resizes uint8 images with antialiasing, four times as fast as Pillow; elsewhere Pillow computes only what the crop
keeps. Both stay within 2 levels of the reference. Whether that changes any answer is not assumed: a gate prepares
pictures both ways and puts both to the network. Everything unusual takes the reference path as it is.
"""

import os
import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import read_image
from ..data.image import MAX_PIXELS
from ..data.orientation import orientation_of, turned
from ..data.preprocessing import Resize, Window, fit_picture, normalise, resize_kept
from ..errors import UnreadableImage
from ..records import Preprocess
from ..tasks import Decoding
from .pictures import Picture, Prepare
from .targets import Session, has_module
from .trained import as_arrays, as_outputs

LEVELS = 2
"""How far a pixel may be from Pillow's: torch's bicubic is up to 2 levels off on 0.35 % of pixels, bilinear up
to 1 on 0.2 % (AVX-512) or 3.4 % (AVX2)."""
GATE_PICTURES = 64
TIES = {"float32": 0.001, "float16": 0.001, "bfloat16": 0.01}
"""Part of the largest output up to which two answers are as good as each other, by the file's precision: two levels
alone move outputs by 0.01 to 0.7 % of it. On 200 photos torch's way changed 0, 1 and 2 answers of three trained
networks in float32, all within 0.1 %. bfloat16 rounds outputs by 0.3 to 0.7 % on average, whatever the pixels."""
LONG = 1000
"""Pictures from which on the gate is repaid."""
VERY_LONG = 2000
"""Pictures from which on importing torch (about 1.5 s) is repaid too."""
_MAX_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class Way:
    """One fast way. resize, normalise: instead of the two halves of `preprocess`; starting: for each worker, once."""

    name: str
    resize: Resize
    normalise: Callable[[NDArray[np.uint8], Preprocess], NDArray[Any]] = normalise
    starting: Callable[[], None] | None = None

    def pixels(self, picture: Picture, record: Preprocess) -> NDArray[np.uint8]:
        """As `fit_picture(read_image(picture), record)`, within 2 levels. Raises UnreadableImage."""
        return fit_picture(read_fast(picture), record, resize=self.resize)

    def preparing(self, record: Preprocess) -> Prepare:
        """As `pictures.preparing`."""
        return lambda picture: self.normalise(self.pixels(picture, record), record)


def look_ahead() -> int:
    """From how many pictures on a stream is as long as any: what `ways_for` wants to know is known then."""
    return VERY_LONG if has_module("torch") and not _torch_is_imported() else LONG


def ways_for(record: Preprocess, pictures: int, *, asked: bool) -> tuple[Way, ...]:
    """The fast ways that gain for a stream of at least that many pictures, fastest first. asked: for any length."""
    if record.interpolation == "nearest" or not record.antialias or not (asked or pictures >= LONG):
        return ()
    by_pillow = Way("pillow", resize_kept)
    if has_module("torch") and (asked or _torch_is_imported() or pictures >= VERY_LONG):
        return Way("torch", resize_by_torch, normalise_by_torch, one_thread_each), by_pillow
    return (by_pillow,)


def _torch_is_imported() -> bool:
    return sys.modules.get("torch") is not None


def one_thread_each() -> None:
    """For each worker at its start: torch's own threads would get into the way of the other workers'."""
    import torch

    torch.set_num_threads(1)


def gate(
    way: Way, pictures: Iterable[Picture], record: Preprocess, session: Session, decoding: Decoding
) -> bool | None:
    """Whether the first 64 readable pictures stay within 2 levels and get the same answers the fast way, `TIES` apart.

    None where not one of them can be read: nothing is proved then.
    """
    slow, fast = [], []
    for picture in pictures:
        try:
            one, two = fit_picture(read_image(picture), record), way.pixels(picture, record)
        except UnreadableImage:
            continue
        if int(np.abs(one.astype(np.int16) - two).max()) > LEVELS:
            return False
        slow.append(normalise(one, record))
        fast.append(way.normalise(two, record))
        if len(slow) == GATE_PICTURES:
            break
    if not slow:
        return None
    answers = [[as_arrays(session.run(values[None])) for values in made] for made in (slow, fast)]
    one, two = (as_outputs([np.concatenate(column) for column in zip(*made, strict=True)]) for made in answers)
    precision = "float32" if session.facts is None else session.facts.precision
    return decoding.agreement(one, two, tie=TIES.get(precision, 0.0)) == 1.0


def resize_by_torch(image: NDArray[np.uint8], window: Window, record: Preprocess) -> NDArray[np.uint8]:
    """What `window` keeps of `image` (H, W, 3) by torch's antialiased filters on uint8: within 2 levels of Pillow's."""
    import torch

    whole = image if image.flags.writeable else image.copy()  # torch warns of arrays that can't be written
    pixels = torch.from_numpy(np.ascontiguousarray(whole)).permute(2, 0, 1)[None]  # channels last, as it lies
    done = torch.nn.functional.interpolate(pixels, window.full_px, mode=record.interpolation, antialias=True)
    resized: NDArray[np.uint8] = done[0].permute(1, 2, 0).numpy()
    return window.of(resized)


def normalise_by_torch(picture: NDArray[np.uint8], record: Preprocess) -> NDArray[Any]:
    """As `normalise`, to the bit; the usual float32 RGB planes three times as fast."""
    if (record.colour, record.dtype, record.layout) != ("rgb", "float32", "nchw"):
        return normalise(picture, record)
    import torch

    mean, std = (torch.tensor(values)[:, None, None] for values in (record.mean, record.std))
    floats = torch.empty((3, *picture.shape[:2]))
    floats.copy_(torch.from_numpy(picture).permute(2, 0, 1)).div_(255).sub_(mean).div_(std)
    values: NDArray[np.float32] = floats.numpy()
    return values


def read_fast(picture: Picture) -> NDArray[np.uint8]:
    """As `read_image`, pixel for pixel and error for error; plain JPEG files by simplejpeg where it is installed."""
    if not has_simplejpeg() or not isinstance(picture, (str, os.PathLike, bytes, bytearray)):
        return read_image(picture)
    import simplejpeg

    data = _bytes_of(picture)
    if data is None or (orientation := plain_orientation(data)) is None:
        return read_image(picture)
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB")
    except (ValueError, MemoryError):  # it stops at the least flaw; Pillow knows which ones to forgive
        return read_image(picture)
    return turned(pixels, orientation)


@cache
def has_simplejpeg() -> bool:
    """Whether the extra `fast-jpeg` is installed."""
    return has_module("simplejpeg")


def plain_orientation(data: bytes | bytearray) -> int | None:
    """The orientation 1..8 of a plain JPEG: 8-bit YCbCr or grey, Huffman-coded, of a size that is read.

    None for all other files: what to make of them is decided in one place, `read_image`. Walks the markers only.
    """
    info: dict[str, Any] = {}
    at = 2
    if data[:2] != b"\xff\xd8":
        return None
    try:
        while True:
            mark, marker, length = struct.unpack_from(">BBH", data, at)
            if mark != 0xFF or not 0xC0 <= marker <= 0xFE or length < 2:
                return None
            start, end = at + 4, at + 2 + length
            if marker in (0xC0, 0xC1, 0xC2):
                bits, height, width, components = struct.unpack_from(">BHHB", data, start)
                plain = bits == 8 and components in (1, 3) and 0 < height * width <= MAX_PIXELS
                # Components called R, G, B are no YCbCr.
                if not plain or (components == 3 and bytes(data[start + 6 : end : 3]) == b"RGB"):
                    return None
            elif marker == 0xDA:
                return orientation_of(info)
            elif 0xC3 <= marker <= 0xCF and marker not in (0xC4, 0xCC):
                return None
            elif marker == 0xEE or (marker == 0xE2 and data[start : start + 4] == b"MPF\0"):
                return None  # Adobe's marker may say that colours are stored otherwise
            elif marker == 0xE1:
                block = bytes(data[start:end])
                kind, body = ("exif", block) if block.startswith(b"Exif\0\0") else ("xmp", block.partition(b"\0")[2])
                if kind in info:
                    return None
                info[kind] = body
            at = end
    except struct.error:
        return None


def _bytes_of(picture: str | os.PathLike[str] | bytes | bytearray) -> bytes | bytearray | None:
    if isinstance(picture, (bytes, bytearray)):
        return picture
    try:
        if not os.path.isfile(picture) or os.path.getsize(picture) > _MAX_BYTES:
            return None
        with open(picture, "rb") as file:
            return file.read()
    except OSError:
        return None
