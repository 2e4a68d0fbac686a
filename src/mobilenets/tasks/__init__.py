"""What a network is asked to answer: head, loss, decoding, metric and calibration, one folder per task.

Train, bundle, deploy and the command line know a task only through `Task` and `Decoding` (interface.py) and find it
in the table (table.py). Everything but `Task` works with numpy and Pillow alone.
"""

from typing import TYPE_CHECKING

from .._lazy import lazy

__all__ = ["TASKS", "Decoding", "Result", "Task", "TaskRow", "decoding", "task"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "TASKS": ".table",
        "Decoding": ".interface",
        "Result": ".interface",
        "Task": ".interface",
        "TaskRow": ".table",
        "decoding": ".table",
        "task": ".table",
    },
)

if TYPE_CHECKING:
    from .interface import Decoding as Decoding
    from .interface import Result as Result
    from .interface import Task as Task
    from .table import TASKS as TASKS
    from .table import TaskRow as TaskRow
    from .table import decoding as decoding
    from .table import task as task
