"""What the report concludes from records: the verdict and the next steps."""

import dataclasses

import pytest
from example import example

from mobilenets.records import Duplicate
from mobilenets.report import FitReport
from mobilenets.report.advice import most_confused, next_steps, verdict, worst_first

GOOD = dataclasses.replace(example(10), data=None)
LEAK = Duplicate("exact", ("train/a.png", "test/a.png"), ("train", "test"), ("x", "x"))


def failed(report: FitReport) -> FitReport:
    check = dataclasses.replace(report.verification[0].checks[0], passed=False)
    wrong = dataclasses.replace(report.verification[0], passed=False, checks=(check,))
    return dataclasses.replace(report, verification=(wrong,))


def leaking(report: FitReport) -> FitReport:
    health = example(10).data
    assert health is not None
    return dataclasses.replace(report, data=dataclasses.replace(health, leaks=(LEAK,), passed=False))


def test_verdicts_in_order_of_weight() -> None:
    assert verdict(GOOD).state == "good"
    assert verdict(dataclasses.replace(GOOD, warnings=("Look.",))).reason == "Look."
    health = example(10).data
    assert health is not None
    rare = dataclasses.replace(GOOD, data=health, warnings=health.warnings)
    assert verdict(rare).state == "good", "a warning about the data stands in its own section"
    assert verdict(dataclasses.replace(GOOD, verification=())).headline == "Not verified"
    assert verdict(leaking(GOOD)).state == "caution"
    assert "1\u00a0group" in verdict(leaking(GOOD)).reason
    assert verdict(failed(leaking(GOOD))).headline == "Do not deploy"


def test_a_failed_check_is_named_first() -> None:
    assert "the checks that said no are logits" in next_steps(failed(GOOD))[0]


def test_leaks_and_noise_are_spoken_of() -> None:
    assert GOOD.bench is not None
    noisy = dataclasses.replace(GOOD, bench=dataclasses.replace(GOOD.bench, aa_spread=1.6))
    assert any("quiet machine" in step and "1.6" in step for step in next_steps(noisy))
    assert any("one split" in step for step in next_steps(leaking(GOOD)))


def with_figures(train: float, val: float, top1: float) -> FitReport:
    assert GOOD.training is not None
    assert GOOD.test is not None
    last = dataclasses.replace(GOOD.training.history[-1], train_metric=train, metric=val)
    training = dataclasses.replace(GOOD.training, history=(last,))
    return dataclasses.replace(GOOD, training=training, test=dataclasses.replace(GOOD.test, top1=top1))


@pytest.mark.parametrize(
    ("train", "val", "top1", "words"),
    [
        (0.95, 0.60, 0.60, "more pictures of each class"),
        (0.60, 0.59, 0.59, "room to learn"),
        (0.70, 0.60, 0.60, None),
        (1.00, 0.80, 0.95, None),
    ],
)
def test_the_gap_between_splits_decides_what_helps(train: float, val: float, top1: float, words: str | None) -> None:
    steps = [s for s in next_steps(with_figures(train, val, top1)) if "pictures of each class" in s or "room to" in s]
    assert [words in step for step in steps] == ([True] if words else [])


def test_an_interrupted_run_and_a_missing_threshold_are_spoken_of() -> None:
    assert GOOD.training is not None
    assert GOOD.calibration is not None
    stopped = dataclasses.replace(GOOD, training=dataclasses.replace(GOOD.training, stopped="interrupted"))
    assert any("--resume" in step for step in next_steps(stopped))
    few = dataclasses.replace(GOOD, calibration=dataclasses.replace(GOOD.calibration, energy_threshold=None, images=20))
    assert any("20\u00a0val images are too few" in step for step in next_steps(few))


def test_pairs_and_order_come_from_the_matrix() -> None:
    test = GOOD.test
    assert test is not None
    pairs = most_confused(test, 5)
    assert [p.images for p in pairs] == sorted((p.images for p in pairs), reverse=True)
    assert all(test.confusion[p.truth][p.answer] == p.images and p.truth != p.answer for p in pairs)
    recalls = [test.per_class[k].recall for k in worst_first(test)]
    assert recalls == sorted(recalls)
    assert sorted(worst_first(test)) == list(range(10))


def test_at_most_five_steps() -> None:
    assert len(next_steps(failed(leaking(with_figures(0.9, 0.3, 0.3))))) <= 5
