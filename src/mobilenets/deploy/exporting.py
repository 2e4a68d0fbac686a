"""An export as one step: written, proved against the trained network, and only then put into the model file."""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..bundle import ExportRecord, ModelFile, ModelRecord, add_files
from ..data import Dataset
from ..errors import UsageError
from ..files import replacing_folder, write_atomic
from ..records import Split, Structure, Verification
from ..tasks import decoding
from .embedded import Embedded, bare
from .targets import Precision, Target, find_target
from .tracing import PLAIN, Form, Source
from .trained import trained_network
from .verify import Progress, verify_model

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to: the model file, with the new file in it where it was proved, else as it was.

    file: its name in the model file, or where it was written beside it. passed: None where its runtime does not run
    here: written, not run, which `reason` explains; `load` refuses such a file until it is verified where it runs.
    """

    model: ModelFile
    target: str
    precision: Precision
    file: str
    structure: Structure
    verification: Verification | None
    reason: str = ""

    @property
    def passed(self) -> bool | None:
        return None if self.verification is None else self.verification.passed

    def as_dict(self) -> dict[str, object]:
        """What `export --json` prints of it; errors and shares are None for a file that was not run."""
        proof = self.verification
        return {
            "file": self.file,
            "target": self.target,
            "precision": self.precision,
            "passed": self.passed,
            "max_relative_error": None if proof is None else proof.max_relative_error,
            "top1_agreement": None if proof is None else proof.top1_agreement,
            "images": 0 if proof is None else proof.images,
            "culprit": None if proof is None else proof.culprit,
            "structure": self.structure,
            "reason": self.reason,
        }


def source_of(model: ModelFile, *, network: "nn.Module | None" = None, form: Form = PLAIN) -> Source:
    """The network of a model file as exporters take it; one source serves any number of `export_model` calls."""
    record = model.record
    return Source(
        trained_network(model) if network is None else network,
        record.spec.name,
        decoding(record.task).output_names,
        record.preprocess.channels,
        record.preprocess.size_px,
        form,
    )


def export_model(
    model: ModelFile,
    *,
    target: str = "onnx",
    precision: str | None = None,
    source: Source | None = None,
    data: Dataset | str | Path | None = None,
    split: Split | None = None,
    out: Path | None = None,
    first: bool = False,
    on_progress: Progress | None = None,
) -> Exported:
    """Export a model file's network, verify the new file, and seal it in; an older one of its kind is replaced.

    Args:
        precision: by default the target's first.
        source: from `source_of`, where the caller holds the network already, exports to several targets, or wants
            another form (the golden vectors tell if it is another network).
        data, split: labelled images that are put to both in addition to the golden vectors; see `verify_model`.
        out: a file or an existing folder to write to instead; the model file stays as it was. A form other than the
            plain one must go there: in the model file lies one file per target and precision.
        first: put it in front of the other exports, where `load` looks first.

    A file that does not answer as the network does is not kept: see `require_verified` for the error to raise then.
    Raises: UsageError for an unknown precision or a network that can't be exported; MissingRuntime; BadModelFile.
    """
    row = find_target(target)
    kind = row.precision(precision or row.precisions[0])
    source = source_of(model) if source is None else source
    check_form(source, out)
    place = None if out is None else place_in(out, row, kind, model.record.name)
    with tempfile.TemporaryDirectory(prefix="mobilenets-export-") as folder:
        path = Path(folder, row.file_name(kind)) if place is None else Path(folder, place.name)
        path.parent.mkdir(exist_ok=True)
        row.export(source, path, facts=facts_of(model.record, precision=kind, weights_sha256=model.weights_sha256))
        structure = row.inspect(path, precision=kind)
        reason = row.why_not_here(kind)
        proof = None
        if not reason:
            proof = verify_model(
                model, target=target, precision=kind, file=path, data=data, split=split, on_progress=on_progress
            )
        name = path.relative_to(folder).as_posix() if place is None else str(place)
        if proof is not None:
            proof = replace(proof, file=name)
        if proof is None or proof.passed:
            if place is None:
                model, name = seal_export(model, row, kind, path, Path(folder), proof, first=first)
            else:
                copy_export(row, path, place)
    return Exported(model, row.name, kind, name, structure, proof, reason)


def check_form(source: Source, out: Path | None) -> None:
    """Raises UsageError for a form other than the plain one that is to go into the model file."""
    if out is None and source.form != PLAIN:
        raise UsageError("a file of more sizes or with preprocessing inside goes beside the model file: name --out")


def place_in(out: Path, row: Target, precision: Precision, name: str) -> Path:
    """The file to write: `out`, or one named after the model in the folder `out`."""
    if out.is_dir() and out.suffix.lower() != row.suffix:
        stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in name) or "model"
        kind = "" if precision == row.precisions[0] else f"_{precision}"
        return out / f"{stem}{kind}{row.suffix}"
    if out.suffix.lower() != row.suffix:
        raise UsageError(f"{out}: files for {row.name} end in {row.suffix}")
    return out


def seal_export(
    model: ModelFile,
    row: Target,
    precision: Precision,
    path: Path,
    folder: Path,
    proof: Verification | None,
    *,
    first: bool,
) -> tuple[ModelFile, str]:
    """The model file with the export at `path`, as it is to lie under `folder`, in it; and the export's name there.

    first: in front of the other exports, where `load` looks first.
    """
    files = {file.relative_to(folder).as_posix(): file for file in row.files(path)}
    main = path.relative_to(folder).as_posix()
    name = main if main in files else f"{main}/Manifest.json"  # a Core ML package is a folder
    record = model.record.with_export(ExportRecord(row.name, precision, name, proof))
    if first:
        record = replace(record, exports=(record.exports[-1], *record.exports[:-1]))
    return add_files(model, files, record=record), name


def copy_export(row: Target, path: Path, place: Path) -> None:
    """The export at `place`: a package as one folder, else each of its files whole, the main one last."""
    if path.is_dir():
        with replacing_folder(place) as temporary:
            shutil.copytree(path, temporary, dirs_exist_ok=True)
        return
    for file in sorted(row.files(path), key=lambda file: file == path):
        write_atomic(place.with_suffix(file.suffix), file.read_bytes())


def facts_of(record: ModelRecord, *, precision: str, weights_sha256: str) -> Embedded:
    """What is written into an exported file of this model."""
    return Embedded(
        name=record.name,
        network=record.spec.name,
        task=record.task,
        output_names=decoding(record.task).output_names,
        labels=record.labels,
        preprocess=record.preprocess,
        calibration=bare(record.calibration),
        precision=precision,
        weights_sha256=weights_sha256,
    )
