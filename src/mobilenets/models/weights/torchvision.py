"""torchvision's state dicts: the names of its MobileNetV2, V3 and MnasNet, their preprocessing, and a writer.

torchvision 0.27.1, models/mobilenetv2.py, mobilenetv3.py, mnasnet.py.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...records import Preprocess
from ...specs.catalogue import CATALOGUE
from ...specs.rows import Bottleneck, Conv
from ...specs.spec import Spec
from ...specs.transform import dilate
from .layout import Slot, slots
from .naming import renamed, their_name
from .templates import Template, fitted, same_but_widths, template

_RESIZED_TO_232 = ("7ebf99e0", "5c1a4163", "7090bc5f", "a4c69d6f")
"""Hashes in the file names of the IMAGENET1K_V2 weights and of mnasnet0_75 and 1_3, evaluated at 232 px and not 256."""
_RESIZED_TO_256 = ("b0353104", "8738ca79", "047dcff4", "3ffadce67e", "f206786ef8")
_MNASNET_STACKS = (3, 3, 3, 2, 4, 1)


def torchvision_templates() -> tuple[Template, ...]:
    """Every network that torchvision's names can spell."""
    kinds = ("v2", "v3", "mnasnet")
    return tuple(template(name, "torchvision") for name, entry in CATALOGUE.items() if entry.generation in kinds)


def torchvision_modules(spec: Spec, known: Collection[str] | None = None) -> dict[str, str]:
    """torchvision's name of each module of ours. known: a file's modules, whose own stacks are taken (MnasNet).

    Raises: UsageError for a network that torchvision does not have.
    """
    if spec.generation == "mnasnet":
        return _mnasnet(spec, known)
    if spec.generation not in ("v2", "v3"):
        raise UsageError(f"{spec.name}: torchvision has V2, V3 and MnasNet, not this")
    found = {"backbone.stem.conv.conv": "features.0.0", "backbone.stem.conv.norm": "features.0.1"}
    for i, (name, row, c_in, _) in enumerate(spec.blocks()):
        theirs, ours = f"features.{i}", f"backbone.{name}"
        if isinstance(row, Conv):
            found |= {f"{ours}.conv.conv": f"{theirs}.0", f"{ours}.conv.norm": f"{theirs}.1"}
        elif isinstance(row, Bottleneck):
            parts = _v2_block(row, c_in) if spec.generation == "v2" else _v3_block(row, c_in)
            found |= {f"{ours}.{part}": f"{theirs}.{name}" for part, name in parts.items()}
        else:
            raise UsageError(f"{spec.name}: torchvision has no block like {type(row).__name__}")
    if spec.head.c_hidden:
        return found | {"hidden.0.conv": "classifier.0", "classifier": "classifier.3"}
    return found | {"classifier": "classifier.1"}


def torchvision_names(spec: Spec) -> dict[str, str]:
    """torchvision's name of each array of `spec`. Raises: UsageError for a network that torchvision does not have."""
    modules = torchvision_modules(spec)
    return {slot.name: their_name(slot.name, modules) for slot in slots(spec)}


def torchvision_architecture(spec: Spec) -> str:
    """The constructor in torchvision that builds what `spec` computes, at any width.

    Raises: UsageError, saying what is asked of it, where there is none.
    """
    return _CONSTRUCTORS[_spelled(spec).network]


