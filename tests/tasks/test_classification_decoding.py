"""Decoding and results of classification: labels, probabilities, refusals, bad input, pictures."""

import math

import numpy as np
import pytest

from mobilenets.codec import from_json, to_json
from mobilenets.errors import BadData, CheckFailed, UnknownName, UsageError
from mobilenets.records import Calibration, Labels
from mobilenets.tasks import decoding, task
from mobilenets.tasks.classification import Classification

LABELS = Labels(("n02", "n01", "n03"), ("cat", "dog", "emu"))
DECODING = decoding("classification")


def test_probabilities_and_labels_worked_by_hand() -> None:
    logits = np.log(np.array([[0.2, 0.7, 0.1]], np.float32))
    (answer,) = DECODING.decode(logits, labels=LABELS, calibration=Calibration(), top=2)
    assert (answer.label, answer.name, answer.known) == ("n01", "dog", True)
    assert [label for label, _ in answer.top] == ["n01", "n02"]
    assert [share for _, share in answer.top] == pytest.approx([0.7, 0.2], abs=1e-6)
    assert answer.energy == pytest.approx(0.0, abs=1e-6)


def test_temperature_divides_the_logits() -> None:
    logits = 2.0 * np.log(np.array([[0.2, 0.7, 0.1]]))
    (answer,) = DECODING.decode(logits, labels=LABELS, calibration=Calibration(temperature=2.0))
    assert answer.probability == pytest.approx(0.7)
    (sharp,) = DECODING.decode(logits, labels=LABELS, calibration=Calibration())
    assert sharp.probability == pytest.approx(0.49 / 0.54)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_large_logits_of_any_float_type_do_not_overflow(dtype: type) -> None:
    (answer,) = DECODING.decode(np.array([[6e4, -6e4, 0]], dtype), labels=LABELS, calibration=Calibration())
    assert answer.probability == 1.0
    assert math.isfinite(answer.energy)


def test_none_of_these_keeps_the_best_labels_in_top() -> None:
    logits = np.array([[0.2, 0.1, 0.0], [9.0, 0.0, 0.0]])
    vague, sure = DECODING.decode(logits, labels=LABELS, calibration=Calibration(energy_threshold=-5.0))
    assert (vague.label, vague.name, vague.known) == (None, "none of these", False)
    assert vague.top[0][0] == "n02"
    assert (sure.label, sure.known) == ("n02", True)
    printed = vague.as_dict("x.jpg")
    assert list(printed) == ["file", "label", "name", "probability", "top"]
    assert printed["label"] is None
    assert printed["top"] == [[label, share] for label, share in vague.top]


def test_equal_logits_answer_the_first_class_everywhere() -> None:
    flat = np.zeros((1, 3))
    (answer,) = DECODING.decode(flat, labels=LABELS, calibration=Calibration())
    assert answer.label == "n02"
    scored = DECODING.evaluate(flat, np.array([0]), labels=LABELS, files=["a"])
    assert scored.top1 == 1.0


def test_top_is_cut_to_the_classes_there_are() -> None:
    (answer,) = DECODING.decode(np.zeros((1, 3)), labels=LABELS, calibration=Calibration(), top=10)
    assert len(answer.top) == 3
    with pytest.raises(UsageError, match="top must be at least 1"):
        DECODING.decode(np.zeros((1, 3)), labels=LABELS, calibration=Calibration(), top=0)


def test_no_images_give_no_answers() -> None:
    assert DECODING.decode(np.zeros((0, 3)), labels=LABELS, calibration=Calibration()) == ()


def test_bad_outputs_are_named() -> None:
    with pytest.raises(BadData, match=r"\(N, 3\)"):
        DECODING.decode(np.zeros((2, 4)), labels=LABELS, calibration=Calibration())
    broken = np.zeros((3, 3))
    broken[1, 2] = np.nan
    with pytest.raises(CheckFailed, match="image 1 with a NaN"):
        DECODING.decode(broken, labels=LABELS, calibration=Calibration())
    with pytest.raises(BadData, match="target 3 is no index of 3 classes"):
        DECODING.encode(np.array([0, 3]), labels=LABELS)
    with pytest.raises(BadData, match="class indices"):
        DECODING.encode(np.array([0.5]), labels=LABELS)


