"""The fastest proved file for this machine: every target that runs here is exported, verified and timed in turns."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..bundle import ModelFile
from ..data import Dataset
from ..errors import MissingRuntime, UsageError, VerifyFailed
from ..records import Bench, LeftOut, Split
from .bench import bench_models
from .exporting import Exported, check_form, copy_export, export_model, place_in, seal_export, source_of
from .targets import TARGETS, Precision, Target, find_target
from .tracing import Source

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Best:
    """The winner, sealed into the model file in front of its other exports or written beside it, and how it was found.

    bench: all that were proved, timed in one run, one thread count, batch 1; the fastest has the least median.
    """

    exported: Exported
    bench: Bench
    tried: tuple[Exported, ...]
    skipped: tuple[LeftOut, ...]


def export_best(
    model: ModelFile,
    *,
    precisions: Sequence[str] = ("float32",),
    threads: int = 1,
    source: Source | None = None,
    data: Dataset | str | Path | None = None,
    split: Split | None = None,
    out: Path | None = None,
    max_seconds: float = SECONDS,
    on_step: Callable[[str], None] | None = None,
) -> Best:
    """Export to every target that runs here, in each of `precisions` that it has, and keep the fastest that is proved.

    out: a folder to write it to, made where it is missing, instead of the model file, which stays as it was.
    Raises: UsageError where `out` names a file, or where a form other than the plain one has none; VerifyFailed where
        none answers as the network does; MissingRuntime where no target can be exported and run here.
    """
    source = source_of(model) if source is None else source
    check_form(source, out)
    if out is not None and (out.is_file() or out.suffix.lower() in {row.suffix for row in TARGETS.values()}):
        raise UsageError(f"{out}: best picks the kind of file: name a folder for it")
    tried: list[Exported] = []
    skipped: list[LeftOut] = []
    with tempfile.TemporaryDirectory(prefix="mobilenets-best-") as folder:
        for row, precision in _candidates(precisions):
            if reason := _why_not(row, precision):
                skipped.append(LeftOut(model.record.name, row.name, precision, reason))
                continue
            if on_step is not None:
                on_step(f"exporting and verifying {row.name} in {precision}")
            place = Path(folder, row.file_name(precision))
            place.parent.mkdir(exist_ok=True)
            try:
                done = export_model(
                    model, target=row.name, precision=precision, source=source, data=data, split=split, out=place
                )
            except UsageError as error:  # this target can't say this network
                skipped.append(LeftOut(model.record.name, row.name, precision, error.message))
                continue
            tried.append(done)
        proved = [done for done in tried if done.passed]
        if not proved:
            _complain(model, tried, skipped)
        if on_step is not None:
            on_step(f"timing {len(proved)} files in turns")
        bench = bench_models([Path(done.file) for done in proved], threads=(threads,), max_seconds=max_seconds)
        times = [row.median_ms for row in bench.rows]
        fastest = proved[times.index(min(times))]
        row, path = find_target(fastest.target), Path(fastest.file)
        beside = None
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            beside = place_in(out, row, fastest.precision, model.record.name)
        name = path.relative_to(folder).as_posix() if beside is None else str(beside)
        proof = replace(fastest.verification, file=name) if fastest.verification else None
        if beside is None:
            model, name = seal_export(model, row, fastest.precision, path, Path(folder), proof, first=True)
        else:
            copy_export(row, path, beside)
    kept = replace(fastest, model=model, file=name, verification=proof)
    return Best(kept, bench, tuple(tried), tuple(skipped))


def _candidates(precisions: Sequence[str]) -> list[tuple[Target, Precision]]:
    known = {precision for row in TARGETS.values() for precision in row.precisions}
    if unknown := [name for name in precisions if name not in known]:
        raise UsageError(f"no target has a precision {unknown[0]!r}; there are {', '.join(sorted(known))}")
    return [(row, kind) for row in TARGETS.values() for kind in row.precisions if kind in precisions]


def _why_not(row: Target, precision: Precision) -> str:
    try:
        row.require(row.export_modules, row.export_extra)
    except MissingRuntime as missing:
        return missing.message
    return row.why_not_here(precision)


def _complain(model: ModelFile, tried: list[Exported], skipped: list[LeftOut]) -> None:
    if tried:
        raise VerifyFailed(f"{model.path}: none of {len(tried)} exported files answers as the trained network does")
    first = skipped[0].reason if skipped else "no target was asked for"
    raise MissingRuntime(f"{model.path}: no target can be exported and run here ({first})")