def write_torchvision(spec: Spec, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """The arrays of `spec` under torchvision's names and shapes, in its order, for a strict load.

    Raises: UsageError where torchvision has no network that computes the same.
    """
    spelled = replace(spec, generation=_spelled(spec).spec.generation)
    return renamed(spec, arrays, torchvision_names(spelled), _their_shape)


def _spelled(spec: Spec) -> Template:
    """The network of torchvision that computes what `spec` does, dilated or not."""
    shapes = {slot.name: slot.shape for slot in slots(spec)}
    for of in torchvision_templates():
        if len(of.spec.rows) != len(spec.rows) or of.network not in _CONSTRUCTORS or spec.stem.norm != "batch":
            continue
        try:
            spelled = fitted(of.spec, shapes.get)
            dilated = dilate(spelled, 16, when="at_once")
        except UsageError:
            continue
        if any(same_but_widths(form, spec) for form in (spelled, dilated)):
            return of
    details = f"padding {spec.padding}, norm eps {spec.norm.eps:g}"
    raise UsageError(f"{spec.name} ({details}): torchvision has no network that computes the same")


def torchvision_facts(where: str, spec: Spec) -> tuple[Preprocess, tuple[str, ...], bool]:
    """Preprocessing, what it was taken from, and whether that was a guess. where: the file, whose name has a hash."""
    side = 224
    if any(known in where for known in _RESIZED_TO_232):
        said = "preprocess: torchvision's for the weights that the file's name says (resize 232, crop 224)"
        return Preprocess((side, side), crop_ratio=side / 232), (said,), False
    sure = any(known in where for known in _RESIZED_TO_256)
    said = "preprocess: torchvision's resize 256, crop 224" + ("" if sure else " (some of its weights resize to 232)")
    return Preprocess((side, side)), (said,), not sure


_CONSTRUCTORS = {
    "mobilenetv2": "mobilenet_v2", "mobilenetv3_large": "mobilenet_v3_large",
    "mobilenetv3_small": "mobilenet_v3_small", "mnasnet_b1": "MNASNet",
}  # fmt: skip


def _v2_block(row: Bottleneck, c_in: int) -> dict[str, str]:
    """conv.0.0, conv.0.1, ...: the last convolution and its norm stand in the Sequential themselves."""
    spatial = ("dw",) if row.c_hidden == c_in else ("expand", "dw")
    found: dict[str, str] = {}
    for i, part in enumerate(spatial):
        found |= {f"{part}.conv": f"conv.{i}.0", f"{part}.norm": f"conv.{i}.1"}
    n = len(spatial)
    return found | {"project.conv": f"conv.{n}", "project.norm": f"conv.{n + 1}"}


def _v3_block(row: Bottleneck, c_in: int) -> dict[str, str]:
    """block.0.0, block.0.1, ...: one element for each convolution with its norm, one for squeeze-and-excite."""
    parts = ["dw", *(["se"] if row.se else []), "project"]
    found: dict[str, str] = {}
    for i, part in enumerate(parts if row.c_hidden == c_in else ["expand", *parts]):
        if part == "se":
            found |= {"se.reduce": f"block.{i}.fc1", "se.expand": f"block.{i}.fc2"}
        else:
            found |= {f"{part}.conv": f"block.{i}.0", f"{part}.norm": f"block.{i}.1"}
    return found


def _mnasnet(spec: Spec, known: Collection[str] | None) -> dict[str, str]:
    found = {"backbone.stem.conv.conv": "layers.0", "backbone.stem.conv.norm": "layers.1"}
    if known is None:
        stacks = [(8 + s, b) for s, n in enumerate(_MNASNET_STACKS) for b in range(n)]
    else:
        numbers = (re.match(r"layers\.(\d{1,3})\.(\d{1,3})\.layers\.", name) for name in known)
        stacks = sorted({(int(m[1]), int(m[2])) for m in numbers if m})
    places = ["layers.{}", *(f"layers.{stack}.{block}.layers.{{}}" for stack, block in stacks)]
    for i, place in enumerate(places[: len(spec.rows) - 1]):
        first = 3 if i == 0 else 0
        parts = ("dw", "project") if i == 0 else ("expand", "dw", "project")
        for j, part in enumerate(parts):
            ours = f"backbone.blocks.{i}.{part}"
            found |= {f"{ours}.conv": place.format(first + 3 * j), f"{ours}.norm": place.format(first + 3 * j + 1)}
    last = f"backbone.blocks.{len(spec.rows) - 1}.conv"
    end = 8 + len({stack for stack, _ in stacks})
    return found | {f"{last}.conv": f"layers.{end}", f"{last}.norm": f"layers.{end + 1}", "classifier": "classifier.1"}


def _their_shape(slot: Slot) -> tuple[int, ...]:
    return slot.shape[:2] if slot.name == "hidden.0.conv.weight" else slot.shape
