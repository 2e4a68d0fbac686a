"""Proof that an exported file answers as the trained network does: from image files, in its own runtime.

The golden vectors of the model file are always put to it (no torch, no data set needed); given labelled images, the
trained network answers those too and the two are compared. What was not proved is not run: `load` refuses it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..bundle import Golden, ModelFile, ModelRecord
from ..bundle.manifest import MANIFEST
from ..data import Dataset, open_dataset, with_labels
from ..errors import BadData, MissingRuntime, UsageError, VerifyFailed
from ..records import Check, Split, Structure, Verification
from ..tasks import decoding
from .case import Case, Reference
from .checks import (
    LIMITS,
    SAME_NETWORK,
    check_agreement,
    check_answers,
    check_batches,
    check_facts,
    check_inside,
    check_metric,
    check_outputs,
    check_preprocess,
    check_shapes,
    check_structure,
    relative_errors,
)
from .culprit import find_culprit
from .machine import usable_cores
from .pictures import batches, tensors
from .targets import TARGETS, find_target, target_of
from .tracing import Source
from .trained import Arrays, as_outputs, require_torch

BATCH = 16
SUFFIXES = tuple(row.suffix for row in TARGETS.values())
Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""


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
    target: str | None = None,
    precision: str | None = None,
    file: Path | None = None,
    data: Dataset | str | Path | None = None,
    split: Split | None = None,
    threads: int | None = None,
    reference: Source | None = None,
    on_progress: Progress | None = None,
) -> Verification:
    """Hold an exported file against the trained network it came from; where it fails, find out why.

    Args:
        model: the model file (opening it checks every hash), or an exported file that lies in one.
        target, precision: which of its exports; by default the first there is.
        file: another exported file, to be held against this model.
        data: labelled images (a data set, or what `open_dataset` takes) that are put to both; needs torch.
        split: which part of them; by default test, where that is empty val, where that is empty too everything.
        threads: of the runtime; by default every core that this process may use.
        reference: the trained network from `source_of`, where several files of one model are verified.

    Returns the record with every check, passed or not; see `require_verified` for an error instead.
    Raises: BadModelFile for a damaged model file; UsageError where it has no such export; MissingRuntime.
    """
    case, name = _case(
        model, target=target, precision=precision, file=file, threads=threads or usable_cores(), reference=reference
    )
    row, record, golden = case.target, case.model.record, case.golden
    structure, why = _structure(case)
    found = [
        check_answers(golden, record),
        check_shapes(case.session, golden, case.inputs(golden.inputs, golden.encoded)[0]),
        *check_facts(case.session.facts, record, case.model.weights_sha256, case.precision),
        check_structure(structure, why),
    ]
    if not found[1].passed:  # it can't be fed, or read: there is nothing to compare
        finding = find_culprit(case, found, None, structure)
        return Verification(
            row.name, name, False, 0, np.inf, np.inf, 0.0, tuple(found), finding.culprit, finding.evidence
        )
    if case.inside == "everything":
        case = case.seen_inside()
        found.append(check_inside(case.golden.inputs, golden, record.preprocess))
    more, exact, compared = _golden_checks(case, golden)
    found += more
    if data is not None:
        dataset = with_labels(data if isinstance(data, Dataset) else open_dataset(data), record.labels)
        more, seen = _data_checks(case, dataset, split=split, on_progress=on_progress)
        found += more
        compared = _joined(compared, seen)
    share, more = _answer_checks(case, compared)
    found += more
    worst, mean = relative_errors(compared.reference, compared.outputs)
    passed = all(check.passed for check in found)
    proof = Verification(
        row.name,
        name,
        passed,
        len(compared.files),
        worst,
        mean,
        share,
        tuple(found),
        drift=_drift(record, compared),
    )
    if passed:
        return proof
    finding = find_culprit(case, found, exact, structure)
    return replace(proof, culprit=finding.culprit, evidence=finding.evidence, first_layer=finding.first_layer)


def model_around(path: Path) -> Path | None:
    """The folder of the model file in which an exported file lies; None where it lies in none."""
    return next((folder for folder in path.resolve().parents if (folder / MANIFEST).is_file()), None)


def _case(
    model: ModelFile | str | Path,
    *,
    target: str | None,
    precision: str | None,
    file: Path | None,
    threads: int,
    reference: Source | None,
) -> tuple[Case, str]:
    """The export that is meant, loaded, and what it is called."""
    if not isinstance(model, ModelFile) and Path(model).suffix.lower() in SUFFIXES:
        file = Path(model)
        if (folder := model_around(file)) is None:
            raise UsageError(f"{file}: lies in no model file", hint="name the model file that it came from: --model")
        model = folder
    opened = model if isinstance(model, ModelFile) else ModelFile.open(model)
    if file is None:
        if not opened.record.exports:
            raise UsageError(f"{opened.path}: has no exported file", hint=f"mobilenets export {opened.path}")
        export = opened.export(target or opened.record.exports[0].target, precision=precision)
        row, name, place = find_target(export.target), export.file, opened.local(export.file)
        kind = row.precision(export.precision)
    else:
        row, name, place = target_of(file), str(file), file
        if target is not None and find_target(target) != row:
            raise UsageError(f"{file}: is a file for {row.name}, not for {target}")
    session = row.open(place, threads=threads)
    if file is not None:
        said = row.precisions[0] if session.facts is None else session.facts.precision
        kind = row.precision(precision or said)
    return Case(opened, opened.golden(), row, kind, place, session, LIMITS[kind], Reference(opened, reference)), name


def _structure(case: Case) -> tuple[Structure | None, str]:
    """What the file consists of; None and why where the package that reads it is not here."""
    try:
        return case.target.inspect(case.path, precision=case.precision), ""
    except ModuleNotFoundError as error:
        return None, f"{error.name} is not installed"
    except MissingRuntime as error:
        return None, error.message


def require_verified(verification: Verification | None) -> Verification:
    """The record itself where it passed. Raises VerifyFailed naming the first check that said no, and how many did, or
    where there is none: a file that was written and could not be run."""
    if verification is None:
        raise VerifyFailed("the exported file was written, and could not be run here")
    failed = [check for check in verification.checks if not check.passed]
    if verification.passed and not failed:
        return verification
    first = failed[0] if failed else Check("verification", False, None, None, "did not pass")
    more = f" (and {len(failed) - 1} more checks)" if len(failed) > 1 else ""
    raise VerifyFailed(f"{verification.file}: {first.name}: {first.detail}{more}")


def _golden_checks(case: Case, kept: Golden) -> tuple[list[Check], Arrays, Compared]:
    """The golden tensors through the runtime, and the golden files from their bytes on. kept: the model's own."""
    golden, record = case.golden, case.model.record
    limit = case.limits.max_relative_error
    exact = case.answers(golden.inputs, golden.encoded)
    preprocessing, made = check_preprocess(kept, record.preprocess)
    found = [preprocessing, check_outputs("logits", golden.outputs, exact, limit)]
    if case.inside != "everything":
        found.append(check_batches(case.session, case.inputs(golden.inputs, golden.encoded)[0], exact, limit))
    place = {label: index for index, label in enumerate(record.labels.ids)}
    images = golden.index.images
    targets = tuple(None if image.label is None else place.get(image.label) for image in images)
    outputs = exact
    if not preprocessing.passed and made.shape == golden.inputs.shape:
        # Where decoding merely rounds otherwise than it did where the network was trained, the errors below are the
        # runtime's alone, from the golden tensors; `check_preprocess` has bounded the rest.
        outputs = case.answers(made.astype(golden.inputs.dtype), golden.encoded)
    return found, exact, Compared(golden.outputs, outputs, tuple(image.file for image in images), targets)


