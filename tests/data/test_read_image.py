"""read_image: sources, the one error, declared sizes, threads. Colours stand in test_colour_modes.py."""

import io
import os
import re
import struct
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from making import encoded, exif, scene
from PIL import Image, ImageFile

from mobilenets.data import read_image
from mobilenets.data.image import MAX_PIXELS, decode_image
from mobilenets.errors import BadData, UnreadableImage

PIXELS = scene()


def png_declaring(width: int, height: int, *, extra: bytes = b"") -> bytes:
    """A PNG that declares a size and holds one byte of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


def refusal(source: object) -> UnreadableImage:
    with pytest.raises(UnreadableImage) as caught:
        read_image(source)
    return caught.value


def test_every_kind_of_source_gives_the_same_picture(tmp_path: Path) -> None:
    data = encoded(PIXELS)
    file = tmp_path / "no_extension"
    file.write_bytes(data)
    read_end, write_end = os.pipe()
    os.write(write_end, encoded(PIXELS[:4, :4]))
    os.close(write_end)
    with file.open("rb") as opened:
        opened.seek(7)  # read from its start all the same
        sources = (file, str(file), data, bytearray(data), memoryview(data), io.BytesIO(data), opened, PIXELS)
        for source in sources:
            assert np.array_equal(read_image(source), PIXELS)
    with os.fdopen(read_end, "rb") as pipe:  # can't be rewound
        assert np.array_equal(read_image(pipe), PIXELS[:4, :4])


def test_arrays_follow_the_colour_rules() -> None:
    grey = PIXELS[:, :, 0]
    assert np.array_equal(read_image(grey), np.stack([grey] * 3, 2))
    assert np.array_equal(read_image(grey[:, :, None]), read_image(grey))
    half = np.dstack([PIXELS, np.full(grey.shape, 128, np.uint8)])
    assert np.array_equal(read_image(half), read_image(encoded(half)))
    assert read_image(PIXELS[::-1, ::2]).flags.c_contiguous


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_an_array_that_is_no_image_is_refused_with_what_is_wanted(array: np.ndarray) -> None:
    with pytest.raises(BadData, match=r"must be uint8 \(H, W\)"):
        read_image(array)


def test_something_else_is_refused() -> None:
    with pytest.raises(BadData, match="not int"):
        read_image(7)
    with pytest.raises(BadData, match="not StringIO"):
        read_image(io.StringIO("text"))


def test_what_is_no_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.jpg").kind == "missing"
    assert refusal(tmp_path / "none.jpg").file == str(tmp_path / "none.jpg")
    assert refusal("a\0b.jpg").kind == "missing"
    assert refusal("x" * 5000).kind == "missing"
    assert refusal(tmp_path).cause == "a folder"
    os.mkfifo(tmp_path / "pipe.jpg")
    assert refusal(tmp_path / "pipe.jpg").cause == "not a regular file"
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    assert refusal(tmp_path / "loop.jpg").kind == "missing"


JPEG = encoded(PIXELS, "JPEG")
BAD = {
    "empty": (b"", "empty file"),
    "text": (b"hello", "not an image"),
    "page": (b"<!DOCTYPE html><html>", "not an image"),
    "drawing": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "unsupported"),
    "heif": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "unsupported"),
    "three bytes": (JPEG[:3], "truncated"),
    "cut header": (JPEG[:30], "truncated"),
    "cut pixels": (JPEG[: len(JPEG) * 3 // 4], "truncated"),
    "cut png": (encoded(PIXELS)[:200], "truncated"),
    "png header": (encoded(PIXELS)[:20], "truncated"),
    "cut webp": (encoded(PIXELS, "WEBP")[:-50], "truncated"),
    "cut gif": (encoded(PIXELS, "GIF")[:-500], "truncated"),
    "cut tiff": (encoded(PIXELS, "TIFF")[:-500], ("truncated", "corrupt")),
    "cut bmp": (encoded(PIXELS, "BMP")[:-500], "truncated"),
    "zero high": (png_declaring(8, 0), "corrupt"),
    "rubbish after start": (b"\xff\xd8\xff\xe0\0\x02" + b"\0" * 100_000, "corrupt"),
    "large": (png_declaring(9000, 9000), "too large"),
    "giant": (png_declaring(2_000_000_000, 2_000_000_000), "too large"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_end_in_one_error_with_its_kind(name: str, tmp_path: Path) -> None:
    data, kinds = BAD[name]
    file = tmp_path / "bad.jpg"
    file.write_bytes(data)
    error = refusal(file)
    assert error.kind in ([kinds] if isinstance(kinds, str) else kinds)
    assert error.message == f"{file}: {error.kind}: {error.cause}"
    assert "\n" not in error.message
    assert refusal(file).message == error.message, "the same every time"


def test_damage_that_a_second_load_would_hide_is_refused() -> None:
    data = bytearray(encoded(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)))
    data[len(data) // 2 : len(data) // 2 + 8] = b"\xff" * 8
    broken_reader = Image.open(io.BytesIO(bytes(data)))
    with pytest.raises(OSError, match="stream"):
        broken_reader.load()
    broken_reader.load()  # the trap: no error, the rest black
    assert refusal(bytes(data)).kind == "corrupt"


def test_the_declared_size_is_refused_before_memory_is_asked_for() -> None:
    start = time.monotonic()
    assert "more than 64,000,000" in refusal(png_declaring(60_000, 60_000)).cause
    assert time.monotonic() - start < 0.5
    with pytest.raises(UnreadableImage, match="too large"):
        read_image(encoded(PIXELS), max_pixels=PIXELS.shape[0] * PIXELS.shape[1] - 1)
    assert read_image(encoded(PIXELS), max_pixels=PIXELS.shape[0] * PIXELS.shape[1]).shape == PIXELS.shape
    with pytest.raises(UnreadableImage, match="too large"):  # a decoder that takes twice the memory: half the pixels
        read_image(encoded(PIXELS, "WEBP"), max_pixels=PIXELS.shape[0] * PIXELS.shape[1])
    with pytest.raises(UnreadableImage, match="too large"):
        read_image(PIXELS, max_pixels=10)


def test_an_icon_is_judged_by_its_largest_picture() -> None:
    inner = png_declaring(9000, 9000)
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    assert refusal(struct.pack("<HHH", 0, 1, 1) + entry + inner).kind == "too large"
    icon = Image.fromarray(PIXELS).resize((48, 48))
    assert read_image(encoded(icon, "ICO", sizes=[(16, 16), (48, 48), (32, 32)])).shape == (48, 48, 3)


def test_the_first_frame_of_many() -> None:
    frames = [Image.fromarray(scene(seed=seed)).quantize(32) for seed in range(3)]
    first = np.asarray(frames[0].convert("RGB"))
    animated = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.array_equal(read_image(animated), first)
    pages = encoded(
        frames[0].convert("RGB"), "TIFF", save_all=True, append_images=[f.convert("RGB") for f in frames[1:]]
    )
    assert np.array_equal(read_image(pages), first)


def test_no_global_setting_is_touched_and_no_warning_escapes() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    damaged = JPEG[:2] + b"\xff\xe1\0\x12Exif\0\0II*\0\xff\xff\0\0\0\0" + JPEG[2:]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        read_image(damaged)
        with pytest.raises(UnreadableImage):
            read_image(b"II*\0\x08\0\0\0\x05\0" + b"\0" * 30)  # a TIFF whose directory ends early: Pillow warns
        assert seen == []
        warnings.warn("of somebody else", stacklevel=1)
        assert len(seen) == 1, "our filter must keep quiet about what we do not decode"
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_warnings_of_another_thread_are_not_swallowed_while_we_decode() -> None:
    stop = threading.Event()
    large = encoded(scene(900, 900))

    def decode() -> None:
        while not stop.is_set():
            read_image(large)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        reader = threading.Thread(target=decode)
        reader.start()
        for _ in range(20):
            warnings.warn("of somebody else", stacklevel=1)
            time.sleep(0.002)
        stop.set()
        reader.join()
    assert len(seen) == 20


def test_threads_read_what_one_reads() -> None:
    sources = [encoded(scene(seed=seed), kind) for seed in range(20) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF")]
    alone = [read_image(source) for source in sources]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(read_image, sources))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_jpeg_decoded_at_a_fraction_is_large_enough_and_alike() -> None:
    pixels = scene(600, 900)
    data = encoded(pixels, "JPEG", quality=90, exif=exif(6))
    whole, part = decode_image(data), decode_image(data, enough_px=64)
    assert whole.size_px == part.size_px == whole.pixels.shape[:2] == (900, 600)
    assert part.pixels.shape == (225, 150, 3)
    expected = np.asarray(Image.fromarray(whole.pixels).resize((150, 225), Image.Resampling.BOX))
    assert np.abs(part.pixels.astype(int) - expected).mean() < 2
    assert decode_image(encoded(pixels), enough_px=64).pixels.shape == pixels.shape


def test_damaged_files_of_every_format_never_raise_anything_else() -> None:
    rng = np.random.default_rng(0)
    kinds = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "ICO", "PPM")
    originals = [encoded(scene(20, 30), kind) for kind in kinds]
    opened = refused = 0
    for round_ in range(600):
        data = bytearray(originals[round_ % len(originals)])
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(len(data))] = rng.integers(256)
        if round_ % 5 == 0:
            del data[rng.integers(len(data)) :]
        try:
            pixels = read_image(bytes(data))
            opened += 1
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3
        except UnreadableImage:
            refused += 1
    assert opened > 50
    assert refused > 50


def test_the_limit_leaves_room_for_a_large_camera() -> None:
    assert MAX_PIXELS >= 9504 * 6336


def test_the_filter_can_be_copied_to_other_processes_and_matches_nothing_there() -> None:
    read_image(encoded(PIXELS))
    patterns = [message.pattern for _, message, *_ in warnings.filters if message is not None]
    assert "(?!)" in patterns
    assert re.compile("(?!)").match("any text") is None
