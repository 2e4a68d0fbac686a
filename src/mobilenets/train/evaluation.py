"""A network on held-out pictures while it trains, over all processes, and what is checked when training has ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..data import Pictures
from ..errors import NonFiniteLoss
from ..records import Labels, Preprocess
from ..tasks import Decoding, Task
from .distributed import World
from .draws import Use, generator
from .norms import batch_norms, batch_statistics, recompute_statistics
from .outputs import HeldOut, forward_all

RECOMPUTE_IMAGES = 1024
"""Training pictures that batch-norm statistics are computed anew from."""
NORM_GAP = "batch norm: "
"""How the note begins that the two modes of batch norm answer otherwise."""
GAP_IMAGES = 256
"""Training pictures that the two modes of batch norm are compared on."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Measures a network by the task's own figures. Without pictures both are NaN."""

    task: Task
    decoding: Decoding
    labels: Labels
    world: World
    batch: int

    def __call__(self, network: nn.Module, pictures: HeldOut) -> tuple[float, float]:
        """(loss, metric) on `pictures`, of which each process holds a part; the same in all of them.

        Raises: NonFiniteLoss for an answer that is no number.
        """
        outputs, samples = forward_all(network, pictures, batch=self.batch, device=self.world.device)
        targets = torch.tensor([sample.target for sample in samples], dtype=torch.int64)
        if self.world.size > 1:
            outputs, targets = self._everyones(outputs, len(samples)), self.world.gathered(targets)
        if not len(targets):
            return float("nan"), float("nan")
        loss = float(self.task.loss(outputs, targets))
        if not np.isfinite(loss):
            raise NonFiniteLoss(f"the network answers pictures of val with a loss of {loss}")
        return loss, self.metric(outputs, targets)

    def metric(self, outputs: Any, targets: Tensor) -> float:
        """The task's primary metric of outputs (tensors on the CPU); NaN without any."""
        if not len(targets):
            return float("nan")
        arrays = tuple(o.numpy() for o in outputs) if isinstance(outputs, tuple) else outputs.numpy()
        names = [""] * len(targets)
        return self.decoding.metric_of(self.decoding.evaluate(arrays, targets.numpy(), labels=self.labels, files=names))

    def _everyones(self, outputs: Any, count: int) -> Any:
        if isinstance(outputs, tuple):
            return tuple(self.world.gathered(o.to(self.world.device)).cpu() for o in outputs)
        width = len(self.labels) if not count else outputs.shape[1]
        return self.world.gathered(outputs.reshape(count, width).to(self.world.device)).cpu()


def training_sample(pictures: Pictures, record: Preprocess, *, images: int, seed: int) -> HeldOut:
    """Some training pictures, drawn without replacement, as the deployed network will see pictures."""
    rows: NDArray[np.int64] = generator(seed, Use.SAMPLE).permutation(len(pictures))[:images]
    return HeldOut([pictures.samples[r] for r in rows], record, decoded=[pictures[r] for r in rows])


def with_recomputed_statistics(network: nn.Module, pictures: HeldOut, *, batch: int, device: torch.device) -> None:
    """Batch-norm statistics of `network` from `pictures`; full batches only."""
    size = min(batch, len(pictures))
    recompute_statistics(
        network,
        (
            images.to(device).contiguous(memory_format=torch.channels_last)
            for images, samples in pictures.batches(size)
            if len(samples) == size
        ),
    )


@torch.no_grad()
def mode_gap(network: nn.Module, pictures: HeldOut, *, judge: Judge) -> tuple[float, float]:
    """The metric on training pictures with each batch's own statistics, and with the running ones."""
    if not batch_norms(network):
        return float("nan"), float("nan")
    outputs, targets = [], []
    with batch_statistics(network):
        for images, samples in pictures.batches(judge.batch):
            if len(samples) > 1:
                outputs.append(network(images.to(judge.world.device)))
                targets += [sample.target for sample in samples]
    if not outputs or isinstance(outputs[0], tuple):
        return float("nan"), float("nan")
    by_batch = judge.metric(torch.cat(outputs).float().cpu(), torch.tensor(targets))
    answers, samples = forward_all(network, pictures, batch=judge.batch, device=judge.world.device)
    return by_batch, judge.metric(answers, torch.tensor([sample.target for sample in samples]))


def gap_notes(by_batch: float, running: float, *, train: float, val: float, metric: str) -> Sequence[str]:
    """What the figures of a finished run say about it, one sentence each."""
    notes = []
    if by_batch >= 0.2 and running < 0.5 * by_batch:
        notes.append(
            f"{NORM_GAP}{metric} on training pictures is {by_batch:.3f} with each batch's statistics and "
            f"{running:.3f} with the running ones; train longer, with larger batches, or with frozen statistics"
        )
    if train - val > 0.3:
        notes.append(
            f"{metric} is {train:.3f} on training pictures and {val:.3f} on val: the network learns its pictures by "
            "heart; more pictures, more augmentation or a smaller network help"
        )
    return notes


def paired_gain(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[float, float, float]:
    """By how much more often `after` is right than `before` on the same N pictures, with the ends of its 95 % interval.

    Source: Agresti and Min 2005, Statistics in Medicine 24: Wald's interval with half a picture added to each of the
    four cells. Shapes: bool (N,), N >= 1.
    """
    won, lost, count = float((after & ~before).sum()), float((before & ~after).sum()), len(before)
    difference = (won - lost) / count
    won, lost, count = won + 0.5, lost + 0.5, count + 2
    half = 1.96 * ((won + lost) - (won - lost) ** 2 / count) ** 0.5 / count
    middle = (won - lost) / count
    return difference, middle - half, middle + half
