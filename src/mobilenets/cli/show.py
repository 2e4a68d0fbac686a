"""`mobilenets show`: one network layer by layer, and what it costs."""

from pathlib import Path

import click

from . import options
from .shell import Shell
from .text import facts, table


@options.command(
    "show",
    example="mobilenets show mobilenetv3_large --alpha 0.75 --resolution 160x224",
    python="mobilenets.cost(mobilenets.resolve('mobilenetv3_large', alpha=0.75, resolution_px=(160, 224)))",
)
@click.argument("network", type=options.NETWORK)
@options.alpha
@options.resolution
@options.classes
@options.in_channels
@click.option("-o", "--out", type=options.PATH, help="Write its rows to this .json file: edit it, use it as a name.")
def show_command(
    shell: Shell,
    network: str,
    alpha: float | None,
    resolution_px: tuple[int, int] | None,
    classes: int | None,
    in_channels: int | None,
    out: Path | None,
) -> None:
    """Show what NETWORK costs: parameters, multiply-adds, flash, the memory at its peak, and every layer.

    NETWORK is a name (mobilenets list), an alias of timm, torchvision or Keras, or a .json file with a network of
    your own.
    """
    from ..files import write_atomic
    from ..measure import cost
    from ..report import figures
    from ..specs import resolve, spec_to_json

    spec = resolve(network, alpha=alpha, resolution_px=resolution_px, classes=classes, in_channels=in_channels)
    spent = cost(spec)
    if out is not None:
        write_atomic(out, spec_to_json(spec) + "\n")
    flash, peak = spent.flash_mb, spent.peak_activation_mb
    layers = [
        (
            layer.name,
            layer.kind,
            f"{layer.c_in} -> {layer.c_out}",
            f"{layer.kernel[0]}x{layer.kernel[1]}",
            "x".join(map(str, dict.fromkeys(layer.stride))),
            figures.size(layer.size_px),
            figures.count(layer.params),
            figures.short(layer.macs),
            figures.megabytes(4 * layer.activation_elements / 1e6),
        )
        for layer in spent.layers
    ]
    summary = facts(
        (
            ("network", spent.name),
            ("input", f"{figures.size(spent.resolution_px)} px, {figures.plural(spec.in_channels, 'channel')}"),
            ("parameters", figures.count(spent.params)),
            ("multiply-adds", figures.count(spent.macs)),
            ("flash", _per_precision(("float32", flash.float32), ("float16", flash.float16), ("int8", flash.int8))),
            (
                "peak activations",
                _per_precision(("float32", peak.float32), ("int8", peak.int8)) + f" ({spent.peak_layer})",
            ),
            ("training", f"{figures.megabytes(spent.training_mb_per_image)} per image"),
        )
    )
    head = ("layer", "kind", "channels", "kernel", "stride", "output", "params", "MACs", "alive")
    shell.answer(spent, [*table(head, layers, left=2), "", *summary])


def _per_precision(*values: tuple[str, float]) -> str:
    from ..report import figures

    return ", ".join(f"{figures.megabytes(mb)} {precision}" for precision, mb in values)
