"""From a bag of named tensors to a network: whose names they are, which network it is, and what had to be assumed."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...errors import BadData, CheckpointMismatch, SpecError, UnknownName, UsageError
from ...records import Labels, Preprocess
from ...specs.catalogue import ALIASES, CATALOGUE
from ...specs.lookup import resolve
from ...specs.spec import Head, Spec
from ...specs.transform import dilate
from .graph import Array
from .huggingface import huggingface_facts, huggingface_modules, huggingface_spec, huggingface_templates
from .layout import slots
from .naming import COUNTER, assign, squeezed, their_name
from .own_rows import Found, ShapeLookup, read_in_order
from .read import Read
from .templates import Template, fitted, identified, kernels_differing, named_specs, same_but_widths, template
from .timm import timm_facts, timm_modules, timm_templates
from .torchvision import torchvision_facts, torchvision_modules, torchvision_templates

PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "network.", "student.", "base_model.")
"""What wrappers (DataParallel, torch.compile, Lightning, a larger network) put in front of every name."""
OTHER_HEADS = (
    "fc", "head", "heads", "aux", "aux_classifier", "classifier_aux", "decoder", "decode_head", "neck", "projector",
    "segmentation_head", "bbox_head", "cls_head", "reg_head", "roi_heads", "rpn", "margin", "arcface", "metric_fc",
    "criterion", "loss", "optimizer", "teacher", "classifier", "logits",
)  # fmt: skip
"""First parts of names that are another head or no network at all: listed, not refused."""
TRAINING_HEADS = ("margin", "arcface", "metric_fc", "criterion", "loss")
"""Of these, the ones that no layer of a classifier is called."""
MOST_TENSORS = 20_000
MOST_DAMAGED_NAMES = 10
"""Two convolutions with their norms: beyond that a network is another one, not a damaged one."""


@dataclass(frozen=True, slots=True)
class Source:
    """Whose names a state dict has, and how these are spelled for a spec."""

    name: str
    modules: Callable[[Spec, Collection[str] | None], dict[str, str]]
    templates: Callable[[], tuple[Template, ...]]


def read_state_dict(
    arrays: Mapping[str, NDArray[np.generic]],
    *,
    where: str,
    name: str | None = None,
    config: Mapping[str, object] | None = None,
) -> Read:
    """The network that `arrays` are: timm's, torchvision's, Hugging Face's, our own, or a common repository's.

    where: the file, for messages (torchvision's file names tell the preprocessing). name: what the caller says it is;
    it must fit. config: a repository's config.json or a checkpoint's scalar facts; "architecture" or "arch" is tried,
    not believed.

    Raises: UnknownName for such a `name`; CheckpointMismatch, naming the first tensor that does not fit, with both
    shapes; BadData for tensors that are no network's or a config that holds nonsense.
    """
    config = {} if config is None else config
    if len(arrays) > MOST_TENSORS:
        raise BadData(f"{where}: {len(arrays)} tensors are more than the {MOST_TENSORS} of any MobileNet")
    asked = None if name is None else resolve(name)
    bag = {key: _floats(key, array, where) for key, array in arrays.items() if not key.endswith(COUNTER)}
    for known, view, prefix in _views(bag):
        source: Source | None = known
        try:
            found = _known(known, view, asked, _hint(config), where)
        except CheckpointMismatch as error:
            if asked is not None or not _is_rebuilt(known, view):
                raise
            try:
                source, found = None, read_in_order(view, where)
            except CheckpointMismatch:
                raise error from None
        rest = tuple(key for key in bag if not key.startswith(prefix))
        left_out = (*rest, *(prefix + key for key in _unused(view, found.used, where)))
        return _finished(source, found, left_out, where, name, config)
    stripped, prefix = _stripped(bag)
    layers = {key: array for key, array in stripped.items() if key.split(".")[0] not in TRAINING_HEADS}
    found = read_in_order(layers, where, None if asked is None else _template_of(asked))
    if asked is not None and asked.name in ALIASES and found.spec.name != asked.name:
        raise CheckpointMismatch(f"{where}: its layers are {found.spec.name}'s, not those of {asked.name}")
    left_out = tuple(prefix + key for key in _unused(stripped, found.used, where))
    return _finished(None, found, left_out, where, name, config)


# --- whose names ---------------------------------------------------------------------------------------------------


def _own_modules(spec: Spec, known: Collection[str] | None = None) -> dict[str, str]:
    return {slot.module: slot.module for slot in slots(spec)}


def _own_templates() -> tuple[Template, ...]:
    return tuple(template(network, "paper") for network in CATALOGUE)


OWN = Source("mobilenets", _own_modules, _own_templates)
TIMM = Source("timm", timm_modules, timm_templates)
TORCHVISION = Source("torchvision", torchvision_modules, torchvision_templates)
SEGMENTATION = Source("torchvision (segmentation)", torchvision_modules, torchvision_templates)
"""torchvision's DeepLab and LR-ASPP: backbone.N is features.N of a dilated V3."""
HUGGINGFACE = Source("huggingface", huggingface_modules, huggingface_templates)


def _source(keys: Collection[str]) -> Source | None:
    """Whose names these are, by the few that only that source has."""
    if "backbone.stem.conv.conv.weight" in keys:
        return OWN
    if "conv_stem.weight" in keys:
        return TIMM
    if "features.0.0.weight" in keys and (
        "features.1.conv.0.0.weight" in keys or "features.1.block.0.0.weight" in keys
    ):
        return TORCHVISION
    if "layers.0.weight" in keys and "layers.8.0.layers.0.weight" in keys:
        return TORCHVISION
    for prefix in ("", "mobilenet_v1.", "mobilenet_v2."):
        if not {f"{prefix}conv_stem.convolution.weight", f"{prefix}conv_stem.first_conv.convolution.weight"}.isdisjoint(
            keys
        ):
            return HUGGINGFACE
    return None


def _views(bag: Mapping[str, Array]) -> Iterator[tuple[Source, dict[str, Array], str]]:
    """The first known source among: the names as they are, without prefixes that all share, under one prefix."""
    stripped, prefix = _stripped(bag)
    if (source := _source(stripped)) is not None:
        yield source, stripped, prefix
        return
    for start in PREFIXES:
        part = {key.removeprefix(start): array for key, array in stripped.items() if key.startswith(start)}
        if "0.0.weight" in part and "1.block.0.0.weight" in part:
            yield SEGMENTATION, {f"features.{key}": array for key, array in part.items()}, prefix + start
            return
        if part and (source := _source(part)) is not None:
            yield source, part, prefix + start
            return


def _stripped(bag: Mapping[str, Array]) -> tuple[dict[str, Array], str]:
    """The names without the prefixes that all of them share, and these prefixes."""
    found, prefix = dict(bag), ""
    while _source(found) is None:
        shared = next((start for start in PREFIXES if found and all(key.startswith(start) for key in found)), None)
        if shared is None:
            break
        found = {key.removeprefix(shared): array for key, array in found.items()}
        prefix += shared
    return found, prefix


# --- which network -------------------------------------------------------------------------------------------------


def _known(source: Source, view: Mapping[str, Array], asked: Spec | None, hint: str, where: str) -> Found:
    """The network of `source` that `view` is: the one asked for, the one that a config names, or the best that fits."""
    if asked is not None and asked.name in ALIASES:
        return _exact(source, asked, view, where)
    hinted = _resolved(hint) if asked is None else None
    if hinted is not None and hinted.name in ALIASES:
        try:
            return _exact(source, hinted, view, where)
        except CheckpointMismatch:
            pass
    templates = [of for of in source.templates() if asked is None or of.network == asked.name]
    if not templates:
        raise CheckpointMismatch(f"{where}: its names are {source.name}'s, which has no {asked and asked.name}")
    wanted = hinted.name if hinted is not None else ""
    fits = [fit for of in templates if (fit := _fit(source, of, view, where)) is not None]
    if not fits:
        raise _nearest(source, templates, view, where)
    best = min(fits, key=lambda fit: (fit.is_own, fit.of.network != wanted, fit.kernels))
    return _with_doubts(best, [fit for fit in fits if fit is not best and fit.is_own == best.is_own], wanted)


@dataclass(frozen=True, slots=True)
class Fit:
    """A template that the tensors fit. is_own: no table of it has their widths. kernels: how many rows have others."""

    found: Found
    of: Template
    is_own: bool
    kernels: int


def _fit(source: Source, of: Template, view: Mapping[str, Array], where: str) -> Fit | None:
    """`of` with the widths of the tensors; None where it does not fit."""
    try:
        modules = source.modules(of.spec, view)
        spec = fitted(of.spec, ShapeLookup(modules, view))
        exact = identified(spec, of)
        named = exact or replace(spec, name=f"{of.network}_own", generation="own")
        found = _taken(named, modules, view, where)
        _unused(view, found.used, where)
    except (CheckpointMismatch, SpecError, UsageError):
        return None
    said = f"{named.name}, width {named.alpha:g}" if exact else f"blocks of {of.network}, widths read off the file"
    found = replace(found, evidence=(f"names are {source.name}'s, shapes those of {said}",))
    return Fit(found, of, is_own=exact is None, kernels=kernels_differing(spec, of))


def _exact(source: Source, spec: Spec, view: Mapping[str, Array], where: str) -> Found:
    """`spec` as it is named, with the classes and input channels of the tensors."""
    try:
        modules = source.modules(spec, view)
    except UsageError as error:
        raise CheckpointMismatch(f"{where}: its names are {source.name}'s: {error}") from error
    shape = ShapeLookup(modules, view)
    classifier, stem = shape("classifier.weight"), shape("backbone.stem.conv.conv.weight")
    if classifier is None:
        head = spec.head if shape("hidden.0.conv.weight") else Head()
        spec = replace(spec, classes=0, head=head)
    elif len(classifier) == 2 and classifier[0] > 0:
        spec = replace(spec, classes=classifier[0])
    if stem is not None and len(stem) == 4 and stem[1] > 0:
        spec = replace(spec, in_channels=stem[1])
    found = _taken(spec, modules, view, where)
    _unused(view, found.used, where)
    return replace(found, evidence=(f"names are {source.name}'s, the network is the one named, {spec.name}",))


def _taken(spec: Spec, modules: Mapping[str, str], view: Mapping[str, Array], where: str) -> Found:
    arrays = assign(spec, modules, view, where)
    used = frozenset(their_name(slot.name, modules) for slot in slots(spec))
    return Found(spec, arrays, used, (), ())


def _nearest(source: Source, templates: list[Template], view: Mapping[str, Array], where: str) -> CheckpointMismatch:
    """The error for tensors that fit nothing: what is wrong beside the named network that they come closest to."""
    best: tuple[int, str] | None = None
    for of in templates:
        for spec in named_specs(of.network, of.dialect):
            modules = source.modules(spec, view)
            wrong = []
            for slot in slots(spec):
                key, array = their_name(slot.name, modules), view.get(their_name(slot.name, modules))
                if slot.module == "classifier" and array is not None and array.shape[1:] == slot.shape[1:]:
                    continue
                if array is None:
                    wrong.append(f"no tensor {key!r}, which {spec.name} needs with shape {slot.shape}")
                elif squeezed(array.shape) != squeezed(slot.shape):
                    wrong.append(f"{key} has shape {array.shape}, {spec.name} needs {slot.shape}")
            used = {their_name(slot.name, modules) for slot in slots(spec)}
            wrong += [f"{key} {view[key].shape} has no place in {spec.name}" for key in view if key not in used]
            if wrong and (best is None or len(wrong) < best[0]):
                best = len(wrong), wrong[0]
    assert best is not None
    return CheckpointMismatch(f"{where}: {best[1]} ({best[0]} of its tensors differ from that network, the nearest)")


def _is_rebuilt(source: Source, view: Mapping[str, Array]) -> bool:
    """Whether more names differ from every known network's than damage explains: blocks were added or taken out."""

    def differing(of: Template) -> int:
        modules = source.modules(of.spec, view)
        return len({their_name(slot.name, modules) for slot in slots(of.spec)} ^ view.keys())

    return min(differing(of) for of in source.templates()) > MOST_DAMAGED_NAMES


def _unused(view: Mapping[str, Array], used: Collection[str], where: str) -> tuple[str, ...]:
    """Names of other heads. Raises: CheckpointMismatch for any other tensor that no layer takes."""
    rest = tuple(key for key in view if key not in used)
    for key in rest:
        if key.split(".")[0] not in OTHER_HEADS:
            raise CheckpointMismatch(f"{where}: {key} {view[key].shape} belongs to no layer ({len(rest)} such tensors)")
    return rest


def _with_doubts(best: Fit, others: list[Fit], wanted: str) -> Found:
    """What was found, with what other networks of the same shapes would have otherwise."""
    evidence, assumed = list(best.found.evidence), list(best.found.assumed)
    google = [fit.found.spec.name for fit in others if fit.of.network == best.of.network]
    if google := [name for name in google if name in ALIASES]:
        evidence.append(
            f"padding and eps: {best.found.spec.name}'s; {google[0]} has the same shapes and others of these"
        )
        assumed += ["padding", "eps"]
    alike = [fit.of.network for fit in others if not same_but_widths(fit.found.spec, best.found.spec)]
    alike = [network for network in alike if network != best.of.network]
    if alike and best.of.network != wanted and not best.is_own:
        evidence.append(f"{best.of.network} and {', '.join(alike)} have the same shapes; the first was taken")
        assumed.append("downsample")
    return replace(best.found, evidence=tuple(evidence), assumed=tuple(assumed))


def _template_of(spec: Spec) -> Template:
    """A named spec as the only network that a file may be."""
    alias = ALIASES.get(spec.name)
    return Template(spec.name, "paper", spec) if alias is None else Template(alias.network, alias.dialect, spec)


def _hint(config: Mapping[str, object]) -> str:
    hint = config.get("architecture", config.get("arch"))
    return hint if isinstance(hint, str) and hint.isprintable() and len(hint) < 200 else ""


def _resolved(hint: str) -> Spec | None:
    try:
        return resolve(hint) if hint and not hint.endswith(".json") else None
    except UnknownName:
        return None


# --- what is handed over -------------------------------------------------------------------------------------------


def _finished(
    source: Source | None,
    found: Found,
    left_out: tuple[str, ...],
    where: str,
    name: str | None,
    config: Mapping[str, object],
) -> Read:
    spec, evidence, assumed = found.spec, found.evidence, found.assumed
    hint = _hint(config)
    hinted = _resolved(hint)
    if hint and (hinted is None or (hinted.name, hinted.alpha) != (spec.name, spec.alpha)) and name is None:
        evidence += (f"the file calls itself {hint!r}; its tensors say {spec.name}",)
    labels: Labels | None = None
    if source is TIMM:
        asked = name or (hint if hinted is not None else "") or spec.name
        preprocess, labels, said, guessed = timm_facts(_tagged(asked, spec), config, spec, where)
    elif source is SEGMENTATION:
        spec = dilate(spec, 16, when="at_once")
        preprocess, said, guessed = Preprocess((520, 520)), ("torchvision's segmentation: dilated, resize 520",), True
    elif source is TORCHVISION:
        preprocess, said, guessed = torchvision_facts(where, spec)
    elif source is HUGGINGFACE:
        spec = huggingface_spec(spec, config, where)
        preprocess, labels, said, guessed = huggingface_facts(config, spec, where)
    else:
        face = spec.name == "mobilefacenet"
        preprocess = Preprocess(spec.resolution_px, fit="stretch" if face else "short_then_crop")
        said, guessed = ("preprocess: ImageNet's usual mean and std; the file does not say",), True
    if labels is not None and len(labels) != spec.classes:
        said += (f"{len(labels)} labels for {spec.classes} classes were left aside",)
        labels = None
    if guessed:
        assumed += ("preprocess",)
    spec = replace(spec, resolution_px=preprocess.size_px) if source is TIMM else spec
    metadata = {key: value for key, value in config.items() if isinstance(value, str) and len(value) < 1000}
    metadata["source"] = "repository" if source is None else source.name
    return Read(
        spec, found.arrays, preprocess, labels, (*evidence, *said), left_out, assumed=assumed, metadata=metadata
    )


def _tagged(name: str, spec: Spec) -> str:
    """The name of timm's weight: `name` where it goes with `spec`, else the spec's."""
    bare = name.removeprefix("timm/")
    return bare if bare.partition(".")[0] == spec.name else spec.name


def _floats(key: str, array: NDArray[np.generic], where: str) -> Array:
    if array.dtype.kind != "f":
        raise BadData(f"{where}: {key} holds {array.dtype}, not floating-point numbers")
    return array.astype(np.float32, copy=False)
