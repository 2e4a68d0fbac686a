"""`mobilenets bench`: how long networks and model files take on this machine, in turns, with the noise told."""

import click

from . import options
from .progress import progress
from .shell import Shell
from .text import table


@options.command(
    "bench",
    example="mobilenets bench mobilenetv2 mobilenetv3_small --resolution 160 --threads 1 --threads 2",
    python="mobilenets.bench_models(['mobilenetv2', 'mobilenetv3_small'], resolution_px=(160, 160), threads=(1, 2))",
)
@click.argument("networks", nargs=-1, required=True, type=options.NETWORK)
@click.option("--target", "targets", multiple=True, default=("onnx",), show_default=True, help="Runtime; repeatable.")
@click.option("--threads", multiple=True, type=int, default=(1,), show_default=True, help="Repeatable.")
@click.option("--batch", "batches", multiple=True, type=int, default=(1,), show_default=True, help="Repeatable.")
@click.option("--rounds", type=click.IntRange(min=1), default=30, show_default=True, help="Timed runs of each.")
@click.option("--max-seconds", type=float, default=60.0, show_default=True, help="Stop timing after this long.")
@options.alpha
@options.resolution
@options.classes
@options.in_channels
@options.seed
def bench_command(
    shell: Shell,
    networks: tuple[str, ...],
    targets: tuple[str, ...],
    threads: tuple[int, ...],
    batches: tuple[int, ...],
    rounds: int,
    max_seconds: float,
    alpha: float | None,
    resolution_px: tuple[int, int] | None,
    classes: int | None,
    in_channels: int | None,
    seed: int,
) -> None:
    """Time NETWORKS: names, .json files (exported untrained first), model files or exported files.

    They take turns in one run, so that what else the machine does hits all alike. One of them runs twice: the ratio
    of its two medians is the noise, and smaller differences mean nothing.
    """
    from ..deploy import bench_models
    from ..report import figures

    with progress(shell, "timing") as show:
        bench = bench_models(
            networks,
            targets=targets,
            threads=threads,
            batches=batches,
            rounds=rounds,
            max_seconds=max_seconds,
            alpha=alpha,
            resolution_px=resolution_px,
            classes=classes,
            in_channels=in_channels,
            seed=seed,
            on_progress=show,
        )
    rows = [
        (
            row.network,
            f"{row.target} {row.precision}",
            *map(str, (row.threads, row.batch)),
            *map(figures.milliseconds, (row.median_ms, row.p90_ms)),
            figures.decimal(row.images_per_s),
            figures.megabytes(row.file_mb),
        )
        for row in bench.rows
    ]
    head = ("network", "target", "threads", "batch", "median", "p90", "images/s", "file")
    machine = f"{bench.machine.cpu}, {bench.machine.cores} cores, load {bench.machine.load:g}"
    noise = f"the same file twice: ratio {bench.aa_spread:.3f}; smaller differences are noise"
    shell.answer(bench, [*table(head, rows, left=2), machine, noise])
