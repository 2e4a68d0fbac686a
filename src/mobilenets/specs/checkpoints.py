"""Published weights: which there are, of which network, under which licence, fed how, and the accuracy quoted for them.

The table is checkpoints.csv, one row per checkpoint: timm's (from its configuration files and results/*.csv),
torchvision's (`*_Weights.meta`), Keras Applications', TF-slim's with its 8-bit ones, Hugging Face's ports of these,
OpenCV's zoo. An empty cell was not found; nothing is filled in by analogy. Slim's accuracies stand in published.py.
"""

import csv
import difflib
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast

from ..errors import UnknownName, UsageError
from ..records import Preprocess
from .catalogue import ALIASES, CATALOGUE
from .published import PUBLISHED_ACCURACY, SLIM_V1, SLIM_V2
from .spec import Generation

Source = Literal["timm", "torchvision", "keras", "slim", "huggingface", "opencv"]
Fit = Literal["short_then_crop", "central_then_stretch", "stretch"]
Interpolation = Literal["nearest", "bilinear", "bicubic"]
Triple = tuple[float, float, float]

FILE = Path(__file__).with_name("checkpoints.csv")
HUBS: tuple[Source, ...] = ("timm", "huggingface")
"""Sources whose ids are repositories of the Hugging Face hub."""

