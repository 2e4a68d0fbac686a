"""`mobilenets predict`: name what is in images, with the verified file inside a model file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from . import options
from .progress import progress
from .shell import Interrupted, Shell

if TYPE_CHECKING:
    from ..deploy import Model


@options.command(
    "predict",
    example="mobilenets predict runs/photos/model cat.jpg more-photos/\n"
    "mobilenets predict runs/photos/model photos/ -o answers.csv",
    python="mobilenets.load('runs/photos/model').predict(['cat.jpg', 'more-photos/'])",
)
@click.argument("model")
@click.argument("images", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Labels to tell per image.")
@click.option("--target", help="Run the exported file for this target; by default the first that runs here.")
@click.option("--precision", help="Of the exported file, e.g. float32.")
@click.option("--threads", type=click.IntRange(min=1), help="Cores to use.  [all]")
@click.option("--fast/--no-fast", default=None, help="Prepare pictures a faster way, if proved.  [in long streams]")
@click.option("-o", "--out", type=options.PATH, help="Write .csv, .json, .jsonl or .parquet; can be resumed.")
def predict_command(
    shell: Shell,
    model: str,
    images: tuple[str, ...],
    top: int,
    target: str | None,
    precision: str | None,
    threads: int | None,
    fast: bool | None,
    out: Path | None,
) -> int:
    """Name what is in IMAGES: files and folders (their pictures at any depth).

    A picture that can't be read does not stop the others. Ends with 0 when at least one was answered, with 2 when
    none was. A file whose name begins with a dash goes after --. With -o, the same command again after an interruption
    goes on where it stopped.
    """
    from ..loading import load

    loaded = load(model, target=target, precision=precision, threads=threads)
    if out is not None:
        return _to_file(shell, loaded, images, out, top=top, workers=threads, fast=fast)
    results, errors, count = [], 0, 0
    with progress(shell, "predicting") as show:
        for prediction in loaded.predict_stream(list(images), top=top, workers=threads, fast=fast):
            count, errors = count + 1, errors + (prediction.result is None)
            answer = prediction.as_dict()
            if shell.json:
                results.append(answer)
                show(count, 0)
            else:
                shell.answer({}, [f"{answer['file']}  {_in_words(answer)}"])
    if not count:
        raise UsageError(f"{', '.join(images)}: no pictures there")
    if shell.json:
        shell.answer({"results": results, "errors": errors}, ())
    return 0 if errors < count else 2


def _to_file(
    shell: Shell, model: "Model", images: tuple[str, ...], out: Path, *, top: int, workers: int | None,
    fast: bool | None,
) -> int:  # fmt: skip
    from ..deploy.journal import write_predictions
    from ..deploy.pictures import listed

    total = sum(1 for _ in listed(list(images))) if shell.live else 0
    try:
        with progress(shell, "predicting") as show:
            done = write_predictions(
                model, list(images), out, top=top, workers=workers, fast=fast, on_progress=lambda n: show(n, total)
            )
    except KeyboardInterrupt as stopped:
        raise Interrupted(
            "interrupted", hint=f"what is done lies in {out}.part; the same command goes on from there"
        ) from stopped
    for file, error in done.first_errors:
        shell.note(f"{file}: {error}")
    if done.errors:
        more = done.errors - len(done.first_errors)
        shell.note(f"{done.errors} of {done.rows} could not be read{f' ({more} more like these)' if more else ''}")
    before = f", {done.resumed} of them by an earlier run" if done.resumed else ""
    shell.answer(done, [f"{done.file}: {done.rows} answers{before}"])
    return 0 if done.errors < done.rows else 2


def _in_words(answer: dict[str, object]) -> str:
    """An answer of any task on one line: its plain values once each, shares as percent."""
    from ..report import figures

    if "error" in answer:
        return f"error: {answer['error']}"
    words, top = [], answer.get("top")
    for key, value in answer.items():
        if isinstance(value, float):
            words.append(figures.percent(value))
        elif key != "file" and isinstance(value, (str, int)):
            words.append(str(value))
    if answer.get("label", "") is None and isinstance(top, list):  # the share is that of the nearest label
        words = ["none of these, nearest:", str(top[0][0]), *words]
    return " ".join(dict.fromkeys(words))
