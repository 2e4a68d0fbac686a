"""The single questions that `verify` puts to an exported file, each answered by one Check; the limits stand here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Golden, ModelRecord
from ..data import preprocess, read_image
from ..errors import BadData, CheckFailed, UnreadableImage
from ..records import Check, Preprocess, Structure
from .embedded import Embedded, bare
from .targets import Precision, Session
from .trained import Arrays, answers, as_arrays

PIXEL_LEVELS = 2.0
"""Decoders built on libjpeg-turbo agree bit for bit (measured: 5 decoders, 60 photos); other builds round differently
by a level or two. A shifted crop, another filter or swapped colours differ by dozens."""
SAME_NETWORK = 1e-4
"""The trained network against its own golden outputs, perhaps on another machine: float32 sums in another order."""
SAME_ANSWER = 1e-5
"""Probabilities of an answer worked out again from the same logits."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an export of one precision is held to.

    max_relative_error: largest output difference / largest reference output. agreement: least share of equal
    answers. metric_delta: most that the task's metric may move where the truth is known.
    """

    max_relative_error: float
    agreement: float
    metric_delta: float


LIMITS: dict[Precision, Limits] = {
    # Float32 runtimes differ from torch by 5e-6 to 3e-5; random weights, which amplify rounding, give up to 1e-4.
    # 999 of 1000 answers: two labels within the rounding of a tie may swap once in many pictures, of 16 none may.
    "float32": Limits(max_relative_error=2e-4, agreement=0.999, metric_delta=0.001),
    # Half the bytes: 11 bits of each weight remain, bfloat16 keeps 8 of each number on the way.
    "float16": Limits(max_relative_error=1e-2, agreement=0.99, metric_delta=0.005),
    "bfloat16": Limits(max_relative_error=1e-1, agreement=0.99, metric_delta=0.005),
}


def relative_errors(reference: Arrays, outputs: Arrays) -> tuple[float, float]:
    """(largest, mean) difference over the largest reference value, of the output where it is worst.

    Infinite where the shapes differ, or where a NaN or an infinity stands in the one and not in the other.
    """
    worst = (0.0, 0.0)
    if len(reference) != len(outputs):
        return math.inf, math.inf
    for want, have in zip(reference, outputs, strict=True):
        if want.shape != have.shape or not np.isfinite(want).all() or not np.isfinite(have).all():
            return math.inf, math.inf
        difference = np.abs(want.astype(np.float64) - have.astype(np.float64))
        scale = float(np.abs(want).max()) or 1.0
        worst = max(worst, (float(difference.max()) / scale, float(difference.mean()) / scale))
    return worst


def check_shapes(session: Session, golden: Golden, inputs: NDArray[Any]) -> Check:
    """Whether the file takes what the preprocess record makes, and answers one golden picture in the task's shapes."""
    takes, gives = session.input_shape, session.output_names
    wanted = inputs.shape[1:]
    if len(takes) != inputs.ndim or any(a not in (None, b) for a, b in zip(takes[1:], wanted, strict=True)):
        shape = tuple("N" if side is None else side for side in takes)
        return Check("shapes", False, None, None, f"takes {shape}, the model feeds {('N', *wanted)}")
    if gives != golden.index.output_names:
        return Check("shapes", False, None, None, f"gives {gives}, the model gives {golden.index.output_names}")
    first = as_arrays(session.run(inputs[:1]))
    for name, have, want in zip(gives, first, golden.outputs, strict=True):
        if have.shape[1:] != want.shape[1:]:
            detail = f"{name} is (N, {have.shape[1:]}), the model's (N, {want.shape[1:]})"
            return Check("shapes", False, None, None, detail)
    return Check("shapes", True, None, None, f"takes {('N', *wanted)}, gives {', '.join(gives)}")


