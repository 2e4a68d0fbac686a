"""What to train from scratch when only the data and the time are given: kind of pictures, recipe, network and size.

A network that sees its pictures too seldom learns less than a smaller one that sees them often, so the heaviest rung
of the ladder is taken whose measured training rate shows every picture often enough within the minutes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from ..errors import BadData
from ..models import build
from ..records import DataHealth
from ..specs import Spec, resolve
from .distributed import pick_device
from .memory import kept_memory
from .optimizers import build_optimizer
from .plan import Budget, scaled_side
from .recipe import Recipe
from .step import TrainStep
from .timing import timed_step

Kind = Literal["small", "photos"]

SMALL_PX = 64
"""Pictures whose median shorter side is at most this are small: a stem stride of 1, or nothing is left to look at."""
SMALL_SIDES_PX = (32, 48, 64)
VIEWS = 65_000
"""Pictures that a run from scratch wants to show in all, and the bounds of how often it then shows each."""
FEWEST_EPOCHS, MOST_EPOCHS = 30, 100
DEFAULT_MINUTES = 10.0
"""For photos where nobody says how long."""
LONGEST_MINUTES = 60.0
"""What a run given in epochs should not take longer than, where its network is chosen here."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the ladder, lightest first."""

    network: str
    alpha: float
    side_px: int


LADDER = (
    Rung("mobilenetv3_small", 0.5, 128),
    Rung("mobilenetv3_small", 1.0, 128),
    Rung("mobilenetv3_small", 1.0, 144),
    Rung("mobilenetv4_conv_small", 1.0, 176),
    Rung("mobilenetv3_large", 1.0, 176),
    Rung("mobilenetv3_large", 1.0, 224),
)
SMALL_IMAGE_RUNG = Rung("mobilenetv3_small", 0.5, 32)


@dataclass(frozen=True, slots=True)
class Choice:
    """A network to train, and in words why this one."""

    spec: Spec
    reason: str


def kind_of(health: DataHealth) -> Kind:
    """Small pictures or photos, by the median of the shorter sides. Raises BadData for data without pictures."""
    return "small" if _median_side_px(health) <= SMALL_PX else "photos"


def small_side_px(health: DataHealth) -> int:
    """The input size for small pictures: the first of 32, 48, 64 px that is not below theirs."""
    side = _median_side_px(health)
    return next((size for size in SMALL_SIDES_PX if size >= side), SMALL_SIDES_PX[-1])


def wanted_epochs(images: int) -> int:
    """How often a run from scratch should show each of `images` training pictures."""
    return round(min(MOST_EPOCHS, max(FEWEST_EPOCHS, VIEWS / max(1, images))))


def choose_photo_network(
    *, images: int, budget: Budget, classes: int, in_channels: int, images_per_s: Callable[[Spec], float]
) -> Choice:
    """The heaviest rung that shows `images` training pictures often enough in the minutes; the lightest if none does.

    With a budget in epochs the time is free, so it is the heaviest rung that ends within an hour.
    images_per_s: times a training step of a spec on this machine.
    """
    minutes = budget.minutes or LONGEST_MINUTES
    views = images * (wanted_epochs(images) if budget.epochs is None else budget.epochs)
    timed: list[tuple[Spec, float]] = []
    for rung in LADDER:
        spec = _spec(rung, classes=classes, in_channels=in_channels)
        timed.append((spec, images_per_s(spec)))
        if timed[-1][1] * 60.0 * minutes < views:
            break
    enough = [(spec, rate) for spec, rate in timed if rate * 60.0 * minutes >= views] or timed[:1]
    chosen, rate = enough[-1]
    return Choice(
        chosen,
        f"network chosen by timing {len(timed)}: the heaviest that shows each of {images} pictures "
        f"{views // images} times in {minutes:g} minutes; it trains {rate:.0f} pictures a second here",
    )


def training_rate(spec: Spec, *, recipe: Recipe, device: str, steps: int = 6) -> float:
    """Pictures a second that a training step of `spec` takes on this machine, the fastest of `steps` after a warm one.

    In float32 and channels-last, which the run itself may better by its own timing.
    """
    place = pick_device(device)
    with torch.random.fork_rng(devices=[]), kept_memory():
        network = build(spec).to(place).train()
        optimizer = build_optimizer(network, recipe)
        step = TrainStep(network, torch.nn.functional.cross_entropy, optimizer)
        images = torch.randn((recipe.batch, spec.in_channels, *scaled_side(spec.resolution_px, recipe.side_ratios[-1])))
        targets = torch.zeros(recipe.batch, dtype=torch.int64)
        seconds = [timed_step(step, images, targets) for _ in range(steps + 1)]
    return recipe.batch / min(seconds[1:])


def small_image_network(health: DataHealth, *, classes: int, in_channels: int) -> Choice:
    """The network for digits, icons and the like."""
    side = small_side_px(health)
    rung = Rung(SMALL_IMAGE_RUNG.network, SMALL_IMAGE_RUNG.alpha, side)
    spec = resolve(_spec(rung, classes=classes, in_channels=in_channels), stem_stride=1)
    return Choice(spec, f"small pictures: a stem stride of 1 at {side} px keeps enough of them to look at")


def _spec(rung: Rung, *, classes: int, in_channels: int) -> Spec:
    size = (rung.side_px, rung.side_px)
    return resolve(rung.network, alpha=rung.alpha, resolution_px=size, classes=classes, in_channels=in_channels)


def _median_side_px(health: DataHealth) -> int:
    sides = sorted((min(h, w), n) for h, w, n in health.sizes_px)
    half = sum(n for _, n in sides) / 2
    seen = 0
    for side, n in sides:
        seen += n
        if seen >= half:
            return side
    raise BadData(f"{health.data}: has no picture that can be read")
