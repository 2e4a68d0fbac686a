"""What a network answers to image files, read and preprocessed exactly as deployment does it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..data import Sample, preprocess, preprocess_batch, read_image
from ..data.parallel import in_order
from ..errors import BadData, UnreadableImage
from ..records import Preprocess, UnreadableFile

HELD_OUT_MB = 1000.0
"""Preprocessed pictures are kept as bytes up to so much memory (20,000 of 128 x 128), else read anew each time."""


class Predicted(NamedTuple):
    """outputs: float32 (N, K), or a tuple of arrays where the network has several; targets: int64 (N,); files: N."""

    outputs: Any
    targets: NDArray[np.int64]
    files: tuple[str, ...]


class HeldOut:
    """Labelled pictures as a network is fed them, kept or read anew (see HELD_OUT_MB), for evaluation again and again.

    decoded: pictures already in memory, used instead of the files. Files that give no picture are left out and listed
    in `unreadable`.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        record: Preprocess,
        *,
        decoded: Sequence[NDArray[np.uint8]] | None = None,
        memory_mb: float = HELD_OUT_MB,
        workers: int | None = None,
    ) -> None:
        self._record = replace(record, layout="nchw", dtype="uint8")
        self._samples, self._workers = tuple(samples), workers
        self._mean = torch.tensor(record.mean)[:, None, None]
        self._std = torch.tensor(record.std)[:, None, None]
        self.unreadable: tuple[UnreadableFile, ...] = ()
        self._kept: tuple[NDArray[np.uint8], tuple[Sample, ...]] | None = None
        if decoded is not None:
            self._kept = cast("NDArray[np.uint8]", preprocess_batch(decoded, self._record)), self._samples
            return
        size = len(self._samples) * record.channels * record.size_px[0] * record.size_px[1]
        if self._samples and size <= memory_mb * 1e6:
            read = list(self._read())
            if read:
                self._kept = np.stack([picture for picture, _ in read]), tuple(sample for _, sample in read)

    def __len__(self) -> int:
        return len(self._samples) if self._kept is None else len(self._kept[1])

    def batches(self, size: int) -> Iterator[tuple[Tensor, list[Sample]]]:
        """Images float32 (n, C, h, w) with their samples, n = size but for the last."""
        if self._kept is not None:
            pictures, samples = self._kept
            for start in range(0, len(samples), size):
                yield self._floats(pictures[start : start + size]), list(samples[start : start + size])
            return
        waiting: list[tuple[NDArray[np.uint8], Sample]] = []
        for entry in self._read():
            waiting.append(entry)
            if len(waiting) == size:
                yield self._floats(np.stack([picture for picture, _ in waiting])), [sample for _, sample in waiting]
                waiting = []
        if waiting:
            yield self._floats(np.stack([picture for picture, _ in waiting])), [sample for _, sample in waiting]

    def _floats(self, pictures: NDArray[np.uint8]) -> Tensor:
        # The order of operations of data.normalise, so that the floats are the same to the bit.
        return torch.from_numpy(pictures).float().div_(255.0).sub_(self._mean).div_(self._std)

    def _read(self) -> Iterator[tuple[NDArray[np.uint8], Sample]]:
        def work(sample: Sample) -> NDArray[np.uint8] | UnreadableFile:
            try:
                return cast("NDArray[np.uint8]", preprocess(read_image(sample.file), self._record))
            except UnreadableImage as error:
                return UnreadableFile(error.file, error.kind, error.cause)

        bad: list[UnreadableFile] = []
        for sample, result in zip(self._samples, in_order(work, self._samples, self._workers), strict=True):
            if isinstance(result, UnreadableFile):
                bad.append(result)
            else:
                yield result, sample
        self.unreadable = tuple(bad)


def forward_all(network: nn.Module, pictures: HeldOut, *, batch: int, device: torch.device) -> tuple[Any, list[Sample]]:
    """The network's outputs for all pictures, on the CPU, in eval mode and float32; its mode is put back.

    Shapes: -> float32 (N, K), or a tuple of tensors (N, ...) where forward returns one; N samples.
    """
    training = {module: module.training for module in network.modules()}
    network.eval()
    parts: list[Any] = []
    samples: list[Sample] = []
    try:
        with torch.inference_mode():
            for images, some in pictures.batches(batch):
                answer = network(images.to(device).contiguous(memory_format=torch.channels_last))
                parts.append(
                    tuple(a.float().cpu() for a in answer) if isinstance(answer, tuple) else answer.float().cpu()
                )
                samples += some
    finally:
        for module, mode in training.items():
            module.training = mode
    if not parts:
        return torch.empty(0, 0), []
    if isinstance(parts[0], tuple):
        return tuple(torch.cat(column) for column in zip(*parts, strict=True)), samples
    return torch.cat(parts), samples


def predict_outputs(
    network: nn.Module,
    samples: Sequence[Sample],
    preprocess: Preprocess,
    *,
    batch: int = 32,
    device: str | torch.device = "cpu",
    workers: int | None = None,
) -> Predicted:
    """What `network` (on `device`) answers to image files, through `read_image` and `preprocess` as every runner does.

    Files that give no picture are left out: compare `files` with the samples. The answers do not depend on `batch`
    beyond rounding. workers: reading threads, by default one per core.

    Raises: BadData where not one file could be read.
    """
    pictures = HeldOut(samples, preprocess, memory_mb=0.0, workers=workers)
    outputs, read = forward_all(network, pictures, batch=batch, device=torch.device(device))
    if not read:
        first = f"; the first: {pictures.unreadable[0].file}" if pictures.unreadable else ""
        raise BadData(f"none of {len(samples)} image files could be read{first}")
    arrays = tuple(o.numpy() for o in outputs) if isinstance(outputs, tuple) else outputs.numpy()
    targets = np.array([sample.target for sample in read], np.int64)
    return Predicted(arrays, targets, tuple(str(sample.file) for sample in read))