def check_facts(
    facts: Embedded | None, record: ModelRecord, weights_sha256: str, precision: Precision
) -> tuple[Check, ...]:
    """Whether what is written in the file is what the model file says: weights, labels, preprocessing, calibration."""
    if facts is None:
        return (Check("metadata", False, None, None, "the file says nothing about labels and preprocessing"),)
    stale = facts.weights_sha256 != weights_sha256
    weights = (
        "made from other weights than the model file holds" if stale else "made from the weights of the model file"
    )
    order = "" if facts.labels == record.labels else f"{_first_difference(facts, record)}"
    same = {
        "task": facts.task == record.task,
        "preprocess": replace(facts.preprocess, layout=record.preprocess.layout, dtype=record.preprocess.dtype)
        == record.preprocess,
        "calibration": facts.calibration == bare(record.calibration),
        "precision": facts.precision == precision,
    }
    other = [name for name, equal in same.items() if not equal]
    return (
        Check("weights", not stale, None, None, weights),
        Check("labels", not order, None, None, order or f"{len(record.labels)} labels in the model's order"),
        Check("metadata", not other, None, None, f"differs in {', '.join(other)}" if other else "equals model.json"),
    )


def pixel_levels(golden: Golden, pictures: Sequence[NDArray[np.uint8]], record: Preprocess) -> tuple[float, float]:
    """(largest, mean) difference between golden tensors and decoded pictures prepared by `record`, in levels of 255;
    infinite where the shapes differ."""
    made = np.stack([preprocess(picture, record) for picture in pictures])
    if made.shape != golden.inputs.shape or made.dtype != golden.inputs.dtype:
        return math.inf, math.inf
    gaps = np.abs(made.astype(np.float64) - golden.inputs.astype(np.float64))
    scale = 255 * max(record.std) if record.dtype == "float32" else 1.0
    return float(gaps.max()) * scale, float(gaps.mean()) * scale


def check_preprocess(golden: Golden, record: Preprocess) -> tuple[Check, NDArray[Any]]:
    """Whether the golden pictures' files still become the golden tensors here; also returns what they became."""
    try:
        made = np.stack([preprocess(read_image(data), record) for data in golden.encoded])
    except UnreadableImage as error:
        return Check("preprocess", False, math.inf, PIXEL_LEVELS, f"a golden picture: {error.message}"), golden.inputs
    if made.shape != golden.inputs.shape or made.dtype != golden.inputs.dtype:
        detail = f"{made.dtype} {made.shape} here, {golden.inputs.dtype} {golden.inputs.shape} when it was trained"
        return Check("preprocess", False, math.inf, PIXEL_LEVELS, detail), golden.inputs
    gap = float(np.abs(made.astype(np.float64) - golden.inputs.astype(np.float64)).max())
    levels = gap * 255 * max(record.std) if record.dtype == "float32" else gap
    detail = "files become the very tensors" if gap == 0 else f"pixels differ by up to {levels:.3g} of 255 levels"
    return Check("preprocess", levels <= PIXEL_LEVELS, levels, PIXEL_LEVELS, detail), made


def check_inside(made: NDArray[np.float32], golden: Golden, record: Preprocess) -> Check:
    """Whether a file that prepares pictures itself makes the golden tensors of the golden pictures."""
    if made.shape != golden.inputs.shape:
        detail = f"makes tensors {made.shape} of the golden pictures, the model {golden.inputs.shape}"
        return Check("inside", False, math.inf, PIXEL_LEVELS, detail)
    levels = float(np.abs(made.astype(np.float64) - golden.inputs).max()) * 255 * max(record.std)
    detail = f"the pixels it prepares differ by up to {levels:.3g} of 255 levels"
    return Check("inside", levels <= PIXEL_LEVELS, levels, PIXEL_LEVELS, detail)


