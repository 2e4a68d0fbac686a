"""The part of classification that answers: logits to labels, figures and calibration, with numpy and Pillow only."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import BadData, CheckFailed, UsageError
from ...records import Calibration, Evaluation, Labels, Split, UnreadableFile
from .calibration import energies, fit_calibration, softmax
from .metric import evaluate_logits
from .result import Classification

SURE = 20.0
"""Logit of the truth in `encode`: the other classes share exp(-20) each, which float32 still tells from 0."""


class ClassificationDecoding:
    """Logits (N, K) to answers: softmax with the calibrated temperature, top-k, "none of these" by free energy."""

    name = "classification"
    metric = "top1"
    output_names = ("logits",)

    def encode(self, targets: NDArray[np.integer], *, labels: Labels) -> NDArray[np.float32]:
        """The logits of a network that knows the truth. Shapes: int (N,) -> float32 (N, K)."""
        chosen = checked_targets(targets, len(labels))
        outputs = np.zeros((len(chosen), len(labels)), np.float32)
        outputs[np.arange(len(chosen)), chosen] = SURE
        return outputs

    def decode(
        self, outputs: NDArray[np.floating], *, labels: Labels, calibration: Calibration, top: int = 5
    ) -> tuple[Classification, ...]:
        """One answer per image, its `top` best labels (all of them where there are fewer) in falling order.

        Shapes: outputs float (N, K) with K = len(labels); any float dtype, computed in float64.
        Raises: BadData for another shape, CheckFailed for a NaN or an infinity, UsageError for top < 1.
        """
        if top < 1:
            raise UsageError(f"top must be at least 1, not {top}")
        logits = checked_logits(outputs, len(labels))
        probabilities = softmax(logits, calibration.temperature)
        energy = energies(logits, calibration.temperature)
        order = np.argsort(-logits, axis=1, kind="stable")[:, :top]
        limit = np.inf if calibration.energy_threshold is None else calibration.energy_threshold
        return tuple(
            Classification(
                label=labels.ids[best[0]] if free <= limit else None,
                top=tuple((labels.ids[k], float(shares[k])) for k in best),
                names=tuple(labels.name(k) for k in best),
                energy=float(free),
            )
            for best, shares, free in zip(order, probabilities, energy, strict=True)
        )

    def evaluate(
        self,
        outputs: NDArray[np.floating],
        targets: NDArray[np.integer],
        *,
        labels: Labels,
        files: Sequence[str],
        calibration: Calibration | None = None,
        unreadable: tuple[UnreadableFile, ...] = (),
    ) -> Evaluation:
        """Top-1, top-5, per class, confusion, worst mistakes. The refusals of "none of these" are not applied.

        Shapes: outputs float (N, K), targets int (N,), N files in the same order.
        Raises: BadData where they do not fit or N is 0, CheckFailed for a NaN or an infinity.
        """
        logits = checked_logits(outputs, len(labels))
        truth = checked_targets(targets, len(labels))
        if not len(logits) == len(truth) == len(files):
            raise BadData(f"evaluate: {len(logits)} outputs, {len(truth)} targets, {len(files)} files; want as many")
        if not len(logits):
            raise BadData("evaluate: no images, so there is nothing to measure")
        temperature = 1.0 if calibration is None else calibration.temperature
        return evaluate_logits(
            logits, truth, labels=labels, files=files, temperature=temperature, unreadable=unreadable
        )

    def metric_of(self, evaluation: Evaluation) -> float:
        """Top-1 in 0..1."""
        return evaluation.top1

    def agreement(self, a: NDArray[np.floating], b: NDArray[np.floating], *, tie: float = 0.0) -> float:
        """The share of images with the same top-1; an image with a NaN or an infinity in either never agrees.

        tie: two classes that are this close in both, as a part of the largest value, may stand for each other.

        Shapes: float (N, K) twice. Raises BadData where the shapes differ or N is 0.
        """
        one, two = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if one.shape != two.shape or one.ndim != 2 or not one.size:
            raise BadData(f"agreement: want two (N, K) arrays of one shape, got {one.shape} and {two.shape}")
        whole = np.isfinite(one).all(1) & np.isfinite(two).all(1)
        first, second, every = one.argmax(1), two.argmax(1), np.arange(len(one))
        same = first == second
        if tie:
            gaps = np.maximum(one.max(1) - one[every, second], two.max(1) - two[every, first])
            same |= gaps <= tie * max(np.abs(values[whole]).max(initial=0.0) for values in (one, two))
        return float(np.mean(whole & same))

    def calibrate(self, outputs: NDArray[np.floating], targets: NDArray[np.integer], *, split: Split) -> Calibration:
        """Temperature and energy threshold fitted on labelled images: see calibration.py.

        Shapes: outputs float (N, K), targets int (N,). With N = 0 nothing is fitted: temperature 1, no threshold.
        """
        logits = checked_logits(outputs, np.shape(outputs)[-1])
        truth = checked_targets(targets, logits.shape[1])
        if len(logits) != len(truth):
            raise BadData(f"calibrate: {len(logits)} outputs for {len(truth)} targets; want as many")
        return fit_calibration(logits, truth, split=split)


def checked_logits(outputs: NDArray[np.floating], classes: int) -> NDArray[np.float64]:
    """`outputs` as float64 (N, classes). Raises BadData for another shape, CheckFailed for a NaN or an infinity."""
    logits = np.asarray(outputs, np.float64)
    if logits.ndim != 2 or logits.shape[1] != classes or classes < 1:
        raise BadData(f"logits must be (N, {classes}), one column per label, not {logits.shape}")
    if not (finite := np.isfinite(logits).all(1)).all():
        first = int(np.flatnonzero(~finite)[0])
        raise CheckFailed(
            f"the network answers image {first} with a NaN or an infinity ({int((~finite).sum())} of {len(logits)})",
            hint="verify the file it came from; float16 overflows where float32 does not",
        )
    return logits


def checked_targets(targets: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """`targets` as int64 (N,) in 0..classes-1. Raises BadData naming the first that is not."""
    truth = np.asarray(targets)
    if truth.ndim != 1 or (truth.size and not np.issubdtype(truth.dtype, np.integer)):
        raise BadData(f"targets must be class indices (N,), not {truth.dtype} {truth.shape}")
    if (bad := (truth < 0) | (truth >= classes)).any():
        raise BadData(f"target {int(truth[bad][0])} is no index of {classes} classes")
    return truth.astype(np.int64)