def test_agreement_counts_equal_answers_and_never_a_nan() -> None:
    a = np.eye(3)[[0, 1, 2, 0]]
    b = np.eye(3)[[0, 1, 1, 0]]
    assert DECODING.agreement(a, b) == 0.75
    broken = a.copy()
    broken[0] = np.nan
    assert DECODING.agreement(broken, broken) == 0.75
    with pytest.raises(BadData, match="one shape"):
        DECODING.agreement(a, b[:2])


def test_a_tie_may_be_broken_either_way() -> None:
    a = np.array([[10.0, 9.99, 0.0], [10.0, 9.8, 0.0], [0.0, 5.0, 1.0]])
    b = np.array([[9.98, 10.0, 0.0], [9.9, 10.0, 0.0], [0.0, 5.0, 1.0]])
    assert DECODING.agreement(a, b) == pytest.approx(1 / 3)
    assert DECODING.agreement(a, b, tie=0.005) == DECODING.agreement(b, a, tie=0.005) == pytest.approx(2 / 3)
    assert DECODING.agreement(a, np.where(b == 10.0, np.nan, b), tie=0.005) == pytest.approx(1 / 3)


def test_a_result_is_a_checked_value_and_its_json() -> None:
    answer = Classification("a", (("a", 0.6), ("b", 0.4)), ("A", "B"), -3.0)
    assert from_json(Classification, to_json(answer)) == answer
    assert hash(answer) == hash(Classification("a", (("a", 0.6), ("b", 0.4)), ("A", "B"), -3.0))
    for wrong in (
        {"label": "b"},
        {"top": (("a", 0.4), ("b", 0.6))},
        {"top": (("a", 1.4), ("b", 0.1))},
        {"names": ("A",)},
        {"energy": math.nan},
        {"top": (), "names": ()},
    ):
        fields = {"label": "a", "top": answer.top, "names": answer.names, "energy": -3.0, **wrong}
        with pytest.raises(UsageError):
            Classification(**fields)


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (1, 2000), (2000, 1), (300, 400)])
def test_drawing_works_on_any_size_and_keeps_large_pictures(shape: tuple[int, int]) -> None:
    names = ("猫 <b>", "a name that is far too long for any bar " * 20, "c")
    answer = Classification("a", (("a", 0.9), ("b", 0.1), ("c", 0.0)), names, -9.0)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    drawn = answer.draw(image)
    assert drawn.dtype == np.uint8
    assert drawn.shape[1] >= max(200, shape[1])
    assert drawn.shape[0] > shape[0]
    if shape[1] >= 200:
        assert np.array_equal(drawn[: shape[0]], image)
    bar = drawn[shape[0] :] if shape[1] >= 200 else drawn[-60:]
    assert bar.max() > 200, "the bar has light text"


def test_a_refusal_is_drawn_otherwise_than_an_answer() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    known = Classification("a", (("a", 0.9),), ("a",), -9.0).draw(image)
    refused = Classification(None, (("a", 0.9),), ("a",), -9.0).draw(image)
    assert refused.shape[0] > known.shape[0]


def test_drawing_refuses_what_is_no_picture() -> None:
    answer = Classification("a", (("a", 0.9),), ("a",), -9.0)
    for wrong in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)):
        with pytest.raises(UsageError, match="uint8"):
            answer.draw(wrong)


def test_an_unknown_task_names_the_closest() -> None:
    with pytest.raises(UnknownName, match="did you mean classification"):
        task("clasification")
    with pytest.raises(UnknownName, match="no task called 'xyz'"):
        decoding("xyz")
