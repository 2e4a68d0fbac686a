"""Hugging Face's MobileNetV1 and MobileNetV2 (transformers 5.24): names, config.json and preprocessor_config.json.

They carry slim's checkpoints: TensorFlow padding, eps 1e-3, ReLU6, 1001 classes with the background first.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from ...errors import BadData, UsageError
from ...records import Labels, Preprocess
from ...specs.activation import PLAIN, Activation
from ...specs.catalogue import ALIASES, CATALOGUE
from ...specs.rows import Bottleneck, Conv, Separable
from ...specs.spec import Norm, Spec
from ...specs.transform import dilate
from .layout import slots
from .naming import their_name
from .source_config import floats, labels_of, number, section, text
from .templates import Template, template

_ACTIVATIONS: dict[str, Activation] = {"silu": "swish", "hardswish": "hard_swish"}


def huggingface_templates() -> tuple[Template, ...]:
    """Every network that these names can spell."""
    kinds = ("v1", "v2")
    return tuple(template(name, "slim") for name, entry in CATALOGUE.items() if entry.generation in kinds)


def huggingface_modules(spec: Spec, known: Collection[str] | None = None) -> dict[str, str]:
    """Their name of each module of ours. known: a file's modules, which may lack the prefix (the bare model's).

    Raises: UsageError for a network that is no V1 or V2.
    """
    if spec.generation not in ("v1", "v2"):
        raise UsageError(f"{spec.name}: Hugging Face has MobileNetV1 and V2, not this")
    prefix = f"mobilenet_{spec.generation}."
    if known is not None and not any(name.startswith(prefix) for name in known):
        prefix = ""
    layers: dict[str, str] = {"backbone.stem.conv": "conv_stem" if spec.generation == "v1" else "conv_stem.first_conv"}
    for i, row in enumerate(spec.rows):
        ours = f"backbone.blocks.{i}"
        match row:
            case Separable():
                layers |= {f"{ours}.dw": f"layer.{2 * i}", f"{ours}.pw": f"layer.{2 * i + 1}"}
            case Bottleneck():
                block = "conv_stem" if i == 0 else f"layer.{i - 1}"
                parts = {"expand": "expand_1x1", "dw": "conv_3x3", "project": "reduce_1x1"}
                layers |= {f"{ours}.{part}": f"{block}.{theirs}" for part, theirs in parts.items()}
            case Conv():
                layers[f"{ours}.conv"] = "conv_1x1"
            case _:
                raise UsageError(f"{spec.name}: Hugging Face has no block like {type(row).__name__}")
    found = {f"{ours}.conv": f"{prefix}{theirs}.convolution" for ours, theirs in layers.items()}
    found |= {f"{ours}.norm": f"{prefix}{theirs}.normalization" for ours, theirs in layers.items()}
    return found | {"classifier": "classifier"}


def huggingface_names(spec: Spec) -> dict[str, str]:
    """Their name of each array of `spec`. Raises: UsageError for a network that is no V1 or V2."""
    modules = huggingface_modules(spec)
    return {slot.name: their_name(slot.name, modules) for slot in slots(spec)}


def huggingface_spec(spec: Spec, config: Mapping[str, object], where: str) -> Spec:
    """`spec` with what config.json says otherwise: padding, eps, activation, image size, output stride.

    Raises: BadData for a config that holds something else there.
    """
    if config.get("tf_padding") is False:
        spec = replace(spec, padding="symmetric")
    if (eps := number(config, "layer_norm_eps", where)) is not None:
        spec = replace(spec, norm=Norm(eps, spec.norm.momentum))
    if act := text(config, "hidden_act", where):
        spec = _with_act(spec, act, where)
    if (side := number(config, "image_size", where)) is not None and side >= 1:
        sized = f"{spec.name.rpartition('_')[0]}_{int(side)}"
        name = sized if sized in ALIASES else spec.name
        spec = replace(spec, name=name, resolution_px=(int(side), int(side)))
    stride = number(config, "output_stride", where)
    return dilate(spec, int(stride)) if stride in (8.0, 16.0) else spec


def huggingface_facts(
    config: Mapping[str, object], spec: Spec, where: str
) -> tuple[Preprocess, Labels | None, tuple[str, ...], bool]:
    """Preprocessing and labels, what they were taken from, and whether that was a guess.

    config: config.json, with the entries of preprocessor_config.json beside its own.
    Raises: BadData for entries of another type.
    """
    labels = labels_of(config.get("id2label"), None, where)
    record = Preprocess(spec.resolution_px, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    if config.get("image_mean") is None and config.get("crop_size") is None:
        return record, labels, ("preprocess: Hugging Face's default, mean and std 0.5",), True
    size, crop = _side(config, "size", where), _side(config, "crop_size", where) or spec.resolution_px[0]
    ratio = crop / size if size and size >= crop else 0.875
    resample = number(config, "resample", where)
    record = Preprocess(
        (crop, crop),
        crop_ratio=ratio,
        mean=floats(config, "image_mean", where) or record.mean,
        std=floats(config, "image_std", where) or record.std,
        interpolation="nearest" if resample == 0 else "bicubic" if resample == 3 else "bilinear",
    )
    return record, labels, ("preprocess: from preprocessor_config.json",), False


def _side(config: Mapping[str, object], key: str, where: str) -> int:
    """A side in px under `key`: a number, or an object that holds height or shortest_edge; 0 where there is none."""
    if not isinstance(config.get(key), Mapping):
        return int(number(config, key, where) or 0)
    sizes = section(config, key, where)
    return int(number(sizes, "height", where) or number(sizes, "shortest_edge", where) or 0)


def _with_act(spec: Spec, word: str, where: str) -> Spec:
    act = _ACTIVATIONS.get(word) or next((plain for plain in PLAIN if plain == word), None)
    if act is None:
        raise BadData(f"{where}: config: hidden_act {word!r} is no activation known here")
    rows = tuple(replace(row, act=act) if isinstance(row, (Conv, Separable, Bottleneck)) else row for row in spec.rows)
    return replace(spec, stem=replace(spec.stem, act=act), rows=rows)
