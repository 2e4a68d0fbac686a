"""The Preprocess record applied: from pixels to the array a network is fed, the same for every runner.

Pillow resizes (its antialiased filters are the reference that torchvision and timm evaluate with); sampling without
antialiasing, as OpenCV and TensorFlow do it, is done here in numpy.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import BadData
from ..records import Preprocess

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_GREY = np.array([19595, 38470, 7471], np.uint32)
"""ITU-R 601 luma in 1/65536, as Pillow's convert("L") has it."""

_GIANT = 16
"""A resized picture of more than this many times the pixels that are kept is not made whole."""

_Array = NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.int8]
_Box = tuple[float, float, float, float]

Resize = Callable[[NDArray[np.uint8], tuple[int, int], Preprocess], NDArray[np.uint8]]
"""Another way to resize: (image (H, W, 3), the (h, w) wanted, the record with its interpolation) to uint8 (h, w, 3)."""


def preprocess(image: NDArray[np.uint8], record: Preprocess) -> _Array:
    """`image` as the network of `record` wants it.

    Args:
        image: uint8 (H, W, 3), RGB, as `read_image` gives it.

    Shapes: (C, h, w) for layout "nchw", (h, w, C) for "nhwc"; float32 ((pixel / 255 - mean) / std), uint8 (pixels
    as they are) or int8 (pixel - 128), by `record.dtype`. C is 3 for colour "rgb" and "bgr", 1 for "grey".

    Raises: BadData for another image or a record whose channels do not fit its colour.
    """
    return normalise(fit_picture(image, record), record)


def preprocess_batch(images: Iterable[NDArray[np.uint8]], record: Preprocess) -> _Array:
    """Each image preprocessed, stacked: (N, C, h, w) or (N, h, w, C); N may be 0. The images may differ in size."""
    done = [preprocess(image, record) for image in images]
    if done:
        return cast(_Array, np.stack(done))
    height, width = record.size_px
    channels = _channels(record)
    shape = (0, channels, height, width) if record.layout == "nchw" else (0, height, width, channels)
    return cast(_Array, np.empty(shape, record.dtype))


def fit_picture(image: NDArray[np.uint8], record: Preprocess, *, resize: Resize | None = None) -> NDArray[np.uint8]:
    """The first half of `preprocess`: `image` cut and resized to uint8 (h, w, 3), still RGB, for eyes too.

    resize: what does it instead of Pillow, with the same cuts; levels are its own.

    "short_then_crop": scaled so that it just covers size / crop_ratio (rounded down; the long side too), then the
        centre. Equal to torchvision's Resize and CenterCrop. Where the whole resized picture would have more than
        16 times the pixels that are kept (1 x 5000), only the kept part is computed; levels may differ by a few.
    "central_then_stretch": the central crop_ratio of height and width (rounded to whole pixels; TensorFlow's
        central_crop rounds the rim instead, and keeps up to a pixel more), then resized, aspect not kept.
    "stretch": the whole picture resized; crop_ratio plays no part.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise BadData(
            f"preprocess wants a uint8 image (H, W, 3) as read_image gives it, not {image.dtype} {image.shape}"
        )
    height, width = image.shape[:2]
    match record.fit:
        case "short_then_crop":
            return _cover_then_crop(image, record, resize)
        case "central_then_stretch":
            h, w = max(round(height * record.crop_ratio), 1), max(round(width * record.crop_ratio), 1)
            top, left = (height - h) // 2, (width - w) // 2
            inner = image[top : top + h, left : left + w]
            if resize is not None:
                return resize(inner, record.size_px, record)
            return _resample(inner, (0, 0, inner.shape[1], inner.shape[0]), record.size_px, record)
        case "stretch":
            if resize is not None:
                return resize(image, record.size_px, record)
            return _resample(image, (0, 0, width, height), record.size_px, record)


def normalise(picture: NDArray[np.uint8], record: Preprocess) -> _Array:
    """The second half: uint8 (h, w, 3) RGB of any size to the colours, numbers and layout of `record`."""
    _channels(record)
    match record.colour:
        case "rgb":
            ordered = picture
        case "bgr":
            ordered = picture[:, :, ::-1]
        case "grey":
            ordered = ((picture @ _GREY + 0x8000) >> 16).astype(np.uint8)[:, :, None]
    if record.layout == "nchw":
        ordered = ordered.transpose(2, 0, 1)
    match record.dtype:
        case "uint8":
            return np.ascontiguousarray(ordered)
        case "int8":
            return np.ascontiguousarray(ordered ^ 0x80).view(np.int8)
        case "float32":
            table = _table(record.mean, record.std)
            axis = 0 if record.layout == "nchw" else 2
            floats = np.empty(ordered.shape, np.float32)
            for values, plane, out in zip(
                table, np.moveaxis(ordered, axis, 0), np.moveaxis(floats, axis, 0), strict=True
            ):
                out[...] = values[plane]
            return floats


@lru_cache(maxsize=64)
def _table(mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """(C, 256): the float of each pixel value, computed in float32 in torchvision's order: / 255, - mean, / std."""
    values = np.arange(256, dtype=np.float32) / np.float32(255)
    means, stds = np.array(mean, np.float32)[:, None], np.array(std, np.float32)[:, None]
    return (values[None] - means) / stds


