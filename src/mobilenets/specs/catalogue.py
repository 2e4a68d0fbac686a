"""Every network that has a name, and what each name means.

Paper-exact and checkpoint-exact differ in details that no shape shows. A name says which it is:

| dialect | names, e.g. | whose details | width rule | padding | norm eps, momentum | V1 has |
|---|---|---|---|---|---|---|
| paper | `mobilenetv2`, `mobilenetv3_large` | the paper's | slim's, see `WidthRule` | symmetric | 1e-5, 0.1 | ReLU |
| timm | `mobilenetv2_100`, `mobilenetv3_large_075` | timm's weights | timm's | symmetric | 1e-5, 0.1 | ReLU6 |
| timm_tf | `tf_mobilenetv3_large_100` | Google's, in timm | timm's | SAME | 1e-3, 0.1 | |
| torchvision | `mobilenet_v2` | torchvision's | slim's | symmetric | 1e-5, 0.1 | |
| torchvision | `mobilenet_v3_large` | torchvision's | torchvision's | symmetric | 1e-3, 0.01 | |
| torchvision | `mnasnet0_75` | torchvision's | slim's, 1280 kept | symmetric | 1e-5, 0.0003 | |
| keras | `MobileNet`, `MobileNetV2` | Keras's | slim's | SAME | 1e-3, 0.01 | ReLU6 |
| keras | `MobileNetV3Large` | Keras's | slim's | SAME | 1e-3, 0.001 | |
| slim | `mobilenet_v1_0.75_192` | slim's, 1001 classes | slim's | SAME | 1e-3, 0.0003 | ReLU6 |
| slim | `mobilenet_v2_1.4_224` | slim's, 1001 classes | slim's | SAME | 1e-3, 0.003 | |

The papers print no padding and no epsilon; the canonical names take PyTorch's. Networks that exist only in timm
(`mobilenetv1_100h`, `mobilenetv2_110d`, `mobilenetv3_rw`, ...) are canonical under timm's name, with its details.
"""

import math
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from .edgetpu import mobilenet_edgetpu, mobilenet_edgetpu_v2
from .mnasnet import mnasnet_b1
from .rows import Conv, Separable
from .spec import Generation, Norm, Spec
from .v1 import SLIM as SLIM_V1
from .v1 import mobilenet_v1
from .v2 import REPEATS_110D, REPEATS_120D, mobilenet_v2
from .v3 import mobilenet_v3, mobilenet_v3_deep, mobilenet_v3_rw
from .v4 import mobilenet_v4
from .width import PUBLISHED, WidthRule, at_alpha

