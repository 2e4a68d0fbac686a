"""Pictures on their way to a network: whatever a caller names becomes tensors, decoded in parallel, in order.

Memory is bounded: at most `ahead` pictures are under way at once, however many there are in a folder.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ..data import preprocess, read_image
from ..data.formats import SUFFIXES
from ..errors import UnreadableImage, UsageError
from ..records import Preprocess
from .embedded import Inside

Picture = str | os.PathLike[str] | bytes | bytearray | BinaryIO | NDArray[np.uint8]
"""One picture: a path, the bytes of a file, a file open for reading, an array uint8 (H, W, 3)."""

Pictures = Picture | Iterable[Picture]
"""One picture, a folder of them, an array (N, H, W, 3), or any iterable of all these."""

Prepare = Callable[[Picture], NDArray[Any]]
"""From a picture to what a network is fed of it, without the batch axis. Raises UnreadableImage."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


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


def preparing(record: Preprocess, inside: Inside = "nothing") -> Prepare:
    """The way from a picture to what a file is fed, by Pillow and numpy: the reference of every other way.

    inside: what of the preprocessing the file does itself. With "everything" it is fed the picture as it is, uint8
        (H, W, 3) of its own size; else what `record` makes.
    """
    if inside == "everything":
        return read_image
    return lambda picture: preprocess(read_image(picture), record)


def prepared(name: str, picture: Picture, prepare: Prepare) -> Tensor:
    """One picture as a tensor, or with the error that says why it can't be read."""
    try:
        return Tensor(name, prepare(picture))
    except UnreadableImage as error:
        return Tensor(name, None, error)


def tensors(
    pictures: Iterable[tuple[str, Picture]],
    record: Preprocess,
    *,
    workers: int,
    ahead: int,
    inside: Inside = "nothing",
) -> Iterator[Tensor]:
    """The pictures decoded and preprocessed by `workers` threads, in their order; unreadable ones carry their error.

    ahead: how many may be under way or waiting, at least 1. inside: as `preparing` takes it.
    """
    prepare = preparing(record, inside)
    return in_order(pictures, lambda pair: prepared(*pair, prepare), workers=workers, ahead=ahead)


def in_order(
    parts: Iterable[_In],
    work: Callable[[_In], _Out],
    *,
    workers: int,
    ahead: int,
    starting: Callable[[], None] | None = None,
) -> Iterator[_Out]:
    """`work` done on each part by `workers` threads; results in the order of the parts, at most `ahead` under way.

    starting: called once in each thread before its first part.
    """
    if workers < 1 or ahead < 1:
        raise UsageError(f"workers and ahead must be at least 1, not {workers} and {ahead}")
    with ThreadPoolExecutor(workers, thread_name_prefix="pictures", initializer=starting) as pool:
        waiting: deque[Future[_Out]] = deque()
        try:
            for part in parts:
                waiting.append(pool.submit(work, part))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def batches(stream: Iterable[Tensor], size: int) -> Iterator[tuple[tuple[Tensor, ...], NDArray[Any] | None]]:
    """Runs of the stream with at most `size` readable pictures each, and these stacked (None where there are none).

    Pictures of different shapes never share a batch.
    """
    part: list[Tensor] = []
    readable: list[NDArray[Any]] = []
    for item in stream:
        if item.values is not None and readable and item.values.shape != readable[0].shape:
            yield tuple(part), np.stack(readable)
            part, readable = [], []
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
