"""Weights-only Keras files of keras.applications' MobileNet, MobileNetV2 and MobileNetV3, by their layers' names.

Keras 2 spells V3's layers with slashes ("expanded_conv_1/expand/BatchNorm"), Keras 3 with underscores and in lower
case ("expanded_conv_1_expand_bn"); both are read as the latter. Such a file holds no graph, input size, padding or
preprocessing: those are keras.applications', and said to be assumed.
"""

import re
from collections.abc import Mapping

from ...errors import CheckpointMismatch
from ...records import Preprocess
from ...specs.spec import Spec
from .graph import Array
from .layout import Role, slots
from .read import Read
from .variables import find_network, table, unit_of

PREPROCESS = Preprocess((224, 224), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
LEAVES: dict[Role, str] = {
    "weight": "kernel",
    "bias": "bias",
    "gamma": "gamma",
    "beta": "beta",
    "mean": "moving_mean",
    "variance": "moving_variance",
}
BLOCKS = re.compile(r"(block_\d+|expanded_conv(_\d+)?|conv_dw_\d+|conv_pw_\d+)(_.*)?/.*")
NORM_ROLES = ("gamma", "beta", "mean", "variance")


def read_keras_weights(arrays: Mapping[str, Array], *, where: str) -> Read:
    """The network whose "<layer>/<name>" arrays these are (`keras.read_weights`), with or without its classifier.

    Raises: CheckpointMismatch, which names the first array that is missing, too many, or of another shape.
    """
    own: dict[str, str] = {}
    is_v2 = any("bn_Conv1" in name for name in arrays)
    for name in arrays:
        plain = _plain(name)
        if is_v2 and plain.startswith("logits/"):
            plain = f"predictions/{plain.removeprefix('logits/')}"  # in files of before 2019
        if plain in own:
            raise CheckpointMismatch(f"{where}: {own[plain]!r} and {name!r} are the same layer's")
        own[plain] = name
    variables = {plain: arrays[name] for plain, name in own.items()}
    tables = _tables(variables, where)
    found = find_network(variables, tables, keras_names, BLOCKS, where)
    left_out = tuple(name for plain, name in own.items() if plain not in found.used)
    evidence = (
        "keras.applications' layer names",
        *found.evidence,
        "input 224x224, padding, batch-norm eps 1e-3 and x / 127.5 - 1 are keras.applications': not in the file",
    )
    assumed = ("resolution", "preprocess")
    return Read(found.spec, found.arrays, PREPROCESS, None, evidence, left_out, assumed=assumed)


def keras_names(spec: Spec) -> dict[str, str]:
    """Keras 3's name of each array of `spec`, in lower case, by ours."""
    found: dict[str, str] = {}
    for slot in slots(spec):
        layer = _layer(unit_of(slot), spec)
        if slot.role in NORM_ROLES:
            layer = "bn_conv1" if spec.generation == "v2" and layer == "conv1" else f"{layer}_bn"
        found[slot.name] = f"{layer}/{LEAVES[slot.role]}"
    return found


def _layer(unit: str, spec: Spec) -> str:
    """The layer for a step of ours."""
    generation = spec.generation
    match unit.split("."):
        case ["stem", _]:
            return "conv" if generation == "v3" else "conv1"
        case ["hidden", _]:
            return "conv_2"
        case ["classifier"]:
            return {"v1": "conv_preds", "v2": "predictions"}.get(generation, "logits")
        case ["blocks", index, "dw" | "pw" as step] if generation == "v1":
            return f"conv_{step}_{int(index) + 1}"
        case ["blocks", _, "conv"]:
            return "conv_1"
        case ["blocks", index, *step]:
            later = f"block_{index}" if generation == "v2" else f"expanded_conv_{index}"
            return f"{'expanded_conv' if index == '0' else later}_{STEPS['.'.join(step)]}"
        case _:
            return unit


STEPS = {
    "expand": "expand",
    "dw": "depthwise",
    "project": "project",
    "se.reduce": "squeeze_excite_conv",
    "se.expand": "squeeze_excite_conv_1",
}


def _tables(variables: Mapping[str, Array], where: str) -> tuple[Spec, ...]:
    """The networks whose way of naming the file shows."""
    if "conv_dw_1/kernel" in variables:
        return (table("mobilenetv1", "keras"),)
    if "bn_conv1/gamma" in variables or "block_1_expand/kernel" in variables:
        return (table("mobilenetv2", "keras"),)
    if "conv/kernel" in variables:
        names = ("mobilenetv3_large", "mobilenetv3_small", "mobilenetv3_large_minimal", "mobilenetv3_small_minimal")
        return tuple(table(name, "keras") for name in names)
    raise CheckpointMismatch(f"{where}: its layers are not named as keras.applications' MobileNets are")


def _plain(name: str) -> str:
    """A name as Keras 3 spells it, in lower case: only the last slash is kept."""
    layer, _, leaf = name.rpartition("/")
    leaf = "kernel" if leaf == "depthwise_kernel" else leaf
    return f"{layer.replace('/BatchNorm', '_bn').replace('/', '_').lower()}/{leaf}"