NORMS: MappingProxyType[str, tuple[Triple, Triple]] = MappingProxyType(
    {
        "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    }
)
"""Mean and std of pixels scaled to 0..1; "half" is x / 127.5 - 1, "unit" only divides by 255."""

WHERE: MappingProxyType[str, str] = MappingProxyType(
    {
        "timm": "timm results/*.csv",
        "torchvision": "torchvision *_Weights.meta",
        "keras": "keras-team/keras-applications README.md",
        "keras_v3": "Keras, MobileNetV3 docstring",
        "slim_v1": SLIM_V1,
        "slim_v3": SLIM_V2,
        "openvino": "OpenVINO model documentation",
        "opencv": "OpenCV model zoo",
    }
)
"""Where the quoted accuracies stand, by the words of the table's column; "published" there means published.py."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """An accuracy as its source prints it, as shares of ImageNet's validation images; measured by them, not here.

    resolution_px: (h, w) it was measured at. crop_ratio None: not told. top5 None: only top-1 is printed.
    """

    top1: float
    top5: float | None
    where: str
    resolution_px: tuple[int, int]
    crop_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One set of published weights. None is what no source tells.

    id: the repository on the hub ("timm/..."), or the source and its own name for the weights or their file.
    network: a name that `resolve` knows, in the details of the source; with `alpha` and `classes` it is the network.
    params: trainable ones, of the whole file where `note` says so. data: "in1k", "in12k", "in12k_ft_in1k", ...
    resolution_px: (h, w) that it was trained for. mean, std, fit, crop_ratio, interpolation: how it is fed there.
    larger: the accuracy at the larger size that its authors also test at.
    """

    id: str
    network: str
    alpha: float
    resolution_px: tuple[int, int] | None
    classes: int
    source: Source
    licence: str | None
    precision: Literal["float32", "uint8", "int8"]
    data: str
    params: int | None
    mean: Triple | None = None
    std: Triple | None = None
    fit: Fit | None = None
    crop_ratio: float | None = None
    interpolation: Interpolation | None = None
    quoted: Quoted | None = None
    larger: Quoted | None = None
    note: str = ""

    @property
    def generation(self) -> Generation:
        alias = ALIASES.get(self.network)
        return CATALOGUE[self.network if alias is None else alias.network].generation

    @property
    def size_mb(self) -> float | None:
        """Megabytes of float32 weights (4 bytes a parameter); None for 8-bit files, whose size is not told."""
        return 4 * self.params / 1e6 if self.precision == "float32" and self.params is not None else None

    @property
    def preprocess(self) -> Preprocess | None:
        """The record that feeds it, or None where a part of it is not told.

        TensorFlow's resize, which slim evaluates with, does not antialias; Pillow's, the others' reference, does.
        """
        size, mean, std, fit = self.resolution_px, self.mean, self.std, self.fit
        crop, interpolation = self.crop_ratio, self.interpolation
        if size is None or mean is None or std is None or fit is None or crop is None or interpolation is None:
            return None
        return Preprocess(size, fit, crop, mean, std, interpolation, antialias=self.source != "slim")


def published_weights(
    text: str = "",
    *,
    source: Source | None = None,
    generation: Generation | None = None,
    alpha: float | None = None,
    resolution_px: tuple[int, int] | None = None,
    max_params: int | None = None,
    max_mb: float | None = None,
) -> tuple[Checkpoint, ...]:
    """The published weights that fit everything asked for, in the order of the table.

    text: words that must all occur in the id, the network, the source, the data, the licence or the note.
    max_params, max_mb: weights whose count or size is not told are left out.
    """
    words = text.lower().split()
    found = []
    for row in _table():
        said = " ".join((row.id, row.network, row.source, row.data, row.licence or "", row.note)).lower()
        if (
            all(word in said for word in words)
            and source in (None, row.source)
            and generation in (None, row.generation)
            and alpha in (None, row.alpha)
            and resolution_px in (None, row.resolution_px)
            and (max_params is None or (row.params is not None and row.params <= max_params))
            and (max_mb is None or (row.size_mb is not None and row.size_mb <= max_mb))
        ):
            found.append(row)
    return tuple(found)


def find_weights(name: str) -> Checkpoint:
    """The published weights called `name`: their id, with or without what stands before its slash.

    Raises: UnknownName with the closest ids; UsageError where a bare name is several sources'.
    """
    rows = [row for row in _table() if row.id == name] or [row for row in _table() if row.id.partition("/")[2] == name]
    if len(rows) == 1:
        return rows[0]
    if rows:
        raise UsageError(f"{name!r} is published by several; say which: {', '.join(row.id for row in rows)}")
    near = difflib.get_close_matches(name, [row.id for row in _table()], n=3)
    raise UnknownName(
        f"no published weights called {name!r}" + (f"; did you mean {', '.join(near)}?" if near else ""),
        hint="see: mobilenets weights list",
    )


@cache
def _table() -> tuple[Checkpoint, ...]:
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(_row(cells) for cells in csv.DictReader(file))


def _row(cells: dict[str, str]) -> Checkpoint:
    mean, std = NORMS[cells["norm"]] if cells["norm"] else (None, None)
    return Checkpoint(
        id=cells["id"],
        network=cells["network"],
        alpha=float(cells["alpha"]),
        resolution_px=_square(cells["px"]),
        classes=int(cells["classes"]),
        source=cast(Source, cells["source"]),
        licence=cells["licence"] or None,
        precision=cast(Literal["float32", "uint8", "int8"], cells["precision"]),
        data=cells["data"],
        params=int(cells["params"]) if cells["params"] else None,
        mean=mean,
        std=std,
        fit=cast(Fit | None, cells["fit"] or None),
        crop_ratio=_ratio(cells["crop"]),
        interpolation=cast(Interpolation | None, cells["interpolation"] or None),
        quoted=_quoted(cells),
        larger=_larger(cells),
        note=cells["note"],
    )


def _quoted(cells: dict[str, str]) -> Quoted | None:
    size, where = _square(cells["px"]), cells["where"]
    if size is None or not where:
        return None
    if where != "published":
        return Quoted(_share(cells["top1"]), _share_or_none(cells["top5"]), WHERE[where], size, _ratio(cells["crop"]))
    alias = ALIASES.get(cells["network"])
    network = cells["network"] if alias is None else alias.network
    point = next(
        p for p in PUBLISHED_ACCURACY if (p.network, p.alpha, p.side_px) == (network, float(cells["alpha"]), size[0])
    )
    return Quoted(point.top1, point.top5, point.source, size, 0.875)  # slim's evaluation


def _larger(cells: dict[str, str]) -> Quoted | None:
    size = _square(cells["test_px"])
    if size is None:
        return None
    return Quoted(_share(cells["test_top1"]), None, "timm README.md", size, _ratio(cells["test_crop"]))


def _square(side: str) -> tuple[int, int] | None:
    return (int(side), int(side)) if side else None


def _ratio(text: str) -> float | None:
    """A share written as 0.875 or as crop / resize, 224/232."""
    return float(Fraction(text)) if text else None


def _share(percent: str) -> float:
    return round(float(percent) / 100, 5)


def _share_or_none(percent: str) -> float | None:
    return _share(percent) if percent else None
