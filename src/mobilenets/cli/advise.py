"""`mobilenets advise`: which networks fit a device, by what was measured here or on the device itself."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options
from .bench import left_out_lines, machine_lines, row_table, told
from .lists import words
from .shell import Shell
from .text import some

if TYPE_CHECKING:
    from ..records import Advice, Misfit

MISFITS = 5


@options.command(
    "advise",
    example="mobilenets advise --max-latency-ms 5 --max-mb 10",
    python="from mobilenets.deploy import Budget, advise_networks\n"
    "advise_networks(Budget(max_latency_ms=5, max_mb=10))",
)
@click.argument("networks", nargs=-1, type=options.NETWORK)
@click.option("--max-latency-ms", type=float, help="The most that one image may take.")
@click.option("--max-mb", type=float, help="The most that the files may weigh, in 10^6 bytes.")
@click.option("--max-ram-mb", type=float, help="The most memory that loading and running may add.")
@click.option("--target", "targets", multiple=True, callback=words, help="Runtimes, or all.  [onnx; all of a log]")
@click.option("--precision", "precisions", multiple=True, callback=words, help="float32, ..., all.  [the first; all]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the runtime.  [1; all of a log]")
@click.option("--minutes", type=float, default=2.0, show_default=True, help="Measure for about this long.")
@click.option("--log", type=options.PATH, help="Judge by this device log instead of measuring here.")
@click.option("--device", help="Which device of the log.")
@options.classes
def advise_command(
    shell: Shell,
    networks: tuple[str, ...],
    max_latency_ms: float | None,
    max_mb: float | None,
    max_ram_mb: float | None,
    targets: tuple[str, ...],
    precisions: tuple[str, ...],
    threads: int | None,
    minutes: float,
    log: Path | None,
    device: str | None,
    classes: int | None,
) -> None:
    """Rank networks x widths x resolutions x precisions that fit, the best accuracy first; all, or only NETWORKS.

    Measured on this machine, or with --log read from what a phone or a board has measured. Nothing fits: exit 1.
    """
    from ..deploy import Budget, advise_from_log, advise_networks, read_log
    from ..deploy.choose import NETWORKS

    budget = Budget(max_latency_ms, max_mb, max_ram_mb)
    if log is not None:
        runs = read_log(log)
        advice = advise_from_log(
            runs, budget, device=device, targets=targets, precisions=precisions, threads=threads, networks=networks
        )
    else:
        advice = advise_networks(
            budget,
            targets=targets or ("onnx",),
            precisions=precisions,
            threads=threads or 1,
            minutes=minutes,
            networks=networks or NETWORKS,
            classes=1000 if classes is None else classes,
            on_step=told(shell),
        )
    shell.answer(advice, _lines(advice))


def _lines(advice: "Advice") -> list[str]:
    head = [f"device: {advice.device}"] if advice.device else []
    if advice.machine is not None:
        head += machine_lines(advice.machine)
    lines = [*head, *row_table(advice.rows)]
    if advice.misfits:
        lines += some(["do not fit, the closest first:", *map(_misfit, advice.misfits)], MISFITS + 1)
    if advice.untried:
        lines.append(f"{advice.untried} more might fit and were not measured in this time")
    return [*lines, *left_out_lines(advice.skipped)]


def _misfit(misfit: "Misfit") -> str:
    from ..deploy.advise import told_misfit

    return f"  {told_misfit(misfit)}"
