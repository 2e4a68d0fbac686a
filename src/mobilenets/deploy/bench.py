"""Latency on this machine, measured so that the numbers can be compared: candidates take turns, in shuffled order.

Every round runs each candidate once, so that whatever else the machine does hits all alike; the first one runs twice
a round, as two sessions of the same file, and the ratio of their medians (`aa_spread`) is the noise below which
differences mean nothing.
"""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from ..bundle import ModelFile
from ..bundle.manifest import MANIFEST
from ..errors import UsageError
from ..records import Bench, BenchRow
from ..specs import Spec, resolve
from .machine import this_machine
from .targets import TARGETS, Session, Target, find_target, target_of

ROUNDS = 30
WARMUP = 5
MIN_ROUNDS = 3
WARMUP_SHARE = 0.25
"""Of the time limit: slow networks warm up in fewer turns than asked for, at least one."""
Source = str | Path | Spec
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Contender:
    """One file to be timed: the name of its row, its target and precision, and where it lies."""

    network: str
    target: Target
    precision: str
    path: Path


@dataclass(slots=True)
class Series:
    """One contender at one number of threads and one batch, loaded, with the times it took so far."""

    contender: Contender
    threads: int
    batch: int
    session: Session
    load_ms: float
    inputs: NDArray[np.generic]
    times_ms: list[float] = field(default_factory=list)

    def turn(self) -> float:
        """Run twice and time the second; milliseconds. The first brings back what the others' turns drove out.

        Two threads on V2 read 7.0 ms right after another's turn and 5.2 ms after their own (AMD EPYC, 2 cores), which
        is also what they take alone: people use one network at a time.
        """
        self.session.run(self.inputs)
        start = perf_counter_ns()
        self.session.run(self.inputs)
        return (perf_counter_ns() - start) / 1e6


