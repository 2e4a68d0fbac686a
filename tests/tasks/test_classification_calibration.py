"""Temperature and the threshold of "none of these": laws, hand-worked bins, synthetic unknown pictures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenets.codec import from_json, to_json
from mobilenets.errors import BadData
from mobilenets.records import Calibration, Labels
from mobilenets.tasks import decoding
from mobilenets.tasks.classification.calibration import (
    BINS,
    KEEP,
    expected_error,
    fit_temperature,
    fit_threshold,
    nll,
    reliability,
    softmax,
)

DECODING = decoding("classification")


def overconfident(images: int, *, scale: float, seed: int = 0, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Logits `scale` times too large for the targets drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 2.0, (images, classes))
    shares = softmax(logits)
    targets = np.array([rng.choice(classes, p=row) for row in shares])
    return logits * scale, targets


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(scale: float) -> None:
    logits, targets = overconfident(4000, scale=scale)
    found = DECODING.calibrate(logits, targets, split="val")
    assert found.temperature == pytest.approx(scale, rel=0.08)
    assert found.ece_after < 0.02
    if scale != 1.0:
        assert found.ece_before > 3 * found.ece_after, "the uncalibrated twin is caught"


def test_few_images_keep_the_temperature_near_one() -> None:
    gaps = []
    for images in (8, 40, 400, 4000):
        logits, targets = overconfident(images, scale=3.0)
        gaps.append(abs(np.log(3.0) - np.log(fit_temperature(logits, targets))))
    assert gaps[0] > gaps[-1], "the prior fades as images are added"


def test_a_split_answered_without_a_mistake_does_not_drive_the_temperature_to_its_bound() -> None:
    targets = np.arange(100) % 10
    found = DECODING.calibrate(np.eye(10)[targets] * 6.0, targets, split="val")
    assert 0.5 < found.temperature < 1.0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(2, 12), st.floats(0.01, 300.0))
def test_likelihood_is_never_worse_and_answers_never_change(seed: int, images: int, classes: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(0, scale, (images, classes)), rng.integers(0, classes, images)
    temperature = fit_temperature(logits, targets)
    assert 0.05 <= temperature <= 20.0
    assert nll(logits, targets, temperature) <= nll(logits, targets, 1.0)
    assert np.array_equal(softmax(logits, temperature).argmax(1), softmax(logits).argmax(1)) or scale > 30


def test_reliability_worked_by_hand() -> None:
    shares = np.array([[0.95, 0.05], [0.91, 0.09], [0.55, 0.45], [0.48, 0.52], [1.0, 0.0]])
    bins = reliability(shares, np.array([0, 1, 0, 0, 0]))
    assert len(bins) == BINS
    assert sum(row.images for row in bins) == 5
    half = bins[7]
    assert (half.images, half.accuracy, half.confidence) == (1, 0.0, pytest.approx(0.52)), "0.467 to 0.533"
    last = bins[14]
    assert (last.images, last.accuracy, last.confidence) == (2, 1.0, pytest.approx(0.975)), "a certainty is in the last"
    assert expected_error(bins) == pytest.approx((0.52 + 0.45 + 0.91 + 2 * 0.025) / 5)


def test_the_threshold_is_the_promised_order_statistic() -> None:
    energy = np.random.default_rng(0).permutation(np.arange(100.0))
    assert fit_threshold(energy) == 97.0, "ceil(101 * 0.97) = 98th smallest of 0..99"
    assert fit_threshold(np.arange(33.0)) == 32.0
    assert fit_threshold(np.arange(32.0)) is None, "32 images can't promise 97 %"


def test_new_known_images_are_kept_as_promised() -> None:
    rng = np.random.default_rng(0)
    kept = [
        float(np.mean(rng.gumbel(size=2000) <= fit_threshold(rng.gumbel(size=images))))
        for images in (60, 100, 200)
        for _ in range(150)
    ]
    assert np.mean(kept) >= KEEP - 0.002
    assert np.mean(kept) < 0.99, "a threshold that lets everything through keeps the promise and is of no use"


@pytest.mark.parametrize("images", [100, 200])
def test_unknown_pictures_are_refused_and_known_ones_are_not(images: int) -> None:
    rng = np.random.default_rng(images)
    labels = Labels(tuple("abcdefghij"))

    def known(n: int) -> tuple[np.ndarray, np.ndarray]:
        targets = rng.integers(0, 10, n)
        logits = rng.normal(0, 1, (n, 10))
        logits[np.arange(n), targets] += rng.normal(10, 1.5, n)
        return logits, targets

    calibration = DECODING.calibrate(*known(images), split="val")
    fresh = DECODING.decode(known(1000)[0], labels=labels, calibration=calibration)
    unknown = DECODING.decode(rng.normal(0, 1.5, (1000, 10)), labels=labels, calibration=calibration)
    assert np.mean([answer.known for answer in fresh]) > 0.92, "0.97 on average over validation splits"
    assert np.mean([answer.known for answer in unknown]) < 0.10
    assert calibration.known_kept >= KEEP
    never = DECODING.decode(rng.normal(0, 1.5, (50, 10)), labels=labels, calibration=Calibration())
    assert all(answer.known for answer in never), "without a threshold nothing is refused"


def test_the_record_is_whole_and_its_own_json() -> None:
    logits, targets = overconfident(150, scale=2.0)
    found = DECODING.calibrate(logits, targets, split="val")
    assert from_json(Calibration, to_json(found)) == found
    assert (found.images, found.split) == (150, "val")
    assert len(found.bins_before) == len(found.bins_after) == BINS
    empty = DECODING.calibrate(np.zeros((0, 10)), np.zeros(0, int), split="val")
    assert empty == Calibration(split="val")
    with pytest.raises(BadData, match="want as many"):
        DECODING.calibrate(logits, targets[:3], split="val")
