"""Pictures decoded once and kept as bytes, so that training reads memory instead of decoding files each epoch.

Kept in memory up to a budget; what exceeds it goes to one nameless file in the cache folder, mapped, which vanishes
with the process however that ends.
"""

import mmap
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import UnreadableImage, UsageError
from ..files import cache_dir
from ..records import UnreadableFile
from .dataset import Sample
from .image import decode_image
from .parallel import Progress, in_order

MEMORY_MB = 2000
"""Default budget in memory: 41,000 pictures of 128 x 128, or 13,000 of 224 x 224."""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures(Sequence[NDArray[np.uint8]]):
    """Decoded pictures: `pictures[i]` is uint8 (H, W, 3), RGB, upright, read-only, of `samples[i]`; sizes differ.

    unreadable: samples that gave no picture; they are not in `samples`. spilled_bytes: how much is on the disk.
    """

    images: tuple[NDArray[np.uint8], ...]
    samples: tuple[Sample, ...]
    unreadable: tuple[UnreadableFile, ...]
    memory_bytes: int
    spilled_bytes: int

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:  # type: ignore[override]  # slices have no use here
        return self.images[index]

    @property
    def targets(self) -> NDArray[np.int64]:
        """(N,) class indices, in the order of the pictures."""
        return np.array([sample.target for sample in self.samples], np.int64)


def load_pictures(
    samples: Sequence[Sample],
    *,
    side_px: int,
    workers: int | None = None,
    memory_mb: float = MEMORY_MB,
    on_progress: Progress | None = None,
) -> Pictures:
    """Decode `samples` once, each shrunk so that its shorter side is at most `side_px`; never enlarged.

    Shrinking keeps the aspect (bicubic, antialiased). The order is that of `samples`, whatever the number of threads;
    unreadable files are left out and listed. workers: threads, by default one per core.
    """
    if side_px < 1:
        raise UsageError(f"side_px must be at least 1, not {side_px}")
    store = _Store(int(memory_mb * 1e6))
    kept: list[Sample] = []
    unreadable: list[UnreadableFile] = []
    for done, (sample, result) in enumerate(_decoded(samples, side_px, workers), start=1):
        if isinstance(result, UnreadableFile):
            unreadable.append(result)
        else:
            kept.append(sample)
            store.add(result)
        if on_progress is not None:
            on_progress(done, len(samples))
    return Pictures(store.images(), tuple(kept), tuple(unreadable), store.memory_bytes, store.spilled_bytes)


def _decoded(
    samples: Sequence[Sample], side_px: int, workers: int | None
) -> Iterator[tuple[Sample, NDArray[np.uint8] | UnreadableFile]]:
    def work(sample: Sample) -> NDArray[np.uint8] | UnreadableFile:
        try:
            pixels = decode_image(sample.file, enough_px=side_px).pixels
        except UnreadableImage as error:
            return UnreadableFile(error.file, error.kind, error.cause)
        return shrunk(pixels, side_px)

    return zip(samples, in_order(work, samples, workers), strict=True)


def shrunk(pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """`pixels` with the shorter side at most `side_px`, aspect kept."""
    height, width = pixels.shape[:2]
    short = min(height, width)
    if short <= side_px:
        return pixels
    size = (max(1, round(width * side_px / short)), max(1, round(height * side_px / short)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


class _Store:
    """Arrays in memory up to a budget, the rest in one nameless file."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._arrays: list[NDArray[np.uint8] | None] = []
        self._spilled: list[tuple[int, int, tuple[int, ...]]] = []  # (index, offset, shape)
        self._file: BinaryIO | None = None
        self.memory_bytes = 0
        self.spilled_bytes = 0

    def add(self, array: NDArray[np.uint8]) -> None:
        if self.memory_bytes + array.nbytes <= self._budget:
            array.flags.writeable = False
            self._arrays.append(array)
            self.memory_bytes += array.nbytes
            return
        try:
            if self._file is None:
                folder = cache_dir()
                folder.mkdir(parents=True, exist_ok=True)
                file = tempfile.TemporaryFile(prefix="pictures-", dir=folder)  # noqa: SIM115  closed in images()
                self._file = cast(BinaryIO, file)
            self._file.write(array.tobytes())
        except OSError as error:
            raise UsageError(
                f"{cache_dir()}: can't keep decoded pictures there: {error.strerror}",
                hint="set MOBILENETS_CACHE to a folder with room, or give more memory",
            ) from error
        self._spilled.append((len(self._arrays), self.spilled_bytes, array.shape))
        self._arrays.append(None)
        self.spilled_bytes += array.nbytes

    def images(self) -> tuple[NDArray[np.uint8], ...]:
        arrays = list(self._arrays)
        if self._file is not None:
            self._file.flush()
            mapped = mmap.mmap(self._file.fileno(), self.spilled_bytes, access=mmap.ACCESS_READ)
            self._file.close()
            for index, offset, shape in self._spilled:
                count = int(np.prod(shape))
                arrays[index] = np.frombuffer(mapped, np.uint8, count, offset).reshape(shape)
        return tuple(cast("list[NDArray[np.uint8]]", arrays))
