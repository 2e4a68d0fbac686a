"""`mobilenets export`: the file that a device runs, proved before it is kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from ..records import Split
from . import options
from .progress import progress
from .shell import Shell
from .text import table

if TYPE_CHECKING:
    from ..deploy import Exported
    from ..deploy.best import Best

BEST, ALL = "best", "all"


@options.command(
    "export",
    example="mobilenets export runs/photos/model --target litert",
    python="from mobilenets.deploy import export_model\n"
    "export_model(mobilenets.ModelFile.open('runs/photos/model'), target='litert')",
)
@click.argument("model", type=options.PATH)
@click.option("--target", required=True, help="onnx, litert, openvino, executorch, coreml; best for here; or all.")
@click.option("--precision", "precisions", multiple=True, help="float32, float16, bfloat16.  [the target's first]")
@click.option("-o", "--out", type=options.PATH, help="A file or folder to write to; with best a folder.  [into MODEL]")
@click.option("--size", "sizes_px", multiple=True, type=options.SIZE, help="A further input size; repeatable.")
@click.option("--with-preprocess", is_flag=True, help="Pictures in: resizing and scaling in the graph where it can.")
@click.option("--data", help="Labelled images to prove it on besides the golden ones.")
@click.option(
    "--split", type=click.Choice(get_args(Split)), help="Which part of it.  [test; else val; else everything]"
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="For best: threads timed.")
def export_command(
    shell: Shell,
    model: Path,
    target: str,
    precisions: tuple[str, ...],
    out: Path | None,
    sizes_px: tuple[tuple[int, int], ...],
    with_preprocess: bool,
    data: str | None,
    split: Split | None,
    threads: int,
) -> int:
    """Export MODEL, hold the new file against the trained network in its own runtime, and seal it in.

    A file that answers otherwise is not kept, and the command ends with 1. What can't be run on this machine (Core ML
    anywhere but on macOS) is written and said to be not run. `best` keeps the fastest proved file for this machine.
    """
    from ..bundle import ModelFile
    from ..deploy import TARGETS, export_model, source_of
    from ..deploy.tracing import Form

    opened = ModelFile.open(model)
    source = source_of(opened, form=Form(sizes_px, with_preprocess))
    if target == BEST:
        from ..deploy.best import export_best

        best = export_best(
            opened, precisions=precisions or ("float32",), threads=threads, source=source, data=data, split=split,
            out=out, on_step=shell.note,
        )  # fmt: skip
        shell.answer(_best_keys(best), [*_best_lines(best), *_lines([best.exported])])
        return 0
    names = list(TARGETS) if target == ALL else [target]
    if target == ALL:
        for name in [name for name in names if _missing(name)]:
            names.remove(name)
            shell.note(f"left out: {name}: {_missing(name)} is not installed")
    done: list[Exported] = []
    for name in names:
        for precision in precisions or (None,):
            if target == ALL and precision not in (None, *TARGETS[name].precisions):
                continue
            with progress(shell, f"verifying {name}") as show:
                exported = export_model(
                    done[-1].model if done else opened, target=name, precision=precision, source=source, data=data,
                    split=split, out=out, on_progress=show,
                )  # fmt: skip
            done.append(exported)
    plain = [exported.as_dict() for exported in done]
    shell.answer(plain[0] if len(plain) == 1 else {"exports": plain}, _lines(done))
    return 1 if any(exported.passed is False for exported in done) else 0


def _missing(name: str) -> str:
    from ..deploy.targets import TARGETS, has_module

    return next((module for module in TARGETS[name].export_modules if not has_module(module)), "")


def _lines(done: "Sequence[Exported]") -> list[str]:
    rows = [(exported.file, f"{exported.target} {exported.precision}", _verdict(exported)) for exported in done]
    return list(table(("file", "target", ""), rows, left=3))


def _verdict(exported: "Exported") -> str:
    from ..report import figures

    proof = exported.verification
    if proof is None:
        return f"written, not run: {exported.reason}"
    if proof.passed:
        return (
            f"proved on {figures.plural(proof.images, 'image')}: {figures.percent(proof.top1_agreement)} equal "
            f"answers, largest difference {figures.decimal(proof.max_relative_error)}"
        )
    failed = next(check for check in proof.checks if not check.passed)
    cause = f"; culprit: {proof.culprit}" if proof.culprit else ""
    return f"NOT kept: {failed.name}: {failed.detail}{cause}"


def _best_keys(best: "Best") -> dict[str, object]:
    refused = [exported.as_dict() for exported in best.tried if not exported.passed]
    return {**best.exported.as_dict(), "bench": best.bench, "refused": refused, "skipped": best.skipped}


def _best_lines(best: "Best") -> list[str]:
    from ..report import figures

    timed = [(row.target, row.precision, figures.milliseconds(row.median_ms)) for row in best.bench.rows]
    refused = [f"{e.target} {e.precision} {_verdict(e)}" for e in best.tried if not e.passed]
    left_out = [f"left out: {s.target} in {s.precision}: {s.reason}" for s in best.skipped]
    noise = f"the same file twice: ratio {best.bench.aa_spread:.3f}; smaller differences are noise"
    return [*table(("target", "precision", "median"), timed, left=2), noise, *refused, *left_out]
