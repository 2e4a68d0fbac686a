"""Small pictures for the page: shrunk, encoded, held as text."""

import base64
import io

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .record import Picture

PNG_UP_TO_PX = 64
"""A side up to which a picture is kept pixel by pixel (handwritten digits, icons)."""


def thumbnail(file: str, image: NDArray[np.uint8], *, side_px: int = 160) -> Picture:
    """`image`, its longer side shrunk to at most `side_px`, as JPEG; where it is tiny as it is, as PNG.

    Shapes: uint8 (H, W, 3). About 5 kB at 160 px. Raises UsageError for another shape or dtype.
    """
    from PIL import Image

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise UsageError(f"thumbnail wants a uint8 (H, W, 3) picture, not {image.dtype} {image.shape}")
    small = Image.fromarray(image)
    tiny = max(small.size) <= PNG_UP_TO_PX
    small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    if tiny:
        small.save(buffer, "PNG", optimize=True)
    else:
        small.save(buffer, "JPEG", quality=82, optimize=True)
    return Picture(
        file=file,
        kind="image/png" if tiny else "image/jpeg",
        data=base64.b64encode(buffer.getvalue()).decode("ascii"),
        size_px=(small.height, small.width),
    )
