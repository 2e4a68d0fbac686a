"""`mobilenets verify`: proof that a model file is whole and that its exported file answers as the network does."""

from pathlib import Path
from typing import get_args

import click

from ..records import Split, Verification
from . import options
from .progress import progress
from .shell import Shell
from .text import table

SHOWN = 10
"""Labels whose answers moved most, as printed; --json has all."""


@options.command(
    "verify",
    example="mobilenets verify runs/photos/model photos/",
    python="mobilenets.verify_model('runs/photos/model', data='photos/')",
)
@click.argument("file")
@click.argument("data", required=False)
@click.option("--model", help="The model file that FILE came from, where it does not lie in it.")
@click.option(
    "--split", type=click.Choice(get_args(Split)), help="Which part of DATA.  [test; else val; else everything]"
)
@click.option("--target", help="Which exported file of a model file.  [the first there is]")
@click.option("--precision", help="Which precision of that target.  [the first there is]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the runtime.  [all cores]")
def verify_command(
    shell: Shell,
    file: str,
    data: str | None,
    model: str | None,
    split: Split | None,
    target: str | None,
    precision: str | None,
    threads: int | None,
) -> int:
    """Check every hash of a model file, put its golden images to an exported file, and compare with what the trained
    network answered; with labelled DATA on those images too (needs the extra train). FILE is the model file, or an
    exported file in one. Where a check says no, find out why and name the culprit; the command ends with 1."""
    from ..deploy import verify_model

    with progress(shell, "comparing") as show:
        verification = verify_model(
            model or file,
            target=target,
            precision=precision,
            file=Path(file) if model else None,
            data=data,
            split=split,
            threads=threads,
            on_progress=show,
        )
    shell.answer(verification, _lines(verification))
    return 0 if verification.passed else 1


def _lines(verification: Verification) -> list[str]:
    from ..report import figures

    checks = table(("", "", ""), [("ok" if c.passed else "NO", c.name, c.detail) for c in verification.checks], left=3)
    verdict = "verified" if verification.passed else "not verified"
    drift = list(verification.drift.items())[:SHOWN]
    return [
        *checks,
        *(f"{label}: {figures.percent(share)} answered otherwise" for label, share in drift),
        f"{verdict}: {verification.file} on {figures.plural(verification.images, 'image')}: "
        f"{figures.percent(verification.top1_agreement)} equal answers, "
        f"largest difference {figures.decimal(verification.max_relative_error)} of the largest output",
        *([] if verification.passed else [f"culprit: {verification.culprit}: {verification.evidence}"]),
        *([f"first layer that departs: {verification.first_layer}"] if verification.first_layer else []),
    ]
