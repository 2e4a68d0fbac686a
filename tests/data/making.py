"""Pictures and folders of pictures that the tests of this room make for themselves."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def scene(height: int = 60, width: int = 80, *, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth colour picture without symmetry, different for each seed: uint8 (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels: NDArray[np.uint8] | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def class_folder(root: Path, counts: dict[str, int], *, seed: int = 0) -> Path:
    """`root`/<class>/<number>.png, `counts[class]` distinct pictures each; the key may hold slashes (train/cat)."""
    for place, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            (root / name / f"{index}.png").write_bytes(encoded(scene(seed=seed + 1000 * place + index)))
    return root
