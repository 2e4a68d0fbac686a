"""A bag of TensorFlow's or Keras's variables, matched to a network of ours by names and shapes.

A source says how it names each of our arrays (see slim.py, keras_names.py); the table whose names fit best is taken,
its widths are read off the shapes, and every array is filled or the first one that does not fit is named. Kernels
come as (kh, kw, in, out), depthwise ones as (kh, kw, channels, multiplier), a classifier as either or (in, out).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...errors import CheckpointMismatch, SpecError
from ...specs.catalogue import CATALOGUE, Dialect, in_dialect
from ...specs.spec import Spec, is_pointwise
from .graph import Array
from .identify import identify
from .layout import Slot, slots
from .templates import fitted

Names = Callable[[Spec], Mapping[str, str]]
"""The source's name of each array of a network, by ours."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """used: the variables that became arrays. evidence: one sentence each."""

    spec: Spec
    arrays: dict[str, Array]
    used: frozenset[str]
    evidence: tuple[str, ...]


def table(network: str, dialect: Dialect) -> Spec:
    """The canonical `network` at width 1, in the details of `dialect`."""
    return in_dialect(CATALOGUE[network].spec, dialect)


def unit_of(slot: Slot) -> str:
    """The step that an array belongs to, as "stem.conv", "blocks.3.dw", "blocks.3.se.reduce", "classifier"."""
    module = slot.module.removeprefix("backbone.")
    step, _, part = module.rpartition(".")
    return step if part in ("conv", "norm") else module


def find_network(
    variables: Mapping[str, Array], tables: Sequence[Spec], names_of: Names, inside: re.Pattern[str], where: str
) -> Found:
    """The network whose variables these are, with its widths and arrays; it has no classifier where they have none.

    inside: what the variables of a block are called, so that one that no table has is refused and not passed over.

    Raises: CheckpointMismatch, which names the first variable that is missing, too many, or of another shape.
    """
    named = {id(spec): names_of(spec) for spec in tables}
    known = {name for names in named.values() for name in names.values()} & variables.keys()
    known |= {name for name in variables if inside.fullmatch(name)}
    lacks_gamma = not any(name.endswith("gamma") for name in known)
    best: tuple[int, Spec, list[str], list[str]] | None = None
    for spec in tables:
        names, given = named[id(spec)], _given(spec, named[id(spec)], known)
        wanted = {names[s.name]: None for s in slots(given) if not (lacks_gamma and _is_gamma(s))}
        missing = [name for name in wanted if name not in known]
        extra = sorted(known - wanted.keys())
        if best is None or len(missing) + len(extra) < best[0]:
            best = len(missing) + len(extra), given, missing, extra
    assert best is not None
    _, spec, missing, extra = best
    if missing:
        raise CheckpointMismatch(f"{where}: no variable {missing[0]!r} in it, which {spec.name} needs")
    if extra:
        raise CheckpointMismatch(f"{where}: {extra[0]!r} is no part of {spec.name}, the network that fits best")
    names = names_of(spec)
    arrays = {
        s.name: _ours(variables[names[s.name]], s, names[s.name], where) for s in slots(spec) if names[s.name] in known
    }
    if lacks_gamma:
        means = {s.module: arrays[s.name] for s in slots(spec) if s.role == "mean"}
        arrays |= {s.name: np.ones_like(means[s.module]) for s in slots(spec) if _is_gamma(s)}
    spec = _widths(spec, arrays, where)
    for slot in slots(spec):
        if slot.name not in arrays or arrays[slot.name].shape != slot.shape:
            name = names.get(slot.name, slot.name)
            shape = variables[name].shape if name in variables else "nothing"
            needs = f"{spec.name} needs {slot.shape} as {slot.name}"
            raise CheckpointMismatch(f"{where}: {name} has {shape}, {needs} (out, in, height, width)")
    evidence = ("the batch norms have no gamma: ones",) if lacks_gamma else ()
    ordered = {slot.name: arrays[slot.name] for slot in slots(spec)}
    if len(ordered) != len(arrays):
        name = names[next(name for name in arrays if name not in ordered)]
        raise CheckpointMismatch(f"{where}: {name} expands to as many channels as it reads, which no row here does")
    return Found(spec, ordered, frozenset(names[n] for n in ordered if names[n] in known), evidence)


def _given(spec: Spec, names: Mapping[str, str], known: set[str]) -> Spec:
    """`spec` without the classifier, the hidden layer and the last convolution that the file leaves out."""
    if names["classifier.weight"] not in known:
        spec = replace(spec, classes=0)
    if spec.head.c_hidden and names["hidden.0.conv.weight"] not in known and not spec.classes:
        spec = replace(spec, head=replace(spec.head, c_hidden=0, act="none"))
    last = len(spec.rows) - 1
    if is_pointwise(spec.rows[last]) and names[f"backbone.blocks.{last}.conv.conv.weight"] not in known:
        spec = spec if spec.classes or spec.head.c_hidden else replace(spec, rows=spec.rows[:last])
    return spec


def _widths(spec: Spec, arrays: Mapping[str, Array], where: str) -> Spec:
    """`spec` with the widths of `arrays`, under the name and alpha of the table that has them."""
    try:
        found = fitted(spec, lambda name: arrays[name].shape if name in arrays else None)
    except SpecError as error:
        raise CheckpointMismatch(f"{where}: {error.message}") from error
    except CheckpointMismatch as error:
        raise CheckpointMismatch(f"{where}: {error.message}") from error
    head = found.head if found.classes else None
    identity = identify(found.stem, found.rows, head, in_channels=found.in_channels, backbone=not found.classes)
    if identity is None:
        return replace(found, name=f"{spec.name}_own")
    return replace(found, name=identity.spec.name, alpha=identity.spec.alpha)


def _is_gamma(slot: Slot) -> bool:
    return slot.role == "gamma"


def _ours(value: Array, slot: Slot, name: str, where: str) -> Array:
    """A variable in our layout."""
    if slot.role != "weight":
        if value.ndim != 1:
            raise CheckpointMismatch(f"{where}: {name} has shape {value.shape}; one number per channel was expected")
        return value
    if slot.name == "classifier.weight" and value.ndim == 4 and value.shape[:2] == (1, 1):
        value = value[0, 0]
    if value.ndim != len(slot.shape) or not value.size:
        raise CheckpointMismatch(f"{where}: {name} has shape {value.shape}; {len(slot.shape)} axes were expected")
    if value.ndim == 2:
        return np.ascontiguousarray(value.T)
    if unit_of(slot).endswith(".dw"):
        height, width, channels, multiplier = value.shape
        return np.ascontiguousarray(value.transpose(2, 3, 0, 1)).reshape(channels * multiplier, 1, height, width)
    return np.ascontiguousarray(value.transpose(3, 2, 0, 1))
