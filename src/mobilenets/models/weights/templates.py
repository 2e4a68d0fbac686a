"""A network whose kind is known, fitted to the shapes of the tensors at hand: what every bag of named tensors needs.

The template (a network of the catalogue) gives rows, strides, activations and gates; the tensors give widths, kernels,
groups, biases and norms. Then the name: which table at which width multiplier has exactly these numbers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from ...errors import CheckpointMismatch
from ...specs.catalogue import ALIASES, CATALOGUE, Alias, Dialect, dialect_rule, in_dialect
from ...specs.rows import MQA, UIB, Bottleneck, Conv, Depthwise, FusedBottleneck, NormKind, Pool, Row, Separable
from ...specs.spec import Head, Spec
from ...specs.width import WidthRule, at_alpha

ALPHAS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.1, 1.2, 1.25, 1.3, 1.4, 1.5, 2.0)
Shape = tuple[int, ...]
ShapeOf = Callable[[str], Shape | None]
"""The shape of the tensor for one of our names; None where there is none."""


@dataclass(frozen=True, slots=True)
class Template:
    """A network of the catalogue in the details of one source. spec: its table, at width 1."""

    network: str
    dialect: Dialect
    spec: Spec


@lru_cache(maxsize=256)
def template(network: str, dialect: Dialect) -> Template:
    """The canonical `network` as `dialect` has it."""
    return Template(network, dialect, in_dialect(CATALOGUE[network].spec, dialect))


def aliases(network: str, dialect: Dialect) -> tuple[Alias, ...]:
    """The names that `dialect` gives to the canonical `network`."""
    return tuple(alias for alias in ALIASES.values() if alias.network == network and alias.dialect == dialect)


def named_specs(network: str, dialect: Dialect) -> Iterator[Spec]:
    """Every network of a table that has a name in `dialect`; the canonical one where it has none there."""
    entry = CATALOGUE[network]
    known = aliases(network, dialect)
    for alias in known:
        yield replace(_at(network, dialect, alias.alpha), name=alias.name, resolution_px=_size(alias, entry.spec))
    if not known:
        yield _at(network, dialect, entry.alpha)


def fitted(spec: Spec, shape: ShapeOf) -> Spec:
    """`spec` with the widths, kernels, groups, norms and classes of the tensors; no classifier where they have none.

    Raises: CheckpointMismatch for a tensor that is missing or has another rank; SpecError for what can't be.
    """
    c_in = in_channels = _dims(shape, "backbone.stem.conv.conv.weight")[1]
    rows: list[Row] = []
    for name, row, listed, _ in spec.blocks():
        rows.append(_fitted_row(row, f"backbone.{name}", c_in, listed, shape))
        c_in = rows[-1].outputs(c_in)
    stem = rows.pop(0)
    assert isinstance(stem, Conv)
    classifier = shape("classifier.weight")
    head = spec.head
    if head.c_hidden:
        if shape("hidden.0.conv.weight") is None:
            head = Head()
        else:
            hidden = _dims(shape, "hidden.0.conv.weight")[0]
            head = replace(head, c_hidden=hidden, norm=_norm(shape, "hidden.0"))
    classes = classifier[0] if classifier else 0
    return replace(spec, stem=stem, rows=tuple(rows), head=head, classes=classes, in_channels=in_channels)


def identified(spec: Spec, of: Template) -> Spec | None:
    """The fitted `spec` under the name and width multiplier of the table that it equals; None where there is none."""
    entry = CATALOGUE[of.network]
    for known in named_specs(of.network, of.dialect):
        if _same_widths(known, spec):
            return replace(spec, name=known.name, alpha=known.alpha, resolution_px=known.resolution_px)
    rows = [(row.outputs(1), mine.outputs(1)) for row, mine in zip(of.spec.rows, spec.rows, strict=True)]
    ratios = {round(mine / listed, 4) for listed, mine in rows if 0 < mine < 32 * listed}
    plain = of.dialect == "torchvision" and entry.generation != "mnasnet"
    known_as = aliases(of.network, of.dialect) if plain else ()
    for rule in dict.fromkeys((dialect_rule(entry, of.dialect), entry.rule)):
        for alpha in (*ALPHAS, *sorted(ratios)):
            if _same_widths(table := _at(of.network, of.dialect, alpha, rule), spec):
                return replace(spec, name=known_as[0].name if known_as else entry.name, alpha=table.alpha)
    return None


def kernels_differing(spec: Spec, of: Template) -> int:
    """How many rows have other kernels than the table: less is a better guess at which table was pruned."""
    return sum(_kernel(a) != _kernel(b) for a, b in zip(spec.rows, of.spec.rows, strict=True))


def same_but_widths(a: Spec, b: Spec) -> bool:
    """Whether two networks of equal widths compute the same: everything but names and what only training reads."""
    return _computed(a) == _computed(b)


def _computed(spec: Spec) -> Spec:
    return replace(
        spec, name="any", classes=0, in_channels=3, resolution_px=(224, 224), generation="own", alpha=1.0,
        drop_path=0.0, norm=replace(spec.norm, momentum=0.1), head=replace(spec.head, dropout=0.0),
    )  # fmt: skip


def _same_widths(table: Spec, spec: Spec) -> bool:
    """Equal rows, whatever norms and biases they have, and equal heads where `spec` has one."""
    if _with_norms(table.stem) != _with_norms(spec.stem) or len(table.rows) != len(spec.rows):
        return False
    if any(_with_norms(a) != _with_norms(b) for a, b in zip(table.rows, spec.rows, strict=True)):
        return False
    if spec.classes == 0 and not spec.head.c_hidden:
        return True
    is_folded = spec.stem.norm == "bias"
    return table.head.c_hidden == spec.head.c_hidden and (is_folded or table.head.norm == spec.head.norm)


def _with_norms(row: Row) -> Row:
    return row if isinstance(row, Pool) else replace(row, norm="batch")


@lru_cache(maxsize=1024)
def _at(network: str, dialect: Dialect, alpha: float, rule: WidthRule | None = None) -> Spec:
    entry = CATALOGUE[network]
    return in_dialect(at_alpha(entry.spec, alpha, rule or dialect_rule(entry, dialect)), dialect)


def _kernel(row: Row) -> object:
    return (row.start, row.middle) if isinstance(row, UIB) else None if isinstance(row, MQA) else row.kernel


def _size(alias: Alias, spec: Spec) -> tuple[int, int]:
    return alias.resolution_px or spec.resolution_px


def _fitted_row(row: Row, block: str, c_in: int, listed: int, shape: ShapeOf) -> Row:
    match row:
        case Conv():
            c_out, per_group, kernel = _conv(shape, f"{block}.conv")
            groups = c_in // per_group if c_in % per_group == 0 else 1
            return replace(row, c_out=c_out, kernel=kernel, groups=groups, norm=_norm(shape, f"{block}.conv"))
        case Depthwise():
            c_out, _, kernel = _conv(shape, f"{block}.dw")
            multiplier = max(1, c_out // c_in)
            return replace(row, kernel=kernel, multiplier=multiplier, norm=_norm(shape, f"{block}.dw"))
        case Separable():
            kernel = _conv(shape, f"{block}.dw")[2]
            c_out = _conv(shape, f"{block}.pw")[0]
            return replace(row, kernel=kernel, c_out=c_out, norm=_norm(shape, f"{block}.dw"))
        case Bottleneck():
            kernel = _conv(shape, f"{block}.dw")[2]
            hidden = c_in if row.c_hidden == listed else _conv(shape, f"{block}.expand")[0]
            se = row.se and replace(row.se, c_squeeze=_dims(shape, f"{block}.se.reduce.weight")[0])
            c_out, norm = _conv(shape, f"{block}.project")[0], _norm(shape, f"{block}.dw")
            return replace(row, kernel=kernel, c_hidden=hidden, c_out=c_out, se=se, norm=norm)
        case FusedBottleneck():
            hidden, per_group, kernel = _conv(shape, f"{block}.expand")
            groups = c_in // per_group if c_in % per_group == 0 else 1
            se = row.se and replace(row.se, c_squeeze=_dims(shape, f"{block}.se.reduce.weight")[0])
            c_out, norm = _conv(shape, f"{block}.project")[0], _norm(shape, f"{block}.expand")
            return replace(row, kernel=kernel, c_hidden=hidden, c_out=c_out, groups=groups, se=se, norm=norm)
        case UIB():
            start = _dims(shape, f"{block}.start_dw.conv.weight")[2] if row.start else 0
            middle = _dims(shape, f"{block}.dw.conv.weight")[2] if row.middle else 0
            hidden, c_out = _conv(shape, f"{block}.expand")[0], _conv(shape, f"{block}.project")[0]
            norm = _norm(shape, f"{block}.expand")
            return replace(row, start=start, middle=middle, c_hidden=hidden, c_out=c_out, norm=norm)
        case MQA():
            key_dim = _dims(shape, f"{block}.attention.key.project.weight")[0]
            heads = max(1, _dims(shape, f"{block}.attention.query.weight")[0] // key_dim)
            reduce = f"{block}.attention.key.reduce"
            if row.kv_stride == 1:
                return replace(row, heads=heads, key_dim=key_dim)
            kernel = _dims(shape, f"{reduce}.conv.weight")[2]
            return replace(row, heads=heads, key_dim=key_dim, kernel=kernel, norm=_norm(shape, reduce))
        case Pool():
            return row


def _conv(shape: ShapeOf, module: str) -> tuple[int, int, int | tuple[int, int]]:
    """(c_out, c_in / groups, kernel) of a convolution of ours."""
    c_out, per_group, h, w = _dims(shape, f"{module}.conv.weight")
    return c_out, per_group, h if h == w else (h, w)


def _dims(shape: ShapeOf, name: str) -> tuple[int, int, int, int]:
    """The four axes of a weight; a linear layer's are a 1x1 convolution's."""
    found = shape(name)
    if found is None or len(found) not in (2, 4) or min(found) < 1:
        raise CheckpointMismatch(f"{name} needs a convolution's weight, not {found or 'nothing'}")
    c_out, c_in, h, w = (*found, 1, 1)[:4]
    return c_out, c_in, h, w


def _norm(shape: ShapeOf, module: str) -> NormKind:
    bias, batch = shape(f"{module}.conv.bias"), shape(f"{module}.norm.running_mean")
    if batch is None:
        return "none" if bias is None else "bias"
    return "batch" if bias is None else "batch_bias"
