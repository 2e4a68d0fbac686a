"""What the rest of the library may know about a task: three protocols, no torch.

`Task` is the part that trains (torch), `Decoding` the part that answers (numpy, so that a small board needs no torch),
`Result` one checked answer. Outputs are what the network's forward returns as arrays: one array (N, ...) where
`output_names` has one entry, else a tuple of arrays in that order.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..records import Calibration, Labels, Split, UnreadableFile

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..specs import Spec

Outputs: TypeAlias = Any
"""float (N, ...) array of numpy, or a tuple of them: see `Decoding.output_names`."""

Targets: TypeAlias = Any
"""The truth of N images, as the task's data gives it: int64 (N,) class indices for classification."""

Figures: TypeAlias = Any
"""What a task measures: a frozen record of its own (`records.Evaluation` for classification) that is its own JSON."""


class Result(Protocol):
    """One answer about one image: a frozen value, checked when it is made."""

    def as_dict(self, file: str) -> dict[str, object]:
        """The answer as plain JSON values, under the keys that `predict --json` prints."""
        ...

    def draw(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The answer drawn on its picture: uint8 (H, W, 3) -> uint8 (H', W', 3), for looking at."""
        ...


class Task(Protocol):
    """The part of a task that trains: a network with its head, and the loss that teaches it."""

    @property
    def name(self) -> str:
        """The task's name in the table and in every model file."""
        ...

    @property
    def metric(self) -> str:
        """The primary metric's name, as columns and summaries print it; larger is better, in 0..1."""
        ...

    def build(self, spec: "Spec", labels: Labels) -> "nn.Module":
        """A freshly initialised network of `spec` whose head answers `labels`."""
        ...

    def loss(
        self, outputs: Any, targets: Any, *, label_smoothing: float = 0.0, class_weights: "Tensor | None" = None
    ) -> "Tensor":
        """The scalar float32 loss of a batch: what the network returned against the truth, mixed targets included."""
        ...


class Decoding(Protocol):
    """The part of a task that answers, measures and calibrates, with numpy only."""

    @property
    def name(self) -> str:
        """The task's name in the table."""
        ...

    @property
    def metric(self) -> str:
        """The primary metric's name, equal to the `Task`'s."""
        ...

    @property
    def output_names(self) -> tuple[str, ...]:
        """The network's outputs in the order in which forward returns them; exports name them so."""
        ...

    def encode(self, targets: Targets, *, labels: Labels) -> Outputs:
        """The outputs of a network that knows the truth: `decode` inverts it, and its metric is 1."""
        ...

    def decode(self, outputs: Outputs, *, labels: Labels, calibration: Calibration, top: int = 5) -> tuple[Result, ...]:
        """One answer per image."""
        ...

    def evaluate(
        self,
        outputs: Outputs,
        targets: Targets,
        *,
        labels: Labels,
        files: Sequence[str],
        calibration: Calibration | None = None,
        unreadable: tuple[UnreadableFile, ...] = (),
    ) -> Figures:
        """The task's figures on labelled images."""
        ...

    def metric_of(self, evaluation: Figures) -> float:
        """The primary metric in 0..1, larger is better: what `best` is chosen by."""
        ...

    def agreement(self, a: Outputs, b: Outputs, *, tie: float = 0.0) -> float:
        """The share of images to which two sets of outputs give the same answer, in 0..1.

        tie: answers that are this close in both, as a part of the largest output, may stand for each other.
        """
        ...

    def calibrate(self, outputs: Outputs, targets: Targets, *, split: Split) -> Calibration:
        """What turns outputs into honest probabilities and refusals, fitted on labelled images of `split`."""
        ...
