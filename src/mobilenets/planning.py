"""What a fit will train: network, size, recipe and budget from the caller's wish, the data, and this machine.

Floor 6, beside fitting.py, which calls it: the rules themselves stand in train/choosing.py and deploy/choose.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .data import Dataset
from .errors import UsageError
from .records import Candidate, DataHealth, Preprocess
from .specs import Network, Spec, resolve

if TYPE_CHECKING:
    from .deploy import Option
    from .starting import Start
    from .train import Budget, Recipe, StepEvent

AUTO = "auto"
Balance = Literal["none", "loss", "sampler"]


@dataclass(frozen=True, slots=True)
class Event:
    """A step of the job begins or goes on: its name, what it does in words, how far it is (done of total, 0 of 0
    where nobody knows)."""

    step: str
    text: str
    done: int = 0
    total: int = 0


OnEvent = Callable[["Event | StepEvent"], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller of `fit` or `train_run` asks of network and training; None is left to the job."""

    network: Network = AUTO
    alpha: float | None = None
    resolution_px: tuple[int, int] | None = None
    in_channels: int | None = None
    epochs: int | None = None
    minutes: float | None = None
    max_latency_ms: float | None = None
    max_mb: float | None = None
    recipe: str | None = None
    balance: Balance | None = None
    seed: int = 0
    weights: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be trained, all resolved. reason: why this network, where nobody named it. changes: what is replaced
    or adapted in the weights that training begins with."""

    spec: Spec
    preprocess: Preprocess
    recipe: "Recipe"
    budget: "Budget"
    seed: int
    candidates: tuple[Candidate, ...] = ()
    reason: str = ""
    changes: tuple[str, ...] = ()


def make_plan(
    dataset: Dataset,
    health: DataHealth,
    wish: Wish,
    device: str,
    on_event: OnEvent | None,
    start: "Start | None" = None,
) -> Plan:
    """Network, recipe and budget from the wish, and from the data and this machine what the wish leaves open.

    start: the weights that `wish.weights` names, opened.
    """
    from .train import DEFAULT_MINUTES, Budget, find_recipe, kind_of, recipe_spec, small_side_px

    if start is not None:
        return _plan_from(start, dataset, wish)
    kind = kind_of(health)
    recipe = find_recipe(wish.recipe or ("small_images" if kind == "small" else "photos"))
    recipe = replace(recipe, balance=wish.balance) if wish.balance else recipe
    if recipe.head == "fitted":
        raise UsageError(f"recipe {recipe.name} begins with pretrained weights", hint="name them: --weights")
    minutes = wish.minutes
    if minutes is None and wish.epochs is None and kind == "photos" and wish.network == AUTO:
        minutes = DEFAULT_MINUTES
    epochs = wish.epochs if minutes is not None or wish.epochs is not None else recipe.epochs
    budget = Budget(epochs=epochs, minutes=minutes)
    classes, in_channels = len(dataset.labels), wish.in_channels or 3
    candidates: tuple[Candidate, ...] = ()
    reason = ""
    if wish.network != AUTO:
        spec = resolve(
            wish.network, alpha=wish.alpha, resolution_px=wish.resolution_px, classes=classes, in_channels=in_channels
        )
        if kind == "small" and wish.resolution_px is None:
            side = small_side_px(health)
            spec = resolve(spec, resolution_px=(side, side), stem_stride=1)
    elif wish.alpha is not None:
        raise UsageError("alpha goes with a network's name", hint="say --network too, or leave --alpha out")
    elif wish.max_latency_ms is not None or wish.max_mb is not None:
        spec, candidates = _by_budget(health, wish, classes=classes, in_channels=in_channels, on_event=on_event)
        reason = "the best published accuracy among those that fit the budget here"
    else:
        spec, reason = _by_data(dataset, health, wish, budget, recipe, device, on_event)
    spec = recipe_spec(spec, recipe)
    return Plan(spec, _fed(spec), recipe, budget, wish.seed, candidates, reason)


def _plan_from(start: "Start", dataset: Dataset, wish: Wish) -> Plan:
    """The weights' own network and preprocessing; how to train it by the number of pictures."""
    from .starting import changes, fed_as_start, keeps_classifier, spec_of_start
    from .train import DEFAULT_MINUTES, Budget, find_recipe, recipe_spec, transfer_recipe

    if wish.max_latency_ms is not None or wish.max_mb is not None:
        raise UsageError("the weights say which network it is, so none can be chosen by latency or megabytes")
    recipe = find_recipe(wish.recipe) if wish.recipe else transfer_recipe(images=len(dataset.train))
    recipe = replace(recipe, balance=wish.balance) if wish.balance else recipe
    if keeps_classifier(start, dataset.labels):
        recipe = replace(recipe, head="as_built")
    minutes = DEFAULT_MINUTES if wish.minutes is None and wish.epochs is None else wish.minutes
    spec = spec_of_start(
        start, classes=len(dataset.labels), resolution_px=wish.resolution_px, in_channels=wish.in_channels
    )
    spec = recipe_spec(spec, recipe)
    return Plan(
        spec, fed_as_start(start, spec), recipe, Budget(epochs=wish.epochs, minutes=minutes), wish.seed,
        changes=changes(start, spec, dataset.labels),
    )  # fmt: skip


