"""`mobilenets eval`: what a model file gets right on labelled images."""

from pathlib import Path
from typing import get_args

import click

from ..records import Evaluation, Split
from . import options
from .progress import progress
from .shell import Shell
from .text import some, table

WORST = 10


@options.command(
    "eval",
    example="mobilenets eval runs/photos/model photos/",
    python="mobilenets.evaluate_model('runs/photos/model', 'photos/')",
)
@click.argument("model")
@click.argument("data")
@click.option(
    "--split", type=click.Choice(get_args(Split)), help="Which part of DATA.  [test; else val; else everything]"
)
@click.option("--class-map", type=options.PATH, help="CSV with the columns label (in DATA) and class (in MODEL).")
@options.seed
def eval_command(shell: Shell, model: str, data: str, split: Split | None, class_map: Path | None, seed: int) -> None:
    """Put the images of DATA to MODEL's exported file: top-1, top-5, and each class by itself.

    Classes are matched by their label, or by a name that only one class has, in whatever order DATA has them.
    --seed is that of the split, where DATA brings none.
    """
    from ..data.labels import read_class_map
    from ..deploy import evaluate_model
    from ..loading import local_model

    mapped = None if class_map is None else read_class_map(class_map)
    with progress(shell, "evaluating") as show:
        evaluation = evaluate_model(
            local_model(model), data, split=split, seed=seed, class_map=mapped, on_progress=show
        )
    shell.answer(evaluation, _lines(evaluation))


def _lines(evaluation: Evaluation) -> list[str]:
    from ..report import figures

    worst = sorted((c for c in evaluation.per_class if c.images), key=lambda c: (c.f1, c.label))
    rows = [(c.label, figures.count(c.images), *map(figures.percent, (c.recall, c.precision, c.f1))) for c in worst]
    low, high = evaluation.interval
    lines = table(("class, worst first", "images", "recall", "precision", "F1"), rows)
    if evaluation.unreadable:
        lines.append(f"{figures.plural(len(evaluation.unreadable), 'file')} could not be read and count nowhere")
    return [
        *some(lines, WORST + 1),
        f"top-1 {figures.percent(evaluation.top1)} (95 %: {figures.percent(low)} to {figures.percent(high)}), "
        f"top-5 {figures.percent(evaluation.top5)}, mean of the classes {figures.percent(evaluation.balanced_top1)}, "
        f"on {figures.plural(evaluation.images, 'image')}",
    ]
