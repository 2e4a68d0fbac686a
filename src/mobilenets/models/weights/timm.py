"""timm's state dicts: the names of its efficientnet-style networks, its configs, and a writer (timm 1.0.31)."""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...errors import BadData, UsageError
from ...records import Labels, Preprocess
from ...specs.catalogue import ALIASES, CATALOGUE, Dialect
from ...specs.checkpoints import published_weights
from ...specs.rows import MQA, UIB, Bottleneck, Conv, FusedBottleneck, Row, Separable
from ...specs.spec import Generation, Spec, is_pointwise
from .layout import Slot, slots
from .naming import renamed, their_name
from .source_config import floats, integers, labels_of, number, section, text
from .templates import Template, aliases, fitted, identified, same_but_widths, template

# How many blocks each stage of timm has, by generation and number of blocks.
_STAGES: dict[tuple[Generation, int], tuple[int, ...]] = {
    ("v1", 13): (1, 2, 2, 6, 2),
    ("v2", 17): (1, 2, 3, 4, 3, 3, 1),
    ("v2", 22): (1, 3, 4, 5, 4, 4, 1),
    ("v2", 26): (1, 3, 5, 6, 5, 5, 1),
    ("v3", 12): (1, 2, 3, 2, 3, 1),
    ("v3", 16): (1, 2, 3, 4, 2, 3, 1),
    ("v3", 23): (2, 3, 4, 5, 3, 4, 2),
    ("edgetpu", 20): (1, 2, 4, 4, 4, 4, 1),
    ("edgetpu", 22): (1, 4, 4, 4, 4, 4, 1),
    ("v4", 17): (2, 2, 6, 6, 1),
    ("v4", 23): (1, 2, 8, 11, 1),
    ("v4", 28): (1, 2, 11, 13, 1),
    ("v4", 32): (1, 2, 12, 16, 1),
    ("v4", 37): (1, 2, 15, 18, 1),
}
_DEFAULT_TAGS = {
    "mobilenetv3_large_100": "ra_in1k", "mobilenetv4_conv_small": "e2400_r224_in1k",
    "mobilenetv4_conv_medium": "e500_r256_in1k", "mobilenetv4_conv_large": "e600_r384_in1k",
    "mobilenetv4_hybrid_medium": "e200_r256_in12k_ft_in1k", "mobilenetv4_hybrid_large": "ix_e600_r384_in1k",
    "mobilenetv4_conv_aa_large": "e230_r448_in12k_ft_in1k",
}  # fmt: skip
"""What timm takes where no tag is asked for, of the architectures that have several."""
_SE = {"se.reduce": "se.conv_reduce", "se.expand": "se.conv_expand"}
_NOT_IN_TIMM = (
    "mobilenetv1_full",
    "mobilenetv1_shallow",
    "mobilenetv3_small_printed",
    "mobilenetv4_hybrid_medium_printed",
)


def dialects(network: str) -> tuple[Dialect, ...]:
    """In which details timm has the canonical `network`: its own first, then Google's (tf_)."""
    found = {alias.dialect for alias in ALIASES.values() if alias.network == network}
    own: tuple[Dialect, ...] = ("timm", "timm_tf")
    return tuple(dialect for dialect in own if dialect in found) or ("timm",)


def timm_templates() -> tuple[Template, ...]:
    """Every network that timm's names can spell, timm's own details before Google's."""
    plain = [template(network, dialects(network)[0]) for network in CATALOGUE]
    return (*plain, *(template(network, other) for network in CATALOGUE for other in dialects(network)[1:]))


def timm_modules(spec: Spec, known: Collection[str] | None = None) -> dict[str, str]:
    """timm's name of each module of ours.

    known: the modules of a file, whose own numbers of stages are taken; None takes those that timm builds.
    Raises: UsageError for a network that timm does not have.
    """
    rows = [(name, row, c_in) for name, row, c_in, _ in spec.blocks() if name != "stem"]
    # V3 and V4 count their last convolution as a block: a hidden layer is their conv_head.
    last = rows.pop() if spec.generation not in ("v3", "v4") and is_pointwise(rows[-1][1]) else None
    blocks = _blocks(spec, len(rows)) if known is None else _blocks_of(known)
    found = {"backbone.stem.conv.conv": "conv_stem", "backbone.stem.conv.norm": "bn1"}
    for (name, row, c_in), block in zip(rows, blocks, strict=False):
        for ours, theirs in _of_row(row, c_in).items():
            found[f"backbone.{name}.{ours}"] = f"{block}.{theirs}"
    if last is not None:
        found |= {f"backbone.{last[0]}.conv.conv": "conv_head", f"backbone.{last[0]}.conv.norm": "bn2"}
    norm = "norm_head" if spec.head.norm in ("batch", "batch_bias") else ""
    return found | {"hidden.0.conv": "conv_head", "hidden.0.norm": norm, "classifier": "classifier"}


