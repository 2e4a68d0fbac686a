"""State dicts of common repositories: which network it is told by the order and the shapes of its layers alone.

Covered are V1, V2, V3, V4 and MobileFaceNet under whatever names (features.N.conv.M, model.N.M, stage1.N.M, ...),
pruned or not; what fits no table but consists of V1's or V2's blocks gets rows of its own. Strides and activations are
not in such files: they are the table's, or assumed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Literal

from ...errors import CheckpointMismatch, SpecError
from ...specs.activation import PRelu
from ...specs.catalogue import CATALOGUE
from ...specs.rows import MQA, SE, Bottleneck, Conv, Depthwise, Pool, Row, Separable
from ...specs.spec import Head, Spec
from ...specs.transform import folded
from .graph import Array
from .layout import Role, slots
from .naming import COUNTER, assign, their_name
from .templates import Template, fitted, identified, kernels_differing, template

MOST_PARTS, MOST_CHAINS = 8, 20
Kind = Literal["weight", "norm", "slopes", "scale"]
_KINDS: dict[Kind, Role] = {"weight": "weight", "norm": "gamma", "slopes": "slopes", "scale": "scale"}
"""What a module's first array is, for each kind of module."""
_STRIDES = {5: (1, 2, 2, 2, 2), 7: (1, 2, 2, 2, 1, 2, 1)}
"""Strides of the first block of each stage, by number of stages: V1's table 1 and V2's table 2."""


