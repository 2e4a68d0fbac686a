"""Pictures on their way to a network: whatever a caller names becomes tensors, decoded in parallel, in order.

Memory is bounded: at most `ahead` pictures are under way at once, however many there are in a folder.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..data import preprocess, read_image
from ..data.formats import SUFFIXES
from ..errors import UnreadableImage, UsageError
from ..records import Preprocess

Picture = str | os.PathLike[str] | bytes | bytearray | BinaryIO | NDArray[np.uint8]
"""One picture: a path, the bytes of a file, a file open for reading, an array uint8 (H, W, 3)."""

Pictures = Picture | Iterable[Picture]
"""One picture, a folder of them, an array (N, H, W, 3), or any iterable of all these."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A picture as a network takes it, (C, h, w) or as the preprocess record's layout says; or why there is none."""

    file: str
    values: NDArray[Any] | None
    error: UnreadableImage | None = None


def listed(source: Pictures) -> Iterator[tuple[str, Picture]]:
    """Every picture of `source` with the name it goes by; a folder's at any depth, sorted, hidden ones left out.

    Raises: UsageError for what is no picture at all.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        files: Iterable[Path] = _files_in(path) if path.is_dir() else (path,)
        yield from ((str(file), file) for file in files)
    elif isinstance(source, (bytes, bytearray)):
        yield f"<{len(source)} bytes>", source
    elif isinstance(source, np.ndarray):
        if source.ndim == 4:
            yield from ((f"<array {i}>", image) for i, image in enumerate(source))
        else:
            yield "<array>", source
    elif hasattr(source, "read"):
        name = getattr(source, "name", None)
        yield (name if isinstance(name, str) else "<file>"), cast(BinaryIO, source)
    elif isinstance(source, Iterable):
        for part in source:
            yield from listed(cast(Pictures, part))
    else:
        raise UsageError(
            f"a picture is a path, bytes, an open binary file or a uint8 array, not {type(source).__name__}"
        )


def tensors(
    pictures: Iterable[tuple[str, Picture]], record: Preprocess, *, workers: int, ahead: int
) -> Iterator[Tensor]:
    """The pictures decoded and preprocessed by `workers` threads, in their order; unreadable ones carry their error.

    ahead: how many may be under way or waiting, at least 1.
    """
    if workers < 1 or ahead < 1:
        raise UsageError(f"workers and ahead must be at least 1, not {workers} and {ahead}")

    def work(name: str, picture: Picture) -> Tensor:
        try:
            return Tensor(name, preprocess(read_image(picture), record))
        except UnreadableImage as error:
            return Tensor(name, None, error)

    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        waiting: deque[Future[Tensor]] = deque()
        try:
            for name, picture in pictures:
                waiting.append(pool.submit(work, name, picture))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def batches(stream: Iterable[Tensor], size: int) -> Iterator[tuple[tuple[Tensor, ...], NDArray[Any] | None]]:
    """Runs of the stream with at most `size` readable pictures each, and these stacked (None where there are none)."""
    part: list[Tensor] = []
    readable: list[NDArray[Any]] = []
    for item in stream:
        part.append(item)
        if item.values is not None:
            readable.append(item.values)
        # Errors count a little too: a million unreadable files must not pile up before one that can be read.
        if len(readable) == size or len(part) >= 8 * size:
            yield tuple(part), np.stack(readable) if readable else None
            part, readable = [], []
    if part:
        yield tuple(part), np.stack(readable) if readable else None


def _files_in(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(parent, name)