def timm_names(spec: Spec) -> dict[str, str]:
    """timm's name of each array of `spec`, by ours. Raises: UsageError for a network that timm does not have."""
    modules = timm_modules(spec)
    return {slot.name: their_name(slot.name, modules) for slot in slots(spec)}


def timm_architecture(spec: Spec) -> str:
    """timm's name of the network that computes what `spec` does; "" for widths that timm has no name for.

    Raises: UsageError, saying what differs, where timm has no such network.
    """
    for of, spelled in _spellings(spec):
        found = identified(spelled, of)
        if found is not None and found.name in _names_in_timm(of):
            return found.name
    return ""


def write_timm(spec: Spec, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """The arrays of `spec` under timm's names and shapes, in its order, for a strict load.

    Raises: UsageError where timm has no network that computes the same (with its own widths or others).
    """
    of, _ = _spellings(spec)[0]
    return renamed(spec, arrays, timm_names(replace(spec, generation=of.spec.generation)), _their_shape)


def _spellings(spec: Spec) -> list[tuple[Template, Spec]]:
    """The networks of timm that compute what `spec` does, each with the widths of `spec`.

    Raises: UsageError where there is none.
    """
    if spec.stem.norm != "batch":
        raise UsageError(f"{spec.name}: timm's networks have batch norms; write the network before it is folded")
    shapes = {slot.name: slot.shape for slot in slots(spec)}
    found: list[tuple[Template, Spec]] = []
    for of in timm_templates():
        if of.network in _NOT_IN_TIMM or len(of.spec.rows) != len(spec.rows):
            continue
        with suppress(UsageError):
            spelled = fitted(of.spec, shapes.get)
            if same_but_widths(spelled if spec.classes else replace(spelled, head=spec.head), spec):
                found.append((of, spelled))
    if not found:
        details = f"padding {spec.padding}, norm eps {spec.norm.eps:g}, stem activation {spec.stem.act}"
        raise UsageError(f"{spec.name} ({details}): timm has no network that computes the same")
    return found


def _names_in_timm(of: Template) -> tuple[str, ...]:
    """timm's names at its widths; the catalogue's own where no alias stands for that width (V4's small at 1)."""
    known = aliases(of.network, of.dialect)
    entry = CATALOGUE[of.network]
    own = () if any(alias.alpha == entry.alpha for alias in known) else (of.network,)
    return (*(alias.name for alias in known), *own)


def timm_facts(
    name: str, config: Mapping[str, object], spec: Spec, where: str
) -> tuple[Preprocess, Labels | None, tuple[str, ...], bool]:
    """Preprocessing and labels of a timm checkpoint, what they were taken from, and whether that was a guess.

    name: architecture, with its tag where one is known. config: a hub repository's config.json, or {}.
    Raises: BadData for a config that holds something else where these are kept.
    """
    cfg = section(config, "pretrained_cfg", where) or config
    labels = labels_of(config.get("label_names", cfg.get("label_names")), config.get("label_descriptions"), where)
    if cfg.get("input_size") is not None:
        return _from_config(cfg, where), labels, ("preprocess: from pretrained_cfg in the config",), False
    architecture, _, tag = name.partition(".")
    tag = text(cfg, "tag", where) or tag
    published = {row.id.removeprefix("timm/"): row.preprocess for row in published_weights(source="timm")}
    if (record := published.get(f"{architecture}.{tag}")) is not None:
        return record, labels, (f"preprocess: timm's for {architecture}.{tag}",), False
    others = [known for known in published if known.partition(".")[0] == architecture]
    default = f"{architecture}.{_DEFAULT_TAGS.get(architecture, '')}"
    usual = default if default in others else next(iter(others), "")
    if (record := published.get(usual)) is not None:
        told = f"the tag {tag!r} is unknown" if tag else "no tag is known"
        return record, labels, (f"preprocess: timm's for {usual}, because {told}",), True
    return (
        Preprocess(spec.resolution_px),
        labels,
        ("preprocess: ImageNet's usual one; timm lists no such weight",),
        True,
    )


def _from_config(cfg: Mapping[str, object], where: str) -> Preprocess:
    size = integers(cfg, "input_size", where, count=3)
    mean, std = floats(cfg, "mean", where), floats(cfg, "std", where)
    crop, interpolation = number(cfg, "crop_pct", where), text(cfg, "interpolation", where) or "bicubic"
    squash = text(cfg, "crop_mode", where) == "squash"
    record = Preprocess(
        (size[1], size[2]),
        fit="stretch" if squash else "short_then_crop",
        crop_ratio=1.0 if squash else 0.875 if crop is None else crop,
    )
    record = replace(record, mean=mean or record.mean, std=std or record.std)
    match interpolation:
        case "bilinear" | "bicubic" | "nearest":
            return replace(record, interpolation=interpolation)
        case "random":
            return record
    raise BadData(f"{where}: config: interpolation {interpolation!r} is not one of bilinear, bicubic, nearest")


def _blocks(spec: Spec, count: int) -> list[str]:
    stages = _STAGES.get((spec.generation, count))
    if stages is None:
        raise UsageError(f"{spec.name}: timm has no network of this kind with {count} blocks")
    return [f"blocks.{stage}.{block}" for stage, blocks in enumerate(stages) for block in range(blocks)]


def _blocks_of(known: Collection[str]) -> list[str]:
    """blocks.S.B of a file, in the order of their numbers."""
    numbers = {
        tuple(map(int, m.groups())) for name in known if (m := re.match(r"blocks\.(\d{1,4})\.(\d{1,4})\.", name))
    }
    return [f"blocks.{stage}.{block}" for stage, block in sorted(numbers)]


def _of_row(row: Row, c_in: int) -> dict[str, str]:
    """timm's name of each module in the block that `row` is."""
    match row:
        case Conv():
            return {"conv.conv": "conv", "conv.norm": "bn1"}
        case Separable():
            return {"dw.conv": "conv_dw", "dw.norm": "bn1", "pw.conv": "conv_pw", "pw.norm": "bn2"}
        case Bottleneck() if row.c_hidden == c_in:
            names = {"dw.conv": "conv_dw", "dw.norm": "bn1", "project.conv": "conv_pw", "project.norm": "bn2"}
            return names | _SE
        case Bottleneck():
            return {
                "expand.conv": "conv_pw", "expand.norm": "bn1", "dw.conv": "conv_dw", "dw.norm": "bn2",
                "project.conv": "conv_pwl", "project.norm": "bn3",
            } | _SE  # fmt: skip
        case FusedBottleneck():
            names = {"expand.conv": "conv_exp", "expand.norm": "bn1", "project.conv": "conv_pwl", "project.norm": "bn2"}
            return names | _SE
        case UIB():
            parts = {"start_dw": "dw_start", "expand": "pw_exp", "dw": "dw_mid", "project": "pw_proj"}
            names = {f"{ours}.conv": f"{theirs}.conv" for ours, theirs in parts.items()}
            return names | {f"{ours}.norm": f"{theirs}.bn" for ours, theirs in parts.items()} | {"scale": "layer_scale"}
        case MQA():
            names = {"attention.norm": "norm", "attention.query": "attn.query.proj"}
            for part in ("key", "value"):
                names[f"attention.{part}.reduce.conv"] = f"attn.{part}.down_conv"
                names[f"attention.{part}.reduce.norm"] = f"attn.{part}.norm"
                names[f"attention.{part}.project"] = f"attn.{part}.proj"
            return names | {"attention.project": "attn.output.proj", "scale": "layer_scale"}
        case _:
            raise UsageError(f"timm has no block like {type(row).__name__}")


def _their_shape(slot: Slot) -> tuple[int, ...]:
    return slot.shape[:1] if slot.role == "scale" else slot.shape
