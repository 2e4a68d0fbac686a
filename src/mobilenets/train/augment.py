"""Augmentation of a whole batch: crop, flip, rotation, RandAugment, colour jitter, erasing, mixing of pairs.

Written for CPUs: crops are cut and resized as bytes, one picture at a time; everything after works on the batch at
once. Every decision is drawn here, from the generator handed in, place by place (torchvision's own transforms draw
from torch's global stream, which no resume could repeat); the pixel work is torchvision v2's.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as pixels

from ..records import Preprocess
from .rand_augment import rand_augment
from .recipe import Augmentation

GREY = (0.299, 0.587, 0.114)
"""ITU-R 601 luma of R, G, B."""
ERASED = Augmentation(scale=(0.02, 0.33), ratio=(0.3, 3.3))
"""The rectangles that erasing draws: torchvision's scale and ratio."""

# The columns of the random numbers of a picture; all are drawn, so that a switch turned off moves no other.
CROP, FLIP, MOVE, JITTER, ERASE, LAYERS = slice(0, 4), 4, slice(5, 8), slice(8, 11), slice(11, 16), 16


def columns(how: Augmentation) -> int:
    """How many random numbers one picture needs."""
    return LAYERS + 3 * how.rand_layers


def augmented(
    images: Sequence[NDArray[np.uint8]],
    numbers: NDArray[np.float64],
    *,
    how: Augmentation,
    size_px: tuple[int, int],
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
) -> Tensor:
    """Each picture cropped, flipped, turned, RandAugmented and jittered.

    numbers: uniform in [0, 1), float64 (N, columns(how)): row i decides about picture i alone.

    Shapes: N pictures uint8 (H, W, 3) of any size -> float32 (N, 3, h, w), values 0..255, channels-last in memory.
    """
    batch = torch.empty((len(images), *size_px, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    for i, image in enumerate(images):
        top, left, height, width = crop_box(image.shape[:2], numbers[i, CROP], how=how)
        part = torch.from_numpy(image[top : top + height, left : left + width].copy()).permute(2, 0, 1)
        batch[i] = functional.interpolate(part[None], size_px, mode=interpolation, antialias=True)[0]
    if how.flip:
        mirrored = torch.from_numpy(numbers[:, FLIP] < 0.5)
        batch[mirrored] = batch[mirrored].flip(3)
    if how.rotate_deg or how.shift:
        _move(batch, numbers[:, MOVE], how)
    for layer in range(how.rand_layers):
        start = LAYERS + 3 * layer
        rand_augment(batch, numbers[:, start : start + 3], how=how)
    return _jitter(batch, numbers[:, JITTER], how)


def crop_box(size_px: tuple[int, ...], numbers: NDArray[np.float64], *, how: Augmentation) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the random crop: area share and aspect drawn, shrunk to fit where it does not."""
    full_h, full_w = size_px
    area = full_h * full_w * (how.scale[0] + (how.scale[1] - how.scale[0]) * numbers[0])
    low, high = math.log(how.ratio[0]), math.log(how.ratio[1])
    aspect = math.exp(low + (high - low) * numbers[1])
    shrink = min(1.0, full_w / math.sqrt(area * aspect), full_h / math.sqrt(area / aspect))
    width = max(1, min(full_w, round(math.sqrt(area * aspect) * shrink)))
    height = max(1, min(full_h, round(math.sqrt(area / aspect) * shrink)))
    return int(numbers[2] * (full_h - height + 1)), int(numbers[3] * (full_w - width + 1)), height, width


def _move(batch: Tensor, numbers: NDArray[np.float64], how: Augmentation) -> None:
    """Rotation about the centre and translation, edges filled with the picture's mean colour; in place."""
    height, width = batch.shape[2:]
    sway = 2.0 * numbers - 1.0
    angle = np.deg2rad(how.rotate_deg) * sway[:, 0]
    shift = how.shift * sway[:, 1:] * 2.0
    cos, sin = np.cos(angle), np.sin(angle)
    aspect = width / height
    theta = np.stack([np.stack([cos, -sin / aspect, shift[:, 0]], 1), np.stack([sin * aspect, cos, shift[:, 1]], 1)], 1)
    grid = functional.affine_grid(torch.from_numpy(theta).float(), list(batch.shape), align_corners=False)
    values = batch.float()
    mean = values.mean((2, 3), keepdim=True)
    moved = functional.grid_sample(values - mean, grid, mode="bilinear", align_corners=False).add_(mean)
    batch.copy_(moved.round_().clamp_(0, 255))


def _jitter(batch: Tensor, numbers: NDArray[np.float64], how: Augmentation) -> Tensor:
    """Brightness, then contrast, then saturation, as torchvision defines each, as one mix of the picture, its grey
    and its mean grey: float32 in 0..255, clamped once at the end."""
    values = batch.float()
    if not (how.brightness or how.contrast or how.saturation):
        return values
    limits = np.array([how.brightness, how.contrast, how.saturation])
    bright, contrast, colour = (1.0 + limits * (2.0 * numbers - 1.0)).T
    grey = values[:, :1] * GREY[0] + values[:, 1:2] * GREY[1] + values[:, 2:] * GREY[2]

    def each(factor: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(factor).float()[:, None, None, None]

    level = grey.mean((1, 2, 3), keepdim=True) * each(bright * (1.0 - contrast))
    base = grey.mul_(each(bright * contrast * (1.0 - colour))).add_(level)
    return values.mul_(each(bright * contrast * colour)).add_(base).clamp_(0.0, 255.0)


def erase(batch: Tensor, numbers: NDArray[np.float64], *, how: Augmentation) -> None:
    """A rectangle of some pictures becomes 0, the mean colour of what a network is fed; in place. Source: Zhong et
    al. 2020, arXiv:1708.04896. numbers: the columns ERASE, float64 (N, 5)."""
    height, width = batch.shape[2:]
    for i in np.flatnonzero(numbers[:, 0] < how.erase):
        top, left, tall, wide = crop_box((height, width), numbers[i, 1:], how=ERASED)
        batch[i, :, top : top + tall, left : left + wide] = 0.0


def to_network(batch: Tensor, record: Preprocess) -> Tensor:
    """RGB values 0..255 to what the network of `record` is fed: colours, then (value / 255 - mean) / std.

    Shapes: float32 (N, 3, h, w) -> float32 (N, C, h, w); may work in place.
    """
    match record.colour:
        case "rgb":
            ordered = batch
        case "bgr":
            ordered = batch.flip(1)
        case "grey":
            ordered = pixels.rgb_to_grayscale(batch)
    mean = torch.tensor(record.mean)[:, None, None]
    std = torch.tensor(record.std)[:, None, None]
    return ordered.mul_(1.0 / (255.0 * std)).sub_(mean / std)


def mix_pairs(
    batch: Tensor, targets: Tensor, random: NDArray[np.float64], *, how: Augmentation, classes: int
) -> tuple[Tensor, Tensor]:
    """Mixup or cutmix of neighbours 2i and 2i + 1, so that any division of a batch into even parts keeps the pairs.

    random: float64 (N / 2, 5): mixed or not, which of the two, the share (already Beta), the place of the cut.

    Shapes: (N, C, h, w), int64 (N,) -> (N, C, h, w), float32 (N, classes) whose rows sum to 1; the batch in place.
    """
    shares = functional.one_hot(targets, classes).float()
    keep = np.ones(len(random))
    height, width = batch.shape[2:]
    both = how.mixup_alpha > 0 and how.cutmix_alpha > 0
    for i in np.flatnonzero(random[:, 0] < how.mix):
        a, b = batch[2 * i], batch[2 * i + 1]
        share = float(random[i, 2])
        if how.cutmix_alpha > 0 and (not both or random[i, 1] < 0.5):
            tall, wide = (int(side * math.sqrt(1.0 - share)) for side in (height, width))
            top = int(random[i, 3] * (height - tall + 1))
            left = int(random[i, 4] * (width - wide + 1))
            rows, columns = slice(top, top + tall), slice(left, left + wide)
            cut = a[:, rows, columns].clone()
            a[:, rows, columns] = b[:, rows, columns]
            b[:, rows, columns] = cut
            keep[i] = 1.0 - tall * wide / (height * width)
        else:
            first = a.clone()
            a.lerp_(b, 1.0 - share)
            b.lerp_(first, 1.0 - share)
            keep[i] = share
    kept = torch.from_numpy(np.repeat(keep, 2)).float()[:, None]
    others = shares.view(-1, 2, classes).flip(1).reshape(-1, classes)
    return batch, shares * kept + others * (1.0 - kept)
