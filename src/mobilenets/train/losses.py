"""The losses of a run as they come: their mean, the training metric's answers, and the alarm when one is no number."""

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import NonFiniteLoss

RECENT = 1024
"""Training images whose answers are kept for the training metric."""
EVERY = 10
"""Steps between two looks at the losses where looking stops the device; a CPU is looked at after every step."""
NAMED = 8
"""Files of a bad batch that the message names."""


class Losses:
    """Since the last evaluation: sum and number of the losses, answers to the last `RECENT` training images.

    files_of: names the files of a step's batch. told: what is done with all of them before NonFiniteLoss is raised;
    gives words that say where they are.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        files_of: Callable[[int], tuple[str, ...]],
        told: Callable[[tuple[str, ...]], str],
    ) -> None:
        self.sum, self.steps = 0.0, 0
        self.latest = float("nan")
        self._files_of, self._told = files_of, told
        self._every = 1 if device.type == "cpu" else EVERY
        self._waiting: list[tuple[int, Tensor]] = []
        self._recent: deque[tuple[Any, Tensor]] = deque()

    def add(self, step: int, loss: Tensor, outputs: Any, truth: Tensor) -> None:
        """The step's loss and the network's answers. Raises NonFiniteLoss, perhaps some steps late."""
        self._waiting.append((step, loss))
        self._recent.append((outputs, truth))
        while len(self._recent) > 1 and sum(len(t) for _, t in self._recent) - len(self._recent[0][1]) >= RECENT:
            self._recent.popleft()
        if len(self._waiting) >= self._every:
            self.look()

    def look(self) -> None:
        """Fetch the losses that are still on the device."""
        if not self._waiting:
            return
        values = torch.stack([loss for _, loss in self._waiting]).tolist()
        waiting, self._waiting = self._waiting, []
        for (step, _), value in zip(waiting, values, strict=True):
            if value - value != 0.0:  # true for NaN and both infinities
                self.refuse(step, f"the loss is {value}")
            self.sum += value
            self.steps += 1
        self.latest = values[-1]

    def refuse(self, step: int, what: str) -> None:
        """Raise NonFiniteLoss for the step that was the `step`-th done, counted from 1."""
        files = self._files_of(step)
        shown = ", ".join(files[:NAMED]) + (", ..." if len(files) > NAMED else "")
        where = self._told(files)
        raise NonFiniteLoss(
            f"step {step}: {what}; the {len(files)} files of its batch: {shown}{where}",
            hint="the last checkpoint is from before; look at these files, or lower the learning rate",
        )

    def mean(self) -> float:
        return self.sum / self.steps if self.steps else float("nan")

    def answers(self) -> tuple[Any, Tensor]:
        """(outputs, truth) of the recent training images, on the CPU."""
        if not self._recent:
            return torch.empty(0, 0), torch.empty(0, dtype=torch.int64)
        outputs = [o for o, _ in self._recent]
        truth = torch.cat([t for _, t in self._recent])
        if isinstance(outputs[0], tuple):
            return tuple(torch.cat(column).float().cpu() for column in zip(*outputs, strict=True)), truth
        return torch.cat(outputs).float().cpu(), truth

    def tensors(self) -> dict[str, Tensor]:
        """The recent answers as named tensors, one pair per step, for the state of a run."""
        return {
            f"{place}/{name}": tensor
            for place, (outputs, truth) in enumerate(self._recent)
            for name, tensor in (
                ("truth", truth),
                *((str(i), o) for i, o in enumerate(outputs if isinstance(outputs, tuple) else (outputs,))),
            )
        }

    def restore(self, total: float, steps: int, tensors: dict[str, Tensor]) -> None:
        """Put back what `sum`, `steps` and `tensors` were."""
        self.sum, self.steps = total, steps
        pairs: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            place, _, name = key.partition("/")
            pairs.setdefault(int(place), {})[name] = tensor
        for _, pair in sorted(pairs.items()):
            outputs = tuple(pair[str(i)] for i in range(len(pair) - 1))
            self._recent.append((outputs[0] if len(outputs) == 1 else outputs, pair["truth"]))

    def begin_again(self) -> None:
        """An evaluation has been written: count anew."""
        self.sum, self.steps = 0.0, 0
        self._recent.clear()
