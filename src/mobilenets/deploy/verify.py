"""Proof that an exported file answers as the trained network does: from image files, in its own runtime.

The golden vectors of the model file are always put to it (no torch, no data set needed); given labelled images, the
trained network answers those too and the two are compared. What was not proved is not run: `load` refuses it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..bundle import Golden, ModelFile
from ..data import Dataset, open_dataset, with_labels
from ..errors import BadData, VerifyFailed
from ..records import Check, Split, Verification
from ..tasks import decoding
from .checks import (
    LIMITS,
    SAME_NETWORK,
    Limits,
    check_agreement,
    check_answers,
    check_batches,
    check_facts,
    check_metric,
    check_outputs,
    check_preprocess,
    check_shapes,
    relative_errors,
)
from .machine import usable_cores
from .pictures import batches, tensors
from .targets import Session, find_target
from .trained import Arrays, as_arrays, as_outputs, runner, trained_network

BATCH = 16
Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What is verified: an opened model file with its golden vectors, one loaded export, and its limits."""

    model: ModelFile
    golden: Golden
    session: Session
    limits: Limits


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """The same pictures, trained network and exported file. targets: the true class index, None where not known."""

    reference: Arrays
    outputs: Arrays
    files: tuple[str, ...]
    targets: tuple[int | None, ...]


def verify_model(
    model: ModelFile | str | Path,
    *,
    target: str = "onnx",
    precision: str | None = None,
    file: Path | None = None,
    data: Dataset | str | Path | None = None,
    split: Split = "val",
    threads: int | None = None,
    on_progress: Progress | None = None,
) -> Verification:
    """Hold an exported file against the trained network it came from.

    Args:
        model: the model file; opening it checks every hash.
        target, precision: which of its exports. file: another exported file, to be held against this model.
        data: labelled images (a data set, or what `open_dataset` takes) whose `split` is put to both; needs torch.
        threads: of the runtime; by default every core that this process may use.

    Returns the record with every check, passed or not; see `require_verified` for an error instead.
    Raises: BadModelFile for a damaged model file; UsageError where it has no such export; MissingRuntime.
    """
    opened = model if isinstance(model, ModelFile) else ModelFile.open(model)
    row = find_target(target)
    if file is None:
        export = opened.export(row.name, precision=precision)
        kind, name, place = row.precision(export.precision), export.file, opened.local(export.file)
    else:
        kind, name, place = row.precision(precision or row.precisions[0]), str(file), file
    session = row.open(place, threads=usable_cores() if threads is None else threads)
    case = Case(opened, opened.golden(), session, LIMITS[kind])
    found = [
        check_answers(case.golden, opened.record),
        check_shapes(session, case.golden),
        *check_facts(session.facts, opened.record, opened.weights_sha256),
    ]
    if not found[1].passed:  # it can't be fed, or read: there is nothing to compare
        return Verification(row.name, name, False, 0, np.inf, np.inf, 0.0, tuple(found))
    more, compared = _golden_checks(case)
    found += more
    if data is not None:
        dataset = with_labels(data if isinstance(data, Dataset) else open_dataset(data), opened.record.labels)
        more, seen = _data_checks(case, dataset, split=split, on_progress=on_progress)
        found += more
        compared = _joined(compared, seen)
    share, more = _answer_checks(case, compared)
    found += more
    worst, mean = relative_errors(compared.reference, compared.outputs)
    passed = all(check.passed for check in found)
    return Verification(row.name, name, passed, len(compared.files), worst, mean, share, tuple(found))


def require_verified(verification: Verification) -> Verification:
    """The record itself where it passed. Raises VerifyFailed naming the first check that said no, and how many did."""
    failed = [check for check in verification.checks if not check.passed]
    if verification.passed and not failed:
        return verification
    first = failed[0] if failed else Check("verification", False, None, None, "did not pass")
    more = f" (and {len(failed) - 1} more checks)" if len(failed) > 1 else ""
    raise VerifyFailed(f"{verification.file}: {first.name}: {first.detail}{more}")


