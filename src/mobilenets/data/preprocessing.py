"""The Preprocess record applied: from pixels to the array a network is fed, the same for every runner.

Pillow resizes (its antialiased filters are the reference that torchvision and timm evaluate with), columns first and
then rows, as it always did before release 13 and torch does: since then it takes first what it finds cheaper, which in
tall pictures moves sharp edges by some levels. Sampling without antialiasing, as OpenCV and TensorFlow do it, is done
here in numpy.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Window:
    """What is kept of a resized image. full_px: (h, w) of all of it; size_px: (h, w) of what is kept."""

    full_px: tuple[int, int]
    size_px: tuple[int, int]
    top: int = 0
    left: int = 0

    def of(self, resized: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """That part of the whole resized image (full_h, full_w, C)."""
        return resized[self.top : self.top + self.size_px[0], self.left : self.left + self.size_px[1]]


Resize = Callable[[NDArray[np.uint8], Window, Preprocess], NDArray[np.uint8]]
"""A way to resize: (image (H, W, 3), what is kept of it, the record with its interpolation) to uint8 (h, w, 3)."""


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
        centre. Equal to torchvision's Resize and CenterCrop (which leave the order of rows and columns to Pillow).
        Where the whole resized picture would have more than 16 times the pixels that are kept (1 x 5000), only the
        kept part is computed; levels may differ by one or two.
    "central_then_stretch": the central crop_ratio of height and width (rounded to whole pixels; TensorFlow's
        central_crop rounds the rim instead, and keeps up to a pixel more), then resized, aspect not kept.
    "stretch": the whole picture resized; crop_ratio plays no part.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise BadData(
            f"preprocess wants a uint8 image (H, W, 3) as read_image gives it, not {image.dtype} {image.shape}"
        )
    height, width = image.shape[:2]
    window = Window(record.size_px, record.size_px)
    match record.fit:
        case "short_then_crop":
            window = _cover_then_crop(height, width, record)
        case "central_then_stretch":
            h, w = max(round(height * record.crop_ratio), 1), max(round(width * record.crop_ratio), 1)
            top, left = (height - h) // 2, (width - w) // 2
            image = image[top : top + h, left : left + w]
        case "stretch":
            pass
    return (_resize if resize is None else resize)(image, window, record)


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
            floats = ordered.astype(np.float32, order="C")  # in torchvision's order: / 255, - mean, / std
            mean, std = (np.array(values, np.float32) for values in (record.mean, record.std))
            if record.layout == "nchw":
                numbers, mean, std = floats, mean[:, None, None], std[:, None, None]
            else:  # whole rows at once: numpy takes five times as long over an axis of 3
                numbers = floats.reshape(len(floats), -1)
                mean, std = (np.tile(values, floats.shape[1]) for values in (mean, std))
            numbers /= np.float32(255)
            numbers -= mean
            numbers /= std
            return floats


def _channels(record: Preprocess) -> int:
    wanted = 1 if record.colour == "grey" else 3
    if record.channels != wanted:
        raise BadData(
            f"preprocess: colour {record.colour!r} has {wanted} channel(s), the record has means for {record.channels}",
            hint="image files give 1 (grey) or 3 channels; feed other inputs as arrays of your own",
        )
    return wanted


def _cover_then_crop(height: int, width: int, record: Preprocess) -> Window:
    want_h, want_w = record.size_px
    # 224 / (224 / 232) is 231.99999999999997 in floats and means 232.
    cover_h, cover_w = (int(side / record.crop_ratio + 1e-6) for side in record.size_px)
    if cover_h * width >= cover_w * height:
        full_h, full_w = cover_h, cover_h * width // height
    else:
        full_h, full_w = cover_w * height // width, cover_w
    return Window((full_h, full_w), record.size_px, round((full_h - want_h) / 2), round((full_w - want_w) / 2))


def _resize(image: NDArray[np.uint8], window: Window, record: Preprocess) -> NDArray[np.uint8]:
    """The reference: what the whole resized image has in the window."""
    (h, w), (full_h, full_w) = window.size_px, window.full_px
    if record.interpolation != "nearest" and not record.antialias:
        return _sample(image, window, record)
    if full_h * full_w > _GIANT * h * w:
        return resize_kept(image, window, record)
    picture, interpolation = Image.fromarray(image), _FILTERS[record.interpolation]
    columns = picture.resize((full_w, picture.height), interpolation)
    columns = columns.crop((window.left, 0, window.left + w, picture.height))
    rows = np.asarray(columns.resize((w, full_h), interpolation))
    return rows[window.top : window.top + h]


def resize_kept(image: NDArray[np.uint8], window: Window, record: Preprocess) -> NDArray[np.uint8]:
    """As the reference with Pillow's filters, computing only what is kept, in 0.6 of the time: positions are rounded
    otherwise, which on 200 photos moves 0.05 % (bilinear) and 0.007 % (bicubic) of the levels, by 1 or 2."""
    (h, w), (full_h, full_w) = window.size_px, window.full_px
    height, width = image.shape[:2]
    x, y = width / full_w, height / full_h
    first, last = window.top * y, min((window.top + h) * y, height)
    margin = 3 * max(y, 1)  # as far as any filter reaches, and more
    above, below = max(int(first - margin), 0), min(int(last + margin) + 1, height)
    picture, interpolation = Image.fromarray(image[above:below]), _FILTERS[record.interpolation]
    box = (window.left * x, 0, min((window.left + w) * x, width), below - above)
    columns = picture.resize((w, below - above), interpolation, box=box)
    return np.asarray(columns.resize((w, h), interpolation, box=(0, first - above, w, last - above)))


def _sample(image: NDArray[np.uint8], window: Window, record: Preprocess) -> NDArray[np.uint8]:
    """Plain interpolation between the 2 or 4 nearest pixels of each axis, edges repeated, rounded to nearest."""
    rows, row_weights = _taps(window.full_px[0], window.top, window.size_px[0], image.shape[0], record)
    columns, column_weights = _taps(window.full_px[1], window.left, window.size_px[1], image.shape[1], record)
    total = np.zeros((*window.size_px, 3), np.float32)
    for row, row_weight in zip(rows, row_weights, strict=True):
        line = np.zeros((*window.size_px, 3), np.float32)
        for column, column_weight in zip(columns, column_weights, strict=True):
            line += image[row[:, None], column] * column_weight[:, None]
        total += line * row_weight[:, None, None]
    done: NDArray[np.uint8] = np.clip(np.floor(total + np.float32(0.5)), 0, 255).astype(np.uint8)
    return done


def _taps(
    full: int, start: int, count: int, length: int, record: Preprocess
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For `count` outputs from `start` on, of `full` along an axis of `length`: source indices and weights, both
    (taps, count); a pixel's centre is at half-integers."""
    centre = (np.arange(start, start + count) + 0.5) * (length / full) - 0.5
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
