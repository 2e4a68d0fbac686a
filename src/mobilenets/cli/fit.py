"""`mobilenets fit`: the main job, from a folder of images to a verified model file and a report."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options
from .progress import follow
from .shell import Shell
from .text import facts
from .training import Balance, resumable, run_options, tell_plan

if TYPE_CHECKING:
    from ..packing import FitResult


@options.command(
    "fit",
    example="mobilenets fit photos/ --minutes 10",
    python="mobilenets.fit('photos/', minutes=10)",
)
@run_options
@click.option("--max-latency-ms", type=float, help="The best network that answers one image here in this time.")
@click.option("--max-mb", type=float, help="The best network whose exported file has no more megabytes.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of the runtime when timed.")
@click.option("--photos/--no-photos", default=True, help="Whether your pictures may lie in model file and report.")
def fit_command(
    shell: Shell,
    data: str | None,
    network: str,
    alpha: float | None,
    weights: str | None,
    resolution_px: tuple[int, int] | None,
    in_channels: int | None,
    epochs: int | None,
    minutes: float | None,
    recipe: str | None,
    balance: Balance | None,
    seed: int,
    device: str,
    out: Path | None,
    resume: Path | None,
    config: Path | None,
    dry_run: bool,
    max_latency_ms: float | None,
    max_mb: float | None,
    threads: int,
    photos: bool,
) -> None:
    """Train a MobileNet on DATA, prove its exported file, time it, and write model file and report.

    DATA is a folder with one folder of pictures per class (with or without train, val and test above them), a CSV
    file, or digits. Ends with 1 when the exported file does not answer as the trained network does, or when no
    network fits the budget. Ctrl-C stops at no loss.
    """
    from ..fitting import fit

    if dry_run:
        wish = (
            network,
            alpha,
            resolution_px,
            in_channels,
            epochs,
            minutes,
            max_latency_ms,
            max_mb,
            recipe,
            balance,
            seed,
            weights,
        )
        tell_plan(shell, data, wish, device=device, resume=resume, config=config)
        return
    with resumable("fit", resume or out), follow(shell) as on_event:
        result = fit(
            data,
            network=network,
            alpha=alpha,
            weights=weights,
            resolution_px=resolution_px,
            in_channels=in_channels,
            epochs=epochs,
            minutes=minutes,
            max_latency_ms=max_latency_ms,
            max_mb=max_mb,
            recipe=recipe,
            balance=balance,
            seed=seed,
            out=out,
            device=device,
            threads=threads,
            photos=photos,
            resume=resume,
            config=config,
            on_event=on_event,
        )
    for warning in result.warnings:
        shell.note(f"warning: {warning}")
    shell.answer(result, _lines(result))


def _lines(result: "FitResult") -> list[str]:
    from ..report import figures

    onnx, (low, high) = result.onnx, result.interval
    size = f"{figures.short(result.params)} parameters, {figures.short(result.macs)} MACs"
    images = figures.plural(result.test_images, "image")
    return facts(
        (
            ("network", f"{result.network}, {size}"),
            (
                "test top-1",
                f"{figures.percent(result.top1)} on {images} (95 %: {figures.percent(low)} to {figures.percent(high)})",
            ),
            *_gain(result),
            (
                "ONNX",
                f"{figures.percent(onnx.top1_agreement)} of its answers equal the trained network's, largest "
                f"difference {figures.decimal(onnx.max_relative_error)}",
            ),
            ("latency", f"{figures.milliseconds(onnx.median_ms)} per image, {figures.megabytes(result.file_mb)}"),
            ("model", result.model),
            ("report", result.report),
        )
    )


def _gain(result: "FitResult") -> list[tuple[str, str]]:
    """What training on added to the weights it began with."""
    from ..report import figures

    if result.probe_top1 is None or result.gain is None:
        return []
    gain, low, high = (f"{100 * share:+.1f}" for share in result.gain)
    return [
        ("linear probe", f"{figures.percent(result.probe_top1)}; trained on: {gain} points (95 %: {low} to {high})")
    ]
