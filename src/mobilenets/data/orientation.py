"""Which way is up: the orientation that a picture's metadata tells, and turning its pixels by it.

Read here from the raw bytes rather than through the decoder, because there a damaged EXIF block warns or fails, and for
PNG asking for EXIF decodes the pixels (python-pillow 13). Damaged metadata counts as none: the pixels are good.
"""

import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TAG = 0x0112
_TYPES = {1: "B", 3: "H", 4: "I"}
_MAX_ENTRIES = 1000
_XMP = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([0-9])")


def orientation_of(info: Mapping[Any, Any]) -> int:
    """The orientation 1..8 in a picture's metadata as Pillow hands it over (`Image.info`); 1 where it says nothing.

    EXIF decides; XMP is asked only where EXIF holds no orientation. Values outside 1..8 mean nothing and give 1.
    """
    found = _from_exif(_exif_block(info))
    if found is None:
        found = _from_xmp(info)
    return found if found is not None and 1 <= found <= 8 else 1


def turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """`pixels` (H, W, 3) upright: what EXIF orientation 1..8 says was done to them, undone."""
    match orientation:
        case 1:
            return pixels
        case 2:
            view = pixels[:, ::-1]
        case 3:
            view = pixels[::-1, ::-1]
        case 4:
            view = pixels[::-1]
        case 5:
            view = pixels.transpose(1, 0, 2)
        case 6:
            view = np.rot90(pixels, -1)
        case 7:
            view = pixels[::-1, ::-1].transpose(1, 0, 2)
        case 8:
            view = np.rot90(pixels, 1)
        case _:
            raise ValueError(f"orientation must be 1 to 8, not {orientation}")
    return np.ascontiguousarray(view)


def _exif_block(info: Mapping[Any, Any]) -> bytes:
    exif = info.get("exif")
    if isinstance(exif, bytes):
        return exif.removeprefix(b"Exif\x00\x00")
    raw = info.get("Raw profile type exif")  # ImageMagick's PNG text: a name, a length, then hexadecimal lines
    if isinstance(raw, str):
        try:
            return bytes.fromhex("".join(raw.split("\n")[3:])).removeprefix(b"Exif\x00\x00")
        except ValueError:
            return b""
    return b""


def _from_exif(block: bytes) -> int | None:
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    try:
        at = struct.unpack_from(order + "I", block, 4)[0]
        entries = struct.unpack_from(order + "H", block, at)[0]
        for index in range(min(entries, _MAX_ENTRIES)):
            place = at + 2 + 12 * index
            tag, kind, count = struct.unpack_from(order + "HHI", block, place)
            if tag == _TAG:
                if kind not in _TYPES or count != 1:
                    return None
                return int(struct.unpack_from(order + _TYPES[kind], block, place + 8)[0])
    except struct.error:
        return None
    return None


def _from_xmp(info: Mapping[Any, Any]) -> int | None:
    xmp = info.get("XML:com.adobe.xmp") or info.get("xmp")
    raw = xmp.encode(errors="replace") if isinstance(xmp, str) else xmp
    found = _XMP.search(raw) if isinstance(raw, bytes) else None
    return int(found[1]) if found else None