def _data_checks(
    case: Case, dataset: Dataset, *, split: Split | None, on_progress: Progress | None
) -> tuple[list[Check], Compared]:
    """Labelled image files through the trained network and through the exported file."""
    require_torch("the trained network")
    run = case.witness()
    limit = case.limits.max_relative_error
    samples = dataset.split(split) if split else dataset.held_out()
    reference: list[Arrays] = []
    outputs: list[Arrays] = []
    kept: list[bool] = []
    pictures = ((str(sample.file), sample.file) for sample in samples)
    done = 0
    stream = tensors(pictures, case.model.record.preprocess, workers=min(4, usable_cores()), ahead=2 * BATCH)
    for items, batch in batches(stream, BATCH):
        kept += [item.error is None for item in items]
        if batch is not None:
            readable = [s.file for s, item in zip(samples[done:], items, strict=False) if item.error is None]
            reference.append(run(batch if case.prepare is None else case.tensors(readable)))
            outputs.append(case.answers(batch, readable))
        done += len(items)
        if on_progress is not None:
            on_progress(len(kept), len(samples))
    if not reference:
        raise BadData(f"{dataset.name}: {f'its split {split!r}' if split else 'it'} has no image that can be read")
    seen = [sample for sample, readable in zip(samples, kept, strict=True) if readable]
    compared = Compared(
        tuple(np.concatenate(columns) for columns in zip(*reference, strict=True)),
        tuple(np.concatenate(columns) for columns in zip(*outputs, strict=True)),
        tuple(dataset.relative(sample.file) for sample in seen),
        tuple(sample.target for sample in seen),
    )
    found = [
        check_outputs("reference", case.golden.outputs, run(case.golden.inputs), SAME_NETWORK),
        check_outputs("data_logits", compared.reference, compared.outputs, limit),
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
        alike = task.agreement(
            *(as_outputs([a[known] for a in side]) for side in (compared.reference, compared.outputs))
        )
        found.append(check_metric(task.metric, trained, exported, len(known), alike, case.limits.metric_delta))
    return share, found


def _drift(record: ModelRecord, compared: Compared) -> dict[str, float]:
    """label -> share of its images that are answered otherwise, the worst first; labels without any are left out."""
    task = decoding(record.task)
    by_label: dict[int, list[int]] = {}
    for index, target in enumerate(compared.targets):
        if target is not None:
            by_label.setdefault(target, []).append(index)
    shares = {
        record.labels.ids[target]: 1.0
        - task.agreement(
            as_outputs([array[indices] for array in compared.reference]),
            as_outputs([array[indices] for array in compared.outputs]),
        )
        for target, indices in by_label.items()
    }
    return {label: share for label, share in sorted(shares.items(), key=lambda pair: (-pair[1], pair[0])) if share > 0}


def _joined(one: Compared, two: Compared) -> Compared:
    return Compared(
        tuple(np.concatenate(pair) for pair in zip(one.reference, two.reference, strict=True)),
        tuple(np.concatenate(pair) for pair in zip(one.outputs, two.outputs, strict=True)),
        one.files + two.files,
        one.targets + two.targets,
    )
