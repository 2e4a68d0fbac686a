"""`mobilenets bench`: how long networks and model files take on this machine, in turns, with the noise told."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from ..records import Bench, BenchRow, LeftOut, Machine, Split
from . import options
from .lists import numbers, words
from .progress import progress
from .shell import Shell
from .text import table

if TYPE_CHECKING:
    from ..deploy.contenders import Step


@options.command(
    "bench",
    example="mobilenets bench mobilenetv2 mobilenetv3_small --target all --threads 1,2 --picture speed.svg",
    python="mobilenets.bench_models(['mobilenetv2', 'mobilenetv3_small'], targets=('all',), threads=(1, 2))",
)
@click.argument("networks", nargs=-1, required=True, type=options.NETWORK)
@click.option(
    "--target", "targets", multiple=True, default=("onnx",), show_default=True, callback=words,
    help="Runtimes, repeated or with commas; all for every one that runs here.",
)  # fmt: skip
@click.option(
    "--precision", "precisions", multiple=True, callback=words,
    help="float32, float16, bfloat16, or all.  [the target's first; what a model file holds]",
)  # fmt: skip
@click.option("--threads", multiple=True, default=("1",), show_default=True, callback=numbers, help="As 1,2.")
@click.option("--batch", "batches", multiple=True, default=("1",), show_default=True, callback=numbers, help="As 1,8.")
@click.option("--rounds", type=click.IntRange(min=1), default=30, show_default=True, help="Timed runs of each.")
@click.option("--max-seconds", type=float, default=60.0, show_default=True, help="Stop timing after this long.")
@click.option("--memory/--no-memory", default=True, show_default=True, help="Peak memory, in a process of its own.")
@click.option("--data", help="Labelled images: the accuracy of model files on them.")
@click.option(
    "--split", type=click.Choice(get_args(Split)), help="Which part of it.  [test; else val; else everything]"
)
@click.option("--picture", type=options.PATH, help="Write accuracy (or multiply-adds) against latency, as SVG.")
@click.option("--log", type=options.PATH, help="Append the rows to a device log, for advise.")
@click.option("--device", default="", help="What the log calls this machine.  [its CPU]")
@options.alpha
@options.resolution
@options.classes
@options.in_channels
@options.seed
def bench_command(
    shell: Shell,
    networks: tuple[str, ...],
    targets: tuple[str, ...],
    precisions: tuple[str, ...],
    threads: tuple[int, ...],
    batches: tuple[int, ...],
    rounds: int,
    max_seconds: float,
    memory: bool,
    data: str | None,
    split: Split | None,
    picture: Path | None,
    log: Path | None,
    device: str,
    alpha: float | None,
    resolution_px: tuple[int, int] | None,
    classes: int | None,
    in_channels: int | None,
    seed: int,
) -> None:
    """Time NETWORKS: names, .json files (exported untrained first), model files or exported files.

    They take turns in one run, so that what else the machine does hits all alike. One of them runs twice: the ratio
    of its two medians is the noise, and smaller differences mean nothing. What a target can't take, or what can't run
    here, is left out and said.
    """
    from ..deploy import append_log, bench_models
    from ..files import write_atomic
    from ..report.tradeoff import tradeoff_picture

    with progress(shell, "timing") as show:
        bench = bench_models(
            networks,
            targets=targets,
            precisions=precisions,
            threads=threads,
            batches=batches,
            rounds=rounds,
            max_seconds=max_seconds,
            memory=memory,
            data=data,
            split=split,
            alpha=alpha,
            resolution_px=resolution_px,
            classes=classes,
            in_channels=in_channels,
            seed=seed,
            on_progress=show,
            on_step=told(shell),
        )
    if picture is not None:
        write_atomic(picture, tradeoff_picture(bench))
        shell.note(f"wrote {picture}")
    if log is not None:
        shell.note(f"appended to {log} as {append_log(log, bench, device=device)}")
    shell.answer(bench, _lines(bench))


def told(shell: Shell) -> "Step | None":
    """Steps as lines on stderr, where somebody looks."""
    return shell.note if shell.live else None


def machine_lines(machine: Machine) -> list[str]:
    """What every number was measured on, to stand above them."""
    versions = ", ".join(f"{name} {version}" for name, version in (machine.versions or {}).items())
    return [
        f"{machine.cpu}, {machine.cores} cores, load {machine.load:g}, {machine.system}, Python {machine.python}",
        f"instruction sets: {', '.join(machine.isa) or 'not told'}",
        f"versions: {versions or 'not told'}",
    ]


def row_table(rows: Sequence[BenchRow]) -> list[str]:
    """Measured rows; columns that none of them fills are left out."""
    from ..report import figures

    columns = [
        ("network", [_named(row) for row in rows]),
        ("target", [f"{row.target} {row.precision}" for row in rows]),
        ("threads", [str(row.threads) for row in rows]),
        ("batch", [str(row.batch) for row in rows]),
        ("load", [figures.milliseconds(row.load_ms) if row.load_ms else "" for row in rows]),
        ("median", [figures.milliseconds(row.median_ms) for row in rows]),
        ("p90", [figures.milliseconds(row.p90_ms) for row in rows]),
        ("images/s", [figures.decimal(row.images_per_s) for row in rows]),
        ("file", [figures.megabytes(row.file_mb) if row.file_mb else "" for row in rows]),
        ("memory", [figures.megabytes(row.peak_memory_mb) if row.peak_memory_mb else "" for row in rows]),
        ("MACs", [figures.short(row.macs) if row.macs else "" for row in rows]),
        ("top-1", [figures.percent(row.top1) if row.top1 is not None else "" for row in rows]),
        ("published", [figures.percent(row.quoted_top1) if row.quoted_top1 is not None else "" for row in rows]),
        ("estimated", [figures.percent(row.estimated_top1) if row.estimated_top1 is not None else "" for row in rows]),
    ]
    kept = [(head, cells) for head, cells in columns if any(cells)]
    return table([head for head, _ in kept], zip(*(cells for _, cells in kept), strict=True), left=2)


def left_out_lines(skipped: Sequence[LeftOut]) -> list[str]:
    return [f"left out: {' '.join(filter(None, (s.network, s.target, s.precision)))}: {s.reason}" for s in skipped]


def _named(row: BenchRow) -> str:
    """The network with its width and size, where they are known."""
    height, width = row.resolution_px
    alpha = f" {row.alpha:g}" if row.alpha is not None else ""
    return f"{row.network}{alpha} {height}x{width}" if height else row.network


def _lines(bench: Bench) -> list[str]:
    return [
        *machine_lines(bench.machine),
        *row_table(bench.rows),
        *left_out_lines(bench.skipped),
        f"the same file twice: ratio {bench.aa_spread:.3f}; smaller differences are noise",
    ]
