"""RandAugment on a batch of bytes: pictures that drew the same operation are treated in one call.

Source: Cubuk et al. 2019, arXiv:1909.13719; operations, magnitudes (31 bins) and signs as torchvision v2's RandAugment
has them, pixels by its functional kernels. Every decision comes in as a number, none from torch's global stream.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as pixels

from .recipe import Augmentation

BINS = 30
NEAREST = InterpolationMode.NEAREST
ORIGIN = [0.0, 0.0]


def _sheared(x: Tensor, degrees: list[float]) -> Tensor:
    # torchvision shears about the top left corner, as the paper's Pillow code does.
    y: Tensor = pixels.affine(
        x, angle=0.0, translate=[0, 0], scale=1.0, shear=degrees, interpolation=NEAREST, center=ORIGIN
    )
    return y


def _shifted(x: Tensor, offset_px: list[int]) -> Tensor:
    y: Tensor = pixels.affine(x, angle=0.0, translate=offset_px, scale=1.0, shear=[0.0, 0.0], interpolation=NEAREST)
    return y


def _degrees(tangent: float) -> float:
    return float(np.rad2deg(np.arctan(tangent)))


# name -> (strength m in 0..1 and sign) to picture. Signed operations draw their sign.
Operation = Callable[[Tensor, float, int], Tensor]
OPERATIONS: dict[str, Operation] = {
    "Identity": lambda x, m, s: x,
    "ShearX": lambda x, m, s: _sheared(x, [_degrees(0.3 * m * s), 0.0]),
    "ShearY": lambda x, m, s: _sheared(x, [0.0, _degrees(0.3 * m * s)]),
    "TranslateX": lambda x, m, s: _shifted(x, [int(150.0 / 331.0 * x.shape[-1] * m * s), 0]),
    "TranslateY": lambda x, m, s: _shifted(x, [0, int(150.0 / 331.0 * x.shape[-2] * m * s)]),
    "Rotate": lambda x, m, s: pixels.rotate(x, angle=30.0 * m * s, interpolation=NEAREST),
    "Brightness": lambda x, m, s: pixels.adjust_brightness(x, brightness_factor=1.0 + 0.9 * m * s),
    "Color": lambda x, m, s: pixels.adjust_saturation(x, saturation_factor=1.0 + 0.9 * m * s),
    "Contrast": lambda x, m, s: pixels.adjust_contrast(x, contrast_factor=1.0 + 0.9 * m * s),
    "Sharpness": lambda x, m, s: pixels.adjust_sharpness(x, sharpness_factor=1.0 + 0.9 * m * s),
    "Posterize": lambda x, m, s: pixels.posterize(x, bits=8 - round(BINS * m / (BINS / 4))),
    "Solarize": lambda x, m, s: pixels.solarize(x, threshold=255.0 * (1.0 - m)),
    "AutoContrast": lambda x, m, s: pixels.autocontrast(x),
    "Equalize": lambda x, m, s: pixels.equalize(x),
}


def rand_augment(batch: Tensor, numbers: NDArray[np.float64], *, how: Augmentation) -> None:
    """One layer, in place. numbers: uniform float64 (N, 3): applied or not, which operation, which sign.

    Shapes: uint8 (N, 3, h, w).
    """
    strength = how.rand_magnitude / BINS
    chosen = (numbers[:, 1] * len(OPERATIONS)).astype(int)
    sign = np.where(numbers[:, 2] < 0.5, -1, 1)
    applied = numbers[:, 0] < how.rand_probability
    for index, operation in enumerate(OPERATIONS.values()):
        for way in (-1, 1):
            rows = np.flatnonzero(applied & (chosen == index) & (sign == way))
            if len(rows):
                batch[rows] = operation(batch[rows], strength, way)
