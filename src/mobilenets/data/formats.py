"""What kind of file this is and how many pixels it declares, read from its first bytes before any decoder sees it.

The decoder is then called for that one format, which keeps formats that nobody meant to open (EPS runs Ghostscript)
out of reach, and the declared size is refused before memory is asked for. No pixel is decoded here.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

HEAD_BYTES = 64
"""Bytes that `sniff` wants to see."""

READERS: dict[str, tuple[str, str]] = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "JPEG2000": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "ICO": ("PIL.IcoImagePlugin", "IcoImageFile"),
    "PPM": ("PIL.PpmImagePlugin", "PpmImageFile"),
}
"""The formats that are read, and the Pillow class that reads each: one by content, whatever the file is called."""

_WRITTEN_AS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "ICO": (".ico",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "not read": (".heic", ".heif", ".jxl", ".svg", ".psd"),
}
SUFFIXES = frozenset(suffix for suffixes in _WRITTEN_AS.values() for suffix in suffixes)
"""Suffixes that a folder scan takes for a picture. Those that can't be read are listed, not passed over."""

_UNREAD = (
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF file"),
    (b"%!PS", "a PostScript file"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"qoif", "a QOI file"),
    (b"DDS ", "a DDS file"),
    (b"\x76\x2f\x31\x01", "an OpenEXR file"),
)

_JPEG_READ = frozenset((0xC0, 0xC1, 0xC2, 0xC9, 0xCA))
_JPEG_KINDS = {0xC3: "lossless JPEG", 0xC7: "lossless JPEG", 0xCB: "lossless JPEG", 0xCF: "lossless JPEG"}
_MAX_MARKERS = 10_000
_MAX_RUBBISH = 4096


class Undecodable(Exception):
    """What is wrong with a file before it is decoded: a kind of errors.UnreadableImage and its cause."""

    def __init__(self, kind: str, cause: str) -> None:
        super().__init__(kind, cause)
        self.kind = kind
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Declared:
    """What a file says of itself. size_px: (h, w), None where only the decoder can tell."""

    format: str
    size_px: tuple[int, int] | None