def _golden_checks(case: Case) -> tuple[list[Check], Compared]:
    """The golden tensors through the runtime, and the golden files from their bytes on."""
    golden, record = case.golden, case.model.record
    limit = case.limits.max_relative_error
    exact = as_arrays(case.session.run(golden.inputs))
    preprocessing, made = check_preprocess(golden, record.preprocess)
    found = [
        preprocessing,
        check_outputs("logits", golden.outputs, exact, limit),
        check_batches(case.session, golden.inputs, exact, limit),
    ]
    place = {label: index for index, label in enumerate(record.labels.ids)}
    images = golden.index.images
    targets = tuple(None if image.label is None else place.get(image.label) for image in images)
    outputs = as_arrays(case.session.run(made))
    if preprocessing.passed and preprocessing.value:
        # Decoding rounds otherwise on this machine than where it was trained: the errors below are the runtime's
        # alone, from the golden tensors; `check_preprocess` has bounded the rest.
        outputs = exact
    return found, Compared(golden.outputs, outputs, tuple(image.file for image in images), targets)


def _data_checks(
    case: Case, dataset: Dataset, *, split: Split, on_progress: Progress | None
) -> tuple[list[Check], Compared]:
    """Labelled image files through the trained network and through the exported file."""
    run = runner(trained_network(case.model))
    samples = dataset.split(split)
    reference: list[Arrays] = []
    outputs: list[Arrays] = []
    kept: list[bool] = []
    pictures = ((str(sample.file), sample.file) for sample in samples)
    stream = tensors(pictures, case.model.record.preprocess, workers=min(4, usable_cores()), ahead=2 * BATCH)
    for items, batch in batches(stream, BATCH):
        kept += [item.error is None for item in items]
        if batch is not None:
            reference.append(run(batch))
            outputs.append(as_arrays(case.session.run(batch)))
        if on_progress is not None:
            on_progress(len(kept), len(samples))
    if not reference:
        raise BadData(f"{dataset.name}: its split {split!r} has no image that can be read")
    seen = [sample for sample, readable in zip(samples, kept, strict=True) if readable]
    compared = Compared(
        tuple(np.concatenate(columns) for columns in zip(*reference, strict=True)),
        tuple(np.concatenate(columns) for columns in zip(*outputs, strict=True)),
        tuple(dataset.relative(sample.file) for sample in seen),
        tuple(sample.target for sample in seen),
    )
    found = [
        check_outputs("reference", case.golden.outputs, run(case.golden.inputs), SAME_NETWORK),
        check_outputs("data_logits", compared.reference, compared.outputs, case.limits.max_relative_error),
    ]
    return found, compared


def _answer_checks(case: Case, compared: Compared) -> tuple[float, list[Check]]:
    """Equal answers on all files, and the task's metric on those whose truth is known."""
    task = decoding(case.model.record.task)
    share = task.agreement(as_outputs(compared.reference), as_outputs(compared.outputs))
    found = [check_agreement(share, len(compared.files), case.limits.agreement)]
    known = [index for index, target in enumerate(compared.targets) if target is not None]
    if known and all(np.isfinite(array).all() for array in compared.outputs):
        truth = np.array([compared.targets[index] for index in known], np.int64)
        trained, exported = (
            task.metric_of(
                task.evaluate(
                    as_outputs([array[known] for array in arrays]),
                    truth,
                    labels=case.model.record.labels,
                    files=[compared.files[index] for index in known],
                )
            )
            for arrays in (compared.reference, compared.outputs)
        )
        found.append(check_metric(task.metric, trained, exported, len(known), case.limits.metric_delta))
    return share, found


def _joined(one: Compared, two: Compared) -> Compared:
    return Compared(
        tuple(np.concatenate(pair) for pair in zip(one.reference, two.reference, strict=True)),
        tuple(np.concatenate(pair) for pair in zip(one.outputs, two.outputs, strict=True)),
        one.files + two.files,
        one.targets + two.targets,
    )
