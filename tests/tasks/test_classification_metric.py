"""The figures of an evaluation against cases worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenets.codec import from_json, to_json
from mobilenets.errors import BadData
from mobilenets.records import Calibration, Evaluation, Labels, UnreadableFile
from mobilenets.tasks import decoding
from mobilenets.tasks.classification.metric import MISTAKES, ranks, wilson

DECODING = decoding("classification")
LABELS = Labels(("a", "b", "c", "d"))

TARGETS = np.array([0, 0, 0, 1, 1, 2])
ANSWERS = np.array([0, 0, 1, 1, 2, 2])


def evaluated(answers: np.ndarray = ANSWERS, targets: np.ndarray = TARGETS) -> Evaluation:
    outputs = np.eye(4)[answers] * 5.0
    return DECODING.evaluate(outputs, targets, labels=LABELS, files=[f"{i}.png" for i in range(len(targets))])


def test_figures_worked_by_hand() -> None:
    found = evaluated()
    assert found.top1 == pytest.approx(4 / 6)
    assert DECODING.metric_of(found) == found.top1
    assert found.images == 6
    assert found.confusion == ((2, 1, 0, 0), (0, 1, 1, 0), (0, 0, 1, 0), (0, 0, 0, 0))
    a, b, c, d = found.per_class
    assert (a.images, a.correct, a.recall, a.precision, a.f1) == (3, 2, pytest.approx(2 / 3), 1.0, pytest.approx(0.8))
    assert (b.recall, b.precision, b.f1) == (0.5, 0.5, 0.5)
    assert (c.recall, c.precision, c.f1) == (1.0, 0.5, pytest.approx(2 / 3))
    assert (d.images, d.recall, d.precision, d.f1) == (0, 0.0, 0.0, 0.0)
    assert found.balanced_top1 == pytest.approx((2 / 3 + 1 / 2 + 1) / 3), "a class without images does not count"
    assert from_json(Evaluation, to_json(found)) == found


def test_mistakes_are_named_the_surest_first() -> None:
    outputs = np.array([[4.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 9.0, 0, 0]])
    found = DECODING.evaluate(outputs, np.array([0, 0, 0]), labels=LABELS, files=["x", "y", "z"])
    assert [(m.file, m.truth, m.answer) for m in found.mistakes] == [("z", "a", "b"), ("y", "a", "b")]
    assert found.mistakes[0].probability > found.mistakes[1].probability
    cooler = DECODING.evaluate(
        outputs, np.array([0, 0, 0]), labels=LABELS, files=["x", "y", "z"], calibration=Calibration(temperature=3.0)
    )
    assert cooler.mistakes[0].probability < found.mistakes[0].probability
    assert cooler.top1 == found.top1


def test_mistakes_are_bounded() -> None:
    many = evaluated(np.ones(500, int), np.zeros(500, int))
    assert len(many.mistakes) == MISTAKES
    assert many.top1 == 0.0


def test_top5_looks_at_five_answers() -> None:
    labels = Labels(tuple("abcdefgh"))
    outputs = np.tile(np.arange(8.0)[::-1], (8, 1))
    found = DECODING.evaluate(outputs, np.arange(8), labels=labels, files=list("abcdefgh"))
    assert (found.top1, found.top5) == (1 / 8, 5 / 8)
    assert evaluated().top5 == 1.0, "with four classes the truth is always among five"


def test_ranks_break_ties_by_index() -> None:
    assert ranks(np.zeros((3, 4)), np.array([0, 1, 3])).tolist() == [0, 1, 3]


def test_wilson_against_published_values() -> None:
    """Values of Newcombe 1998, Statistics in Medicine 17, table I, method 3 (81/263, 15/148, 0/20, 1/29)."""
    for right, images, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        assert wilson(right, images) == pytest.approx((low, high), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(20, 20)[1] == 1.0


@given(st.integers(1, 3000), st.data())
def test_wilson_holds_the_share_and_stays_in_bounds(images: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, images))
    low, high = wilson(right, images)
    assert 0.0 <= low <= right / images + 1e-12
    assert right / images - 1e-12 <= high <= 1.0


def test_unreadable_files_are_carried() -> None:
    lost = (UnreadableFile("z.png", "truncated", "cut"),)
    found = DECODING.evaluate(np.eye(4), np.arange(4), labels=LABELS, files=list("wxyz"), unreadable=lost)
    assert found.unreadable == lost


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadData, match="no images"):
        DECODING.evaluate(np.zeros((0, 4)), np.zeros(0, int), labels=LABELS, files=[])
    with pytest.raises(BadData, match="want as many"):
        DECODING.evaluate(np.zeros((2, 4)), np.zeros(2, int), labels=LABELS, files=["a"])
