"""Networks as frozen values: tables of rows that a reader can check against the paper, free of any framework."""

from typing import TYPE_CHECKING

from .._lazy import lazy

if TYPE_CHECKING:
    from .activation import Activation, ClippedRelu, HardSigmoid, HardSwish, LeakyRelu, PRelu
    from .catalogue import ALIASES, CATALOGUE, Alias, Dialect, Entry
    from .checkpoints import Checkpoint, Quoted, find_weights, published_weights
    from .lookup import Network, closest, find, resolve
    from .published import PUBLISHED_ACCURACY, PublishedAccuracy, published_top1
    from .rows import MQA, SE, UIB, Bottleneck, Conv, Depthwise, FusedBottleneck, Pool, Row, Separable
    from .spec import Generation, Head, Norm, Spec, Tap, spec_from_json, spec_to_json
    from .steps import AttentionStep, ConvStep, PoolStep, ScaleStep, SqueezeStep, Step, map_size
    from .transform import (
        dilate,
        folded,
        reduced_tail,
        with_activation,
        with_classes,
        with_drop_path,
        with_dropout,
        with_in_channels,
        with_name,
        with_resolution,
        with_stem_stride,
    )
    from .width import WidthRule, at_alpha, make_divisible

_WHERE = {
    ".activation": ("Activation", "ClippedRelu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu"),
    ".catalogue": ("ALIASES", "Alias", "CATALOGUE", "Dialect", "Entry"),
    ".checkpoints": ("Checkpoint", "Quoted", "find_weights", "published_weights"),
    ".lookup": ("Network", "closest", "find", "resolve"),
    ".published": ("PUBLISHED_ACCURACY", "PublishedAccuracy", "published_top1"),
    ".rows": ("Bottleneck", "Conv", "Depthwise", "FusedBottleneck", "MQA", "Pool", "Row", "SE", "Separable", "UIB"),
    ".spec": ("Generation", "Head", "Norm", "Spec", "Tap", "spec_from_json", "spec_to_json"),
    ".steps": ("AttentionStep", "ConvStep", "PoolStep", "ScaleStep", "SqueezeStep", "Step", "map_size"),
    ".transform": (
        "dilate", "folded", "reduced_tail", "with_activation", "with_classes", "with_drop_path", "with_dropout",
        "with_in_channels", "with_name", "with_resolution", "with_stem_stride",
    ),
    ".width": ("WidthRule", "at_alpha", "make_divisible"),
}  # fmt: skip

__all__ = [
    "ALIASES",
    "CATALOGUE",
    "MQA",
    "PUBLISHED_ACCURACY",
    "SE",
    "UIB",
    "Activation",
    "Alias",
    "AttentionStep",
    "Bottleneck",
    "Checkpoint",
    "ClippedRelu",
    "Conv",
    "ConvStep",
    "Depthwise",
    "Dialect",
    "Entry",
    "FusedBottleneck",
    "Generation",
    "HardSigmoid",
    "HardSwish",
    "Head",
    "LeakyRelu",
    "Network",
    "Norm",
    "PRelu",
    "Pool",
    "PoolStep",
    "PublishedAccuracy",
    "Quoted",
    "Row",
    "ScaleStep",
    "Separable",
    "Spec",
    "SqueezeStep",
    "Step",
    "Tap",
    "WidthRule",
    "at_alpha",
    "closest",
    "dilate",
    "find",
    "find_weights",
    "folded",
    "make_divisible",
    "map_size",
    "published_top1",
    "published_weights",
    "reduced_tail",
    "resolve",
    "spec_from_json",
    "spec_to_json",
    "with_activation",
    "with_classes",
    "with_drop_path",
    "with_dropout",
    "with_in_channels",
    "with_name",
    "with_resolution",
    "with_stem_stride",
]  # fmt: skip

__getattr__, __dir__ = lazy(__name__, {name: module for module, names in _WHERE.items() for name in names})