def bench_models(
    sources: Sequence[Source],
    *,
    targets: Sequence[str] = ("onnx",),
    threads: Sequence[int] = (1,),
    batches: Sequence[int] = (1,),
    rounds: int = ROUNDS,
    warmup: int = WARMUP,
    max_seconds: float = 60.0,
    alpha: float | None = None,
    resolution_px: tuple[int, int] | None = None,
    classes: int | None = None,
    in_channels: int | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Bench:
    """Time model files, exported files, and networks by name, against each other in one run.

    Args:
        sources: a model file (its exports for `targets`), an exported file, or what `resolve` takes: a network's
            name, a .json spec, a Spec. The last are exported untrained into a temporary folder, which needs torch.
        alpha, resolution_px, classes, in_channels: for sources of the last kind only.
        threads, batches: every combination is timed.
        rounds, warmup: timed and untimed turns of each; after `max_seconds` of both the round being run is the last
            (at least 3 are timed; loading and exporting do not count).
        on_progress: called with (rounds done, rounds in all).

    Raises: UsageError for nothing to time or a number below 1; UnknownName, BadModelFile, MissingRuntime.
    """
    for name, values in (
        ("threads", threads),
        ("batches", batches),
        ("rounds", (rounds,)),
        ("sources", (len(sources),)),
    ):
        if not values or min(values) < 1:
            raise UsageError(f"bench: {name} must be at least 1, not {', '.join(map(str, values)) or 'none'}")
    rows = [find_target(name) for name in dict.fromkeys(targets)]
    machine = this_machine()
    with tempfile.TemporaryDirectory(prefix="mobilenets-bench-") as folder:
        contenders: list[Contender] = []
        for index, source in enumerate(sources):
            given = _given(source, rows)
            if given is None:
                spec = resolve(
                    source, alpha=alpha, resolution_px=resolution_px, classes=classes, in_channels=in_channels
                )
                given = [_untrained(spec, row, Path(folder, str(index))) for row in rows]
            contenders += given
        series = [
            _loaded(contender, count, batch, seed)
            for contender in contenders
            for count in dict.fromkeys(threads)
            for batch in dict.fromkeys(batches)
        ]
        twin = _loaded(series[0].contender, series[0].threads, series[0].batch, seed)
        _take_turns([*series, twin], rounds, warmup, max_seconds, seed, on_progress)
        sizes = {contender.path: contender.path.stat().st_size / 1e6 for contender in contenders}
    pair = sorted((float(np.median(series[0].times_ms)), float(np.median(twin.times_ms))))
    return Bench(machine, tuple(_row(one, sizes[one.contender.path]) for one in series), aa_spread=pair[1] / pair[0])


def time_untrained(
    spec: Spec, *, target: str = "onnx", threads: int = 1, max_seconds: float = 3.0
) -> tuple[float, float]:
    """(median milliseconds of one image, file megabytes) of `spec` exported untrained: what choosing a network asks."""
    row = bench_models([spec], targets=(target,), threads=(threads,), max_seconds=max_seconds).rows[0]
    return row.median_ms, row.file_mb


def _given(source: Source, rows: Iterable[Target]) -> list[Contender] | None:
    """The contenders of a source that is a file already; None for a network that has yet to be exported."""
    if isinstance(source, Spec):
        return None
    path = Path(source)
    if path.suffix.lower() in {target.suffix for target in TARGETS.values()}:
        target = target_of(path)
        if not path.is_file():
            raise UsageError(f"{path}: no such file")
        facts = target.open(path).facts
        name, precision = (path.name, target.precisions[0]) if facts is None else (facts.name, facts.precision)
        return [Contender(name, target, precision, path)]
    is_folder = path.is_dir() and (isinstance(source, Path) or path.parts != (str(source),))
    if is_folder or (path / MANIFEST).is_file() or path.suffix.lower() == ".zip":
        model = ModelFile.open(path)
        wanted = {row.name for row in rows}
        exports = [export for export in model.record.exports if export.target in wanted]
        if not exports:
            raise UsageError(f"{path}: has no exported file for {', '.join(sorted(wanted))}")
        return [Contender(model.record.name, find_target(e.target), e.precision, model.local(e.file)) for e in exports]
    return None


def _untrained(spec: Spec, target: Target, folder: Path) -> Contender:
    from .untrained import export_untrained

    path = folder / target.file_name(target.precisions[0])
    export_untrained(spec, path, target=target, precision=target.precisions[0])
    return Contender(spec.name, target, target.precisions[0], path)


def _loaded(contender: Contender, threads: int, batch: int, seed: int) -> Series:
    """The file loaded (timed, with the first run: a cold start), and a batch of noise in the shape it takes."""
    start = perf_counter()
    session = contender.target.open(contender.path, threads=threads)
    load_ms = (perf_counter() - start) * 1e3
    if None in session.input_shape[1:]:
        raise UsageError(f"{contender.path}: takes pictures of any size, so it can't be timed without one")
    shape = (batch, *(side or 1 for side in session.input_shape[1:]))
    inputs = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return Series(contender, threads, batch, session, load_ms, inputs)


def _take_turns(
    series: list[Series], rounds: int, warmup: int, max_seconds: float, seed: int, on_progress: Progress | None
) -> None:
    """Fill in the times: every round each series once, in an order drawn anew."""
    rng = np.random.default_rng(seed)
    start = perf_counter()
    deadline = start + max_seconds
    for turn in range(warmup):
        if turn and perf_counter() > start + max_seconds * WARMUP_SHARE:
            break
        for one in series:
            one.turn()
    for done in range(rounds):
        for index in rng.permutation(len(series)):
            series[index].times_ms.append(series[index].turn())
        if on_progress is not None:
            on_progress(done + 1, rounds)
        if perf_counter() > deadline and done + 1 >= min(MIN_ROUNDS, rounds):
            break


def _row(series: Series, file_mb: float) -> BenchRow:
    median = float(np.median(series.times_ms))
    return BenchRow(
        network=series.contender.network,
        target=series.contender.target.name,
        precision=series.contender.precision,
        threads=series.threads,
        batch=series.batch,
        median_ms=median,
        p90_ms=float(np.quantile(series.times_ms, 0.9)),
        images_per_s=series.batch * 1e3 / median,
        file_mb=file_mb,
        load_ms=series.load_ms,
        rounds=len(series.times_ms),
    )
