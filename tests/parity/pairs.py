"""Every classifier of timm and torchvision that has published weights, beside the name that we give it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn

from mobilenets.specs import Spec, dilate, reduced_tail, resolve

# Every MobileNet of timm, whether or not weights of it were published; the names are ours as well.
TIMM = (
    "mobilenetv1_100", "mobilenetv1_100h", "mobilenetv1_125",
    "mobilenetv2_035", "mobilenetv2_050", "mobilenetv2_075", "mobilenetv2_100", "mobilenetv2_140",
    "mobilenetv2_110d", "mobilenetv2_120d",
    "mobilenetv3_large_075", "mobilenetv3_large_100", "mobilenetv3_large_150d", "mobilenetv3_rw",
    "mobilenetv3_small_050", "mobilenetv3_small_075", "mobilenetv3_small_100",
    "tf_mobilenetv3_large_075", "tf_mobilenetv3_large_100", "tf_mobilenetv3_large_minimal_100",
    "tf_mobilenetv3_small_075", "tf_mobilenetv3_small_100", "tf_mobilenetv3_small_minimal_100",
    "mobilenet_edgetpu_100",
    "mobilenet_edgetpu_v2_xs", "mobilenet_edgetpu_v2_s", "mobilenet_edgetpu_v2_m", "mobilenet_edgetpu_v2_l",
    "mobilenetv4_conv_small", "mobilenetv4_conv_small_035", "mobilenetv4_conv_small_050",
    "mobilenetv4_conv_medium", "mobilenetv4_conv_large",
    "mobilenetv4_conv_aa_medium", "mobilenetv4_conv_aa_large", "mobilenetv4_conv_blur_medium",
    "mobilenetv4_hybrid_medium", "mobilenetv4_hybrid_medium_075",
    "mobilenetv4_hybrid_large", "mobilenetv4_hybrid_large_075",
)  # fmt: skip
V2_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
V3_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.25, 1.4)


@dataclass(frozen=True)
class Pair:
    """Somebody else's constructor and our spec of the same network."""

    name: str
    theirs: Callable[[], nn.Module]
    spec: Spec


def timm_pairs() -> Iterator[Pair]:
    def construct(name: str) -> nn.Module:
        import timm

        model: nn.Module = timm.create_model(name)
        return model

    for name in TIMM:
        yield Pair(f"timm-{name}", lambda name=name: construct(name), resolve(name))  # type: ignore[misc]  # bound now


def torchvision_pairs() -> Iterator[Pair]:
    def construct(name: str, **options: object) -> nn.Module:
        import torchvision

        model: nn.Module = getattr(torchvision.models, name)(**options)
        return model

    networks = (("mobilenet_v2", V2_WIDTHS), ("mobilenet_v3_large", V3_WIDTHS), ("mobilenet_v3_small", V3_WIDTHS))
    for name, alphas in networks:
        for alpha in alphas:
            yield Pair(
                f"torchvision-{name}-{alpha:g}",
                lambda name=name, alpha=alpha: construct(name, width_mult=alpha),  # type: ignore[misc]  # bound now
                resolve(name, alpha=alpha),
            )
    for name in ("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"):
        yield Pair(f"torchvision-{name}", lambda name=name: construct(name), resolve(name))  # type: ignore[misc]  # bound now
    for name in ("mobilenet_v3_large", "mobilenet_v3_small"):
        yield Pair(
            f"torchvision-{name}-dilated",
            lambda name=name: construct(name, dilated=True),  # type: ignore[misc]  # bound now
            dilate(resolve(name), 16, when="at_once"),
        )
    yield from reduced_pairs(construct)


def reduced_pairs(construct: Callable[..., nn.Module]) -> Iterator[Pair]:
    """torchvision's reduced tail halves the hidden layer too."""
    from dataclasses import replace

    for name in ("mobilenet_v3_large", "mobilenet_v3_small"):
        spec = reduced_tail(resolve(name), "detection")
        spec = replace(spec, head=replace(spec.head, c_hidden=spec.head.c_hidden // 2))
        yield Pair(f"torchvision-{name}-reduced", lambda name=name: construct(name, reduced_tail=True), spec)  # type: ignore[misc]  # bound now
