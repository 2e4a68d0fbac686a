"""What becomes of a trained network: judged, packed into a model file, reported. Floor 6, called by fitting.py."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .bundle.record import Origin
from .codec import encode
from .data import Dataset, read_image
from .errors import UnreadableImage
from .files import write_atomic
from .planning import Plan, network_words
from .records import Bench, Calibration, Candidate, DataHealth, Evaluation, Split, Training, Verification

if TYPE_CHECKING:
    from torch import nn

    from .bundle import ModelFile
    from .report import Beginning, FitReport, MistakePicture, Picture, SamplePictures

TASK = "classification"
MODEL, REPORT = "model", "report.html"
SHOWN_MISTAKES, SHOWN_CLASSES, SHOWN_PER_CLASS = 24, 12, 4


@dataclass(frozen=True, slots=True)
class Request:
    """What fit.json keeps for a resume, beside what the run's own configuration holds.

    weights: what training began with, as the caller named it, empty for none; origin: which file that was; changes:
    what was replaced or adapted in it.
    """

    data: str
    photos: bool
    threads: int
    candidates: tuple[Candidate, ...] = ()
    reason: str = ""
    weights: str = ""
    origin: Origin | None = None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The end of the first half: the network with its best weights, and all that led to it."""

    run: Path
    request: Request
    plan: Plan
    dataset: Dataset
    health: DataHealth
    network: "nn.Module"
    training: Training


