"""Which networks fit a budget: widths, resolutions, targets and precisions, judged by what was measured, never guessed.

Measured here within a time limit (the multiply-adds only say what to try next), or read from a device's log. Accuracy
is measured, quoted from a publication, or estimated between published points, each in its own field of a row.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from time import monotonic

from ..errors import BudgetMissed, UsageError
from ..records import Advice, BenchRow, LeftOut, Misfit
from ..specs import published_top1
from .bench import bench_models
from .choose import ALPHAS, NETWORKS, SIZES_PX, Option, estimated_top1, options
from .contenders import ALL, Step
from .device_log import DeviceRun, rows_of
from .machine import this_machine

MINUTES = 2.0
ENOUGH = 10
"""Fitting networks after which no more are measured: the list is for a person."""
SECONDS_EACH = 2.0
ROOM = 1.05
"""What is foretold to take 5 % more than asked is tried as well: the foretelling is no better than that."""
LAST_RESORTS = 3
"""Networks tried although they are foretold not to fit, as long as none does."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a network may take; None where that does not matter. At least one is asked for."""

    max_latency_ms: float | None = None
    max_mb: float | None = None
    max_ram_mb: float | None = None

    def __post_init__(self) -> None:
        asked = {name: getattr(self, name) for name in ("max_latency_ms", "max_mb", "max_ram_mb")}
        if all(value is None for value in asked.values()):
            raise UsageError("advise: say what must fit: max_latency_ms, max_mb or max_ram_mb")
        for name, value in asked.items():
            if value is not None and not value > 0:
                raise UsageError(f"advise: {name} must be positive, not {value:g}")

    def __str__(self) -> str:
        parts = ((self.max_latency_ms, "ms"), (self.max_mb, "MB"), (self.max_ram_mb, "MB of memory"))
        return ", ".join(f"{value:g} {unit}" for value, unit in parts if value is not None)

    def misfit(self, row: BenchRow) -> Misfit | None:
        """By how much a row is over; None where it fits."""
        unknown = []
        if self.max_mb is not None and not row.file_mb:
            unknown.append("max_mb")
        if self.max_ram_mb is not None and not row.peak_memory_mb:
            unknown.append("max_ram_mb")
        found = Misfit(
            row,
            _over(row.median_ms, self.max_latency_ms),
            _over(row.file_mb, self.max_mb),
            _over(row.peak_memory_mb, self.max_ram_mb),
            tuple(unknown),
        )
        return found if found.over_ms or found.over_mb or found.over_ram_mb or unknown else None

    def distance(self, misfit: Misfit) -> float:
        """How far away it is: the largest overshoot as a share of its limit; unknown ones come last."""
        pairs = (
            (misfit.over_ms, self.max_latency_ms),
            (misfit.over_mb, self.max_mb),
            (misfit.over_ram_mb, self.max_ram_mb),
        )
        return max(over / limit for over, limit in pairs if limit is not None) + 1e3 * len(misfit.unknown)


def advise_networks(
    budget: Budget,
    *,
    targets: Sequence[str] = ("onnx",),
    precisions: Sequence[str] = (),
    threads: int = 1,
    minutes: float = MINUTES,
    networks: Iterable[str] = NETWORKS,
    alphas: Iterable[float] = ALPHAS,
    sizes_px: Iterable[tuple[int, int]] = SIZES_PX,
    classes: int = 1000,
    in_channels: int = 3,
    on_step: Step | None = None,
) -> Advice:
    """Measure networks on this machine, those that promise most first, and rank what fits.

    Args:
        targets, precisions: names, or "all"; by default the first precision of each target.
        minutes: no further network is begun after that; one takes 5 to 20 s, nearly all of it its export.
        networks, alphas, sizes_px: the grid. Widths that no source has published for a network are left out of it.

    Raises: BudgetMissed naming the closest where nothing fits; MissingRuntime without torch; UsageError for an empty
        grid.
    """
    halved = "float16" in precisions or ALL in precisions
    grid = options(networks=networks, alphas=alphas, sizes_px=sizes_px, classes=classes, in_channels=in_channels)
    left = [o for o in grid if budget.max_mb is None or o.file_mb * (0.5 if halved else 1.0) <= budget.max_mb]
    if not grid:
        raise UsageError("advise: none of these networks was published at one of these widths")
    if not left:
        raise BudgetMissed(f"no network of the grid weighs {budget.max_mb:g} MB or less")
    end = monotonic() + 60 * minutes
    timed: list[tuple[Option, tuple[BenchRow, ...]]] = []
    skipped: list[LeftOut] = []
    refusal: UsageError | None = None
    resorts = 0
    while left and (not timed or monotonic() < end) and _fitting(timed, budget) < ENOUGH:
        option = _next(left, timed, budget)
        if option is None:
            if _fitting(timed, budget) or resorts >= LAST_RESORTS:
                break
            resorts += 1
            option = min(left, key=lambda o: _foretold_ms(o, timed))
        left.remove(option)
        if on_step is not None:
            height, width = option.resolution_px
            on_step(f"measuring {option.network} alpha {option.alpha:g} at {height}x{width}")
        try:
            bench = bench_models(
                [option.spec(classes=classes, in_channels=in_channels)],
                targets=targets,
                precisions=precisions,
                threads=(threads,),
                max_seconds=SECONDS_EACH,
                memory=budget.max_ram_mb is not None,
            )
        except UsageError as error:  # no target takes this one
            refusal = error
            continue
        skipped += bench.skipped
        timed.append((option, tuple(_judged(row) for row in bench.rows)))
    if not timed and refusal is not None:
        raise refusal
    untried = sum(1 for o in left if budget.max_latency_ms is None or _foretold_ms(o, timed) <= budget.max_latency_ms)
    rows = [row for _, measured in timed for row in measured]
    return replace(
        _ranked(rows, budget, where="here"),
        untried=untried,
        machine=this_machine(),
        skipped=tuple(dict.fromkeys(skipped)),
    )


