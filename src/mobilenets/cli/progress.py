"""Progress on stderr, drawn with rich, only where somebody looks: a terminal, and no -q."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .shell import Shell

if TYPE_CHECKING:
    from rich.progress import Progress


@contextlib.contextmanager
def progress(shell: Shell, what: str) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total) that draws a bar with the time left; one that does nothing where nobody looks."""
    with _bar(shell) as bar:
        task = bar.add_task(what, total=None, figures="") if bar else None

        def show(done: int, total: int) -> None:
            if bar and task is not None:
                bar.update(task, completed=done, total=total)

        yield show


@contextlib.contextmanager
def follow(shell: Shell) -> Iterator[Callable[[Any], None]]:
    """A callback for the events of `fit`: a line for each step that begins, a bar for what takes long."""
    from ..train import StepEvent

    with _bar(shell) as bar:
        task = bar.add_task("", total=None, visible=False, figures="") if bar else None

        def on_event(event: Any) -> None:
            if isinstance(event, StepEvent):
                words = f"epoch {event.epoch}", event.step, event.of
                figures = f"loss {event.loss:.3f}  {event.images_per_s:.0f} images/s"
            else:
                words, figures = (event.step, event.done, event.total), ""
                if event.text:
                    shell.note(event.text)
            if bar and task is not None:
                text, done, total = words
                bar.update(
                    task, description=text, completed=done, total=total or None, visible=bool(total), figures=figures
                )

        yield on_event


@contextlib.contextmanager
def _bar(shell: Shell) -> "Iterator[Progress | None]":
    """rich's progress display on stderr; None where nobody looks."""
    if not shell.live:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield bar