@dataclass(frozen=True, slots=True)
class Judgement:
    """The trained network's figures. test: on test, or on val (then train) where there is none.

    start: those of the network before the first step, its head fitted to frozen features (a linear probe); gain: test's
    top-1 less start's, on the same pictures, with the ends of its 95 % interval.
    """

    calibration: Calibration
    val: Evaluation | None
    test: Evaluation
    start: Evaluation | None = None
    gain: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class OnnxResult:
    """The exported file against the trained network on val's image files, and its latency here (one thread)."""

    top1_agreement: float
    max_relative_error: float
    passed: bool
    median_ms: float


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a fit came to. model, report: where they were written; interval: Wilson's 95 % of top1.

    weights: what it began with, empty for none; probe_top1, gain: see `Judgement`.
    """

    model: str
    network: str
    top1: float
    test_images: int
    interval: tuple[float, float]
    onnx: OnnxResult
    report: str
    params: int
    macs: int
    file_mb: float
    training: Training
    warnings: tuple[str, ...]
    weights: str = ""
    probe_top1: float | None = None
    gain: tuple[float, float, float] | None = None


def judge(trained: Trained) -> Judgement:
    """Calibration on val (on train where there is none), and the network's figures on val and test; beside them, where
    training began with a fitted head, the figures of that beginning."""
    from .tasks import decoding
    from .train import paired_gain

    task, dataset = decoding(TASK), trained.dataset
    split = first_filled(dataset, ("val", "train"))
    outputs, targets, files = _answers(trained, trained.network, split)
    calibration = task.calibrate(outputs, targets, split=split)

    def evaluation(outputs: Any, targets: Any, files: Sequence[str]) -> Evaluation:
        names = [dataset.relative(Path(file)) for file in files]
        found: Evaluation = task.evaluate(outputs, targets, labels=dataset.labels, files=names, calibration=calibration)
        return found

    val = evaluation(outputs, targets, files) if split == "val" else None
    if dataset.test:
        split = "test"
        outputs, targets, files = _answers(trained, trained.network, split)
    test = val if split == "val" and val is not None else evaluation(outputs, targets, files)
    if (start := _start_network(trained)) is None:
        return Judgement(calibration, val, test)
    before, _, _ = _answers(trained, start, split)
    gain = paired_gain(before.argmax(1) == targets, outputs.argmax(1) == targets)
    return Judgement(calibration, val, test, evaluation(before, targets, files), gain)


def _start_network(trained: Trained) -> "nn.Module | None":
    """The network as it was before the first step, with its head fitted; None where training did not begin so."""
    from .train import start_weights

    if trained.plan.recipe.head != "fitted":
        return None
    return start_weights(trained.run, trained.network)


def _answers(trained: Trained, network: "nn.Module", split: Split) -> tuple[Any, Any, Sequence[str]]:
    from .train import predict_outputs

    device = next(network.parameters()).device
    return predict_outputs(network, trained.dataset.split(split), trained.plan.preprocess, device=device)


def write_model(trained: Trained, judgement: Judgement) -> "ModelFile":
    from .bundle import ModelRecord, Provenance, create_model_file, scalars
    from .deploy import golden_vectors, installed_versions, this_machine
    from .models import state_arrays

    plan, dataset = trained.plan, trained.dataset
    network = trained.network.cpu()
    calibration, val = judgement.calibration, judgement.val
    figures = {"test": scalars(judgement.test)} | ({} if val is None else {"val": scalars(val)})
    record = ModelRecord(
        name=dataset.name,
        task=TASK,
        spec=plan.spec,
        preprocess=plan.preprocess,
        labels=dataset.labels,
        calibration=calibration,
        metrics=figures,
        provenance=Provenance(
            data=dataset.name,
            data_sha256=dataset.fingerprint(),
            images={"train": len(dataset.train), "val": len(dataset.val), "test": len(dataset.test)},
            split_origin=dataset.split_origin,
            seed=plan.seed,
            recipe=encode(plan.recipe),
            versions=installed_versions(),
            revision=__version__,
            created=_now(),
            origin=trained.request.weights,
            machine=this_machine(),
            training=trained.training,
            imported=trained.request.origin,
        ),
        golden="photos" if trained.request.photos else "synthetic",
    )
    golden = golden_vectors(
        network,
        plan.preprocess,
        task=TASK,
        labels=dataset.labels,
        calibration=calibration,
        samples=dataset.split(first_filled(dataset, ("val", "test", "train"))),
        photos=trained.request.photos,
    )
    return create_model_file(trained.run / MODEL, record, weights=state_arrays(network), golden=golden, overwrite=True)


def finish(
    trained: Trained,
    model: "ModelFile",
    judgement: Judgement,
    verification: Verification,
    bench: Bench,
) -> FitResult:
    """The report, beside the model file and in it, and the summary."""
    from .bundle import add_files
    from .bundle.manifest import REPORT as REPORT_NAME
    from .measure import cost
    from .report import html_report

    plan = trained.plan
    warnings = run_warnings(trained)
    page = html_report(_report_of(trained, model, judgement, verification, bench))
    write_atomic(trained.run / REPORT, page)
    timed = model.record.with_export(replace(model.record.exports[0], bench=bench))
    add_files(model, {REPORT_NAME: page}, record=timed)
    price, row, test = cost(plan.spec), bench.rows[0], judgement.test
    return FitResult(
        model=str(model.path),
        network=network_words(plan.spec),
        top1=test.top1,
        test_images=test.images,
        interval=test.interval,
        onnx=OnnxResult(
            verification.top1_agreement, verification.max_relative_error, verification.passed, row.median_ms
        ),
        report=str(trained.run / REPORT),
        params=price.params,
        macs=price.macs,
        file_mb=row.file_mb,
        training=trained.training,
        warnings=warnings,
        weights=trained.request.weights,
        probe_top1=None if judgement.start is None else judgement.start.top1,
        gain=judgement.gain,
    )


def _report_of(
    trained: Trained,
    model: "ModelFile",
    judgement: Judgement,
    verification: Verification,
    bench: Bench,
) -> "FitReport":
    """All that the page shows."""
    from .measure.stages import network_summary
    from .report import FitReport

    plan, provenance = trained.plan, model.record.provenance
    return FitReport(
        title=trained.dataset.name,
        created=provenance.created,
        command=_command(trained),
        model=str(model.path),
        labels=trained.dataset.labels,
        model_mb=sum(f.stat().st_size for f in model.path.rglob("*") if f.is_file()) / 1e6,
        network=network_summary(plan.spec),
        data=trained.health,
        training=trained.training,
        test=judgement.test,
        val=judgement.val,
        calibration=judgement.calibration,
        verification=(verification,),
        bench=bench,
        beginning=_beginning(trained, judgement),
        candidates=plan.candidates,
        mistakes=_mistake_pictures(trained, judgement.test),
        samples=_sample_pictures(trained),
        provenance=(
            ("data", f"{provenance.data}, {provenance.split_origin}"),
            ("data sha256", provenance.data_sha256),
            ("seed", str(plan.seed)),
            ("recipe", plan.recipe.name),
            ("mobilenets", provenance.revision),
            *provenance.versions.items(),
        ),
        notes=(plan.reason,) if plan.reason else (),
        warnings=leak_warnings(trained.health),
    )


def _beginning(trained: Trained, judgement: Judgement) -> "Beginning | None":
    from .report import Beginning

    request, origin = trained.request, trained.request.origin
    if origin is None:
        return None
    return Beginning(
        source=request.weights, file=origin.file, format=origin.format, licence=origin.licence, quoted=origin.quoted,
        sha256=origin.sha256, evidence=origin.evidence, changes=request.changes, probe=judgement.start,
        gain=judgement.gain,
    )  # fmt: skip


def _mistake_pictures(trained: Trained, test: Evaluation) -> "tuple[MistakePicture, ...]":
    from .report import MistakePicture

    photos, root = trained.request.photos, trained.dataset.root
    return tuple(
        MistakePicture(mistake, _thumbnail(root / mistake.file, mistake.file) if photos else None)
        for mistake in test.mistakes[:SHOWN_MISTAKES]
    )


def _sample_pictures(trained: Trained) -> "tuple[SamplePictures, ...]":
    from .report import SamplePictures

    if not trained.request.photos:
        return ()
    dataset = trained.dataset
    rows = []
    for target, label in list(enumerate(dataset.labels.ids))[:SHOWN_CLASSES]:
        files = [s.file for s in dataset.train if s.target == target][:SHOWN_PER_CLASS]
        pictures = tuple(p for f in files if (p := _thumbnail(f, dataset.relative(f))) is not None)
        rows.append(SamplePictures(label, pictures))
    return tuple(rows)


def _thumbnail(file: Path, name: str) -> "Picture | None":
    from .report import thumbnail

    try:
        return thumbnail(name, read_image(file))
    except UnreadableImage:
        return None


def run_warnings(trained: Trained) -> tuple[str, ...]:
    """What the reader of a summary should know of the data, and of a network that answers otherwise in training."""
    from .train import NORM_GAP

    gaps = tuple(note for note in trained.training.notes if note.startswith(NORM_GAP))
    return leak_warnings(trained.health) + trained.health.warnings + gaps


def leak_warnings(health: DataHealth) -> tuple[str, ...]:
    """A leak does not stop a fit, but its figures must not be believed unseen."""
    if not health.leaks:
        return ()
    return (f"{len(health.leaks)} pictures stand in two splits, so the test figures flatter: mobilenets data check",)


def _command(trained: Trained) -> str:
    data, config = shlex.quote(trained.request.data), shlex.quote(str(trained.run / "config.json"))
    weights = f" --weights {shlex.quote(trained.request.weights)}" if trained.request.weights else ""
    return f"mobilenets fit {data} --config {config}{weights}"


def first_filled(dataset: Dataset, splits: Sequence[Split]) -> Split:
    return next(split for split in splits if dataset.split(split))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
