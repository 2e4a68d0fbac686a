"""Where a Keras file keeps a layer's arrays: by name (whole-model HDF5), or by class and position (`.keras`).

Also the members of the `.keras` zip, each bounded before it is unpacked, and its JSON.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ...errors import BadData
from .graph import Array
from .hdf5 import Tree

MOST_JSON = 50_000_000
MOST_DEEP = 20
CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
"""Where a `.keras` model keeps its layers: Keras 3, and Keras 2.12 to 2.15."""

_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError)


@dataclass(frozen=True, slots=True)
class Step:
    """One layer inside a model: its name, its class in snake case, and that it is the `ordinal`-th of the `count` of
    that class that hold weights."""

    name: str
    kind: str
    ordinal: int
    count: int


Place: TypeAlias = tuple[Step, ...]
"""A layer in nested models, outermost first."""


class Store(Protocol):
    """Where a layer's arrays are found."""

    def arrays(self, place: Place, wanted: tuple[str, ...]) -> dict[str, Array]:
        """The arrays called `wanted` of the layer at `place`. Raises BadData where one is missing."""


class ByName:
    """A whole-model HDF5 file: model_weights/<layer>/<weight name>, and nested models' weights in one group."""

    def __init__(self, tree: Tree, where: str) -> None:
        self.where = where
        self.found: dict[tuple[str, ...], dict[str, Array]] = {}
        for group, names in tree.weight_names.items():
            top = group.removeprefix("model_weights/")
            for name in names:
                if f"{group}/{name}" in tree.arrays:
                    *scopes, leaf = name.removesuffix(":0").split("/")[-MOST_DEEP:]
                    inside = ["/".join(scopes[i:]) for i in range(len(scopes))]
                    for key in ((top,), *((top, layer) for layer in inside)):
                        self.found.setdefault(key, {}).setdefault(leaf, tree.arrays[f"{group}/{name}"])

    def arrays(self, place: Place, wanted: tuple[str, ...]) -> dict[str, Array]:
        key = (place[0].name,) if len(place) == 1 else (place[0].name, place[-1].name)
        found = self.found.get(key, {})
        if "depthwise_kernel" in wanted and "kernel" in found:
            found = {"depthwise_kernel": found["kernel"], **found}  # Keras 3 calls it so
        for leaf in wanted:
            if leaf not in found:
                raise BadData(f"{self.where}: layer {place[-1].name!r} has no weights called {leaf!r}")
        return {leaf: found[leaf] for leaf in wanted}


class ByPosition:
    """A `.keras` file: layers/<class>[_N]/vars/<i>, which Keras of late marks with the layer's name."""

    def __init__(self, tree: Tree, where: str) -> None:
        self.where, self.tree = where, tree
        self.children: dict[str, set[str]] = {}
        for name in tree.arrays:
            parts = name.split("/")[: 2 * MOST_DEEP]
            for i, part in enumerate(parts[:-1]):
                if part in CONTAINERS:
                    self.children.setdefault("/".join(parts[: i + 1]), set()).add(parts[i + 1])

    def arrays(self, place: Place, wanted: tuple[str, ...]) -> dict[str, Array]:
        path = ""
        for step in place:
            path = self._child(path, step)
        values = [self.tree.arrays.get(f"{path}vars/{i}") for i in range(len(wanted) + 1)]
        found = [value for value in values if value is not None]
        if len(found) != len(wanted):
            raise BadData(f"{self.where}: layer {place[-1].name!r} needs {len(wanted)} arrays ({', '.join(wanted)})")
        return dict(zip(wanted, found, strict=True))

    def _child(self, path: str, step: Step) -> str:
        """The group of `step` inside the model at `path`: by its mark, else the n-th of its class that has arrays."""
        members: dict[int, str] = {}
        pattern = re.compile(rf"{re.escape(step.kind)}(?:_(\d{{1,6}}))?")
        for container in CONTAINERS:
            for child in self.children.get(path + container, ()):
                if match := pattern.fullmatch(child):
                    members[int(match[1] or 0)] = f"{path}{container}/{child}/"
        marks = {mark: m for m in members.values() if (mark := self.tree.names.get(f"{m}vars")) is not None}
        if step.name in marks:
            return marks[step.name]
        if marks or len(members) != step.count:
            raise BadData(f"{self.where}: {len(members)} {step.kind} with weights, none of them for {step.name!r}")
        return members[sorted(members)[step.ordinal]]


def read_members(path: Path, limits: Mapping[str, int]) -> dict[str, bytes]:
    """The named members of a zip, each of at most so many bytes. Raises BadData for a missing or larger one."""
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name, most in limits.items():
                with archive.open(name) as member:
                    found[name] = member.read(most + 1)
                if len(found[name]) > most:
                    raise BadData(f"{path}: {name} is larger than {most} bytes")
    except KeyError as error:
        raise BadData(f"{path}: no {name} in it; is this a Keras file?") from error
    except _ZIP_ERRORS as error:
        raise BadData(f"{path}: not a whole zip file: {error}") from error
    return found


def parse(text: str | bytes, where: str) -> dict[str, Any]:
    """The JSON object `text`. Raises BadData for anything else."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadData(f"{where}: its configuration is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise BadData(f"{where}: its configuration is no JSON object")
    return data


def snake_case(kind: str) -> str:
    """The name that `.keras` files give a class: ReLU is re_lu, DepthwiseConv2D depthwise_conv2d."""
    return re.sub(r"(?<!^)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", kind).lower()
