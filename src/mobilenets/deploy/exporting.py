"""An export as one step: written, proved against the trained network, and only then put into the model file."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..bundle import ExportRecord, ModelFile, ModelRecord, add_files
from ..data import Dataset
from ..records import Split, Verification
from ..tasks import decoding
from .embedded import Embedded, bare
from .targets import find_target
from .trained import trained_network
from .verify import Progress, verify_model

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to: the model file, with the new file in it where it was proved, else as it was."""

    model: ModelFile
    verification: Verification


def export_model(
    model: ModelFile,
    *,
    target: str = "onnx",
    precision: str | None = None,
    network: "nn.Module | None" = None,
    data: Dataset | str | Path | None = None,
    split: Split = "val",
    on_progress: Progress | None = None,
) -> Exported:
    """Export a model file's network, verify the new file, and seal it in; an older one of its kind is replaced.

    Args:
        precision: by default the target's first.
        network: the trained network, where the caller holds it already (the golden vectors tell if it is another).
        data: labelled images whose `split` is put to both in addition to the golden vectors.

    A file that does not answer as the network does is not kept: see `require_verified` for the error to raise then.
    Raises: UsageError for an unknown precision or a network that can't be exported; MissingRuntime; BadModelFile.
    """
    row = find_target(target)
    kind = row.precision(precision or row.precisions[0])
    trained = trained_network(model) if network is None else network
    with tempfile.TemporaryDirectory(prefix="mobilenets-export-") as folder:
        path = Path(folder, row.file_name(kind))
        row.export(trained, path, facts=facts_of(model.record, precision=kind, weights_sha256=model.weights_sha256))
        verification = verify_model(
            model, target=target, precision=kind, file=path, data=data, split=split, on_progress=on_progress
        )
        if not verification.passed:
            return Exported(model, verification)
        name = row.file_name(kind)
        proof = replace(verification, file=name)
        record = model.record.with_export(ExportRecord(row.name, kind, name, proof))
        return Exported(add_files(model, {name: path.read_bytes()}, record=record), proof)


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
