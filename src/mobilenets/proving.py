"""An imported network against its original: the same pictures through both, and where they differ, why.

Floor 6, used by importing.py. The limits are those of one network in two runtimes; an integer original carries its
own rounding, so it is held to agreement and not to a difference.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import BadData
from .models.weights.read import Read
from .originals import Floats, Original
from .records import Preprocess
from .specs import Norm, Spec

if TYPE_CHECKING:
    from torch import nn

    from .deploy.pictures import Picture

SYNTHETIC_IMAGES = 16
PROOF_IMAGES = 200
"""Pictures of --data that are put to both; more prove nothing new."""
OTHER_RUNTIME_FP32 = 1e-4
"""Largest difference of float answers, relative to the largest: other kernels add in another order."""
INTEGER_AGREEMENT = 0.85
"""Share of equal answers with an integer original: the worst of six quantised MobileNets agreed on 91.5 % of 200
photos with the float network of its own weights."""
INTEGER_CORRELATION = 0.85
"""Where fewer answers are equal: least mean correlation of a picture's answers. Synthetic pictures are no photos, an
integer network's answers to them lie close together, and rounding swaps them: right readings of five files gave 0.90 to
1.00 there, with 75 to 100 % equal answers. Wrong ones gave up to 0.87, so no other reading may come closer."""
INTEGER_TIE = 0.01
"""Correlations nearer than that are one reading in two spellings (a scale of 1/127.5 or of 1/128)."""


@dataclass(frozen=True, slots=True)
class Proof:
    """An import held against its original.

    max_relative_error, mean_relative_error: of what the file answers, relative to its largest number. causes: what,
    changed alone, would make the two agree. tensors: how many inner tensors of a backbone were compared;
    top1_agreement is then the share of them that are equal. correlation: of the answers to one picture, the mean over
    the pictures; of integer originals only.
    """

    runtime: str
    images: int
    max_relative_error: float
    mean_relative_error: float
    top1_agreement: float
    passed: bool
    quantised: bool = False
    causes: tuple[str, ...] = ()
    tensors: int = 0
    correlation: float | None = None


def built(read: Read) -> "nn.Module":
    """The network with the weights of the file, in eval mode."""
    from .deploy.trained import require_torch

    require_torch("building the network")
    from .models import build, load_exact

    network = build(read.spec)
    load_exact(network, read.arrays)
    return network.eval()


def proof_pictures(record: Preprocess, data: str | Path | None) -> Floats:
    """Preprocessed pictures, float32 (N, C, h, w): the first of `data`, or synthetic ones."""
    from .bundle import synthetic_images
    from .deploy.pictures import listed

    pictures: list[tuple[str, Picture]]
    if data is None:
        made = synthetic_images(SYNTHETIC_IMAGES, size_px=record.size_px)
        pictures = [(f"synthetic {i}", content) for i, (_, content) in enumerate(made)]
    else:
        pictures = list(_files(Path(data), listed))[:PROOF_IMAGES]
    return as_tensors(pictures, record, where=str(data))[0]


def as_tensors(
    pictures: "Sequence[tuple[str, Picture]]", record: Preprocess, *, where: str
) -> tuple[Floats, list[int]]:
    """The readable ones of `pictures`, preprocessed, float32 (N, C, h, w), and which they are.

    Raises: BadData where there are none.
    """
    from .deploy.machine import usable_cores
    from .deploy.pictures import tensors

    workers = min(4, usable_cores())
    made = tensors(pictures, record, workers=workers, ahead=2 * workers)
    read = [(i, tensor.values) for i, tensor in enumerate(made) if tensor.values is not None]
    if not read:
        raise BadData(f"{where}: holds no picture that can be read")
    return np.stack([values for _, values in read]).astype(np.float32), [i for i, _ in read]


def _files(data: Path, listed: "Callable[[Path], Iterator[tuple[str, Picture]]]") -> "Iterator[tuple[str, Picture]]":
    """Every picture of a folder, or those that a data set lists."""
    from .data import open_dataset

    if data.is_dir():
        yield from listed(data)
    else:
        yield from ((str(sample.file), sample.file) for sample in open_dataset(str(data)).samples)


def prove(read: Read, network: "nn.Module", original: Original, pictures: Floats) -> Proof:
    """Both on `pictures`, float32 (N, C, h, w)."""
    from .deploy.trained import runner

    if not read.spec.classes:
        return _prove_taps(read, network, original, pictures)
    theirs = original.run(pictures, ("",))[""]
    ours = _answer(runner(network)(pictures)[0], read)
    if theirs.shape != ours.shape:
        cause = f"the original answers {theirs.shape[1:]} numbers, the import {ours.shape[1:]}"
        return Proof(original.runtime, len(pictures), np.inf, np.inf, 0.0, False, read.quantised, (cause,))
    worst, mean = _errors(ours, theirs)
    agreement = float((ours.argmax(1) == theirs.argmax(1)).mean())
    if not read.quantised:
        passed, correlation = worst <= OTHER_RUNTIME_FP32, None
    else:
        correlation = _correlation(ours, theirs)
        passed = agreement >= INTEGER_AGREEMENT or _is_best_reading(correlation, read, pictures, theirs)
    causes = () if passed else tuple(_causes(read, pictures, theirs))
    return Proof(
        original.runtime, len(pictures), worst, mean, agreement, passed, read.quantised, causes, correlation=correlation
    )


def _correlation(ours: Floats, theirs: Floats) -> float:
    """Of the answers to each picture, the mean over pictures; a picture whose answers are all alike counts as 0."""
    a, b = (
        answers - answers.mean(1, keepdims=True) for answers in (ours.astype(np.float64), theirs.astype(np.float64))
    )
    scale = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return float(np.mean((a * b).sum(1) / np.where(scale > 0, scale, np.inf)))


def _is_best_reading(correlation: float, read: Read, pictures: Floats, theirs: Floats) -> bool:
    """Whether the answers go together, and better than with any single thing read otherwise."""
    from .deploy.trained import runner
    from .models import build, load_exact

    if correlation < INTEGER_CORRELATION:
        return False
    for _, spec, changed in _variants(read, pictures):
        network = build(spec).eval()
        load_exact(network, read.arrays)
        if _correlation(_answer(runner(network)(changed)[0], read), theirs) > correlation + INTEGER_TIE:
            return False
    return True


def _prove_taps(read: Read, network: "nn.Module", original: Original, pictures: Floats) -> Proof:
    """A backbone: every tap against the tensor of its name in the original."""
    import torch

    names = {tap: tensor for tap, tensor in read.tensors.items() if tap != "logits"}
    theirs = original.run(pictures, tuple(names.values()))
    with torch.inference_mode():
        ours: dict[str, torch.Tensor] = network.taps(torch.from_numpy(pictures), tuple(names))  # type: ignore[operator]
    errors = [_errors(ours[tap].numpy(), theirs[tensor]) for tap, tensor in names.items()]
    worst, mean = max(error[0] for error in errors), float(np.mean([error[1] for error in errors]))
    equal = float(np.mean([error[0] <= OTHER_RUNTIME_FP32 for error in errors]))
    return Proof(original.runtime, len(pictures), worst, mean, equal, equal == 1.0, tensors=len(names))


def _answer(logits: Floats, read: Read) -> Floats:
    """Logits as the file gives them: probabilities where it ends in a softmax."""
    if not read.ends_in_softmax:
        return logits
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def _errors(ours: Floats, theirs: Floats) -> tuple[float, float]:
    if ours.shape != theirs.shape:
        return np.inf, np.inf
    scale = max(float(np.abs(theirs).max()), 1e-12)
    gap = np.abs(ours.astype(np.float64) - theirs)
    return float(gap.max() / scale), float(gap.mean() / scale)


def _causes(read: Read, pictures: Floats, theirs: Floats) -> Iterator[str]:
    """What, changed alone, brings the two together: padding, epsilon, activation, pixels, the order of the labels."""
    from .deploy.trained import runner
    from .models import build, load_exact

    best = _errors(_answer(_answers(read.spec, read, pictures), read), theirs)[0]
    for name, spec, changed in _variants(read, pictures):
        network = build(spec).eval()
        load_exact(network, read.arrays)
        found = _errors(_answer(runner(network)(changed)[0], read), theirs)[0]
        if found <= OTHER_RUNTIME_FP32 or found < best / 20:
            yield f"{name}: with it the largest difference is {found:.1e} instead of {best:.1e}"
    ours = _answer(_answers(read.spec, read, pictures), read)
    if _errors(np.sort(ours, axis=1), np.sort(theirs, axis=1))[0] <= OTHER_RUNTIME_FP32:
        yield "label order: the same numbers stand in another order"


def _answers(spec: Spec, read: Read, pictures: Floats) -> Floats:
    from .deploy.trained import runner
    from .models import build, load_exact

    network = build(spec).eval()
    load_exact(network, read.arrays)
    return runner(network)(pictures)[0]


def _variants(read: Read, pictures: Floats) -> Iterator[tuple[str, Spec, Floats]]:
    spec = read.spec
    other = "same" if spec.padding == "symmetric" else "symmetric"
    yield f"padding {other}", replace(spec, padding=other), pictures  # type: ignore[arg-type]
    for eps in (1e-3, 1e-5):
        if eps != spec.norm.eps and any(getattr(row, "norm", "") == "batch" for row in (spec.stem, *spec.rows)):
            yield f"epsilon {eps:g}", replace(spec, norm=Norm(eps, spec.norm.momentum)), pictures
    for act, varied in activation_variants(spec):
        yield f"activation {act}", varied, pictures
    for name, mean, std in PIXELS:
        if len(mean) == spec.in_channels:
            yield f"pixels {name}", spec, _repainted(pictures, read.preprocess, mean, std)
    if spec.in_channels == 3:
        yield "colours in the order BGR", spec, np.ascontiguousarray(pictures[:, ::-1])


PIXELS: Sequence[tuple[str, tuple[float, ...], tuple[float, ...]]] = (
    ("x / 127.5 - 1", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ("x / 255", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ("ImageNet's mean and deviation", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ("0 to 255", (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
)


def _repainted(pictures: Floats, record: Preprocess, mean: Sequence[float], std: Sequence[float]) -> Floats:
    """Preprocessed pictures as another record would have made them."""
    shape = (1, -1, 1, 1)
    raw = pictures * np.array(record.std, np.float32).reshape(shape) + np.array(record.mean, np.float32).reshape(shape)
    found: Floats = (raw - np.array(mean, np.float32).reshape(shape)) / np.array(std, np.float32).reshape(shape)
    return found.astype(np.float32)


def activation_variants(spec: Spec) -> Iterator[tuple[str, Spec]]:
    """The network with another activation of the kind that files do not store; see `specs.with_activation`."""
    from .specs.activation import LeakyRelu
    from .specs.transform import with_activation

    for name, act in (("ReLU", "relu"), ("ReLU6", "relu6"), ("LeakyReLU 0.01", LeakyRelu(0.01)),
                      ("LeakyReLU 0.1", LeakyRelu(0.1))):  # fmt: skip
        varied = with_activation(spec, act)  # type: ignore[arg-type]
        if varied != spec:
            yield name, varied
