"""The other main job, `import`: from somebody's published file to a sealed model file that is proved to answer alike.

Each step is a room's own work; here they are called in order and hand values on.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .activations import TriedActivation, try_activations
from .bundle import copy_model
from .bundle.record import Origin
from .codec import to_json
from .errors import BadData, CheckFailed, UsageError
from .files import sha256, write_atomic
from .models.weights.formats import format_of, read_file
from .models.weights.read import Read
from .originals import CannotRun, missing, runtime_of
from .proving import Proof, built, proof_pictures, prove
from .records import Calibration, Labels
from .specs import Head

if TYPE_CHECKING:
    from torch import nn

    from .data import Dataset

TASK = "classification"
BACKBONE = "backbone.safetensors"


@dataclass(frozen=True, slots=True)
class Changes:
    """What the caller knows better than the file: None leaves it as read."""

    fit: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    colour: str | None = None
    resolution_px: tuple[int, int] | None = None
    labels: Labels | None = None


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import came to. model: the model file (of a backbone: its weights). proof None: see `unproved`."""

    model: str
    network: str
    alpha: float
    resolution_px: tuple[int, int]
    classes: int
    params: int
    source: str
    proof: Proof | None
    unproved: str
    evidence: tuple[str, ...]
    assumed: tuple[str, ...]
    left_out: tuple[str, ...]
    activations: tuple[TriedActivation, ...] = ()


