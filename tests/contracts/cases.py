"""The case of each row of the tasks table: what `check_task` checks it with. A new row gets one here."""

from collections.abc import Callable

import numpy as np
from contracts.task import TaskCase

from mobilenets.records import Labels
from mobilenets.specs import Spec, resolve
from mobilenets.tasks import Result
from mobilenets.tasks.classification import Classification

CLASSES = ("ant", "bee", "cow", "dog")


def tiny_spec() -> Spec:
    """A network that learns eight images in seconds."""
    return resolve("mobilenetv1", alpha=0.25, resolution_px=(32, 32), stem_stride=1)


def eight_images() -> np.ndarray:
    """float32 (8, 3, 32, 32), each of another colour and grain."""
    rng = np.random.default_rng(0)
    return (rng.normal(0, 1, (8, 3, 1, 1)) + 0.3 * rng.normal(0, 1, (8, 3, 32, 32))).astype(np.float32)


def classification_case() -> TaskCase:
    def truth_of(result: Result, labels: Labels) -> int:
        assert isinstance(result, Classification)
        assert result.label is not None
        return labels.ids.index(result.label)

    hand = np.array([[2.0, 1, 0, 0], [0, 3, 1, 0], [1, 0, 0, 2], [0, 0, 5, 0], [9, 0, 0, 0]], np.float32)
    return TaskCase(
        spec=tiny_spec(),
        labels=Labels(CLASSES, ("Ant", "Bee", "Cow", "Dog")),
        images=eight_images(),
        targets=np.array([0, 1, 2, 3, 0, 1, 2, 3]),
        truth_of=truth_of,
        hand_outputs=hand,
        hand_targets=np.array([0, 1, 2, 2, 3]),
        hand_metric=3 / 5,
        others=np.array([0, 1, 2, 3, 1, 2, 3, 3]),
        shared=5 / 8,
    )


CASES: dict[str, Callable[[], TaskCase]] = {"classification": classification_case}
