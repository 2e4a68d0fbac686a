"""What a graph is fed: which of its inputs is the picture, and what pixels must become before it sees them."""

from dataclasses import dataclass

import numpy as np

from ...errors import BadData
from ...records import Preprocess
from .graph import Fed, Graph
from .units import InputScale, Units

USUAL_PX = (224, 224)
"""For a file that leaves the size open."""
HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Feed:
    """fed: the input. start: the tensor that the first convolution reads. scale: what the file does in between."""

    fed: Fed
    start: str
    scale: InputScale | None
    channels: int
    size_px: tuple[int, int]


def picture_input(graph: Graph, gathered: Units, *, where: str) -> Feed:
    """The input that is a picture. Raises: BadData where none is."""
    for fed in graph.inputs:
        if 1 <= fed.channels <= 64:
            scales = [unit for unit in gathered.units if isinstance(unit, InputScale) and unit.input == fed.name]
            scale = scales[-1] if scales else None
            h, w = fed.size_px
            size = (h, w) if h and w else USUAL_PX
            return Feed(fed, scale.output if scale else fed.name, scale, fed.channels, size)
    shapes = ", ".join(f"{fed.name!r} {fed.shape}" for fed in graph.inputs[:4]) or "none"
    raise BadData(f"{where}: none of its inputs is a picture (inputs: {shapes})")


def preprocess_of(graph: Graph, feed: Feed) -> tuple[Preprocess, tuple[str, ...], tuple[str, ...]]:
    """(record, evidence, what is assumed): how pixels become the network's float input.

    A quantised input says it (real = scale * (byte - zero point)), so does arithmetic before the first convolution.
    Else it is what the world that the file comes from usually does.
    """
    c = feed.channels
    torch_made = "pytorch" in graph.metadata.get("producer", "").lower()
    fit = "short_then_crop" if torch_made else "central_then_stretch"
    if feed.fed.dtype in ("uint8", "int8"):
        scale, zero = feed.fed.scale, feed.fed.zero_point + (128 if feed.fed.dtype == "int8" else 0)
        mean, std = (zero / 255,) * c, (1 / (255 * scale),) * c
        told = (
            f"input {feed.fed.name!r} is {feed.fed.dtype} with scale {scale:.7g} and zero point {feed.fed.zero_point}"
        )
        record = Preprocess(feed.size_px, fit, mean=mean, std=std, colour=_colour(c))  # type: ignore[arg-type]
        return record, (f"pixels: {told}",), ("fit",)
    if feed.scale is not None:
        factor = np.broadcast_to(np.array(feed.scale.factor), (c,))
        shift = np.broadcast_to(np.array(feed.scale.shift), (c,))
        unit = 255.0 if np.abs(factor).max() < 0.1 else 1.0  # made for bytes, or for pixels that are 0..1 already
        if (factor > 0).all():
            mean, std = tuple((-shift / factor / unit).tolist()), tuple((1 / (factor * unit)).tolist())
            record = Preprocess(feed.size_px, fit, mean=mean, std=std, colour=_colour(c))  # type: ignore[arg-type]
            return record, ("pixels: scaled by the file itself before its first convolution",), ("fit",)
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if torch_made and c == 3 else (HALF[:1] * c, HALF[:1] * c)
    record = Preprocess(feed.size_px, fit, mean=mean, std=std, colour=_colour(c))  # type: ignore[arg-type]
    usual = "ImageNet's mean and deviation, PyTorch's habit" if torch_made else "x / 127.5 - 1, TensorFlow's habit"
    return record, (f"pixels: not in the file; assumed {usual}",), ("preprocess", "fit")


def _colour(channels: int) -> str:
    return "grey" if channels == 1 else "rgb"