def _channels(record: Preprocess) -> int:
    wanted = 1 if record.colour == "grey" else 3
    if record.channels != wanted:
        raise BadData(
            f"preprocess: colour {record.colour!r} has {wanted} channel(s), the record has means for {record.channels}",
            hint="image files give 1 (grey) or 3 channels; feed other inputs as arrays of your own",
        )
    return wanted


def _cover_then_crop(image: NDArray[np.uint8], record: Preprocess, resize: Resize | None) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    want_h, want_w = record.size_px
    # 224 / (224 / 232) is 231.99999999999997 in floats and means 232.
    cover_h, cover_w = (int(side / record.crop_ratio + 1e-6) for side in record.size_px)
    if cover_h * width >= cover_w * height:
        full_h, full_w = cover_h, cover_h * width // height
    else:
        full_h, full_w = cover_w * height // width, cover_w
    top, left = round((full_h - want_h) / 2), round((full_w - want_w) / 2)
    if full_h * full_w <= _GIANT * want_h * want_w:
        rows, columns = slice(top, top + want_h), slice(left, left + want_w)
        if resize is not None:
            return resize(image, (full_h, full_w), record)[rows, columns]
        return _resample(image, (0, 0, width, height), (full_h, full_w), record)[rows, columns]
    x, y = width / full_w, height / full_h
    box = (left * x, top * y, min((left + want_w) * x, width), min((top + want_h) * y, height))
    return _resample(image, box, (want_h, want_w), record)


def _resample(image: NDArray[np.uint8], box: _Box, size_px: tuple[int, int], record: Preprocess) -> NDArray[np.uint8]:
    """The part `box` of `image` at `size_px`, uint8 (h, w, 3); a pixel's centre is at half-integers."""
    if record.interpolation != "nearest" and not record.antialias:
        return _sample(image, box, size_px, record)
    picture, interpolation = Image.fromarray(image), _FILTERS[record.interpolation]
    if record.fit != "short_then_crop" and interpolation != Image.Resampling.NEAREST:
        # Columns first, as Pillow did before release 13, and torch does: since then it takes what it finds cheaper
        # first, and where a picture shrinks one way and grows the other that moves sharp edges by up to 14 levels.
        picture = picture.resize((size_px[1], picture.height), interpolation)
        return np.asarray(picture.resize(size_px[::-1], interpolation))
    return np.asarray(picture.resize(size_px[::-1], interpolation, box=box))


def _sample(image: NDArray[np.uint8], box: _Box, size_px: tuple[int, int], record: Preprocess) -> NDArray[np.uint8]:
    """Plain interpolation between the 2 or 4 nearest pixels of each axis, edges repeated, rounded to nearest."""
    left, top, right, bottom = box
    rows, row_weights = _taps(top, bottom, size_px[0], image.shape[0], record)
    columns, column_weights = _taps(left, right, size_px[1], image.shape[1], record)
    total = np.zeros((*size_px, 3), np.float32)
    for row, row_weight in zip(rows, row_weights, strict=True):
        line = np.zeros((*size_px, 3), np.float32)
        for column, column_weight in zip(columns, column_weights, strict=True):
            line += image[row[:, None], column] * column_weight[:, None]
        total += line * row_weight[:, None, None]
    done: NDArray[np.uint8] = np.clip(np.floor(total + np.float32(0.5)), 0, 255).astype(np.uint8)
    return done


def _taps(
    start: float, stop: float, count: int, length: int, record: Preprocess
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each of `count` outputs along an axis of `length`: source indices and weights, both (taps, count)."""
    centre = start + (np.arange(count) + 0.5) * ((stop - start) / count) - 0.5
    first = np.floor(centre).astype(np.int64)
    part = centre - first
    if record.interpolation == "bilinear":
        offsets = np.array([[0], [1]])
        weights = np.stack([1 - part, part])
    else:
        offsets = np.array([[-1], [0], [1], [2]])
        distance = np.abs(part - offsets)
        a = -0.5  # Keys' cubic, as with antialiasing; OpenCV and PyTorch sample with -0.75
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        weights = np.where(distance <= 1, near, far)
    return np.clip(first + offsets, 0, length - 1), weights.astype(np.float32)
