"""Pictures that stand in for the user's own in golden vectors (`--no-photos`): made from a seed, nobody's.

They are no photos, but they put the same parts to the test: two codecs, sizes that have to be shrunk, cropped and
enlarged, smooth areas, edges and fine texture (which tells one interpolation from another).
"""

import io

import numpy as np
from numpy.typing import NDArray

JPEG_QUALITY = 92


def synthetic_images(count: int, *, size_px: tuple[int, int], seed: int = 0) -> tuple[tuple[str, bytes], ...]:
    """`count` encoded pictures, (suffix, bytes) each, JPEG and PNG in turns.

    size_px: (h, w) of the network's input; the pictures' sides are 0.8 to 2.6 times as long.
    The pixels depend on `count`, `size_px` and `seed` alone; the bytes also on the codecs' versions.
    """
    rng = np.random.default_rng([seed, count, *size_px])
    found = []
    for index in range(count):
        height, width = (max(8, round(side * rng.uniform(0.8, 2.6))) for side in size_px)
        suffix = ".png" if index % 2 else ".jpg"
        found.append((suffix, _encoded(_picture(height, width, rng), suffix)))
    return tuple(found)


def _picture(height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A colour gradient with waves, filled shapes and a patch of noise on it: uint8 (height, width, 3)."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    corners = rng.uniform(0, 255, (4, 3))
    weights = np.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x], axis=-1)
    picture = weights @ corners
    for _ in range(3):
        wave = np.sin(2 * np.pi * (rng.uniform(1, 30) * x + rng.uniform(1, 30) * y + rng.uniform()))
        picture += wave[..., None] * rng.uniform(-40, 40, 3)
    for _ in range(5):
        (cy, cx), (ry, rx) = rng.uniform(0, 1, 2), rng.uniform(0.05, 0.35, 2)
        power = rng.choice([2, 8])  # 2: an ellipse, 8: nearly a rectangle
        inside = np.abs((y - cy) / ry) ** power + np.abs((x - cx) / rx) ** power < 1
        picture[inside] = rng.uniform(0, 255, 3)
    top, left = (int(rng.integers(0, max(1, side // 2))) for side in (height, width))
    patch = picture[top : top + height // 3, left : left + width // 3]
    patch += rng.uniform(-60, 60, patch.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _encoded(picture: NDArray[np.uint8], suffix: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    if suffix == ".jpg":
        image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    else:
        image.save(buffer, "PNG")
    return buffer.getvalue()