Dialect = Literal["paper", "timm", "timm_tf", "torchvision", "keras", "slim"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One network of the catalogue.

    spec: its table, at alpha 1. alpha: the multiplier that the bare name stands for (1 but for timm's 110d, 120d and
    150d). rule: how its source applies another one. aliases: the other names that it is known by; those of other
    dialects differ in details (see the table above).
    """

    name: str
    summary: str
    spec: Spec
    rule: WidthRule = PUBLISHED
    alpha: float = 1.0
    aliases: tuple[str, ...] = ()

    @property
    def generation(self) -> Generation:
        return self.spec.generation

    @property
    def resolution_px(self) -> tuple[int, int]:
        return self.spec.resolution_px


@dataclass(frozen=True, slots=True)
class Alias:
    """What another name means: a network of the catalogue in the details of `dialect`."""

    name: str
    network: str
    dialect: Dialect
    alpha: float = 1.0
    resolution_px: tuple[int, int] | None = None
    classes: int = 1000


TIMM_V1 = WidthRule()
TIMM_V3 = WidthRule(last="kept", stem_kept_below=0.75)
TIMM_V4 = WidthRule(last="kept", stem_kept_below=1.0)
TIMM_FIXED = WidthRule(last="kept", stem_kept_below=math.inf)
TORCHVISION_V3 = WidthRule(expansion="listed", last="scaled", tail="ratio")

_NAMES: tuple[Alias, ...] = (
    Alias("mobilenet_v1", "mobilenetv1", "paper"),
    Alias("mobilenetv1_100", "mobilenetv1", "timm"),
    Alias("mobilenetv1_125", "mobilenetv1", "timm", 1.25),
    *(Alias(f"mobilenetv2_{a:03d}", "mobilenetv2", "timm", a / 100) for a in (35, 50, 75, 100, 140)),
    *(Alias(f"mobilenetv3_large_{a:03d}", "mobilenetv3_large", "timm", a / 100) for a in (75, 100)),
    *(Alias(f"mobilenetv3_small_{a:03d}", "mobilenetv3_small", "timm", a / 100) for a in (50, 75, 100)),
    *(
        Alias(f"tf_mobilenetv3_{size}_{a:03d}", f"mobilenetv3_{size}", "timm_tf", a / 100)
        for size in ("large", "small")
        for a in (75, 100)
    ),
    Alias("tf_mobilenetv3_large_minimal_100", "mobilenetv3_large_minimal", "timm_tf"),
    Alias("tf_mobilenetv3_small_minimal_100", "mobilenetv3_small_minimal", "timm_tf"),
    Alias("mobilenet_edgetpu_100", "mobilenetv3_edgetpu", "timm"),
    Alias("mobilenetv4_conv_small_035", "mobilenetv4_conv_small", "timm", 0.35),
    Alias("mobilenetv4_conv_small_050", "mobilenetv4_conv_small", "timm", 0.5),
    Alias("mobilenetv4_hybrid_medium_075", "mobilenetv4_hybrid_medium", "timm", 0.75),
    Alias("mobilenetv4_hybrid_large_075", "mobilenetv4_hybrid_large", "timm", 0.75, (256, 256)),
    Alias("mobilenet_v2", "mobilenetv2", "torchvision"),
    Alias("mobilenet_v3_large", "mobilenetv3_large", "torchvision"),
    Alias("mobilenet_v3_small", "mobilenetv3_small", "torchvision"),
    *(
        Alias(f"mnasnet{a.replace('.', '_')}", "mnasnet_b1", "torchvision", float(a))
        for a in ("0.5", "0.75", "1.0", "1.3")
    ),
    Alias("MobileNet", "mobilenetv1", "keras"),
    Alias("MobileNetV2", "mobilenetv2", "keras"),
    Alias("MobileNetV3Large", "mobilenetv3_large", "keras"),
    Alias("MobileNetV3Small", "mobilenetv3_small", "keras"),
    *(
        Alias(f"mobilenet_v1_{a}_{px}", "mobilenetv1", "slim", float(a), (px, px), 1001)
        for a in ("1.0", "0.75", "0.5", "0.25")
        for px in (224, 192, 160, 128)
    ),
    *(
        Alias(f"mobilenet_v2_{a}_{px}", "mobilenetv2", "slim", float(a), (px, px), 1001)
        for a in ("1.4", "1.3", "1.0", "0.75", "0.5", "0.35")
        for px in (224, 192, 160, 128, 96)
        if px == 224 or float(a) <= 1
    ),
    *(
        Alias(f"mobilenet_v4_{size}", f"mobilenetv4_{size}", "paper")
        for size in ("conv_small", "conv_medium", "conv_large", "hybrid_medium", "hybrid_large")
    ),
)
ALIASES: MappingProxyType[str, Alias] = MappingProxyType({alias.name: alias for alias in _NAMES})
"""Every other name of a network. Nobody writes into it."""


def _entry(spec: Spec, summary: str, *, rule: WidthRule = PUBLISHED, alpha: float = 1.0) -> Entry:
    aliases = tuple(alias.name for alias in _NAMES if alias.network == spec.name)
    return Entry(spec.name, summary, spec, rule, alpha, aliases)


def in_dialect(spec: Spec, dialect: Dialect) -> Spec:
    """`spec` with the details that `dialect`'s weights were trained with: padding, norm, V1's ReLU6, EdgeTPU's ReLU."""
    generation = spec.generation
    if generation == "v1" and dialect != "paper":
        spec = _with_relu6(spec)
    if generation == "edgetpu" and dialect == "timm":
        first = spec.rows[0]
        assert isinstance(first, Conv)
        spec = replace(spec, rows=(replace(first, act="relu"), *spec.rows[1:]))
    match dialect:
        case "paper" | "timm":
            return spec
        case "timm_tf":
            return replace(spec, padding="same", norm=Norm(1e-3, 0.1))
        case "torchvision":
            norms: dict[Generation, Norm] = {"v3": Norm(1e-3, 0.01), "mnasnet": Norm(1e-5, 0.0003)}
            return replace(spec, norm=norms.get(generation, spec.norm))
        case "keras":
            return replace(spec, padding="same", norm=Norm(1e-3, 0.001 if generation == "v3" else 0.01))
        case "slim":
            return replace(spec, padding="same", norm=Norm(1e-3, 0.0003 if generation == "v1" else 0.003))


def dialect_rule(entry: Entry, dialect: Dialect) -> WidthRule:
    """How `dialect` applies alpha to the network of `entry`."""
    generation = entry.generation
    if dialect in ("timm", "timm_tf"):
        rules: dict[Generation, WidthRule] = {"v1": TIMM_V1, "v3": TIMM_V3, "v4": TIMM_V4}
        return rules.get(generation, entry.rule)
    if dialect == "torchvision" and generation == "v3":
        return TORCHVISION_V3
    return entry.rule


def rule_of(name: str) -> WidthRule:
    """How alpha is applied to the network called `name`; the published rule for one that is not in the catalogue."""
    if name in ALIASES:
        return dialect_rule(CATALOGUE[ALIASES[name].network], ALIASES[name].dialect)
    return CATALOGUE[name].rule if name in CATALOGUE else PUBLISHED


def spec_of(name: str, alpha: float | None = None) -> Spec | None:
    """The network that `name` stands for, canonical or alias, at its own width or at `alpha`; None for no such name."""
    if name in CATALOGUE:
        entry = CATALOGUE[name]
        return at_alpha(entry.spec, entry.alpha if alpha is None else alpha, entry.rule)
    if name not in ALIASES:
        return None
    alias = ALIASES[name]
    entry = CATALOGUE[alias.network]
    width = alias.alpha if alpha is None else alpha
    spec = in_dialect(at_alpha(entry.spec, width, dialect_rule(entry, alias.dialect)), alias.dialect)
    size = alias.resolution_px or spec.resolution_px
    return replace(spec, name=name, resolution_px=size, classes=alias.classes)


def _with_relu6(spec: Spec) -> Spec:
    rows = tuple(replace(row, act="relu6") if isinstance(row, (Conv, Separable)) else row for row in spec.rows)
    return replace(spec, stem=replace(spec.stem, act="relu6"), rows=rows)


CATALOGUE: MappingProxyType[str, Entry] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            _entry(mobilenet_v1("mobilenetv1"), "depthwise separable convolutions", rule=SLIM_V1),
            _entry(
                mobilenet_v1("mobilenetv1_full", "full"), "V1's ablation with full convolutions (table 4)", rule=SLIM_V1
            ),
            _entry(
                mobilenet_v1("mobilenetv1_shallow", "shallow"),
                "V1's ablation without five blocks (table 5)",
                rule=SLIM_V1,
            ),
            _entry(
                in_dialect(mobilenet_v1("mobilenetv1_100h", "head"), "timm"), "timm: V1 with a 1x1 convolution of 1024"
            ),
            _entry(mobilenet_v2("mobilenetv2"), "inverted residuals with linear bottlenecks"),
            _entry(
                mobilenet_v2("mobilenetv2_110d", REPEATS_110D),
                "timm: V2 1.1 wide, 1.2 deep",
                rule=TIMM_FIXED,
                alpha=1.1,
            ),
            _entry(
                mobilenet_v2("mobilenetv2_120d", REPEATS_120D),
                "timm: V2 1.2 wide, 1.4 deep",
                rule=TIMM_FIXED,
                alpha=1.2,
            ),
            _entry(mobilenet_v3("mobilenetv3_large", "large"), "searched, squeeze-and-excite and h-swish"),
            _entry(mobilenet_v3("mobilenetv3_small", "small"), "V3 Small as released, 1024 after pooling"),
            _entry(
                mobilenet_v3("mobilenetv3_large_minimal", "large", minimalistic=True),
                "V3 Large with ReLU and 3x3 only, no gates",
            ),
            _entry(
                mobilenet_v3("mobilenetv3_small_minimal", "small", minimalistic=True),
                "V3 Small with ReLU and 3x3 only, no gates",
            ),
            _entry(
                mobilenet_v3("mobilenetv3_small_printed", "small", c_hidden=1280),
                "V3 Small as table 2 prints it, 1280 at the end",
            ),
            _entry(
                mobilenet_v3_deep("mobilenetv3_large_150d"),
                "timm: V3 Large 1.5 wide, 1.2 deep",
                rule=TIMM_V3,
                alpha=1.5,
            ),
            _entry(
                replace(mobilenet_v3_rw("mobilenetv3_rw"), norm=Norm(1e-3)),
                "timm: first V3 Large, other gates",
                rule=TIMM_V3,
            ),
            _entry(mobilenet_edgetpu("mobilenetv3_edgetpu"), "MobileNetEdgeTPU: fused bottlenecks, ReLU"),
            _entry(mobilenet_edgetpu_v2("mobilenet_edgetpu_v2_xs", "xs"), "EdgeTPU-v2 XS, grouped fused bottlenecks"),
            _entry(mobilenet_edgetpu_v2("mobilenet_edgetpu_v2_s", "s"), "EdgeTPU-v2 S, grouped fused bottlenecks"),
            _entry(mobilenet_edgetpu_v2("mobilenet_edgetpu_v2_m", "m"), "EdgeTPU-v2 M, grouped fused bottlenecks"),
            _entry(mobilenet_edgetpu_v2("mobilenet_edgetpu_v2_l", "l"), "EdgeTPU-v2 L, grouped fused bottlenecks"),
            _entry(mobilenet_v4("mobilenetv4_conv_small", "conv_small"), "universal inverted bottlenecks"),
            _entry(mobilenet_v4("mobilenetv4_conv_medium", "conv_medium"), "universal inverted bottlenecks"),
            _entry(mobilenet_v4("mobilenetv4_conv_large", "conv_large"), "universal inverted bottlenecks"),
            _entry(mobilenet_v4("mobilenetv4_hybrid_medium", "hybrid_medium"), "with mobile attention, as released"),
            _entry(
                mobilenet_v4("mobilenetv4_hybrid_medium_printed", "hybrid_medium_printed"),
                "with attention, as table 13 prints it",
            ),
            _entry(mobilenet_v4("mobilenetv4_hybrid_large", "hybrid_large"), "with mobile attention, GELU"),
            _entry(
                mobilenet_v4("mobilenetv4_conv_aa_medium", "conv_medium", downsample="avg"),
                "timm: Conv-M that shrinks by means",
            ),
            _entry(
                mobilenet_v4("mobilenetv4_conv_aa_large", "conv_large", downsample="avg"),
                "timm: Conv-L that shrinks by means",
            ),
            _entry(
                mobilenet_v4("mobilenetv4_conv_blur_medium", "conv_medium", downsample="blur"),
                "timm: Conv-M that shrinks by blur",
            ),
            _entry(mnasnet_b1("mnasnet_b1"), "MnasNet-B1, which V3 was searched from", rule=WidthRule(last="kept")),
        )
    }
)
"""Every network by its canonical name. Nobody writes into it."""