def sniff(file: BinaryIO, length: int) -> Declared:
    """The format and the declared size of a file of `length` bytes, read from its start.

    Raises Undecodable for an empty file, one that is no image, one of a format that is not read, a declared side
    of 0, and a container that says it is longer than the file.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if not head:
        raise Undecodable("empty file", "0 bytes")
    name = _format(head)
    if name is None:
        raise _not_read(file, head)
    size = _size(file, name, head, length)
    if size is not None and min(size) < 1:
        raise Undecodable("corrupt", f"declares {size[1]} x {size[0]} pixels (width x height)")
    return Declared(name, size)


def _format(head: bytes) -> str | None:
    starts = {
        b"\xff\xd8\xff": "JPEG",
        b"\x89PNG\r\n\x1a\n": "PNG",
        b"GIF87a": "GIF",
        b"GIF89a": "GIF",
        b"BM": "BMP",
        b"II*\x00": "TIFF",
        b"MM\x00*": "TIFF",
        b"II+\x00": "TIFF",
        b"MM\x00+": "TIFF",
        b"\x00\x00\x00\x0cjP  \r\n\x87\n": "JPEG2000",
        b"\xff\x4f\xff\x51": "JPEG2000",
        b"\x00\x00\x01\x00": "ICO",
    }
    for start, name in starts.items():
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PPM"
    if head[4:8] == b"ftyp" and _brands(head) & {b"avif", b"avis"}:
        return "AVIF"
    return None


def _brands(head: bytes) -> set[bytes]:
    (size,) = struct.unpack(">I", head[:4])
    box = head[: min(max(size, 16), HEAD_BYTES)]
    return {box[8:12], *(box[i : i + 4] for i in range(16, len(box) - 3, 4))}


def _not_read(file: BinaryIO, head: bytes) -> Undecodable:
    for start, what in _UNREAD:
        if head.startswith(start):
            return Undecodable("unsupported", what)
    if head[4:8] == b"ftyp" and _brands(head) & {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"mif1", b"msf1"}:
        return Undecodable("unsupported", "HEIF; convert it to JPEG or PNG")
    text = (head + file.read(1024 - HEAD_BYTES)).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<?xml", b"<svg", b"<!--")) and b"<svg" in text:
        return Undecodable("unsupported", "SVG, a vector drawing")
    if text.startswith((b"<!doctype html", b"<html")):
        return Undecodable("not an image", "an HTML page (a failed download?)")
    if head.startswith(b"PK\x03\x04"):
        return Undecodable("not an image", "a ZIP archive")
    return Undecodable("not an image", "no image format starts like this")


def _size(file: BinaryIO, name: str, head: bytes, length: int) -> tuple[int, int] | None:
    try:
        if name == "JPEG":
            return _jpeg_size(file)
        if name == "PNG" and (head[12:16] == b"IHDR" or length < 24):
            return struct.unpack(">II", head[16:24])[::-1]
        if name == "GIF":
            return struct.unpack("<HH", head[6:10])[::-1]
        if name == "BMP":
            return _bmp_size(head[14:])
        if name == "WEBP":
            return _webp_size(head, length)
        if name == "AVIF":
            _boxes_fit(file, length)
        if name == "ICO":
            return _ico_size(file)
    except struct.error as error:
        raise Undecodable("truncated", f"the file ends inside its header, after {length} bytes") from error
    return None


def _jpeg_size(file: BinaryIO) -> tuple[int, int] | None:
    """The size in the frame header (SOFn). Raises Undecodable for a coding process that the decoder lacks."""
    file.seek(2)
    for _ in range(_MAX_MARKERS):
        marker = _marker(file)
        if marker in (0xD9, 0xDA):
            return None
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            continue
        (size,) = struct.unpack(">H", file.read(2))
        if not 0xC0 <= marker <= 0xCF or marker in (0xC4, 0xC8, 0xCC):
            file.seek(max(size - 2, 0), 1)
            continue
        bits, height, width = struct.unpack(">BHH", file.read(5))
        if marker not in _JPEG_READ:
            raise Undecodable("unsupported", _JPEG_KINDS.get(marker, "hierarchical JPEG"))
        if bits != 8:
            raise Undecodable("unsupported", f"JPEG of {bits} bits a sample")
        return height, width
    raise Undecodable("corrupt", f"more than {_MAX_MARKERS} JPEG markers before the first frame")


def _marker(file: BinaryIO) -> int:
    """The next JPEG marker; a little rubbish between segments is passed over, as decoders do."""
    chunk = file.read(_MAX_RUBBISH)
    at = chunk.find(b"\xff")
    while 0 <= at < len(chunk) and chunk[at] == 0xFF:
        at += 1
    if 0 <= at < len(chunk):
        file.seek(at + 1 - len(chunk), 1)
        return chunk[at]
    if len(chunk) < _MAX_RUBBISH:
        raise Undecodable("truncated", "the file ends before its pixels begin")
    raise Undecodable("corrupt", f"no JPEG marker in {_MAX_RUBBISH} bytes")


def _bmp_size(header: bytes) -> tuple[int, int]:
    """(h, w) of a BITMAPCOREHEADER (12 bytes) or a BITMAPINFOHEADER; a negative height means stored top-down."""
    (size,) = struct.unpack("<I", header[:4])
    if size == 12:
        width, height = struct.unpack("<HH", header[4:8])
    else:
        width, height = struct.unpack("<ii", header[4:12])
    return abs(height), abs(width)


def _webp_size(head: bytes, length: int) -> tuple[int, int] | None:
    (riff,) = struct.unpack("<I", head[4:8])
    if riff + 8 > length:
        raise Undecodable("truncated", f"says it has {riff + 8} bytes and has {length}")
    chunk = head[12:16]
    if chunk == b"VP8X":
        width, height = int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    elif chunk == b"VP8L":
        (bits,) = struct.unpack("<I", head[21:25])
        width, height = (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    elif chunk == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", head[26:30]))
    else:
        return None
    return height, width


def _boxes_fit(file: BinaryIO, length: int) -> None:
    """Walk the outermost boxes of an ISO media file. Raises Undecodable where one ends after the file."""
    at = 0
    while at + 8 <= length:
        file.seek(at)
        size, _ = struct.unpack(">I4s", file.read(8))
        if size == 0:  # up to the end of the file
            return
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
        if size < 8:
            raise Undecodable("corrupt", f"a box of {size} bytes")
        at += size
    if at != length:
        raise Undecodable("truncated", f"says it has {at} bytes and has {length}")


def _ico_size(file: BinaryIO) -> tuple[int, int]:
    """The largest size among the pictures of an icon: a picture may be larger than its entry's byte can say."""
    file.seek(4)
    (entries,) = struct.unpack("<H", file.read(2))
    largest = (0, 0)
    for index in range(entries):
        file.seek(6 + 16 * index)
        at = struct.unpack("<BBBBHHII", file.read(16))[-1]
        file.seek(at)
        head = file.read(24)
        if head.startswith(b"\x89PNG"):
            size = struct.unpack(">II", head[16:24])[::-1]
        else:
            height, width = _bmp_size(head)
            size = (height // 2, width)  # the mask stands below the picture
        largest = max(largest, size, key=lambda s: s[0] * s[1])
    return largest
