"""`mobilenets list`: the catalogue with what each network costs, or what of it fits a device's memory."""

from typing import Any, Literal, get_args

import click

from . import options
from .shell import Shell
from .text import table

Precision = Literal["float32", "float16", "int8"]


@options.command(
    "list",
    example="mobilenets list --max-ram-kb 320 --max-flash-kb 1024 --precision int8",
    python="mobilenets.fitting_networks(max_ram_kb=320, max_flash_kb=1024, precision='int8')",
)
@click.option("--max-ram-kb", type=float, help="Only what fits: peak activations in kB (1000 bytes).")
@click.option("--max-flash-kb", type=float, help="Only what fits: weights in kB (1000 bytes).")
@click.option("--precision", type=click.Choice(get_args(Precision)), help="Of weights and activations there.  [int8]")
@options.classes
@options.in_channels
def list_command(
    shell: Shell,
    max_ram_kb: float | None,
    max_flash_kb: float | None,
    precision: Precision | None,
    classes: int | None,
    in_channels: int | None,
) -> None:
    """List the networks with their cost at 1000 classes; with a memory budget, the networks, widths and resolutions
    that fit it, the one with the most multiply-adds first."""
    if max_ram_kb is None and max_flash_kb is None and precision is None:
        rows = _catalogue(classes, in_channels)
        lines = _catalogue_lines(rows)
    else:
        rows = _fitting(max_ram_kb, max_flash_kb, precision or "int8", classes, in_channels)
        lines = _fitting_lines(rows)
    shell.answer({"networks": rows}, lines)


def _catalogue(classes: int | None, in_channels: int | None) -> list[dict[str, Any]]:
    from ..measure import cost
    from ..specs import CATALOGUE, resolve

    rows: list[dict[str, Any]] = []
    for name, entry in CATALOGUE.items():
        spent = cost(resolve(name, classes=classes, in_channels=in_channels))
        rows.append(
            {
                "name": name,
                "generation": entry.generation,
                "params": spent.params,
                "macs": spent.macs,
                "resolution_px": spent.resolution_px,
                "aliases": entry.aliases,
                "summary": entry.summary,
            }
        )
    return rows


def _fitting(
    max_ram_kb: float | None,
    max_flash_kb: float | None,
    precision: Precision,
    classes: int | None,
    in_channels: int | None,
) -> list[dict[str, Any]]:
    from ..measure import fitting_networks
    from ..specs import CATALOGUE

    found = fitting_networks(
        max_ram_kb=max_ram_kb,
        max_flash_kb=max_flash_kb,
        precision=precision,
        classes=1000 if classes is None else classes,
        in_channels=3 if in_channels is None else in_channels,
    )
    return [
        {
            "name": fit.network,
            "generation": CATALOGUE[fit.network].generation,
            "params": fit.params,
            "macs": fit.macs,
            "resolution_px": fit.resolution_px,
            "aliases": CATALOGUE[fit.network].aliases,
            "alpha": fit.alpha,
            "ram_kb": fit.ram_kb,
            "flash_kb": fit.flash_kb,
            "peak_layer": fit.peak_layer,
            "published_top1": fit.published_top1,
        }
        for fit in found
    ]


def _catalogue_lines(rows: list[dict[str, Any]]) -> list[str]:
    from ..report import figures

    cells = [
        (
            r["name"],
            r["summary"],
            figures.short(r["params"]),
            figures.short(r["macs"]),
            figures.size(r["resolution_px"]),
        )
        for r in rows
    ]
    return table(("network", "what it is", "params", "MACs", "pixels"), cells, left=2)


def _fitting_lines(rows: list[dict[str, Any]]) -> list[str]:
    from ..report import figures

    cells = [
        (
            r["name"],
            f"{r['alpha']:g}",
            figures.size(r["resolution_px"]),
            figures.short(r["macs"]),
            f"{r['ram_kb']:.0f}",
            f"{r['flash_kb']:.0f}",
            "" if r["published_top1"] is None else figures.percent(r["published_top1"]),
        )
        for r in rows
    ]
    if not cells:
        return ["nothing fits"]
    return table(("network", "alpha", "pixels", "MACs", "RAM kB", "flash kB", "ImageNet"), cells)
