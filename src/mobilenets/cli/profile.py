"""`mobilenets profile`: where a network's milliseconds go, and why."""

from typing import TYPE_CHECKING

import click

from . import options
from .bench import machine_lines, told
from .shell import Shell
from .text import some, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..records import Profile, ProfileRow

LAYERS = 15


@options.command(
    "profile",
    example="mobilenets profile mobilenetv3_large --target onnx",
    python="from mobilenets.deploy import profile_model\nprofile_model('mobilenetv3_large', target='onnx')",
)
@click.argument("network", type=options.NETWORK)
@click.option("--target", default="onnx", show_default=True, help="onnx or openvino: the runtimes that tell.")
@click.option("--precision", help="float32, float16, bfloat16.  [the target's first]")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads of the runtime.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Images at once.")
@click.option("--rounds", type=click.IntRange(min=1), default=30, show_default=True, help="Timed runs.")
@options.alpha
@options.resolution
@options.classes
@options.in_channels
def profile_command(
    shell: Shell,
    network: str,
    target: str,
    precision: str | None,
    threads: int,
    batch: int,
    rounds: int,
    alpha: float | None,
    resolution_px: tuple[int, int] | None,
    classes: int | None,
    in_channels: int | None,
) -> None:
    """Time every operator of NETWORK: a name, a .json file, a model file or an exported file.

    Each kind of layer is held against the least time that this machine would need for its multiply-adds or its bytes,
    both measured. --json has every layer and every operator.
    """
    from ..deploy import profile_model

    found = profile_model(
        network,
        target=target,
        precision=precision,
        threads=threads,
        batch=batch,
        runs=rounds,
        alpha=alpha,
        resolution_px=resolution_px,
        classes=classes,
        in_channels=in_channels,
        on_step=told(shell),
    )
    shell.answer(found, _lines(found))


def _lines(profile: "Profile") -> list[str]:
    from ..report import figures

    roof = profile.roofline
    slowest = sorted(profile.layers, key=lambda row: -row.ms)
    return [
        *machine_lines(profile.machine),
        f"{profile.network} on {profile.target} in {profile.precision}, {figures.plural(profile.threads, 'thread')}, "
        f"batch {profile.batch}: {figures.milliseconds(profile.median_ms)}",
        f"this machine: {figures.decimal(roof.gmacs_per_s)} GMAC/s in float32, {figures.decimal(roof.gb_per_s)} GB/s "
        f"in {figures.megabytes(roof.working_set_mb)}",
        "",
        *_table("kind", profile.kinds),
        "",
        *some(_table("layer, slowest first", slowest), LAYERS + 1),
        "",
        *profile.words,
    ]


def _table(head: str, rows: "Sequence[ProfileRow]") -> list[str]:
    from ..report import figures

    cells = [
        (
            row.name,
            figures.milliseconds(row.ms),
            figures.percent(row.share),
            figures.short(row.macs) if row.macs else "",
            figures.megabytes(row.bytes / 1e6),
            figures.decimal(row.intensity) if row.macs else "",
            figures.milliseconds(row.bound_ms),
            row.bound,
            figures.percent(row.reached, 0),
        )
        for row in rows
    ]
    return table((head, "time", "share", "MACs", "bytes", "MACs/byte", "least", "bound by", "reached"), cells)
