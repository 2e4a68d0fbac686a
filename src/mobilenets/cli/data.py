"""`mobilenets data check` and `data show`: what is in a data set and what is wrong with it."""

from pathlib import Path

import click

from ..records import DataHealth, Duplicate
from . import options
from .progress import progress
from .shell import Shell
from .text import some, table

MOST_LINES = 20


@click.group("data")
def data_command() -> None:
    """Look at a data set: a folder with one folder of pictures per class, a CSV file, or digits."""


@options.command(
    "check",
    example="mobilenets data check photos/",
    python="mobilenets.check_data(mobilenets.open_dataset('photos/'))",
)
@click.argument("data")
@options.seed
def check_command(shell: Shell, data: str, seed: int) -> int:
    """Read every picture of DATA and tell what is broken, what is there twice, and what is odd.

    Ends with 1 on a leak (the same picture in two splits) or on a class without training images.
    """
    from ..data import check_data, open_dataset

    with progress(shell, "reading") as show:
        health = check_data(open_dataset(data, seed=seed), on_progress=show)
    shell.answer(health, _health_lines(health))
    return 0 if health.passed else 1


@options.command(
    "show",
    example="mobilenets data show photos/ -o split.json",
    python="mobilenets.open_dataset('photos/').counts()",
)
@click.argument("data")
@options.seed
@click.option("-o", "--out", type=options.PATH, help="Write the split to this .json file; it is a data set too.")
def show_command(shell: Shell, data: str, seed: int, out: Path | None) -> None:
    """Show the classes of DATA in the order of the network's outputs, their counts, and where the split is from."""
    from ..data import open_dataset, write_split

    dataset = open_dataset(data, seed=seed)
    counts = dataset.counts()
    if out is not None:
        write_split(dataset, out)
    rows = [(dataset.labels.name(i), *map(str, (c.train, c.val, c.test))) for i, c in enumerate(counts)]
    total = ("all", *(str(len(dataset.split(split))) for split in ("train", "val", "test")))
    keys = {
        "data": dataset.name,
        "images": len(dataset.samples),
        "classes": dataset.labels.ids,
        "names": dataset.labels.names,
        "counts": counts,
        "split_origin": dataset.split_origin,
        "fingerprint": dataset.fingerprint(),
    }
    shell.answer(keys, [*table(("class", "train", "val", "test"), [*rows, total]), f"split: {dataset.split_origin}"])


data_command.add_command(check_command)
data_command.add_command(show_command)


def _health_lines(health: DataHealth) -> list[str]:
    from ..report import figures

    images, classes = figures.plural(health.images, "image"), figures.plural(health.classes, "class", "classes")
    lines = [f"{health.data}: {images} of {classes}, split: {health.split_origin}"]
    lines += _section("unreadable, skipped", [f"{u.file}: {u.kind}: {u.cause}" for u in health.unreadable])
    lines += _section("leaks: the same picture in two splits", [_duplicate(d) for d in health.leaks])
    inside = [d for d in health.duplicates if d not in health.leaks]
    lines += _section("the same picture twice within a split", [_duplicate(d) for d in inside])
    lines += _section("warnings", list(health.warnings))
    lines += _section("errors", list(health.errors))
    return [*lines, "passed" if health.passed else "not passed"]


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"{title}: {len(lines)}", *(f"  {line}" for line in some(lines, MOST_LINES))] if lines else []


def _duplicate(duplicate: Duplicate) -> str:
    places = ", ".join(f"{file} ({split})" for file, split in zip(duplicate.files, duplicate.splits, strict=True))
    return f"{duplicate.kind}: {places}"
