"""The network for a budget: a shortlist by multiply-adds, each candidate timed here, the best that fits.

"Best" is judged by published ImageNet top-1 where a source prints one (specs/published.py). Between printed points
of one network it follows the multiply-adds: half of them costs `POINTS_PER_HALVING`, the slope of V2's own table
(71.8 % at 300.8 M to 65.3 % at 99.1 M, papers by Sandler et al. 2018 and slim's README).
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ..errors import BudgetMissed, UsageError
from ..measure import cost
from ..records import Candidate
from ..specs import Spec, published_top1, resolve

POINTS_PER_HALVING = 0.041
TRIES = 8

# The grid that is searched: widths and sizes that a source has published for one network of the generation or another.
ALPHAS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.4)
SIDES_PX = (96, 128, 160, 192, 224, 256)
SIZES_PX = tuple((side, side) for side in SIDES_PX)
NETWORKS = (
    "mobilenetv1",
    "mobilenetv2",
    "mobilenetv3_large",
    "mobilenetv3_small",
    "mobilenetv3_large_minimal",
    "mobilenetv3_small_minimal",
    "mobilenetv4_conv_small",
    "mobilenetv4_conv_medium",
    "mobilenetv4_conv_large",
)


@dataclass(frozen=True, slots=True)
class Option:
    """One point of the grid, costed but not timed. `merit` is a top-1 in 0..1; `file_mb` the float32 weights."""

    network: str
    alpha: float
    resolution_px: tuple[int, int]
    macs: int
    merit: float
    file_mb: float
    stem_stride: int = 2

    def spec(self, *, classes: int, in_channels: int) -> Spec:
        """The network of this option."""
        return resolve(
            self.network,
            alpha=self.alpha,
            resolution_px=self.resolution_px,
            classes=classes,
            in_channels=in_channels,
            stem_stride=self.stem_stride,
        )


def options(
    *,
    networks: Iterable[str] = NETWORKS,
    alphas: Iterable[float] = ALPHAS,
    sizes_px: Iterable[tuple[int, int]] = SIZES_PX,
    classes: int = 1000,
    in_channels: int = 3,
    stem_stride: int = 2,
) -> tuple[Option, ...]:
    """The grid, best first. Widths that no source has published for a network are left out of it."""
    found = []
    sizes = tuple(sizes_px)
    for network in networks:
        for alpha in alphas:
            anchors = _anchors(network, alpha)
            if not anchors:
                continue
            spec = resolve(network, alpha=alpha, classes=classes, in_channels=in_channels)
            for size in sizes:
                price = cost(resolve(spec, resolution_px=size))
                found.append(Option(network, alpha, size, price.macs, _merit(anchors, size), price.flash_mb.float32))
    return tuple(sorted(found, key=lambda o: (-o.merit, o.macs)))


def estimated_top1(network: str, alpha: float, size_px: tuple[int, int]) -> float | None:
    """The merit of a network at a width and size, as `options` gives it; None where its width was never published."""
    anchors = _anchors(network, alpha)
    return _merit(anchors, size_px) if anchors else None


def _anchors(network: str, alpha: float) -> tuple[tuple[float, float], ...]:
    """(area, top-1) of the sizes at which this network was published."""
    tops = ((side, published_top1(network, alpha, (side, side))) for side in (*SIDES_PX, 288, 320, 384, 448))
    return tuple((float(side * side), top1) for side, top1 in tops if top1 is not None)


def _merit(anchors: tuple[tuple[float, float], ...], size_px: tuple[int, int]) -> float:
    """Top-1 at a size from the nearest published size: multiply-adds go with the area."""
    area = float(size_px[0] * size_px[1])
    near, top1 = min(anchors, key=lambda a: abs(math.log(a[0] / area)))
    halvings = math.log2(near / area)
    return top1 - POINTS_PER_HALVING * halvings if halvings > 0 else top1


def choose_network(
    grid: Iterable[Option],
    measure_ms: Callable[[Option], tuple[float, float]],
    *,
    max_latency_ms: float | None,
    max_mb: float | None = None,
    tries: int = TRIES,
) -> tuple[Candidate, ...]:
    """Time at most `tries` options and say which is the best that fits, in the order they were tried.

    measure_ms: exports an option untrained and times it here; returns (median milliseconds, file megabytes).
    After each timing the milliseconds of the rest are foretold from the multiply-adds (per network once it was timed,
    else over all), and the best option that is foretold to fit and beats what is found is timed next.

    Raises BudgetMissed, naming the closest, when none fits, and UsageError for a budget that is not positive.
    """
    for name, value in (("max_latency_ms", max_latency_ms), ("max_mb", max_mb)):
        if value is not None and not value > 0:
            raise UsageError(f"{name} must be positive, not {value:g}")
    left = [o for o in grid if max_mb is None or o.file_mb <= max_mb]
    if not left:
        raise BudgetMissed(f"no network of the shortlist weighs {max_mb:g} MB or less")
    tried: list[tuple[Option, Candidate]] = []
    while left and len(tried) < tries:
        option = _next(left, tried, max_latency_ms)
        if option is None:
            break
        left.remove(option)
        ms, mb = measure_ms(option)
        fits = (max_latency_ms is None or ms <= max_latency_ms) and (max_mb is None or mb <= max_mb)
        tried.append((option, _candidate(option, ms, mb, fits)))
    candidates = [candidate for _, candidate in tried]
    fitting = [c for c in candidates if c.fits]
    if not fitting:
        close = min(candidates, key=lambda c: (c.median_ms / (max_latency_ms or math.inf), c.file_mb))
        height, width = close.resolution_px
        raise BudgetMissed(
            f"no network fits {_budget(max_latency_ms, max_mb)} here; closest: {close.network} alpha {close.alpha:g} "
            f"at {height}x{width} px with {close.median_ms:.2f} ms, {close.file_mb:.1f} MB"
        )
    best = max(fitting, key=lambda c: (c.merit, -c.median_ms))
    return tuple(
        replace(c, chosen=True, reason="the best published accuracy that fits") if c is best else c for c in candidates
    )


def _next(left: list[Option], tried: list[tuple[Option, Candidate]], max_latency_ms: float | None) -> Option | None:
    best = max((c.merit for _, c in tried if c.fits), default=-math.inf)
    better = [o for o in left if o.merit > best]
    if max_latency_ms is None:
        return better[0] if better and not tried else None
    if not tried:  # nothing known yet: the middle of the grid tells the speed of this machine
        return sorted(left, key=lambda o: o.macs)[len(left) // 2]
    foretold = [o for o in better if _foretold_ms(o, tried) <= max_latency_ms]
    if foretold:
        return max(foretold, key=lambda o: (o.merit, -o.macs))
    if best > -math.inf:
        return None
    return min(better, key=lambda o: _foretold_ms(o, tried), default=None)


def _foretold_ms(option: Option, tried: list[tuple[Option, Candidate]]) -> float:
    """Milliseconds by the nearest timed option, of the same network where there is one."""
    same = [(o, c) for o, c in tried if o.network == option.network] or tried
    timed, candidate = min(same, key=lambda oc: abs(math.log(oc[0].macs / option.macs)))
    return candidate.median_ms * option.macs / timed.macs


def _candidate(option: Option, ms: float, mb: float, fits: bool) -> Candidate:
    return Candidate(
        network=option.network,
        alpha=option.alpha,
        resolution_px=option.resolution_px,
        macs=option.macs,
        file_mb=mb,
        median_ms=ms,
        merit=option.merit,
        fits=fits,
    )


def _budget(max_latency_ms: float | None, max_mb: float | None) -> str:
    parts = [f"{max_latency_ms:g} ms"] if max_latency_ms is not None else []
    parts += [f"{max_mb:g} MB"] if max_mb is not None else []
    return " and ".join(parts)
