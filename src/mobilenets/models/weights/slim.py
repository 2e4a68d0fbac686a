"""Variables of TF-slim (tensorflow/models, research/slim and what is built on it) to V1, V2, V3 and MobileNetEdgeTPU.

Their names are the scopes of slim/nets/mobilenet_v1.py and slim/nets/mobilenet/{mobilenet_v2,mobilenet_v3}.py. The
checkpoints hold no input size, no padding and no preprocessing; those are slim's, and said to be assumed.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from ...errors import CheckpointMismatch
from ...records import Preprocess
from ...specs.activation import HardSigmoid
from ...specs.rows import Bottleneck
from ...specs.spec import Spec
from .graph import Array
from .layout import Role, slots
from .read import Read
from .variables import find_network, table, unit_of

AVERAGE = "/ExponentialMovingAverage"
V1_MARK = "Conv2d_0/weights"
LATER_MARK = "expanded_conv/project/weights"
"""Variables that only a whole V1, or a whole V2, V3 or EdgeTPU has; what stands before them is the scope."""
BLOCKS = re.compile(
    r"(expanded_conv(_\d+)?/.*|Conv2d_\d+(_depthwise|_pointwise)?)/"
    r"(weights|depthwise_weights|biases|BatchNorm/(gamma|beta|moving_mean|moving_variance))"
)
GATE = HardSigmoid(0.16667, 0.50001, 1.00002)
"""slim writes V3's gate as relu6(x + 3) * 0.16667."""
PREPROCESS = Preprocess((224, 224), "central_then_stretch", 0.875, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""slim/preprocessing/inception_preprocessing.py, in evaluation."""
LEAVES: dict[Role, str] = {
    "bias": "biases",
    "gamma": "BatchNorm/gamma",
    "beta": "BatchNorm/beta",
    "mean": "BatchNorm/moving_mean",
    "variance": "BatchNorm/moving_variance",
}


def read_slim(arrays: Mapping[str, Array], *, where: str) -> Read:
    """The network whose slim variables `arrays` holds, at any width, alone or inside a larger one.

    Exponential moving averages are taken where there are any: they are what slim evaluates.

    Raises: CheckpointMismatch, which names the first variable that is missing, too many, or of another shape.
    """
    averaged = {name.removesuffix(AVERAGE): array for name, array in arrays.items() if name.endswith(AVERAGE)}
    variables = {name: array for name, array in arrays.items() if not name.endswith(AVERAGE)} | averaged
    scope = _scope(variables, where)
    inside = {name.removeprefix(scope): array for name, array in variables.items() if name.startswith(scope)}
    tables = (table("mobilenetv1", "slim"),) if V1_MARK in inside else _later()
    found = find_network(inside, tables, slim_names, BLOCKS, where)
    spec = replace(found.spec, resolution_px=PREPROCESS.size_px)
    used = {scope + name for name in found.used}
    evidence = [f"slim's variables under {scope!r}" if scope else "slim's variables", *found.evidence]
    if taken := len(used & averaged.keys()):
        evidence.append(f"{taken} variables are their exponential moving averages, which slim evaluates")
    if spec.classes and spec.classes % 1000 == 1:
        evidence.append(f"{spec.classes} classes: index 0 is the background")
    evidence.append("input 224x224, SAME padding, batch-norm eps 1e-3 and x / 127.5 - 1 are slim's: not in the file")
    left_out = tuple(name for name in variables if name not in used)
    return Read(spec, found.arrays, PREPROCESS, None, tuple(evidence), left_out, assumed=("resolution", "preprocess"))


def slim_names(spec: Spec) -> dict[str, str]:
    """slim's name of each array of `spec`, inside its scope, by ours."""
    found: dict[str, str] = {}
    for slot in slots(spec):
        unit = unit_of(slot)
        leaf = "depthwise_weights" if unit.endswith(".dw") else "weights"
        found[slot.name] = f"{_layer(unit, spec)}/{LEAVES.get(slot.role, leaf)}"
    return found


def _layer(unit: str, spec: Spec) -> str:
    """slim's scope for a step of ours."""
    first = spec.generation == "v1"
    match unit.split("."):
        case ["stem", _]:
            return "Conv2d_0" if first else "Conv"
        case ["hidden", _]:
            return "Conv_2"
        case ["classifier"]:
            return "Logits/Conv2d_1c_1x1"
        case ["blocks", index, "dw" | "pw" as step] if first:
            return f"Conv2d_{int(index) + 1}_{'depthwise' if step == 'dw' else 'pointwise'}"
        case ["blocks", index, "conv"] if int(index) > 0:
            return "Conv_1"
        case ["blocks", index, *step]:
            block = "expanded_conv" if index == "0" else f"expanded_conv_{index}"
            return f"{block}/{STEPS['.'.join(step)]}"
        case _:
            return unit


STEPS = {
    "conv": "project",  # EdgeTPU's first block is a projection alone
    "expand": "expand",
    "dw": "depthwise",
    "project": "project",
    "se.reduce": "squeeze_excite/Conv",
    "se.expand": "squeeze_excite/Conv_1",
}


def _later() -> tuple[Spec, ...]:
    """V2, V3 and EdgeTPU as slim has them."""
    names = ("mobilenetv2", "mobilenetv3_large", "mobilenetv3_small", "mobilenetv3_large_minimal",
             "mobilenetv3_small_minimal", "mobilenetv3_edgetpu")  # fmt: skip
    return tuple(_gated(table(name, "slim")) for name in names)


def _gated(spec: Spec) -> Spec:
    rows = tuple(
        replace(row, se=replace(row.se, gate=GATE)) if isinstance(row, Bottleneck) and row.se else row
        for row in spec.rows
    )
    return replace(spec, rows=rows)


def _scope(variables: Mapping[str, Array], where: str) -> str:
    """What stands before the network's variables: "MobilenetV2/", "FeatureExtractor/MobilenetV2/", or nothing."""
    found = {
        name.removesuffix(mark)
        for mark in (V1_MARK, LATER_MARK)
        for name in variables
        if name == mark or name.endswith(f"/{mark}")
    }
    if len(found) != 1:
        what = f"{len(found)} networks ({', '.join(sorted(found)[:3])})" if found else "no MobileNet of slim's"
        raise CheckpointMismatch(f"{where}: {what} in it: one {V1_MARK} or {LATER_MARK} is looked for")
    return found.pop()
