"""The figures of a classifier on labelled images: top-1 with its interval, per class, confusion, worst mistakes."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...records import ClassScore, Evaluation, Labels, Mistake, UnreadableFile
from .calibration import softmax

Z95 = 1.959963984540054
"""The standard normal's 97.5 % point."""

MISTAKES = 100
"""Mistakes that an evaluation names, the surest first."""


def evaluate_logits(
    logits: NDArray[np.float64],
    targets: NDArray[np.int64],
    *,
    labels: Labels,
    files: Sequence[str],
    temperature: float,
    unreadable: tuple[UnreadableFile, ...],
) -> Evaluation:
    """All figures of N >= 1 images. Shapes: float64 (N, K), int64 (N,). `temperature` only scales the probabilities."""
    answers = logits.argmax(1)
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (targets, answers), 1)
    right = int(np.trace(confusion))
    scores = class_scores(confusion, labels)
    seen = [score.recall for score in scores if score.images]
    return Evaluation(
        top1=right / len(logits),
        top5=float(np.mean(ranks(logits, targets) < 5)),
        images=len(logits),
        interval=wilson(right, len(logits)),
        per_class=scores,
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        balanced_top1=sum(seen) / len(seen),
        mistakes=_mistakes(logits, targets, answers, labels=labels, files=files, temperature=temperature),
        unreadable=unreadable,
    )


def ranks(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many classes come before the true one, int64 (N,); of equal logits the smaller index comes first."""
    true = logits[np.arange(len(targets)), targets][:, None]
    earlier = np.arange(logits.shape[1])[None] < targets[:, None]
    return np.asarray(((logits > true) | ((logits == true) & earlier)).sum(1), np.int64)


def wilson(right: int, images: int) -> tuple[float, float]:
    """Wilson's 95 % interval for the share right / images (Wilson 1927), within 0..1; (0, 1) for no images."""
    if not images:
        return (0.0, 1.0)
    share, spread = right / images, Z95**2 / images
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(share * (1 - share) / images + spread / images / 4)
    return (max(0.0, middle - half), min(1.0, middle + half))


def class_scores(confusion: NDArray[np.int64], labels: Labels) -> tuple[ClassScore, ...]:
    """Recall, precision and F1 per class of confusion[truth][answer]; each is 0 where its denominator is."""
    rows = []
    for k, label in enumerate(labels.ids):
        correct, images, answered = int(confusion[k, k]), int(confusion[k].sum()), int(confusion[:, k].sum())
        rows.append(
            ClassScore(
                label=label,
                images=images,
                correct=correct,
                recall=correct / images if images else 0.0,
                precision=correct / answered if answered else 0.0,
                f1=2 * correct / (images + answered) if images + answered else 0.0,
            )
        )
    return tuple(rows)


def _mistakes(
    logits: NDArray[np.float64],
    targets: NDArray[np.int64],
    answers: NDArray[np.int64],
    *,
    labels: Labels,
    files: Sequence[str],
    temperature: float,
) -> tuple[Mistake, ...]:
    wrong = np.flatnonzero(answers != targets)
    if not len(wrong):
        return ()
    sure = softmax(logits[wrong], temperature).max(1)
    return tuple(
        Mistake(files[wrong[i]], labels.ids[targets[wrong[i]]], labels.ids[answers[wrong[i]]], float(sure[i]))
        for i in np.argsort(-sure, kind="stable")[:MISTAKES]
    )
