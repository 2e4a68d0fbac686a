"""The training batches: made from pictures in memory by threads, as a pure function of seed and step.

torch's own loader is left out on purpose: its worker processes would copy the pictures, and its order comes from a
running stream, which an exact resume can't repeat.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data import Pictures
from ..records import Preprocess
from .augment import ERASE, augmented, columns, erase, mix_pairs, to_network
from .draws import Use, epoch_order, generator
from .plan import Plan, scaled_side, turn_at
from .recipe import Recipe


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One process's share of a step's images. images: float32 (n, C, h, w), channels-last in memory; targets int64
    (n,), or float32 (n, K) where pictures were mixed; truth: int64 (n,), before mixing; rows: which pictures."""

    images: Tensor
    targets: Tensor
    truth: Tensor
    rows: NDArray[np.int64]


class BatchMaker:
    """Makes the batch of any step; safe to call from several threads.

    rank, world: this process's place among so many, each of which makes its own equal part of every batch.
    """

    def __init__(
        self,
        pictures: Pictures,
        recipe: Recipe,
        *,
        preprocess: Preprocess,
        classes: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.pictures, self.recipe, self.preprocess = pictures, recipe, preprocess
        self.classes, self.seed, self.rank, self.world = classes, seed, rank, world
        self._targets = pictures.targets
        self._orders: dict[int, NDArray[np.int64]] = {}

    def rows(self, step: int, plan: Plan) -> NDArray[np.int64]:
        """Which pictures the step shows, over all processes: int64 (batch,)."""
        epoch, within = divmod(step, plan.steps_per_epoch)
        order = self._orders.get(epoch)
        if order is None:
            class_of = self._targets if self.recipe.balance == "sampler" else None
            order = epoch_order(self.seed, epoch, count=len(self.pictures), class_of=class_of)
            # Two epochs are alive while batches are made ahead; a dict of that size is swapped, not changed.
            self._orders = {e: o for e, o in self._orders.items() if e >= epoch - 1} | {epoch: order}
        return order[within * plan.batch : (within + 1) * plan.batch]

    def batch(self, step: int, plan: Plan) -> Batch:
        """This process's part of the step's batch."""
        how = self.recipe.augmentation
        epoch, within = divmod(step, plan.steps_per_epoch)
        size = plan.batch // self.world
        mine = slice(self.rank * size, (self.rank + 1) * size)
        rows = self.rows(step, plan)[mine]
        size_px = scaled_side(self.preprocess.size_px, self.recipe.side_ratios[turn_at(self.recipe, plan, step)])
        numbers = generator(self.seed, Use.PICTURES, epoch, within).random((plan.batch, columns(how)))[mine]
        images = to_network(
            augmented(
                [self.pictures[int(row)] for row in rows],
                numbers,
                how=how,
                size_px=size_px,
                interpolation="bicubic" if self.preprocess.interpolation == "bicubic" else "bilinear",
            ),
            self.preprocess,
        )
        if how.erase:
            erase(images, numbers[:, ERASE], how=how)
        truth = torch.from_numpy(self._targets[rows])
        targets = truth
        if how.mixes:
            pairs = self._pairs(epoch, within, plan.batch // 2)[mine.start // 2 : mine.stop // 2]
            images, targets = mix_pairs(images, truth, pairs, how=how, classes=self.classes)
        return Batch(images, targets, truth, rows)

    def _pairs(self, epoch: int, within: int, count: int) -> NDArray[np.float64]:
        """The random numbers of `mix_pairs`, float64 (count, 5)."""
        random = generator(self.seed, Use.PAIRS, epoch, within)
        numbers = random.random((count, 5))
        how = self.recipe.augmentation
        mixup, cutmix = (random.beta(a, a, count) if a > 0 else None for a in (how.mixup_alpha, how.cutmix_alpha))
        if mixup is None or cutmix is None:
            numbers[:, 2] = mixup if cutmix is None else cutmix
        else:
            numbers[:, 2] = np.where(numbers[:, 1] < 0.5, cutmix, mixup)
        return numbers


class Ahead:
    """Batches made by `workers` threads, up to `ahead` steps before they are asked for; with ahead=0 each is made when
    it is asked for, by the thread that asks.

    Each thread computes alone (one torch thread): the many small operations of augmentation gain nothing from more,
    and the training step keeps all of its own.
    """

    def __init__(self, make: Callable[[int], Batch], *, ahead: int, workers: int = 1) -> None:
        self._make, self._ahead = make, ahead
        own = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(max(1, workers), "batches", initializer=torch.set_num_threads, initargs=(1,))
        # Threads start one by one, and torch's setting is part global, part per thread: start all, then restore ours.
        together = threading.Barrier(max(1, workers))
        for future in [self._pool.submit(together.wait) for _ in range(together.parties)]:
            future.result()
        torch.set_num_threads(own)
        self._waiting: dict[int, Future[Batch]] = {}

    def get(self, step: int) -> Batch:
        """The batch of `step`; the ones after it are begun."""
        if not self._ahead:
            return self._make(step)
        for wanted in range(step, step + self._ahead + 1):
            if wanted not in self._waiting:
                self._waiting[wanted] = self._pool.submit(self._make, wanted)
        for old in [s for s in self._waiting if s < step or s > step + self._ahead]:
            self._waiting.pop(old).cancel()
        return self._waiting.pop(step).result()

    def forget(self) -> None:
        """Drop what was made ahead: the plan has changed."""
        for future in self._waiting.values():
            future.cancel()
        self._waiting.clear()

    def close(self) -> None:
        self.forget()
        self._pool.shutdown(wait=True, cancel_futures=True)


def batch_files(pictures: Pictures, rows: Sequence[int] | NDArray[np.int64]) -> tuple[str, ...]:
    """The files of a batch, to name them in an error."""
    return tuple(str(pictures.samples[int(row)].file) for row in rows)
