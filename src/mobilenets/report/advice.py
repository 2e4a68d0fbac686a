"""What a report concludes: one verdict, and what the reader should do next, by rules over the records.

The rules only compare fields; each limit stands here with its reason.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..records import Evaluation
from . import figures
from .record import FitReport

WIDE_INTERVAL = 0.10
"""A 95 % interval for top-1 wider than ten points can't tell two networks apart."""

OVERFIT_GAP = 0.15
UNDERFIT_GAP = 0.03
LOW_TOP1 = 0.90
"""Above it there is little to win, and the gaps between splits say nothing."""

WEAK_RECALL = 0.5
NOISY_AA = 1.15
"""Two series of the same row that differ by more than this: the machine was busy while it was timed."""

State = Literal["good", "caution", "bad"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The one sentence on top of the page."""

    state: State
    headline: str
    reason: str


@dataclass(frozen=True, slots=True)
class Confusion:
    """Images of `truth` that were answered `answer`, out of all images of `truth`."""

    truth: int
    answer: int
    images: int
    of: int


def verdict(report: FitReport) -> Verdict:
    """Bad: an exported file failed. Caution: the figures can't be trusted or nothing was verified. Else good."""
    failed = [v for v in report.verification if not v.passed]
    if failed:
        reason = f"{failed[0].file} does not answer as the trained network does; the checks below name where."
        return Verdict("bad", "Do not deploy", reason)
    if report.data is not None and report.data.leaks:
        found = figures.plural(len(report.data.leaks), "group")
        reason = f"{found} of duplicate pictures straddle the splits, so the test figures flatter the network."
        return Verdict("caution", "Test figures not to be trusted", reason)
    if not report.verification:
        return Verdict("caution", "Not verified", "No exported file was compared with the trained network.")
    if warnings := own_warnings(report):
        return Verdict("caution", "Works, with a warning", warnings[0])
    files = ", ".join(v.file for v in report.verification)
    return Verdict(
        "good", "Exported file verified", f"{files} answers as the trained network does, from the same image files."
    )


def next_steps(report: FitReport) -> tuple[str, ...]:
    """At most five sentences, the most pressing first."""
    return tuple([*_about_verification(report), *_about_data(report), *_about_fit(report), *_about_answers(report)][:5])


def own_warnings(report: FitReport) -> tuple[str, ...]:
    """The report's warnings beside those of the data, which its own section shows: a rare class is no alarm."""
    known = report.data.warnings if report.data is not None else ()
    return tuple(warning for warning in report.warnings if warning not in known)


def most_confused(evaluation: Evaluation, most: int) -> tuple[Confusion, ...]:
    """The pairs of classes confused most often, by images, then by their share of the true class."""
    found = [
        Confusion(truth, answer, images, evaluation.per_class[truth].images)
        for truth, row in enumerate(evaluation.confusion)
        for answer, images in enumerate(row)
        if images and truth != answer
    ]
    return tuple(sorted(found, key=lambda c: (-c.images, c.of, c.truth, c.answer))[:most])


def _about_verification(report: FitReport) -> list[str]:
    steps = []
    for failed in (v for v in report.verification if not v.passed):
        names = ", ".join(check.name for check in failed.checks if not check.passed)
        steps.append(f"Find what departs in {failed.file}: the checks that said no are {names or 'listed below'}.")
    if report.bench is not None and report.bench.aa_spread > NOISY_AA:
        spread = figures.decimal(report.bench.aa_spread)
        steps.append(f"Time again on a quiet machine: the same row timed twice differed by a factor of {spread}.")
    return steps


def _about_data(report: FitReport) -> list[str]:
    data, steps = report.data, []
    if data is None:
        return []
    if data.leaks:
        steps.append("Keep each picture and its duplicates in one split, then fit again; the leaks are listed below.")
    steps += [f"Mend the data: {error}" for error in data.errors if not data.leaks]
    if data.unreadable:
        found = figures.plural(len(data.unreadable), "file")
        steps.append(f"Replace or remove {found} that could not be read and took no part.")
    return steps[:3]


def _about_fit(report: FitReport) -> list[str]:
    training, test, steps = report.training, report.test, []
    judged = [row for row in training.history if math.isfinite(row.metric)] if training is not None else []
    if training is None or not judged:
        return []
    if training.stopped == "interrupted":
        steps.append("Training was interrupted: go on with --resume, then judge the figures.")
    last = judged[-1]
    gap = last.train_metric - last.metric
    if test is not None and test.top1 < LOW_TOP1 and gap > OVERFIT_GAP:
        then = ", then published weights to begin with: --weights." if report.beginning is None else "."
        steps.append(
            "The network knows its training pictures far better than new ones: more pictures of each class help most"
            + then
        )
    elif test is not None and test.top1 < LOW_TOP1 and gap < UNDERFIT_GAP:
        steps.append(
            "New pictures are answered as well as training ones, so there is room to learn: train longer "
            "or take a larger network."
        )
    return steps


def _about_answers(report: FitReport) -> list[str]:
    test, steps = report.test, []
    if test is None:
        return []
    if test.interval[1] - test.interval[0] > WIDE_INTERVAL:
        images = figures.plural(test.images, "test image")
        steps.append(f"With {images} the interval of top-1 is wide: test on more before comparing networks.")
    pair = next(iter(most_confused(test, 1)), None)
    weak = [score for score in test.per_class if score.images and score.recall < WEAK_RECALL]
    if pair is not None and weak:
        truth, answer = report.labels.name(pair.truth), report.labels.name(pair.answer)
        steps.append(f"Look at {truth} and {answer}, confused most often: do they look alike, are they labelled right?")
    calibration = report.calibration
    if calibration is not None and calibration.images and calibration.energy_threshold is None:
        images = figures.plural(calibration.images, f"{calibration.split} image")
        steps.append(f"{images} are too few to fit a threshold for “none of these”: unknown objects get a label.")
    return steps


def worst_first(evaluation: Evaluation) -> Sequence[int]:
    """Class indices by recall, the weakest first; classes without images last."""
    scores = evaluation.per_class
    return sorted(range(len(scores)), key=lambda k: (not scores[k].images, scores[k].recall, scores[k].f1, k))
