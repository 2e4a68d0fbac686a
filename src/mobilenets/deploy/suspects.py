"""What may be wrong with an exported file, each suspect as what the file would answer if it were so.

A suspect is the trained network with one thing changed: the tensors it is given, or the network itself. The one that
explains a file's outputs is the culprit (culprit.py).
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..records import Culprit, Preprocess
from .case import Case
from .tracing import Source
from .trained import Arrays, Run, runner

if TYPE_CHECKING:
    from torch import Tensor, nn

Indices = NDArray[np.int64]
"""Which of the golden pictures, int64 (n,)."""

EPSILONS = (1e-5, 1e-3, 1.1e-5, 1e-4, 1e-6, 1e-2)
"""Of batch norms as frameworks set them: PyTorch, Keras and TensorFlow, rounded ones, and stranger ones."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SCALES: dict[str, tuple[float, float]] = {
    "pixel / 127.5 - 1": (0.5, 0.5),
    "pixel / 128 - 1": (128 / 255, 128 / 255),
    "(pixel - 127.5) / 128": (0.5, 128 / 255),
    "(pixel - 128) / 127.5": (128 / 255, 0.5),
    "pixel / 255": (0.0, 1.0),
    "pixel / 256": (0.0, 256 / 255),
    "pixel as it is, 0 to 255": (0.0, 1 / 255),
}
"""Mean and std of pixels in 0..1, for all channels alike."""

FIELDS: dict[str, Culprit] = {
    "colour": "colour_order",
    "mean": "mean_std",
    "std": "mean_std",
    "dtype": "mean_std",
    "interpolation": "resize",
    "antialias": "resize",
    "fit": "crop",
    "crop_ratio": "crop",
    "size_px": "crop",
    "layout": "layout",
}
"""Which suspect a field of the preprocess record stands for."""


@dataclass(frozen=True, slots=True, eq=False)
class Suspect:
    """One hypothesis: `answers` gives the outputs for some of the golden pictures if `words` were true."""

    culprit: Culprit
    words: str
    answers: Callable[[Indices], Arrays]


def suspects(case: Case, run: Run, source: Source | None) -> Iterator[Suspect]:
    """Every suspect that a file's outputs can convict, the likeliest first.

    run: the trained network on tensors. source: its torch form, None where there is none: its weights, norms and pads
    are not asked then.
    """
    for culprit, words, change in tensor_changes(case.model.record.preprocess):

        def changed(indices: Indices, change: Callable[[NDArray[Any]], NDArray[Any]] = change) -> Arrays:
            return run(change(case.golden.inputs[indices]))

        yield Suspect(culprit, f"were it fed {words}", changed)
    if source is not None:
        for culprit, words, make in network_changes(case, source):

            def otherwise(indices: Indices, make: Callable[[], "nn.Module"] = make) -> Arrays:
                return runner(make())(case.golden.inputs[indices])

            yield Suspect(culprit, f"with {words}", otherwise)


def tensor_changes(
    record: Preprocess,
) -> Iterator[tuple[Culprit, str, Callable[[NDArray[Any]], NDArray[Any]]]]:
    """What may have been done to the tensors (N, C, h, w) that `record` makes: colours, numbers, layout."""
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (record.mean, record.std))

    def scaled(other_mean: NDArray[Any], other_std: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
        return lambda x: ((x * std + mean - other_mean) / other_std).astype(np.float32)

    if record.channels == 3:
        swapped = "rgb" if record.colour == "bgr" else "bgr"
        yield "colour_order", f"{swapped} for {record.colour}", lambda x: np.ascontiguousarray(x[:, ::-1])
        yield (
            "colour_order",
            f"{swapped} for {record.colour}, mean and std left as they are",
            lambda x: (((x * std + mean)[:, ::-1] - mean) / std).astype(np.float32),
        )
    for words, (one, two) in SCALES.items():
        if {one} != set(record.mean) or {two} != set(record.std):
            yield "mean_std", words, scaled(np.array(one, np.float32), np.array(two, np.float32))
    if record.channels == 3 and (record.mean, record.std) != IMAGENET:
        means, stds = (np.array(values, np.float32)[:, None, None] for values in IMAGENET)
        yield "mean_std", "ImageNet's mean and std", scaled(means, stds)
    yield "mean_std", "tensors whose mean and std were applied twice", lambda x: ((x - mean) / std).astype(np.float32)
    if record.size_px[0] == record.size_px[1]:
        yield "layout", "height and width exchanged", lambda x: np.ascontiguousarray(x.swapaxes(2, 3))
    yield (
        "layout",
        "numbers laid out as (h, w, C) and read as (C, h, w)",
        lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(x.shape),
    )
    if record.channels > 1:
        yield (
            "layout",
            "numbers laid out as (C, h, w) and read as (h, w, C)",
            lambda x: np.ascontiguousarray(x.reshape(len(x), *x.shape[2:], x.shape[1]).transpose(0, 3, 1, 2)),
        )


def picture_changes(record: Preprocess) -> Iterator[tuple[Culprit, str, Preprocess]]:
    """Other ways to cut and resize a picture than `record`'s."""
    for interpolation in ("bilinear", "bicubic", "nearest"):
        for antialias in (True, False):
            other = replace(record, interpolation=interpolation, antialias=antialias)
            if other != record and (interpolation != "nearest" or antialias):
                yield "resize", f"{interpolation}{'' if antialias else ', not antialiased'}", other
    for fit in ("short_then_crop", "central_then_stretch", "stretch"):
        for ratio in dict.fromkeys((record.crop_ratio, 0.875, 1.0, 0.95, 0.9)):
            other = replace(record, fit=fit, crop_ratio=ratio)
            if (fit, ratio) != (record.fit, record.crop_ratio) and (fit != "stretch" or ratio == record.crop_ratio):
                yield "crop", f"{fit} at {ratio:g}", other


def network_changes(case: Case, source: Source) -> Iterator[tuple[Culprit, str, Callable[[], "nn.Module"]]]:
    """What may have become of the network: its norms, its pads, the digits of its weights. Made when called."""
    import torch

    from ..models import load_exact, state_arrays
    from ..tasks import task

    record = case.model.record

    def with_epsilon(value: float) -> "nn.Module":
        changed = copy.deepcopy(source.network)
        for module in changed.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eps = value
        return changed

    def padded() -> "nn.Module":
        spec = replace(record.spec, padding="symmetric" if record.spec.padding == "same" else "same")
        changed = task(record.task).build(spec, record.labels)
        load_exact(changed, state_arrays(source.network))
        return changed.eval()

    def rounded(kind: "torch.dtype", least: int) -> "nn.Module":
        changed = copy.deepcopy(source.folded())
        with torch.no_grad():
            for parameter in changed.parameters():
                if parameter.dim() >= least:
                    parameter.copy_(_rounded(parameter, kind))
        return changed

    for value in EPSILONS:
        if value != record.spec.norm.eps:
            yield "norm_epsilon", f"an epsilon of {value:g} in its batch norms", partial(with_epsilon, value)
    yield "padding", f"other pads than {record.spec.padding}", padded
    for name, kind in (("float16", torch.float16), ("bfloat16", torch.bfloat16)):
        for least, which in ((1, "all weights"), (2, "weights, not biases,")):
            yield (
                "precision",
                f"{which} rounded to {name}",
                partial(rounded, kind, least),
            )


def _rounded(values: "Tensor", kind: Any) -> "Tensor":
    return values.to(kind).to(values.dtype)
