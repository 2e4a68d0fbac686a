"""The tasks there are: one row each, resolved when it is asked for. A new task is one folder and one row here."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import UnknownName
from .interface import Decoding, Task


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task by name. `load` imports torch, `load_decoding` does not; nothing is imported before it is called."""

    name: str
    summary: str
    load: Callable[[], Task]
    load_decoding: Callable[[], Decoding]


def _classification() -> Task:
    from .classification.head import ClassificationTask

    return ClassificationTask()


def _classification_decoding() -> Decoding:
    from .classification.decoding import ClassificationDecoding

    return ClassificationDecoding()


TASKS: dict[str, TaskRow] = {
    row.name: row
    for row in (
        TaskRow("classification", "one label per image, or none of these", _classification, _classification_decoding),
    )
}


def task(name: str) -> Task:
    """The part of the task that trains; imports torch. Raises UnknownName with the closest names."""
    return _find(name).load()


def decoding(name: str) -> Decoding:
    """The part of the task that answers; numpy only. Raises UnknownName with the closest names."""
    return _find(name).load_decoding()


def _find(name: str) -> TaskRow:
    if name in TASKS:
        return TASKS[name]
    near = difflib.get_close_matches(name, TASKS, n=3)
    guess = f"; did you mean {', '.join(near)}?" if near else ""
    raise UnknownName(f"no task called {name!r}{guess}", hint=f"tasks: {', '.join(TASKS)}")
