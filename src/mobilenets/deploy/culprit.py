"""Who is to blame: an exported file that failed its checks is bisected, one suspect at a time, until one explains it.

The outputs are asked first, since they can't be mistaken: a suspect that foretells them is the culprit. Then pictures
against golden tensors, then what the file says about itself, at last its layers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..bundle import Golden
from ..data import preprocess, read_image
from ..errors import MobilenetsError, UnreadableImage
from ..records import Check, Culprit, Preprocess, Structure
from .case import Case
from .checks import PIXEL_LEVELS, SAME_NETWORK, pixel_levels, relative_errors
from .onnx import layers_onnx
from .suspects import FIELDS, IMAGENET, SCALES, Suspect, picture_changes, suspects
from .trained import Arrays

FEW = 4
"""Golden pictures that suspects are tried on; the best one is confirmed on all."""
FAR_BETTER = 3.0
"""How many times smaller the error must become under a suspect: less could be chance."""
CLOSE_LEVELS = 4.0
"""Mean difference of pixels up to which another decoder may have made them; another filter or crop differs by more."""
WEIGHTED = ("Conv", "Gemm", "MatMul")
POINTWISE = ("Add", "Clip", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid")
"""What runtimes fuse into the weighted operator before it, which then has the name of this one's output."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The culprit, how it was found in words, and the first layer that departs (None where layers can't be seen)."""

    culprit: Culprit
    evidence: str
    first_layer: str | None = None


def find_culprit(case: Case, checks: Sequence[Check], exact: Arrays | None, structure: Structure | None) -> Finding:
    """What makes a file fail.

    checks: all of them. exact: the file's outputs for the golden pictures, None where it can't be fed or read.
    structure: what the file consists of, where that could be read.
    """
    failed = {check.name: check for check in checks if not check.passed}
    if exact is None:
        return _by_shape(case, failed["shapes"])
    wrong_outputs = not {"logits", "data_logits", "batch"}.isdisjoint(failed)
    layer, ours, weighted = None, False, False
    if wrong_outputs and np.isfinite(np.concatenate([array.ravel() for array in exact])).all():
        layer, ours, weighted = _first_layer(case)
    tries = (
        (lambda: _by_pictures(case, case.golden, "the file prepares pictures")) if "inside" in failed else None,
        (lambda: _by_outputs(case, exact)) if "logits" in failed else None,
        (lambda: _by_pictures(case, case.model.golden(), "the golden tensors were made"))
        if "preprocess" in failed
        else None,
        (lambda: _by_preprocess_facts(case)) if "metadata" in failed else None,
        (lambda: _by_labels(case)) if {"labels", "answers"} & failed.keys() else None,
        (lambda: _by_weights(case, failed)),
        (lambda: _by_structure(case, structure)),
    )
    for attempt in tries:
        if attempt is not None and (found := attempt()) is not None:
            return replace(found, first_layer=layer)
    if "logits" in failed and ours and weighted:
        words = f"the file has the layers of the trained network, and from {layer} on other weights in them"
        return Finding("stale_weights", words, layer)
    first = next(iter(failed.values()))
    return Finding("unknown", f"no suspect explains it; {first.name}: {first.detail}", layer)


# --- outputs ------------------------------------------------------------------------------------------------------


def _by_outputs(case: Case, exact: Arrays) -> Finding | None:
    """The suspect under which the trained network answers as the file does."""
    golden, limit = case.golden, case.limits.max_relative_error
    if not all(np.isfinite(array).all() for array in exact):
        return None
    unchanged, _ = relative_errors(golden.outputs, exact)
    if order := column_order(golden.outputs[0], exact[0], limit):
        return Finding("label_order", f"the outputs are the network's in another order: {order}")
    run = case.reference.run(beside=case.path)
    if run is None:
        return None
    kept = golden if case.prepare is None else case.model.golden()
    gap, _ = relative_errors(kept.outputs, run(kept.inputs))
    if gap > SAME_NETWORK:
        words = f"the weights in the model file give other golden outputs than it holds (relative error {gap:.1e})"
        return Finding("stale_weights", words)
    every = np.arange(len(golden))
    worst = np.abs(exact[0] - golden.outputs[0]).reshape(len(golden), -1).max(axis=1)
    few = np.sort(np.argsort(-worst, kind="stable")[:FEW])
    best: tuple[float, Suspect] | None = None
    for suspect in suspects(case, run, case.reference.source):
        error = _error(suspect, few, exact)
        if best is None or error < best[0]:
            best = error, suspect
    if best is None:
        return None
    error = _error(best[1], every, exact)
    if error > limit or error * FAR_BETTER > unchanged:
        return None
    words = (
        f"the file answers as the trained network would {best[1].words}: relative error {error:.1e}, "
        f"against {unchanged:.1e} as it should be"
    )
    return Finding(best[1].culprit, words)


def _error(suspect: Suspect, indices: NDArray[np.int64], exact: Arrays) -> float:
    return relative_errors(suspect.answers(indices), tuple(array[indices] for array in exact))[0]


def column_order(reference: NDArray[Any], outputs: NDArray[Any], limit: float) -> str:
    """In words, how the columns of `outputs` (N, L) are those of `reference` (N, K) in another order, or with more
    among them; empty where they are not. limit: of the largest reference value."""
    if reference.ndim != 2 or outputs.ndim != 2 or len(reference) != len(outputs) or outputs.shape == (len(outputs), 1):
        return ""
    places = []
    for column in reference.T:
        apart = np.abs(outputs - column[:, None]).max(axis=0)
        places.append(int(apart.argmin()))
        if not apart[places[-1]] <= limit * np.abs(reference).max():
            return ""
    classes, columns = reference.shape[1], outputs.shape[1]
    if len(set(places)) != classes or places == list(range(columns)):
        return ""
    moved = [(there - here) % columns for here, there in enumerate(places)]
    if len(set(moved)) == 1:
        by = moved[0] if moved[0] <= columns // 2 else moved[0] - columns
        return f"all {classes} classes moved by {by}" + (f" among {columns} columns" if columns != classes else "")
    first = next(here for here, there in enumerate(places) if there != here)
    return f"{sum(m != 0 for m in moved)} of {classes} classes elsewhere, class {first} in column {places[first]}"


# --- pictures -----------------------------------------------------------------------------------------------------


def _by_pictures(case: Case, golden: Golden, made_by: str) -> Finding | None:
    """Which other preprocessing makes the golden tensors of the golden pictures: the record has another than was used
    in training or is inside the file, or pictures are decoded otherwise here. made_by: whose tensors, in words."""
    record = case.model.record.preprocess
    try:
        pictures = [read_image(data) for data in golden.encoded]
    except UnreadableImage as error:
        return Finding("decoder", f"a golden picture can't be read here: {error.message}")
    for culprit, words, other in _other_records(case, record):
        levels, _ = pixel_levels(golden, pictures, other)
        if levels <= PIXEL_LEVELS:
            return Finding(culprit, f"{made_by} with {words}: pixels within {levels:.2g} levels")
    levels, _ = pixel_levels(golden, list(_not_turned(golden)), record)
    if levels <= PIXEL_LEVELS:
        return Finding("exif", f"{made_by} without obeying their orientation tags")
    shifted = replace(record, layout="nhwc" if record.layout == "nchw" else "nchw")
    made = np.stack([preprocess(picture, shifted) for picture in pictures])
    if made.size == golden.inputs.size and np.allclose(made.ravel(), golden.inputs.ravel(), atol=1e-3):
        return Finding("layout", f"{made_by} laid out as {shifted.layout}, the record says {record.layout}")
    levels, mean = pixel_levels(golden, pictures, record)
    if mean <= CLOSE_LEVELS and case.prepare is not None:
        return Finding(
            "resize", f"{made_by} with pixels that are {mean:.2g} levels off on average, {levels:.0f} at most"
        )
    if mean <= CLOSE_LEVELS:
        words = f"pixels are {mean:.2g} levels off on average, {levels:.0f} at most: decoded by another decoder"
        return Finding("decoder", words)
    return None


def _other_records(case: Case, record: Preprocess) -> Iterator[tuple[Culprit, str, Preprocess]]:
    """Other preprocessing: what the file's facts say first."""
    facts = case.session.facts
    if facts is not None:
        said = replace(facts.preprocess, layout=record.layout, dtype=record.dtype)
        if changed := _differing(said, record):
            yield FIELDS[changed[0]], f"{_told(said, changed)} as the file says", said
    for colour in ("rgb", "bgr"):
        if record.channels == 3 and colour != record.colour:
            yield "colour_order", colour, replace(record, colour=colour)
    pairs = {words: ((mean,) * record.channels, (std,) * record.channels) for words, (mean, std) in SCALES.items()}
    if record.channels == 3:
        pairs["ImageNet's mean and std"] = IMAGENET
    for words, (means, stds) in pairs.items():
        yield "mean_std", words, replace(record, mean=means, std=stds)
    yield from picture_changes(record)


