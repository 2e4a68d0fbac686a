"""`mobilenets predict`: name what is in images, with the verified file inside a model file."""

import click

from ..errors import UsageError
from . import options
from .progress import progress
from .shell import Shell
from .text import table


@options.command(
    "predict",
    example="mobilenets predict runs/photos/model cat.jpg more-photos/",
    python="mobilenets.load('runs/photos/model').predict(['cat.jpg', 'more-photos/'])",
)
@click.argument("model")
@click.argument("images", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Labels to tell per image.")
@click.option("--target", help="Run the exported file for this target; by default the first that runs here.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the runtime.  [all cores]")
def predict_command(
    shell: Shell, model: str, images: tuple[str, ...], top: int, target: str | None, threads: int | None
) -> int:
    """Name what is in IMAGES: files and folders (their pictures at any depth).

    A picture that can't be read does not stop the others. Ends with 0 when at least one was answered, with 2 when
    none was. A file whose name begins with a dash goes after --.
    """
    from ..loading import load

    loaded = load(model, target=target, threads=threads)
    found = []
    with progress(shell, "predicting") as show:
        for prediction in loaded.predict_stream(list(images), top=top):
            found.append(prediction)
            show(len(found), len(found))
    if not found:
        raise UsageError(f"{', '.join(images)}: no pictures there")
    results = [prediction.as_dict() for prediction in found]
    errors = sum(prediction.result is None for prediction in found)
    rows = [(str(answer["file"]), _in_words(answer)) for answer in results]
    shell.answer({"results": results, "errors": errors}, table(("", ""), rows, left=2))
    return 0 if errors < len(found) else 2


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
