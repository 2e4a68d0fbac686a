"""A network's cost by stages: what a picture of it shows. A stage is a run of blocks that hand on maps of one size."""

from collections.abc import Iterator
from itertools import groupby

from ..records import LayerMemory, NetworkSummary, StageSummary
from ..specs.rows import MQA, UIB, Bottleneck, Conv, Depthwise, FusedBottleneck, Pool, Row, Separable
from ..specs.spec import Spec
from .costs import Cost, LayerCost, cost

KINDS: dict[type, str] = {
    Conv: "convolution",
    Depthwise: "depthwise",
    Separable: "separable",
    Bottleneck: "bottleneck",
    FusedBottleneck: "fused bottleneck",
    UIB: "UIB",
    MQA: "attention",
    Pool: "pooling",
}
"""A row in the fewest words."""


def network_summary(spec: Spec, *, resolution_px: tuple[int, int] | None = None) -> NetworkSummary:
    """The cost of `spec` for one image with its stages and the memory of each layer; params and macs add up.

    Raises: SpecError for an image that is too small for the network.
    """
    whole = cost(spec, resolution_px=resolution_px)
    return NetworkSummary(
        name=spec.name,
        alpha=spec.alpha,
        resolution_px=whole.resolution_px,
        classes=spec.classes,
        in_channels=spec.in_channels,
        params=whole.params,
        macs=whole.macs,
        flash_mb=whole.flash_mb,
        peak_activation_mb=whole.peak_activation_mb,
        peak_layer=whole.peak_layer,
        training_mb_per_image=whole.training_mb_per_image,
        stages=tuple(_stages(spec, whole)),
        memory=_memory(whole),
    )


def _stages(spec: Spec, whole: Cost) -> Iterator[StageSummary]:
    """Stem, the blocks by the size of their map (plain convolutions after them apart), and what follows pooling."""
    layers: dict[str, list[LayerCost]] = {}
    for layer in whole.layers:
        layers.setdefault(_block(layer.name), []).append(layer)
    blocks = [(name, row) for name, row, _, _ in spec.blocks()]

    def place(block: tuple[str, Row]) -> tuple[bool, bool, tuple[int, int]]:
        name, row = block
        return name == "stem", isinstance(row, Conv), layers[name][-1].size_px

    for i, (_, run) in enumerate(groupby(blocks, key=place)):
        members = list(run)
        yield _stage(
            "stem" if members[0][0] == "stem" else f"stage {i}",
            [layer for name, _ in members for layer in layers[name]],
            blocks=len(members),
            kind=" + ".join(dict.fromkeys(KINDS[type(row)] for _, row in members)),
        )
    head = [layer for name in ("hidden", "classifier") for layer in layers.get(name, [])]
    if head:
        yield _stage("head", head, blocks=len(head), kind="linear", pooled=True)


def _stage(name: str, layers: list[LayerCost], *, blocks: int, kind: str, pooled: bool = False) -> StageSummary:
    return StageSummary(
        name=name,
        blocks=blocks,
        kind=kind,
        channels=layers[-1].c_out,
        size_px=(0, 0) if pooled else layers[-1].size_px,
        params=sum(layer.params for layer in layers),
        macs=sum(layer.macs for layer in layers),
    )


def _memory(whole: Cost) -> tuple[LayerMemory, ...]:
    """Every layer, and the residual addition at the peak where it is one (it is no layer of its own)."""
    found = [LayerMemory(layer.name, 4 * layer.activation_elements / 1e6) for layer in whole.layers]
    if whole.peak_layer not in [layer.name for layer in found]:
        mine = [i for i, layer in enumerate(found) if _block(layer.name) == _block(whole.peak_layer)]
        found.insert(max(mine) + 1, LayerMemory(whole.peak_layer, whole.peak_activation_mb.float32))
    return tuple(found)


def _block(layer: str) -> str:
    """ "blocks.3.dw" -> "blocks.3", "stem.conv" -> "stem", "hidden" -> "hidden"."""
    return layer.rpartition(".")[0] or layer
