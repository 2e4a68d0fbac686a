"""What model.json holds: the network, what it is fed, what it answers, how well, and where it comes from."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal

from ..codec import decode, to_json
from ..errors import BadModelFile, UsageError
from ..records import Bench, Calibration, Labels, Machine, Preprocess, Training, Verification
from ..specs import Spec

FORMAT = 1
"""The version of the model file that this library writes, and the newest that it reads."""

Photos = Literal["photos", "synthetic"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The published file that a network was imported from.

    file, sha256, format: which file. licence, quoted: as its source states them; an accuracy quoted there was not
    measured here. evidence: what was read off the file; assumed: what it does not hold. left_out: how many of its
    tensors or operators are no part of the network. proof: the comparison with the original, in words.
    """

    file: str
    sha256: str
    format: str
    licence: str = ""
    quoted: str = ""
    evidence: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    left_out: int = 0
    proof: str = ""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the weights come from, in what is needed to make them again.

    data: name of the data set; data_sha256: hash over its relative paths, bytes, labels and splits.
    images: readable images per split. revision: version (and commit, where known) of this library.
    recipe: the resolved recipe, plain JSON values. created: UTC, ISO 8601. origin: the published weights that
    training began with; empty for a network trained from scratch. imported: the published file itself.
    """

    data: str
    data_sha256: str
    images: dict[str, int]
    split_origin: str
    seed: int
    recipe: dict[str, object]
    versions: dict[str, str]
    revision: str
    created: str
    origin: str = ""
    machine: Machine | None = None
    training: Training | None = None
    imported: Origin | None = None


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """One exported file of the model: `file` is its name inside the model file, `verification` its proof."""

    target: str
    precision: str
    file: str
    verification: Verification | None = None
    bench: Bench | None = None

    @property
    def verified(self) -> bool:
        """Whether it was checked against the trained network and answers as that does."""
        return self.verification is not None and self.verification.passed


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """The whole of model.json.

    metrics: figures per split, e.g. {"test": {"top1": 0.99, "images": 180}}; see `scalars`.
    golden: whether the golden images are pictures of the user's data or synthetic ones that stand in for them.
    Raises: UsageError at construction where the parts contradict each other.
    """

    name: str
    task: str
    spec: Spec
    preprocess: Preprocess
    labels: Labels
    calibration: Calibration
    metrics: dict[str, dict[str, float]]
    provenance: Provenance
    exports: tuple[ExportRecord, ...] = ()
    golden: Photos = "photos"
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.preprocess.channels != self.spec.in_channels:
            raise UsageError(
                f"model {self.name!r}: preprocessing gives {self.preprocess.channels} channels, "
                f"the network takes {self.spec.in_channels}"
            )
        kinds = [(export.target, export.precision) for export in self.exports]
        if len(set(kinds)) != len(kinds):
            raise UsageError(f"model {self.name!r}: two exports for the same target and precision")

    def with_export(self, export: ExportRecord) -> "ModelRecord":
        """The record with `export` added, in the place of the one for the same target and precision if there is."""
        rest = tuple(e for e in self.exports if (e.target, e.precision) != (export.target, export.precision))
        return dataclasses.replace(self, exports=(*rest, export))


def record_to_json(record: ModelRecord) -> str:
    """The text of model.json."""
    return to_json(record) + "\n"


def record_from_json(raw: bytes, *, where: str) -> ModelRecord:
    """The record that model.json holds. Raises BadModelFile for a newer format and for anything else wrong."""
    data = json_object(raw, where=where)
    check_format(data, where=where)
    try:
        return decode(ModelRecord, data, where=where)
    except UsageError as error:
        message = error.message if error.message.startswith(where) else f"{where}: {error.message}"
        raise BadModelFile(message) from error
    except RecursionError as error:
        raise BadModelFile(f"{where}: nested too deeply") from error


def json_object(raw: bytes, *, where: str) -> dict[str, object]:
    """The JSON object in `raw`; a key that stands there twice is an error, since two readers might differ over it."""

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        if len(found := dict(items)) != len(items):
            raise BadModelFile(f"{where}: a key stands twice in one object")
        return found

    try:
        data = json.loads(raw.decode("utf-8"), object_pairs_hook=pairs)
    except ValueError as error:
        raise BadModelFile(f"{where}: not JSON: {error}") from error
    except RecursionError as error:
        raise BadModelFile(f"{where}: nested too deeply") from error
    if not isinstance(data, dict):
        raise BadModelFile(f"{where}: must hold a JSON object")
    return data


def check_format(data: dict[str, object], *, where: str) -> None:
    """Raises BadModelFile where `data` says a format that this library does not read."""
    version = data.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BadModelFile(f"{where}: no format version; this is no model file of mobilenets")
    if version > FORMAT:
        raise BadModelFile(
            f"{where}: format {version} is newer than {FORMAT}, the newest that this version reads",
            hint="pip install --upgrade mobilenets",
        )


def scalars(evaluation: object) -> dict[str, float]:
    """The plain figures of a task's evaluation record: numbers by their name, pairs as name_low and name_high."""
    if not dataclasses.is_dataclass(evaluation):
        raise TypeError(f"no evaluation record: {type(evaluation).__name__}")
    found: dict[str, float] = {}
    for field in dataclasses.fields(evaluation):
        value = getattr(evaluation, field.name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found[field.name] = value
        elif isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, float) for v in value):
            found[f"{field.name}_low"], found[f"{field.name}_high"] = value
    return found