def advise_from_log(
    runs: Sequence[DeviceRun],
    budget: Budget,
    *,
    device: str | None = None,
    targets: Sequence[str] = (),
    precisions: Sequence[str] = (),
    threads: int | None = None,
    networks: Sequence[str] = (),
) -> Advice:
    """Rank what a device's log says of one image at a time.

    device: may be left out where the log has only one. targets, precisions, threads, networks: only these; by default
    all.
    Raises: BudgetMissed naming the closest; UsageError for an unknown device or where no row is left.
    """
    name, found = rows_of(runs, device)
    rows = [
        _judged(row)
        for row in found
        if row.batch == 1
        and (not targets or ALL in targets or row.target in targets)
        and (not precisions or ALL in precisions or row.precision in precisions)
        and threads in (None, row.threads)
        and (not networks or row.network in networks)
    ]
    if not rows:
        raise UsageError(f"the log has no such row of {name} with a batch of 1")
    machine = next((run.machine for run in reversed(runs) if run.device == name and run.machine is not None), None)
    return replace(_ranked(rows, budget, where=f"on {name}"), device=name, machine=machine)


def _ranked(rows: Sequence[BenchRow], budget: Budget, *, where: str) -> Advice:
    """Those that fit, best first, and the others, closest first. Raises BudgetMissed where none fits."""
    judged = [(row, budget.misfit(row)) for row in rows]
    misfits = sorted((misfit for _, misfit in judged if misfit is not None), key=budget.distance)
    fitting = sorted((row for row, misfit in judged if misfit is None), key=_rank)
    if not fitting:
        close = misfits[0]
        raise BudgetMissed(f"no network fits {budget} {where}; closest: {told_misfit(close)}")
    return Advice(device="", rows=tuple(fitting), misfits=tuple(misfits))


def _rank(row: BenchRow) -> tuple[bool, float, float, float]:
    """Accuracy measured on the user's data first, then published or estimated accuracy, then multiply-adds; the faster
    of equals."""
    said = row.quoted_top1 if row.quoted_top1 is not None else row.estimated_top1
    accuracy = row.top1 if row.top1 is not None else said
    return row.top1 is None, -1.0 if accuracy is None else -1.0 - accuracy, -float(row.macs), row.median_ms


def told_misfit(misfit: Misfit) -> str:
    """A row and how far it is over, in words."""
    row = misfit.row
    height, width = row.resolution_px
    overs = ((misfit.over_ms, "ms"), (misfit.over_mb, "MB"), (misfit.over_ram_mb, "MB of memory"))
    over = [f"{value:.3g} {unit} over" for value, unit in overs if value]
    over += [f"{name} not known" for name in misfit.unknown]
    alpha = "" if row.alpha is None else f" alpha {row.alpha:g}"
    size = f" at {height}x{width} px" if height else ""
    return (
        f"{row.network}{alpha}{size} on {row.target} in {row.precision} with {row.median_ms:.3g} ms ({', '.join(over)})"
    )


def _over(value: float, limit: float | None) -> float:
    return 0.0 if limit is None else max(0.0, value - limit)


def _judged(row: BenchRow) -> BenchRow:
    """The row with what is published of its network, or estimated where nothing is."""
    if row.alpha is None:
        return row
    quoted = row.quoted_top1
    if quoted is None:
        quoted = published_top1(row.network, row.alpha, row.resolution_px)
    estimated = None
    if quoted is None and all(row.resolution_px):
        estimated = estimated_top1(row.network, row.alpha, row.resolution_px)
    return replace(row, quoted_top1=quoted, estimated_top1=row.estimated_top1 if estimated is None else estimated)


def _fitting(timed: Sequence[tuple[Option, tuple[BenchRow, ...]]], budget: Budget) -> int:
    return sum(any(budget.misfit(row) is None for row in rows) for _, rows in timed)


def _next(
    left: Sequence[Option], timed: Sequence[tuple[Option, tuple[BenchRow, ...]]], budget: Budget
) -> Option | None:
    """The best of those foretold to fit; at first the middle of the grid, which tells the speed of this machine."""
    if not timed and budget.max_latency_ms is not None:
        return sorted(left, key=lambda o: o.macs)[len(left) // 2]
    limit = math.inf if budget.max_latency_ms is None else ROOM * budget.max_latency_ms
    fit = [o for o in left if not timed or _foretold_ms(o, timed) <= limit]
    return max(fit, key=lambda o: (o.merit, -o.macs), default=None)


def _foretold_ms(option: Option, timed: Sequence[tuple[Option, tuple[BenchRow, ...]]]) -> float:
    """Milliseconds by the nearest timed option, of the same network where there is one."""
    same = [one for one in timed if one[0].network == option.network] or timed
    near, rows = min(same, key=lambda one: abs(math.log(one[0].macs / option.macs)))
    return min(row.median_ms for row in rows) * option.macs / near.macs
