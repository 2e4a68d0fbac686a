"""What `fit` and `train` share: the options of a training run, and how a run that was stopped is taken up."""

import contextlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import click

from . import options
from .options import F
from .shell import Interrupted

Balance = Literal["none", "loss", "sampler"]

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.argument("data", required=False),
    click.option("--network", type=options.NETWORK, default="auto", show_default=True,
                 help="A name, a .json file with a network of your own, or auto."),
    options.alpha,
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
)  # fmt: skip


def run_options(function: F) -> F:
    """Lay the options of a training run over a command, in their order."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@contextlib.contextmanager
def resumable(command: str, run: Path | None) -> Iterator[None]:
    """Turn Ctrl-C into exit code 130 with the line that takes the run up."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        place = str(stopped.args[0]) if stopped.args else run
        hint = f"to go on: mobilenets {command} --resume {shlex.quote(str(place))}" if place else ""
        raise Interrupted("interrupted; the last checkpoint is whole", hint=hint) from stopped
