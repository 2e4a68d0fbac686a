"""What travels inside an exported file, so that it can be run rightly without anything beside it.

Each format has its own place for such facts (ONNX: metadata_props); in all of them they are the same short strings
under the same keys, written down in docs/model-file.md.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..codec import from_json, to_json
from ..errors import BadModelFile, UsageError
from ..records import Calibration, Labels, Preprocess

EMBEDDED_FORMAT = 1
PREFIX = "mobilenets."


@dataclass(frozen=True, slots=True)
class Embedded:
    """The facts of an exported file.

    name: the model's; network: its spec's. output_names: in the order in which the file gives them.
    calibration: without the bins of its plot. weights_sha256: hash of the weights.safetensors it was made from.
    """

    name: str
    network: str
    task: str
    output_names: tuple[str, ...]
    labels: Labels
    preprocess: Preprocess
    calibration: Calibration
    precision: str
    weights_sha256: str

    def as_strings(self) -> dict[str, str]:
        """The facts as strings by key: plain words, or JSON."""
        return {
            PREFIX + "format": str(EMBEDDED_FORMAT),
            PREFIX + "name": self.name,
            PREFIX + "network": self.network,
            PREFIX + "task": self.task,
            PREFIX + "output_names": json.dumps(list(self.output_names)),
            PREFIX + "labels": json.dumps(list(self.labels.ids), ensure_ascii=False),
            PREFIX + "label_names": json.dumps(list(self.labels.names), ensure_ascii=False),
            PREFIX + "preprocess": to_json(self.preprocess, indent=None),
            PREFIX + "calibration": to_json(bare(self.calibration), indent=None),
            PREFIX + "precision": self.precision,
            PREFIX + "weights_sha256": self.weights_sha256,
        }


def bare(calibration: Calibration) -> Calibration:
    """The calibration without the bins of its plot: what a runner needs."""
    return replace(calibration, bins_before=(), bins_after=())


def embedded_from_strings(strings: Mapping[str, str], *, where: str) -> Embedded | None:
    """The facts that `as_strings` wrote; None where there are none at all, as in a file of another program.

    Raises: BadModelFile where they are damaged or of a newer format.
    """
    if PREFIX + "format" not in strings:
        return None
    version = strings[PREFIX + "format"]
    if not version.isdecimal() or int(version) < 1:
        raise BadModelFile(f"{where}: {PREFIX}format is {version!r}, no version")
    if int(version) > EMBEDDED_FORMAT:
        raise BadModelFile(
            f"{where}: facts of format {version} are newer than {EMBEDDED_FORMAT}, the newest that this version reads",
            hint="pip install --upgrade mobilenets",
        )

    def text(key: str) -> str:
        if PREFIX + key not in strings:
            raise BadModelFile(f"{where}: has no {PREFIX}{key} in its metadata")
        return strings[PREFIX + key]

    try:
        return Embedded(
            name=text("name"),
            network=text("network"),
            task=text("task"),
            output_names=from_json(tuple[str, ...], text("output_names"), where=f"{where}: output_names"),
            labels=Labels(
                from_json(tuple[str, ...], text("labels"), where=f"{where}: labels"),
                from_json(tuple[str, ...], text("label_names"), where=f"{where}: label_names"),
            ),
            preprocess=from_json(Preprocess, text("preprocess"), where=f"{where}: preprocess"),
            calibration=from_json(Calibration, text("calibration"), where=f"{where}: calibration"),
            precision=text("precision"),
            weights_sha256=text("weights_sha256"),
        )
    except UsageError as error:
        raise BadModelFile(error.message) from error