def _not_turned(golden: Golden) -> Iterator[NDArray[np.uint8]]:
    """The golden pictures as they are stored, whatever their tags say about which way is up."""
    import io

    for data in golden.encoded:
        try:
            with Image.open(io.BytesIO(data)) as image:
                yield np.asarray(image.convert("RGB"))
        except (UnidentifiedImageError, OSError):
            yield read_image(data)


# --- what the file says -------------------------------------------------------------------------------------------


def _by_preprocess_facts(case: Case) -> Finding | None:
    """A preprocess record inside the file that is not the model's; confirmed by running the file by it."""
    facts, record = case.session.facts, case.model.record.preprocess
    if facts is None:
        return None
    said = replace(facts.preprocess, layout=record.layout, dtype=record.dtype)
    changed = _differing(said, record)
    if not changed:
        if facts.precision != case.precision:
            return Finding("precision", f"the file says {facts.precision}, and is taken for {case.precision}")
        return None
    words = f"the file says {_told(said, changed)}, the model {_told(record, changed)}"
    if said.size_px == record.size_px and said.channels == record.channels and case.inside != "everything":
        made = np.stack([preprocess(read_image(data), said) for data in case.golden.encoded])
        fed = replace(case.fed, **{name: getattr(said, name) for name in changed})
        from .embedded import as_fed
        from .trained import as_arrays

        error, _ = relative_errors(case.golden.outputs, as_arrays(case.session.run(as_fed(made, said, fed))))
        words += f"; run by what it says its outputs are {error:.1e} off"
    return Finding(FIELDS[changed[0]], words)