def check_answers(golden: Golden, record: ModelRecord) -> Check:
    """Whether the golden outputs still say what the trained network said: a moved list of labels says otherwise."""
    try:
        now = answers(golden.outputs, task=record.task, labels=record.labels, calibration=record.calibration)
    except (BadData, CheckFailed) as error:
        return Check("answers", False, None, None, f"the golden outputs can't be read: {error.message}")
    for image, said in zip(golden.index.images, now, strict=True):
        if not _same(image.answer, said):
            detail = f"{image.file}: the trained network said {image.answer.get('label')!r}, now {said.get('label')!r}"
            return Check("answers", False, None, None, detail)
    return Check("answers", True, None, None, f"{len(golden)} golden answers unchanged")


def check_outputs(name: str, reference: Arrays, outputs: Arrays, limit: float) -> Check:
    """Whether outputs equal the reference to `limit` of its largest value."""
    worst, mean = relative_errors(reference, outputs)
    return Check(
        name, worst <= limit, worst, limit, f"largest error {worst:.1e}, mean {mean:.1e} of the largest output"
    )


def check_batches(session: Session, inputs: NDArray[Any], together: Arrays, limit: float) -> Check:
    """Whether pictures one at a time get the outputs they get in a batch (exporters have frozen batches to 1)."""
    single = [as_arrays(session.run(inputs[i : i + 1])) for i in range(len(inputs))]
    alone = tuple(np.concatenate(columns) for columns in zip(*single, strict=True))
    worst, _ = relative_errors(together, alone)
    return Check("batch", worst <= limit, worst, limit, f"one at a time against batches of {len(inputs)}")


def check_agreement(share: float, images: int, limit: float) -> Check:
    """Whether enough answers are equal, from the picture's file to its label."""
    return Check("agreement", share >= limit, share, limit, f"{round(share * images)} of {images} files answered alike")


def check_metric(name: str, trained: float, exported: float, images: int, share: float, limit: float) -> Check:
    """Whether the task's metric, where the truth is known, stays what it was.

    share: of the images that both answer alike. The 95 % interval of the difference is that of paired answers, where
    only those that differ can count; all of them are taken to, which makes it no narrower than it is. The answer is no
    where the whole interval lies past the limit: one picture of few that flips proves nothing (and fails `agreement`).
    """
    delta = exported - trained
    half = 1.96 * math.sqrt(max(1 - share - delta**2, 0.0) / images)
    detail = (
        f"{name} {exported:.4f} exported, {trained:.4f} trained, on {images} labelled files: "
        f"{delta:+.4f} ({delta - half:+.4f} to {delta + half:+.4f})"
    )
    return Check("metric", abs(delta) - half <= limit, delta, limit, detail)


def check_structure(structure: Structure | None, why: str = "") -> Check:
    """Whether the file consists of what it should. structure: None where it can't be read here, and why."""
    if structure is None:
        return Check("structure", True, None, None, f"not looked at: {why}")
    count = len(structure.complaints)
    kinds = ", ".join(f"{numbers:,} {kind}" for kind, numbers in structure.weights.items())
    detail = "; ".join(structure.complaints) or f"{sum(structure.operators.values())} operators, weights: {kinds}"
    return Check("structure", not count, float(count), 0.0, detail)


def _first_difference(facts: Embedded, record: ModelRecord) -> str:
    if len(facts.labels) != len(record.labels):
        return f"{len(facts.labels)} labels in the file, {len(record.labels)} in the model"
    pairs = zip(facts.labels.ids, record.labels.ids, strict=True)
    for index, (here, there) in enumerate(pairs):
        if here != there:
            return f"label {index} is {here!r} in the file, {there!r} in the model"
    return "the display names differ"


def _same(one: object, two: object) -> bool:
    """Equal JSON values, numbers to rounding; lists and tuples alike."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_same(value, two[key]) for key, value in one.items())
    if (
        isinstance(one, Sequence)
        and isinstance(two, Sequence)
        and not isinstance(one, str)
        and not isinstance(two, str)
    ):
        return len(one) == len(two) and all(_same(a, b) for a, b in zip(one, two, strict=True))
    if isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=SAME_ANSWER, abs_tol=SAME_ANSWER)
    return one == two
