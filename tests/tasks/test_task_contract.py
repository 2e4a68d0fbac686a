"""Every row of the tasks table keeps the contract, and each check of the contract rejects a broken row."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from contracts.cases import CASES, classification_case
from contracts.task import TaskCase, check_task
from torch import Tensor

from mobilenets.records import Calibration
from mobilenets.tasks import TASKS, TaskRow
from mobilenets.tasks.classification import Classification, ClassificationDecoding, ClassificationTask

ROW = TASKS["classification"]


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_row_has_a_case() -> None:
    assert CASES.keys() == TASKS.keys()


@pytest.mark.parametrize("name", TASKS)
def test_row_keeps_the_contract(name: str) -> None:
    check_task(TASKS[name], CASES[name]())


class OtherName(ClassificationDecoding):
    name = "classifier"


class ShiftedLabels(ClassificationDecoding):
    """Labels shifted by one: the usual mistake with a background class."""

    def decode(self, outputs: np.ndarray, **options: Any) -> tuple[Classification, ...]:
        return super().decode(np.roll(outputs, 1, axis=1), **options)


class GenerousMetric(ClassificationDecoding):
    def metric_of(self, evaluation: Any) -> float:
        return float(evaluation.top5)


class AlwaysAgrees(ClassificationDecoding):
    def agreement(self, a: np.ndarray, b: np.ndarray, *, tie: float = 0.0) -> float:
        return 1.0


class NumpyInJson(Classification):
    __slots__ = ()

    def as_dict(self, file: str) -> dict[str, object]:
        return {**super().as_dict(file), "probability": np.float32(self.probability)}


class DecodesToNumpy(ClassificationDecoding):
    def decode(self, outputs: np.ndarray, **options: Any) -> tuple[Classification, ...]:
        return tuple(NumpyInJson(r.label, r.top, r.names, r.energy) for r in super().decode(outputs, **options))


class InsecureCalibration(ClassificationDecoding):
    def calibrate(self, outputs: np.ndarray, targets: np.ndarray, **options: Any) -> Calibration:
        return dataclasses.replace(super().calibrate(outputs, targets, **options), temperature=float("nan"))


class LossOfNothing(ClassificationTask):
    def loss(self, outputs: Tensor, targets: Tensor, **options: Any) -> Tensor:
        return super().loss(outputs, targets.roll(1), **options) * 0.0 + outputs.square().mean()


class LossPerImage(ClassificationTask):
    def loss(self, outputs: Tensor, targets: Tensor, **options: Any) -> Tensor:
        return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (dataclasses.replace(ROW, load_decoding=OtherName), "decoding 'classifier'"),
        (dataclasses.replace(ROW, load_decoding=ShiftedLabels), "image 0 is"),
        (dataclasses.replace(ROW, load_decoding=GenerousMetric), "hand-worked case has 0.6"),
        (dataclasses.replace(ROW, load_decoding=AlwaysAgrees), "should be 0.625"),
        (dataclasses.replace(ROW, load_decoding=DecodesToNumpy), "JSON"),
        (dataclasses.replace(ROW, load_decoding=InsecureCalibration), "calibration is not its JSON"),
        (dataclasses.replace(ROW, load=LossPerImage), "no scalar"),
        (dataclasses.replace(ROW, load=LossOfNothing), "learnt by heart|the loss went from"),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_broken_rows_are_rejected(broken: TaskRow, said: str) -> None:
    with pytest.raises((AssertionError, TypeError), match=said):
        check_task(broken, classification_case())


def test_wrong_case_is_rejected() -> None:
    case: Callable[[], TaskCase] = classification_case
    with pytest.raises(AssertionError, match="hand-worked"):
        check_task(ROW, dataclasses.replace(case(), hand_metric=0.8))
