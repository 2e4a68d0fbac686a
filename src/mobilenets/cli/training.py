"""What `fit` and `train` share: the options of a training run, and how a run that was stopped is taken up."""

import contextlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import click

from ..errors import UsageError
from . import options
from .options import F
from .progress import follow
from .shell import Interrupted, Shell

Balance = Literal["none", "loss", "sampler"]
Size = tuple[int, int] | None
Wanted = tuple[
    str, float | None, Size, int | None, int | None, float | None, float | None, float | None, str | None,
    Balance | None, int, str | None,
]  # fmt: skip
"""The fields of planning.Wish in their order, as they stand on the command line."""

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.argument("data", required=False),
    click.option("--network", type=options.NETWORK, default="auto", show_default=True,
                 help="A name, a .json file with a network of your own, or auto."),
    options.alpha,
    click.option("--weights", metavar="FILE|hf-hub:NAME|pretrained",
                 help="Begin with these weights: a model file, a published file, a hub address; pretrained takes the "
                 "best known for the network.  [from scratch]"),
    options.resolution,
    options.in_channels,
    click.option("--epochs", type=click.IntRange(min=1), help="Train so many epochs.  [the recipe's]"),
    click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Train so many minutes."),
    click.option("--recipe", help="How to train; docs/training.md has the table.  [by the data]"),
    click.option("--balance", type=click.Choice(get_args(Balance)),
                 help="For rare classes: weigh the loss, or draw them as often.  [the recipe's]"),
    options.seed,
    options.device,
    click.option("-o", "--out", type=options.PATH, help="Folder of the run, new.  [runs/NAME]"),
    click.option("--resume", type=options.PATH, metavar="RUN", help="Take up a run that was stopped; needs no DATA."),
    click.option("--config", type=options.PATH, metavar="FILE", help="Train DATA as this run's config.json says."),
    options.dry_run,
)  # fmt: skip


def run_options(function: F) -> F:
    """Lay the options of a training run over a command, in their order."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def tell_plan(
    shell: Shell, data: str | None, wish: Wanted, *, device: str, resume: Path | None, config: Path | None
) -> None:
    """--dry-run: choose network, recipe and length as the run would, say so, and write nothing."""
    from ..data import check_data, open_dataset, without_files
    from ..planning import Wish, intent, make_plan, network_words, replayed_plan
    from ..starting import open_start

    asked = Wish(*wish)
    if data is None or resume is not None:
        raise UsageError("a dry run needs DATA; a run that is resumed keeps the plan in its config.json")
    with follow(shell) as on_event:
        dataset = open_dataset(data, seed=asked.seed)
        health = check_data(dataset)
        dataset = without_files(dataset, health.unreadable)
        start = open_start(asked.weights, network=asked.network, alpha=asked.alpha) if asked.weights else None
        plan = (
            replayed_plan(config, dataset, start)
            if config
            else make_plan(dataset, health, asked, device, on_event, start)
        )
    keys = {
        "network": network_words(plan.spec),
        "recipe": plan.recipe.name,
        "epochs": plan.budget.epochs,
        "minutes": plan.budget.minutes,
        "train_images": len(dataset.train),
        "reason": plan.reason,
        "weights": asked.weights,
        "changes": plan.changes,
        "candidates": plan.candidates,
    }
    shell.answer(keys, [intent(plan, dataset), *plan.changes, *([plan.reason] if plan.reason else [])])


@contextlib.contextmanager
def resumable(command: str, run: Path | None) -> Iterator[None]:
    """Turn Ctrl-C into exit code 130 with the line that takes the run up."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        place = str(stopped.args[0]) if stopped.args else run
        hint = f"to go on: mobilenets {command} --resume {shlex.quote(str(place))}" if place else ""
        raise Interrupted("interrupted; the last checkpoint is whole", hint=hint) from stopped
