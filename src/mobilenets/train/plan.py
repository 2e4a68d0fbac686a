"""How long a run is and how far it has come: budget, plan of steps, learning rate. No torch, no clock: see pace.py.

A run's position is its progress in 0..1, and the schedule is a function of progress. Progress grows evenly with the
steps of a leg; a plan has one leg, unless a run in minutes was replanned: then each leg starts where the last one
stood and is laid out anew to end at 1. So the learning rate never jumps and always ends at the end of its curve.
"""

import math
from dataclasses import dataclass, replace

from ..errors import UsageError
from .recipe import Cosine, Exponential, Recipe

LONGEST_WARMUP = 0.2
"""Share of a run that warm-up takes at most, however short the run."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to train: a number of epochs, or of minutes from the first step to the last evaluation."""

    epochs: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.minutes is None):
            raise UsageError("a budget is a number of epochs or a number of minutes, one of the two")
        if self.epochs is not None and self.epochs < 1:
            raise UsageError(f"epochs must be at least 1, not {self.epochs}")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise UsageError(f"minutes must be positive, not {self.minutes}")


@dataclass(frozen=True, slots=True)
class Leg:
    """From `step`, where progress is `progress`, progress grows evenly and would be 1 at step `until`."""

    step: int
    progress: float
    until: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a run. warmup: share of progress. evaluate_every: epochs between evaluations on val."""

    steps_per_epoch: int
    batch: int
    legs: tuple[Leg, ...]
    warmup: float
    evaluate_every: int = 1

    @property
    def steps(self) -> int:
        return self.legs[-1].until

    @property
    def epochs(self) -> int:
        """Whole or begun passes over the data."""
        return -(-self.steps // self.steps_per_epoch)

    def progress(self, step: float) -> float:
        """Share of the run that lies before `step`; 1 at `steps`."""
        leg = next((leg for leg in reversed(self.legs) if leg.step <= step), self.legs[0])
        if leg.until <= leg.step:
            return 1.0
        return min(1.0, leg.progress + (1.0 - leg.progress) * (step - leg.step) / (leg.until - leg.step))

    def replanned(self, step: int, until: int) -> "Plan":
        """The same run, from `step` on laid out to end at step `until`."""
        kept = tuple(leg for leg in self.legs if leg.step < step)
        return replace(self, legs=(*kept, Leg(step, self.progress(step), max(step, until))))

    def evaluates_after(self, step: int) -> bool:
        """Whether val is evaluated once `step` steps are done: at ends of epochs, and at the end of the run."""
        if step >= self.steps:
            return True
        return step % self.steps_per_epoch == 0 and step // self.steps_per_epoch % self.evaluate_every == 0


def plan_steps(recipe: Recipe, *, images: int, parts: int, steps: int | None = None, epochs: int | None = None) -> Plan:
    """The plan of a run of so many steps or epochs over `images` training images.

    Full batches only: what is left of an epoch (fewer images than a batch, other ones each time) waits for the next.
    With fewer images than a batch, the batch is what there is, rounded down to equal `parts` (processes x
    micro-batches) of an even size where pictures are mixed in pairs.
    """
    unit = parts * (2 if recipe.augmentation.mixes else 1)
    batch = min(recipe.batch, images) // unit * unit
    if batch < 1:
        raise UsageError(
            f"{images} training images and a batch of {recipe.batch} can't be split into {parts} equal parts"
            + (" of pairs to mix" if recipe.augmentation.mixes else "")
        )
    per_epoch = images // batch
    total = steps if steps is not None else (epochs or recipe.epochs) * per_epoch
    warmup = min(recipe.warmup_epochs * per_epoch / max(1, total), LONGEST_WARMUP)
    return Plan(steps_per_epoch=per_epoch, batch=batch, legs=(Leg(0, 0.0, max(1, total)),), warmup=warmup)


def lr_at(recipe: Recipe, plan: Plan, step: int) -> float:
    """The learning rate of step 0, 1, ...: that of the middle of the step, so that none is wasted on a rate of 0."""
    progress = plan.progress(step + 0.5)
    if progress < plan.warmup:
        return recipe.lr * progress / plan.warmup
    match recipe.schedule:
        case Cosine(floor):
            rest = (progress - plan.warmup) / (1.0 - plan.warmup)
            return recipe.lr * (floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * rest)))
        case Exponential(rate, every_epochs):
            return recipe.lr * rate ** math.floor(step / plan.steps_per_epoch / every_epochs)


def turn_at(recipe: Recipe, plan: Plan, step: int) -> int:
    """Which of `recipe.side_ratios` has its turn at a step."""
    return min(int(plan.progress(step) * len(recipe.side_ratios)), len(recipe.side_ratios) - 1)


def scaled_side(size_px: tuple[int, int], ratio: float) -> tuple[int, int]:
    """(h, w) of the training pictures: `size_px` times `ratio`, each side a multiple of 16 and at least 32, or
    `size_px` itself for a ratio of 1."""
    if ratio == 1.0:
        return size_px
    height, width = (max(32, round(side * ratio / 16) * 16) for side in size_px)
    return height, width