@dataclass(frozen=True, slots=True)
class Module:
    """A group of tensors with one prefix: a convolution or linear layer, a batch norm, PReLU's slopes, a scale."""

    path: str
    kind: Kind
    shape: tuple[int, ...]
    has_bias: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A network made out in a bag of tensors. assumed: what the tensors do not say."""

    spec: Spec
    arrays: dict[str, Array]
    used: frozenset[str]
    evidence: tuple[str, ...]
    assumed: tuple[str, ...]


def mobile_face_net() -> Spec:
    """MobileFaceNet: Chen et al. 2018, arXiv:1804.07573, table 1, with ReLU6 where no slopes of a PReLU are there."""
    rows: list[Row] = [Separable(3, 64)]
    c_in = 64
    for t, c, n, s in ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1)):
        for i in range(n):
            rows.append(Bottleneck(3, t * c_in, c, stride=s if i == 0 else 1, act="relu6"))
            c_in = c
    rows += [Conv(1, 512, act="relu6"), Depthwise(7, act="none", pad=False), Conv(1, 128, act="none")]
    return Spec("mobilefacenet", Conv(3, 64, 2, act="relu6"), tuple(rows), classes=0, resolution_px=(112, 112))


_FACE = Template("mobilefacenet", "paper", mobile_face_net())


def read_in_order(arrays: Mapping[str, Array], where: str, only: Template | None = None) -> Found:
    """The network whose layers `arrays` are, in the order of the file or of their numbers.

    only: the network that it is said to be. Raises: CheckpointMismatch, naming the first layer that fits nothing.
    """
    modules = _modules(arrays, where)
    orders = tuple(_orders(modules))
    tables = (*(template(network, "paper") for network in CATALOGUE), _FACE) if only is None else (only,)
    forms = tuple(form for of in tables for form in _forms(of, modules) if _in_order(form.spec, modules) is not None)
    fits = [fit for order in orders for of in forms if (fit := _fit(of, order, arrays, where)) is not None]
    if fits:
        return min(fits, key=lambda fit: fit[0])[1]
    if only is not None:
        raise CheckpointMismatch(f"{where}: its {len(modules)} layers are not those of {only.spec.name}, in any order")
    try:
        return _own(modules, arrays, where)
    except CheckpointMismatch as error:
        try:
            return _own(orders[1], arrays, where)
        except CheckpointMismatch:
            raise error from None


def _own(order: tuple[Module, ...], arrays: Mapping[str, Array], where: str) -> Found:
    """A network of no table. Raises: CheckpointMismatch where the layers are not V1's or V2's in this order."""
    spec = _rows(order, where)
    names = _in_order(spec, order)
    if names is None:
        raise CheckpointMismatch(f"{where}: its norms do not go with its convolutions, one to each")
    spec = fitted(spec, ShapeLookup(names, arrays))
    evidence = ("no table has these widths and depths: rows read off the file, strides and activations assumed",)
    return _found(spec, names, arrays, where, evidence, ("stride", "activation"))


def _orders(modules: tuple[Module, ...]) -> Iterator[tuple[Module, ...]]:
    """The file's order, that of the numbers in its names, and those in which its top-level parts chain by channels
    (MobileFaceNet's scripts define the last layers before the blocks)."""
    yield modules
    by_number = tuple(sorted(modules, key=lambda module: _natural(module.path)))
    yield by_number
    parts = {name: list(part) for name, part in groupby(by_number, key=lambda module: module.path.split(".")[0])}
    ends = {name: (_ends(part[0])[0], _ends(part[-1])[1]) for name, part in _weights_first(parts).items()}

    def chains(left: tuple[str, ...], channels: int) -> Iterator[tuple[str, ...]]:
        if not left:
            yield ()
        for name in left:
            first, last = ends[name]
            if first == channels or (channels == 0 and first <= 4):
                for rest in chains(tuple(other for other in left if other != name), last):
                    yield (name, *rest)

    if len(parts) <= MOST_PARTS:
        for chain in islice(chains(tuple(dict.fromkeys(m.path.split(".")[0] for m in modules)), 0), MOST_CHAINS):
            yield tuple(module for name in chain for module in parts[name])


def _weights_first(parts: Mapping[str, list[Module]]) -> dict[str, list[Module]]:
    """Of each part its convolutions; its norms where it has no other."""
    return {name: [m for m in part if m.kind == "weight"] or part for name, part in parts.items()}


def _ends(module: Module) -> tuple[int, int]:
    """Channels that a module takes and gives."""
    if len(module.shape) < 2 or (len(module.shape) == 4 and module.shape[1] == 1 < module.shape[2]):
        return module.shape[0], module.shape[0]
    return module.shape[1], module.shape[0]


def _fit(of: Template, order: tuple[Module, ...], arrays: Mapping[str, Array], where: str) -> tuple[int, Found] | None:
    """`of` filled with the modules in `order`, and how far it is from the table; None where it does not fit."""
    names = _in_order(of.spec, order)
    if names is None:
        return None
    try:
        spec = fitted(of.spec, ShapeLookup(names, arrays))
        exact = None if of.network not in CATALOGUE else identified(spec, of)
        other = kernels_differing(spec, of)
        if exact is None and of.network in CATALOGUE:
            spec = replace(spec, name=f"{of.network}_own", generation="own")
        what = f"layers in the order of {of.network}" + ("" if exact else ", widths read off the file")
        found = _found(
            exact or spec, names, arrays, where, (what, "activation and strides: the table's"), ("activation",)
        )
    except (CheckpointMismatch, SpecError):
        return None
    return (0 if exact else 1 + other), found


def _found(
    spec: Spec, names: Mapping[str, str], arrays: Mapping[str, Array], where: str, evidence: tuple[str, ...],
    assumed: tuple[str, ...],
) -> Found:  # fmt: skip
    used = frozenset(their_name(slot.name, names) for slot in slots(spec))
    return Found(spec, assign(spec, names, arrays, where), used, evidence, assumed)


def _forms(of: Template, modules: tuple[Module, ...]) -> Iterator[Template]:
    """A table with and without its classifier, in the form that the file's kinds of modules ask for."""
    slopes = [module for module in modules if module.kind == "slopes"]
    spec = of.spec
    if not any(module.kind == "norm" for module in modules):
        spec = folded(spec)
    if slopes:
        spec = _with_prelu(spec, shared=all(module.shape == (1,) for module in slopes))
    yield replace(of, spec=spec)
    if spec.classes:
        yield replace(of, spec=replace(spec, classes=0))
        yield replace(of, spec=replace(spec, classes=0, head=Head()))


def _in_order(spec: Spec, order: tuple[Module, ...]) -> dict[str, str] | None:
    """Our modules -> theirs, kind by kind in order: a file may list a block's norms after its convolutions."""
    names: dict[str, str] = {}
    ours: dict[str, Role] = {}
    for slot in slots(spec):
        ours.setdefault(slot.module, slot.role)
    for kind, role in _KINDS.items():
        mine = [name for name, first in ours.items() if first == role]
        theirs = [module.path for module in order if module.kind == kind]
        if len(mine) != len(theirs):
            return None
        names |= dict(zip(mine, theirs, strict=True))
    return names


@dataclass(frozen=True, slots=True, eq=False)
class ShapeLookup:
    """The shape of the tensor for one of our names; None where there is none."""

    names: Mapping[str, str]
    arrays: Mapping[str, Array]

    def __call__(self, name: str) -> tuple[int, ...] | None:
        array = self.arrays.get(their_name(name, self.names))
        return None if array is None else array.shape


def _modules(arrays: Mapping[str, Array], where: str) -> tuple[Module, ...]:
    """Tensors grouped by prefix. Raises: CheckpointMismatch for a group that is no layer known here."""
    groups: dict[str, dict[str, Array]] = {}
    for key, array in arrays.items():
        path, _, leaf = key.rpartition(".")
        if leaf != COUNTER:
            groups.setdefault(path, {})[leaf] = array
    found = []
    for path, tensors in groups.items():
        weight, leaves = tensors.get("weight"), set(tensors)
        if weight is not None and weight.ndim in (2, 4) and leaves <= {"weight", "bias"}:
            found.append(Module(path, "weight", weight.shape, "bias" in leaves))
        elif leaves == {"weight", "bias", "running_mean", "running_var"}:
            found.append(Module(path, "norm", tensors["weight"].shape))
        elif leaves == {"weight"} and tensors["weight"].ndim == 1:
            found.append(Module(path, "slopes", tensors["weight"].shape))
        elif leaves == {"gamma"}:
            found.append(Module(path, "scale", tensors["gamma"].shape))
        else:
            shapes = ", ".join(f"{leaf} {array.shape}" for leaf, array in list(tensors.items())[:4])
            raise CheckpointMismatch(f"{where}: {path or 'the top level'} is no layer of a MobileNet ({shapes})")
    if sum(module.kind == "weight" for module in found) < 3:
        raise CheckpointMismatch(f"{where}: {len(found)} layers; a MobileNet has at least three convolutions")
    return tuple(found)


def _rows(order: tuple[Module, ...], where: str) -> Spec:
    """A network of V1's or V2's blocks, of whatever depth, from the shapes of its convolutions in order."""
    weights = [module for module in order if module.kind == "weight"]
    normed = any(module.kind == "norm" for module in order)
    word = "".join(_letter(module, normed) for module in weights)
    grammar = re.fullmatch(
        r"f(?:(?P<v1>(?:dp)+)|(?P<v2>(?:ds{0,2}p)?(?:pdp|pdssp)+))(?P<tail>p?)(?P<linear>l{0,2})", word
    )
    if grammar is None:
        odd = weights[min(len(re.match(r"f?(?:dp|ds?s?p|pdp)*", word)[0]), len(weights) - 1)]  # type: ignore[index]  # matches ""
        raise CheckpointMismatch(f"{where}: from {odd.path} {odd.shape} on its layers are no MobileNet's blocks")
    rows: list[Row] = []
    at = 1
    v1 = grammar["v1"] is not None
    for block in re.findall(r"dp" if v1 else r"pdssp|pdp|dssp|dp", grammar["v1"] or grammar["v2"]):
        layers = weights[at : at + len(block)]
        at += len(block)
        c_out, hidden = layers[-1].shape[0], layers[block.index("d")].shape[0]
        se = SE(layers[block.index("s")].shape[0]) if "s" in block else None
        rows.append(Separable(3, c_out) if v1 else Bottleneck(3, hidden, c_out, act="relu6", se=se))
    rows = _strided(rows)
    act: Literal["relu", "relu6"] = "relu" if v1 else "relu6"
    if grammar["tail"]:
        rows.append(Conv(1, weights[at].shape[0], act=act))
        at += 1
    linear = weights[at:]
    head = Head(linear[0].shape[0], act) if len(linear) == 2 else Head()
    spec = Spec("mobilenet_own", Conv(3, weights[0].shape[0], 2, act=act), tuple(rows), head)
    return replace(spec if normed else folded(spec), classes=linear[-1].shape[0] if linear else 0)


def _letter(module: Module, normed: bool) -> str:
    """f full convolution, d depthwise, p pointwise, s squeeze (a bias among norms), l linear."""
    if len(module.shape) == 2:
        return "l"
    _, c_in, h, w = module.shape
    if (h, w) != (1, 1):
        return "d" if c_in == 1 else "f"
    return "s" if normed and module.has_bias else "p"


def _strided(rows: list[Row]) -> list[Row]:
    """Stride 2 where a stage of equal width begins, as V1's and V2's tables have it; else four times."""
    stages = [list(group) for _, group in groupby(rows, key=lambda row: row.outputs(1))]
    strides = _STRIDES.get(len(stages), (1, 2, 2, 2, 2, *[1] * len(stages)))
    found: list[Row] = []
    for stage, stride in zip(stages, strides, strict=False):
        for i, row in enumerate(stage):
            strided = isinstance(row, (Separable, Bottleneck)) and i == 0
            found.append(replace(row, stride=stride) if strided and isinstance(row, (Separable, Bottleneck)) else row)
    return found


def _with_prelu(spec: Spec, *, shared: bool) -> Spec:
    """`spec` with a PReLU wherever it has an activation."""

    def learned(row: Row) -> Row:
        if isinstance(row, (Pool, MQA)) or row.act == "none":
            return row
        return replace(row, act=PRelu(shared))

    head = replace(spec.head, act=PRelu(shared)) if spec.head.c_hidden else spec.head
    stem = replace(spec.stem, act=PRelu(shared))
    return replace(spec, stem=stem, rows=tuple(map(learned, spec.rows)), head=head)


def _natural(path: str) -> list[tuple[int, int, str]]:
    """A key that sorts numbers in names as numbers."""
    parts = re.split(r"(\d{1,9})", path)
    return [(1, int(part), "") if i % 2 else (0, 0, part) for i, part in enumerate(parts)]
