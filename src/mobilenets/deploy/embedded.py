"""What travels inside an exported file, so that it can be run rightly without anything beside it.

Each format has its own place for such facts (ONNX: metadata_props, OpenVINO: rt_info, LiteRT: metadata buffers,
Core ML: user-defined metadata); in all of them they are the same short strings under the same keys, written down in
docs/model-file.md.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..codec import from_json, to_json
from ..errors import BadModelFile, UsageError
from ..records import Calibration, Labels, Preprocess

EMBEDDED_FORMAT = 1
PREFIX = "mobilenets."

Inside = Literal["nothing", "normalise", "everything"]
"""What of the preprocessing a file does itself. "nothing": it is fed what `preprocess` makes. "normalise": uint8 pixels
of the network's size (`preprocess.dtype` is uint8 then). "everything": a uint8 RGB picture (1, H, W, 3) of any size."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """The facts of an exported file.

    name: the model's; network: its spec's. output_names: in the order in which the file gives them.
    preprocess: in the layout and dtype that this file is fed (see `as_fed`); its mean and std are always those of the
    network, whoever applies them. calibration: without the bins of its plot.
    weights_sha256: hash of the weights.safetensors it was made from. inside: what the file does of the preprocessing.
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
    inside: Inside = "nothing"

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
            PREFIX + "inside": self.inside,
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
            inside=_inside(strings.get(PREFIX + "inside", "nothing"), where=where),
        )
    except UsageError as error:
        raise BadModelFile(error.message) from error


def _inside(text: str, *, where: str) -> Inside:
    known: Inside
    for known in get_args(Inside):
        if text == known:
            return known
    raise BadModelFile(f"{where}: {PREFIX}inside is {text!r}; known are {', '.join(get_args(Inside))}")


def as_fed(tensors: NDArray[Any], record: Preprocess, fed: Preprocess) -> NDArray[Any]:
    """Tensors made by `record`, in the layout and dtype of `fed`, which says the same preprocessing otherwise.

    tensors: (N, C, h, w) or (N, h, w, C), as `record.layout` says. Pixels come back exactly: they are whole numbers.
    Raises: UsageError where the two differ in more than layout and dtype, or where floats are wanted of pixels.
    """
    if replace(record, layout=fed.layout, dtype=fed.dtype) != fed:
        raise UsageError("tensors of one preprocessing can't be turned into those of another")
    values = tensors if record.layout == "nhwc" else np.moveaxis(tensors, 1, -1)
    if record.dtype != fed.dtype:
        if record.dtype != "float32":
            raise UsageError(f"{record.dtype} tensors hold no {fed.dtype}")
        mean, std = np.array(record.mean, np.float32), np.array(record.std, np.float32)
        pixels = np.clip(np.rint((values * std + mean) * 255), 0, 255).astype(np.uint8)
        values = pixels if fed.dtype == "uint8" else (pixels ^ 0x80).view(np.int8)
    return np.ascontiguousarray(values if fed.layout == "nhwc" else np.moveaxis(values, -1, 1))
