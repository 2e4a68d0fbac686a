"""The data set that comes along: scikit-learn's 1,797 handwritten digits, as PNG files like any other pictures.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (its
test part): 8 x 8 pixels of 17 grey levels, here 8-bit.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import MissingRuntime
from ...files import cache_dir, replacing_folder
from ...records import Labels, Split
from ..dataset import Dataset, Sample
from ..split import Fractions, seeded_split

FRACTIONS: Fractions = {"train": 0.7, "val": 0.1, "test": 0.2}
_COUNT = 1797


def digits(*, seed: int = 0) -> Dataset:
    """The digits 0 to 9: 1,259 images to train on, 179 to validate, 359 to test (stratified; seed 0 is the default).

    Written once to the cache folder, whole or not at all. Raises MissingRuntime without scikit-learn.
    """
    root = cache_dir() / "digits"
    if not root.is_dir():
        _write(root)
    files = sorted(root.glob("?/????.png"))
    if len(files) != _COUNT:
        _write(root)
        files = sorted(root.glob("?/????.png"))
    samples = [Sample(file, int(file.parent.name)) for file in files]
    keys = [file.relative_to(root).as_posix() for file in files]
    splits: dict[Split, tuple[Sample, ...]] = seeded_split(samples, keys, fractions=FRACTIONS, seed=seed)
    return Dataset(
        name="digits",
        root=root,
        labels=Labels(tuple(str(digit) for digit in range(10))),
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        split_origin=f"seeded 70/10/20, seed {seed}",
    )


def _write(root: Path) -> None:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingRuntime.extra("scikit-learn, which brings the digits,", "train") from error
    bunch = load_digits()
    with replacing_folder(root) as folder:
        for index, (image, digit) in enumerate(zip(bunch.images, bunch.target, strict=True)):
            buffer = io.BytesIO()
            pixels = np.floor(image * (255 / 16) + 0.5).astype(np.uint8)
            Image.fromarray(pixels).save(buffer, "PNG")
            file = folder / str(digit) / f"{index:04d}.png"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(buffer.getvalue())