def import_model(
    source: str | Path,
    *,
    out: str | Path | None = None,
    network: str | None = None,
    backbone: bool = False,
    data: str | Path | None = None,
    changes: Changes = Changes(),
    overwrite: bool = False,
    on_step: Callable[[str], None] | None = None,
) -> ImportResult:
    """Read a published network, prove it against its original, and seal it as a model file with its ONNX export.

    Args:
        source: a .tflite, .onnx, .xml, .h5, .keras, .pth, .safetensors, .npz file, or a TensorFlow checkpoint.
        out: where the model file goes, new; by default runs/NAME.
        network: a name of the catalogue, for a bag of tensors that does not say which network it is.
        backbone: take the MobileNet out of a larger network, without classifier.
        data: pictures to prove it on (what `open_dataset` takes, or a folder of pictures without labels); by default
            synthetic ones. Labelled ones also decide an activation that the file does not hold.
        changes: preprocessing and labels that the caller knows better.

    Raises: BadData, CheckpointMismatch, UnknownName for a file that does not fit; CheckFailed where the import does not
        answer as the original does, with the cause where one is found; MissingRuntime.
    """
    from .measure import cost

    say = on_step or (lambda text: None)
    name = str(source).rstrip("/").rpartition("/")[2].split(".")[0]
    place = Path(out) if out is not None else Path("runs") / name
    if place.exists() and not overwrite and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"{place}: is there already", hint="name another place with -o, or --overwrite it")
    say(f"reading {source}")
    found = find_source(str(source), network=network, backbone=backbone)
    file, kind = found.file, found.kind
    read = changed(found.read, changes)
    labels = class_labels(read)
    dataset = None if data is None else _labelled(data, labels)
    tried: tuple[TriedActivation, ...] = ()
    if "activation" in read.assumed and dataset is not None:
        say("trying the activations that the file may have been trained with")
        tried, read = try_activations(read, dataset)
    module = built(read)
    say(f"proving {read.spec.name} against its original")
    proof, unproved = _proof(read, module, file, kind, data)
    if proof is not None and not proof.passed:
        cause = f"; {proof.causes[0]}" if proof.causes else ""
        raise CheckFailed(
            f"{file}: the import does not answer as the original does in {proof.runtime}: largest difference "
            f"{proof.max_relative_error:.1e}, {100 * proof.top1_agreement:.1f} % equal answers{cause}"
        )
    origin = Origin(
        file=file.name, sha256=sha256(file), format=kind, licence=read.metadata.get("licence", ""),
        quoted=found.quoted, evidence=read.evidence, assumed=read.assumed, left_out=len(read.left_out),
        proof="" if proof is None else _in_words(proof),
    )  # fmt: skip
    say("exporting to ONNX and verifying the file")
    if read.spec.classes:
        model = _seal(read, module, labels, place, source=str(source), origin=origin, overwrite=overwrite)
    else:
        model = _write_backbone(read, place / BACKBONE, origin)
    spec = read.spec
    return ImportResult(
        model=str(model), network=spec.name, alpha=spec.alpha, resolution_px=spec.resolution_px, classes=spec.classes,
        params=cost(spec).params, source=str(source), proof=proof, unproved=unproved, evidence=read.evidence,
        assumed=read.assumed, left_out=read.left_out, activations=tried,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A published network, read. file: what it was read from; quoted: the accuracy that its source states."""

    read: Read
    file: Path
    kind: str
    quoted: str = ""


def find_source(source: str, *, network: str | None = None, backbone: bool = False) -> Source:
    """The network at a path, in a hub repository's folder, or at an address of the hub."""
    from . import hub
    from .specs.checkpoints import published_weights

    path = Path(source)
    if hub.is_hub_address(source) or (path.is_dir() and (path / "config.json").is_file()):
        quoted = ""
        if hub.is_hub_address(source):
            repo, revision = hub.hub_parts(source)
            path = hub.fetch(repo, revision=revision)
            told = next((row.quoted for row in published_weights(repo) if row.id == repo), None)
            quoted = "" if told is None else f"top-1 {100 * told.top1:.2f} % as quoted in {told.where}"
        read = hub.read_hub(path)
        if backbone:
            read = without_classifier(read)
        return Source(read, hub.weights_in(path), "checkpoint", quoted)
    kind = format_of(path)
    read = read_file(path, name=network, backbone=backbone)
    if backbone and read.spec.classes:
        read = without_classifier(read)
    return Source(read, path, kind.name)


def without_classifier(read: Read) -> Read:
    """The backbone alone: what follows its last feature map is left out, and named."""
    spec = replace(read.spec, classes=0, head=Head())
    kept = {name: array for name, array in read.arrays.items() if name.startswith("backbone.")}
    left = tuple(name for name in read.arrays if name not in kept)
    return replace(read, spec=spec, arrays=kept, labels=None, left_out=(*read.left_out, *left))


def changed(read: Read, changes: Changes) -> Read:
    """`read` with what the caller knows better."""
    record = read.preprocess
    channels = read.spec.in_channels
    mean, std = (n * channels if n is not None and len(n) == 1 else n for n in (changes.mean, changes.std))
    given = {"fit": changes.fit, "mean": mean, "std": std, "colour": changes.colour, "size_px": changes.resolution_px}
    record = replace(record, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    spec = read.spec if changes.resolution_px is None else replace(read.spec, resolution_px=changes.resolution_px)
    said = {"preprocess", "fit"} if record != read.preprocess else set()
    said |= {"resolution"} if changes.resolution_px is not None else set()
    assumed = tuple(a for a in read.assumed if a not in said)
    return replace(read, spec=spec, preprocess=record, labels=changes.labels or read.labels, assumed=assumed)


def class_labels(read: Read) -> Labels:
    """The file's own class names; ImageNet's ids and names where there are 1000 or 1001 and the file has none, or has
    these; else class 0, class 1, ..."""
    from .data.imagenet import imagenet_labels

    count, own = read.spec.classes, read.labels
    if own is not None and len(own) != count:
        raise BadData(f"{len(own)} class names for a network of {count} classes")
    if count in (1000, 1001):
        known = imagenet_labels(1000 if count == 1000 else 1001)
        if own is None or sum(map(_alike, known.names, own.names or own.ids)) >= count / 2:
            return known
    return own or Labels(tuple(f"class {i}" for i in range(count)))


def _alike(name: str, other: str) -> bool:
    return name.split(",")[0].casefold() == other.split(",")[0].casefold()


def _labelled(data: str | Path, labels: Labels) -> "Dataset | None":
    """`data` as a labelled data set in the order of `labels`; None where its labels are none of the model's."""
    from .data import open_dataset, with_labels

    try:
        return with_labels(open_dataset(str(data)), labels)
    except BadData:
        return None


def _proof(
    read: Read, network: "nn.Module", file: Path, kind: str, data: str | Path | None
) -> tuple[Proof | None, str]:
    """The proof, or None and why there is none."""
    runtime = runtime_of(kind, read)
    if runtime is None:
        return None, f"{kind} files hold weights alone: there is no original to run"
    if why := missing(runtime):
        return None, why
    if kind == "checkpoint" and not read.spec.classes:
        return None, "a bag of tensors without a classifier: there is no original to run"
    if read.quantised and not read.spec.classes:
        return None, "the original computes in integers: its inner tensors carry their rounding"
    pictures = proof_pictures(read.preprocess, data)
    try:
        return prove(read, network, runtime.open(file, read), pictures), ""
    except CannotRun as error:
        return None, error.message


def _in_words(proof: Proof) -> str:
    return (
        f"{proof.runtime} on {proof.images} pictures: largest difference {proof.max_relative_error:.1e}, "
        f"{100 * proof.top1_agreement:.1f} % equal answers"
    )


def _seal(
    read: Read, network: "nn.Module", labels: Labels, place: Path, *, source: str, origin: Origin, overwrite: bool
) -> Path:
    """The model file with its verified ONNX export."""
    from .bundle import ModelRecord, Provenance, create_model_file
    from .deploy import (
        export_model,
        golden_vectors,
        installed_versions,
        require_verified,
        source_of,
        this_machine,
    )

    record = ModelRecord(
        name=place.name,
        task=TASK,
        spec=read.spec,
        preprocess=read.preprocess,
        labels=labels,
        calibration=Calibration(),
        metrics={},
        provenance=Provenance(
            data="", data_sha256="", images={}, split_origin="", seed=0, recipe={}, versions=installed_versions(),
            revision=__version__, created=datetime.now(UTC).isoformat(timespec="seconds"), origin=source,
            machine=this_machine(), imported=origin,
        ),
        golden="synthetic",
    )  # fmt: skip
    golden = golden_vectors(
        network, read.preprocess, task=TASK, labels=labels, calibration=record.calibration, samples=(), photos=False
    )
    with tempfile.TemporaryDirectory(prefix="mobilenets-import-") as folder:
        made = create_model_file(Path(folder, place.name), record, weights=read.arrays, golden=golden)
        exported = export_model(made, source=source_of(made, network=network))
        require_verified(exported.verification)
        return copy_model(exported.model, place, overwrite=overwrite).path


def _write_backbone(read: Read, path: Path, origin: Origin) -> Path:
    """Weights in one file that says what they are: `fit --weights` takes it."""
    from safetensors.numpy import save

    told = {
        "spec": to_json(read.spec), "preprocess": to_json(read.preprocess), "origin": to_json(origin),
        "format": "mobilenets",
    }  # fmt: skip
    write_atomic(path, save(read.arrays, metadata=told))
    return path
