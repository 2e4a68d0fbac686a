"""Latency on this machine, measured so that the numbers can be compared: candidates take turns, in shuffled order.

Every round runs each candidate once, so that whatever else the machine does hits all alike; the first one runs twice
a round, as two sessions of the same file, and the ratio of their medians (`aa_spread`) is the noise below which
differences mean nothing.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter, perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from ..errors import BadData, BadModelFile, MissingRuntime, MobilenetsError, UsageError
from ..records import Bench, BenchRow, LeftOut, Split
from ..specs import Spec, published_top1
from .contenders import Asked, Contender, Step, Variation, find_contenders, is_published, noise_for
from .evaluation import evaluate_model
from .machine import this_machine
from .memory import peak_memory_mb
from .targets import Session

ROUNDS = 30
WARMUP = 5
MIN_ROUNDS = 3
WARMUP_SHARE = 0.25
"""Of the time limit: slow networks warm up in fewer turns than asked for, at least one."""
Progress = Callable[[int, int], None]


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
    sources: Sequence[Asked],
    *,
    targets: Sequence[str] = ("onnx",),
    precisions: Sequence[str] = (),
    threads: Sequence[int] = (1,),
    batches: Sequence[int] = (1,),
    rounds: int = ROUNDS,
    warmup: int = WARMUP,
    max_seconds: float = 60.0,
    memory: bool = False,
    data: Dataset | str | Path | None = None,
    split: Split | None = None,
    alpha: float | None = None,
    resolution_px: tuple[int, int] | None = None,
    classes: int | None = None,
    in_channels: int | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
    on_step: Step | None = None,
) -> Bench:
    """Time model files, exported files, and networks by name, against each other in one run.

    Args:
        sources: a model file (its exports for `targets`), an exported file, or what `resolve` takes: a network's
            name, a .json spec, a Spec. The last are exported untrained into a temporary folder, which needs torch.
        targets: names, or "all" for every one that runs here.
        precisions: names, or "all"; by default a network's first one per target, and every one that a file holds.
        alpha, resolution_px, classes, in_channels: for networks by name only.
        threads, batches: every combination is timed.
        rounds, warmup: timed and untimed turns of each; after `max_seconds` of both the round being run is the last
            (at least 3 are timed; loading and exporting do not count).
        memory: measure each row's peak memory too, in a process of its own.
        data, split: labelled images for the accuracy of those that are trained; see `evaluate_model`.
        on_progress: called with (rounds done, rounds in all); on_step with what is being done before and after them.

    What can't be timed here does not end the run: the record's `skipped` names it with the reason. Raises: UsageError
    for nothing to time or a number below 1; UnknownName, BadModelFile; the first reason where nothing is left.
    """
    for name, values in (
        ("threads", threads),
        ("batches", batches),
        ("rounds", (rounds,)),
        ("sources", (len(sources),)),
    ):
        if not values or min(values) < 1:
            raise UsageError(f"bench: {name} must be at least 1, not {', '.join(map(str, values)) or 'none'}")
    machine = this_machine()
    with tempfile.TemporaryDirectory(prefix="mobilenets-bench-") as folder:
        contenders, skipped = find_contenders(
            sources,
            targets=targets,
            precisions=precisions,
            folder=Path(folder),
            variation=Variation(alpha, resolution_px, classes, in_channels),
            on_step=on_step,
        )
        if data is not None and not any(contender.trained for contender in contenders):
            raise UsageError("bench: nothing here was trained; accuracy on data needs a model file")
        series, refused = _all_loaded(contenders, tuple(dict.fromkeys(threads)), tuple(dict.fromkeys(batches)), seed)
        twin = _loaded(series[0].contender, series[0].threads, series[0].batch, seed)
        _take_turns([*series, twin], rounds, warmup, max_seconds, seed, on_progress)
        pair = sorted((float(np.median(series[0].times_ms)), float(np.median(twin.times_ms))))
        spread = pair[1] / pair[0]
        rows = [_row(one, spread) for one in series]
        if memory:
            rows = [_with_memory(row, one, on_step) for row, one in zip(rows, series, strict=True)]
        if data is not None:
            accuracies = _accuracies(series, data, split, seed, on_step)
            rows = [replace(row, top1=accuracies.get(one.contender)) for row, one in zip(rows, series, strict=True)]
    return Bench(machine, tuple(rows), aa_spread=spread, skipped=(*skipped, *refused))


def time_untrained(
    spec: Spec, *, target: str = "onnx", threads: int = 1, max_seconds: float = 3.0
) -> tuple[float, float]:
    """(median milliseconds of one image, file megabytes) of `spec` exported untrained: what choosing a network asks."""
    row = bench_models([spec], targets=(target,), threads=(threads,), max_seconds=max_seconds).rows[0]
    return row.median_ms, row.file_mb


def _all_loaded(
    contenders: Sequence[Contender], threads: Sequence[int], batches: Sequence[int], seed: int
) -> tuple[list[Series], tuple[LeftOut, ...]]:
    """Every combination, and those that a file refuses (a batch of 8 where it takes pictures one by one)."""
    series: list[Series] = []
    refused: list[LeftOut] = []
    reason: MobilenetsError | None = None
    for contender in contenders:
        for count in threads:
            for batch in batches:
                try:
                    series.append(_loaded(contender, count, batch, seed))
                except (BadData, BadModelFile, MissingRuntime) as error:
                    reason = reason or error
                    refused.append(
                        LeftOut(contender.network, contender.target.name, contender.precision, error.message)
                    )
    if not series and reason is not None:
        raise reason
    return series, tuple(dict.fromkeys(refused))


def _loaded(contender: Contender, threads: int, batch: int, seed: int) -> Series:
    """The file loaded (timed), and a batch of noise in the shape it takes, run once."""
    start = perf_counter()
    session = contender.target.open(contender.path, threads=threads)
    load_ms = (perf_counter() - start) * 1e3
    try:
        inputs = noise_for(session, batch, contender.size_px, seed=seed)
    except UsageError as error:
        raise BadData(f"{contender.path}: {error.message}") from error
    session.run(inputs)
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


def _row(series: Series, aa_spread: float) -> BenchRow:
    contender = series.contender
    median = float(np.median(series.times_ms))
    return BenchRow(
        network=contender.network,
        target=contender.target.name,
        precision=contender.precision,
        threads=series.threads,
        batch=series.batch,
        median_ms=median,
        p90_ms=float(np.quantile(series.times_ms, 0.9)),
        images_per_s=series.batch * 1e3 / median,
        file_mb=contender.file_mb,
        load_ms=series.load_ms,
        rounds=len(series.times_ms),
        resolution_px=contender.size_px,
        macs=contender.macs,
        aa_spread=aa_spread,
        alpha=None if contender.spec is None else contender.spec.alpha,
        quoted_top1=_quoted(contender),
    )


def _quoted(contender: Contender) -> float | None:
    """The published top-1 of a network by name; a user's own model file has learnt something else."""
    spec = contender.spec
    if spec is None or contender.trained or not is_published(spec):
        return None
    return published_top1(spec.name, spec.alpha, contender.size_px)


def _with_memory(row: BenchRow, series: Series, on_step: Step | None) -> BenchRow:
    if on_step is not None:
        on_step(f"measuring the memory of {row.network} on {row.target} in {row.precision}")
    peak = peak_memory_mb(
        row.target,
        series.contender.path,
        threads=row.threads,
        batch=row.batch,
        size_px=series.contender.size_px,
    )
    return replace(row, peak_memory_mb=peak)


def _accuracies(
    series: Sequence[Series], data: Dataset | str | Path, split: Split | None, seed: int, on_step: Step | None
) -> dict[Contender, float]:
    """Top-1 of every file that is trained and says its labels, each evaluated once."""
    found = {}
    for contender in dict.fromkeys(one.contender for one in series):
        if contender.trained:
            if on_step is not None:
                on_step(f"evaluating {contender.network} on {contender.target.name} in {contender.precision}")
            found[contender] = evaluate_model(contender.path, data, split=split, seed=seed).top1
    return found
