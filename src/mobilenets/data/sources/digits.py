"""The data set that comes along: scikit-learn's 1,797 handwritten digits, as PNG files like any other pictures.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (its
test part): 8 x 8 pixels of 17 grey levels, here 8-bit.
"""

import contextlib
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import MissingRuntime, UsageError
from ...files import cache_dir
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
    files = _files(root)
    if not files:
        _write(root)
        files = _files(root)
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


def _files(root: Path) -> list[Path]:
    """The digits in `root`; none where some are missing or have no size."""
    files = sorted(root.glob("?/????.png"))
    whole = len(files) == _COUNT and all(file.stat().st_size for file in files)
    return files if whole else []


def _write(root: Path) -> None:
    """Make the folder `root` beside its place and move it there. Not synced file by file (that took 12 s on a slow
    disk): it can be made again, and `_files` sees what a crash may leave."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingRuntime.extra("scikit-learn, which brings the digits,", "train") from error
    bunch = load_digits()
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".digits-", dir=root.parent) as place:
            made = Path(place) / "made"
            for index, (image, digit) in enumerate(zip(bunch.images, bunch.target, strict=True)):
                file = made / str(digit) / f"{index:04d}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.floor(image * (255 / 16) + 0.5).astype(np.uint8)).save(file)
            if not _files(root):  # another process may have been faster
                with contextlib.suppress(FileNotFoundError):
                    root.rename(Path(place) / "incomplete")
                made.rename(root)
    except OSError as error:
        if _files(root):
            return
        raise UsageError(
            f"{root}: the digits can't be written: {error.strerror or error}",
            hint="set MOBILENETS_CACHE to a folder that can be written",
        ) from error
