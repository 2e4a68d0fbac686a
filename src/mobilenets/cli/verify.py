"""`mobilenets verify`: proof that a model file is whole and that its exported file answers as the network does."""

from typing import get_args

import click

from ..records import Split, Verification
from . import options
from .progress import progress
from .shell import Shell
from .text import table


@options.command(
    "verify",
    example="mobilenets verify runs/photos/model --data photos/",
    python="mobilenets.verify_model('runs/photos/model', data='photos/')",
)
@click.argument("model")
@click.option("--data", help="Labelled images to put to both as well; needs the extra train.")
@click.option("--split", type=click.Choice(get_args(Split)), default="val", show_default=True, help="Which part of it.")
@click.option("--target", default="onnx", show_default=True, help="Which exported file.")
@click.option("--precision", help="Which precision of that target.  [the first there is]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the runtime.  [all cores]")
def verify_command(
    shell: Shell, model: str, data: str | None, split: Split, target: str, precision: str | None, threads: int | None
) -> int:
    """Check every hash of MODEL, put its golden images to the exported file, and compare with what the trained
    network answered; with --data on those images too. Ends with 1 when a check says no."""
    from ..deploy import verify_model

    with progress(shell, "comparing") as show:
        verification = verify_model(
            model, target=target, precision=precision, data=data, split=split, threads=threads, on_progress=show
        )
    shell.answer(verification, _lines(verification))
    return 0 if verification.passed else 1


def _lines(verification: Verification) -> list[str]:
    from ..report import figures

    checks = table(("", "", ""), [("ok" if c.passed else "NO", c.name, c.detail) for c in verification.checks], left=3)
    verdict = "verified" if verification.passed else "not verified"
    return [
        *checks,
        f"{verdict}: {verification.file} on {figures.plural(verification.images, 'image')}: "
        f"{figures.percent(verification.top1_agreement)} equal answers, "
        f"largest difference {figures.decimal(verification.max_relative_error)} of the largest output",
    ]