def _by_data(
    dataset: Dataset,
    health: DataHealth,
    wish: Wish,
    budget: "Budget",
    recipe: "Recipe",
    device: str,
    on_event: OnEvent | None,
) -> tuple[Spec, str]:
    """The network that the pictures and the time ask for."""
    from .train import choose_photo_network, kind_of, small_image_network, training_rate

    classes, in_channels = len(dataset.labels), wish.in_channels or 3
    if kind_of(health) == "small":
        choice = small_image_network(health, classes=classes, in_channels=in_channels)
    else:
        say(on_event, "choose", "timing training steps to choose the network")
        choice = choose_photo_network(
            images=len(dataset.train),
            budget=budget,
            classes=classes,
            in_channels=in_channels,
            images_per_s=lambda spec: training_rate(spec, recipe=recipe, device=device),
        )
    spec = choice.spec if wish.resolution_px is None else resolve(choice.spec, resolution_px=wish.resolution_px)
    return spec, choice.reason


def _by_budget(
    health: DataHealth, wish: Wish, *, classes: int, in_channels: int, on_event: OnEvent | None
) -> tuple[Spec, tuple[Candidate, ...]]:
    """The best network within the latency and the megabytes asked for, timed here."""
    from .deploy import choose_network, options, time_untrained
    from .train import kind_of, small_side_px

    small = kind_of(health) == "small"
    if wish.resolution_px is not None:
        grid = options(
            sizes_px=(wish.resolution_px,), classes=classes, in_channels=in_channels, stem_stride=1 if small else 2
        )
    elif small:
        side = small_side_px(health)
        grid = options(sizes_px=((side, side),), classes=classes, in_channels=in_channels, stem_stride=1)
    else:
        grid = options(classes=classes, in_channels=in_channels)

    def measured(option: "Option") -> tuple[float, float]:
        height, width = option.resolution_px
        say(on_event, "choose", f"timing {option.network} {option.alpha:g} at {height}x{width} px")
        return time_untrained(option.spec(classes=classes, in_channels=in_channels))

    candidates = choose_network(grid, measured, max_latency_ms=wish.max_latency_ms, max_mb=wish.max_mb)
    chosen = next(c for c in candidates if c.chosen)
    option = next(
        o for o in grid if (o.network, o.alpha, o.resolution_px) == (chosen.network, chosen.alpha, chosen.resolution_px)
    )
    return option.spec(classes=classes, in_channels=in_channels), candidates


def _fed(spec: Spec) -> Preprocess:
    """How pictures are fed to a network that is trained from scratch here: the whole shorter side."""
    grey = spec.in_channels == 1
    if spec.in_channels not in (1, 3):
        raise UsageError(f"pictures give 1 or 3 channels, not {spec.in_channels}")
    return Preprocess(
        size_px=spec.resolution_px,
        crop_ratio=1.0,
        mean=(0.449,) if grey else (0.485, 0.456, 0.406),
        std=(0.226,) if grey else (0.229, 0.224, 0.225),
        colour="grey" if grey else "rgb",
    )


def replayed_plan(file: Path, dataset: Dataset, start: "Start | None" = None) -> Plan:
    """What a run's config.json says, for `dataset`. Raises UsageError where it began with weights, and none are given;
    and where those given are another network's."""
    from .starting import changes, require_same_network
    from .train import read_config

    config = read_config(file)
    if config.network is None:
        raise UsageError(f"{file}: its network is no spec, so it can't be built again")
    spec = resolve(config.network, classes=len(dataset.labels))
    plan = Plan(spec, config.preprocess, config.recipe, config.budget, config.seed)
    if start is None and config.recipe.head == "fitted":
        raise UsageError(f"{file}: the run began with pretrained weights", hint="name them: --weights")
    if start is None:
        return plan
    require_same_network(start, spec, where=str(file))
    return replace(plan, changes=changes(start, spec, dataset.labels))


def intent(plan: Plan, dataset: Dataset) -> str:
    """What training will do, before it does it."""
    from .measure import cost

    price, budget = cost(plan.spec), plan.budget
    length = f"{budget.minutes:g} minutes" if budget.minutes is not None else f"{budget.epochs} epochs"
    memory = (price.training_mb_fixed + price.training_mb_per_image * plan.recipe.batch) / 1e3
    return (
        f"training {network_words(plan.spec)} ({price.params / 1e6:.2f} M parameters, {price.macs / 1e6:.0f} M MACs) "
        f"on {len(dataset.train)} pictures for {length}, recipe {plan.recipe.name}, about {memory:.1f} GB of memory"
    )


def network_words(spec: Spec) -> str:
    height, width = spec.resolution_px
    alpha = "" if spec.alpha == 1 else f" alpha {spec.alpha:g}"
    return f"{spec.name}{alpha} at {height}x{width} px"


def say(on_event: OnEvent | None, step: str, text: str) -> None:
    if on_event is not None:
        on_event(Event(step, text))


def progress(on_event: OnEvent | None, step: str) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        if on_event is not None:
            on_event(Event(step, "", done, total))

    return show