def _differing(one: Preprocess, two: Preprocess) -> list[str]:
    return [name for name in FIELDS if getattr(one, name) != getattr(two, name)]


def _told(record: Preprocess, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {getattr(record, name)}" for name in names)


def _by_labels(case: Case) -> Finding | None:
    """Labels in another order than the trained network's answers have them, in the file or in the record."""
    facts, record, golden = case.session.facts, case.model.record, case.golden
    if facts is not None and facts.labels != record.labels:
        pairs = enumerate(zip(facts.labels.ids, record.labels.ids, strict=False))
        where = next((f"label {i} is {a!r} in the file, {b!r} in the model" for i, (a, b) in pairs if a != b), "")
        return Finding("label_order", where or "the labels of the file are not the model's")
    best = golden.outputs[0].reshape(len(golden), -1).argmax(axis=1)
    for image, column in zip(golden.index.images, best, strict=True):
        said = image.answer.get("label")
        now = record.labels.ids[column] if column < len(record.labels) else None
        if said is not None and said != now:
            words = f"{image.file}: the trained network said {said!r}, the labels make {now!r} of its answer"
            return Finding("label_order", words)
    return None


def _by_weights(case: Case, failed: dict[str, Check]) -> Finding | None:
    if "weights" in failed:
        return Finding("stale_weights", "the file was made from other weights than the model file holds (SHA-256)")
    if "reference" in failed:
        return Finding("stale_weights", f"the weights in the model file: {failed['reference'].detail}")
    return None


def _by_structure(case: Case, structure: Structure | None) -> Finding | None:
    """Weights of another type than the file's precision has them in."""
    if structure is None or not structure.weights or case.precision != "float32":
        return None
    most = max(structure.weights, key=lambda kind: structure.weights[kind])
    if most != "float32":
        return Finding("precision", f"most of its weights are {most}, under the name of float32")
    return None


def _by_shape(case: Case, check: Check) -> Finding:
    """A file that takes or gives something of another shape."""
    takes = case.session.input_shape[1:]
    wanted = case.inputs(case.golden.inputs[:1], case.golden.encoded[:1])[0].shape[1:]
    if takes != wanted and sorted(map(str, takes)) == sorted(map(str, wanted)):
        return Finding("layout", check.detail)
    if takes == wanted or case.inside == "everything":
        outputs = case.answers(case.golden.inputs, case.golden.encoded)
        if order := column_order(case.golden.outputs[0], outputs[0], case.limits.max_relative_error):
            return Finding("label_order", f"the outputs are the network's in another order: {order}")
    return Finding("unknown", check.detail)


# --- layers -------------------------------------------------------------------------------------------------------


def _first_layer(case: Case) -> tuple[str | None, bool, bool]:
    """The first layer of the file whose output departs from the trained network's by more than the limit, None where
    that can't be seen; whether the file has the network's layers; and whether that layer has weights.

    The network is traced to a graph whose values have the names that all formats keep; both answer one golden picture.
    """
    source = case.reference.source
    if source is None or not case.target.layers:
        return None, False, False
    try:
        proto = source.graph()
        with TemporaryDirectory(prefix="mobilenets-trace-") as folder:
            path = Path(folder, "reference.onnx")
            path.write_bytes(proto.SerializeToString())
            wanted = dict(layers_onnx(path, case.golden.inputs[:1]))
        fed = case.inputs(case.golden.inputs[:1], case.golden.encoded[:1])[0]
        shared, layer = 0, None
        for name, values in case.target.layers_of(case.path, fed):
            want = wanted.get(name)
            if want is not None and want.shape == values.shape:
                shared += 1
                if layer is None and relative_errors((want,), (values,))[0] > case.limits.max_relative_error:
                    layer = name
    except (MobilenetsError, ModuleNotFoundError):  # no exporter, no way to look inside: the outputs have to do
        return None, False, False
    return layer, 2 * shared > len(wanted), layer in _of_weights(proto)


def _of_weights(proto: Any) -> set[str]:
    """The values that operators with weights make, and what runtimes fuse into these."""
    found: set[str] = set()
    for node in proto.graph.node:
        if node.op_type in WEIGHTED or (node.op_type in POINTWISE and found.intersection(node.input)):
            found.add(node.output[0])
    return found
