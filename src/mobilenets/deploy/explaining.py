"""Why a network takes the time it takes, and what would help, in sentences made from its profile's figures."""

from collections.abc import Mapping

from ..errors import UsageError
from ..measure import Cost, cost
from ..records import Profile, ProfileRow
from ..specs import Spec, resolve
from .choose import ALPHAS
from .contenders import is_published

WORTH_A_WORD = 0.12
"""Share of the time from which a kind of layer gets its own sentence."""
NEAR = 0.5
"""Share of the roofline from which a kernel counts as doing what can be done."""
SIDE_STEP_PX = 32
SMALLEST_SIDE_PX = 96

WORDS: Mapping[str, str] = {
    "pointwise": "1x1 convolutions",
    "linear": "linear layers",
    "squeeze-and-excite": "squeeze-and-excite gates",
    "attention": "attention",
    "layer scale": "layer scales",
    "moving data": "operators that only move data",
    "other": "additions, activations and pooling",
}


def explain(profile: Profile, spec: Spec | None, *, transposes: int = 0) -> tuple[str, ...]:
    """Where the time is, what bounds it, what fell out of the delegate, what a smaller network would take."""
    words = [_sentence(row, profile) for row in profile.kinds if row.share >= WORTH_A_WORD][:4]
    moving = next((row for row in profile.kinds if row.kind == "moving data" and row.share < WORTH_A_WORD), None)
    if moving is not None and moving.share >= 0.03:
        words.append(_sentence(moving, profile))
    if profile.outside:
        words.append(f"{profile.outside} operators fell out of the delegate and run on the slow path")
    if transposes > 2 and profile.outside is not None:
        words.append(f"{transposes} transposes only move data between layouts")
    if spec is not None:
        words += _smaller(profile, spec)
    if profile.profiled_ms > 1.25 * profile.median_ms:
        words.append(
            f"the profiler itself costs time: the operators add up to {_ms(profile.profiled_ms)}, without it the "
            f"network takes {_ms(profile.median_ms)}; trust the shares"
        )
    return tuple(words)


def _sentence(row: ProfileRow, profile: Profile) -> str:
    """Where a kind stands, and what that means for it."""
    name = WORDS.get(row.kind, row.kind if row.kind.startswith("depthwise") else f"{row.kind}s")
    start = f"{_pct(row.share)} of the time is in {name}"
    if row.kind in ("moving data", "other"):
        return f"{start} ({row.operators} of them), which multiply nothing"
    worst = max((layer for layer in profile.layers if layer.kind == row.kind), key=lambda layer: layer.ms, default=None)
    where = ""
    if worst is not None and all(worst.size_px) and row.operators > 1:
        where = f"; the slowest is {worst.name} at {worst.size_px[0]}x{worst.size_px[1]} with {_ms(worst.ms)}"
    if row.kind == "squeeze-and-excite":
        part = row.macs / max(1, sum(kind.macs for kind in profile.kinds))
        return f"{start} for {_pct(part)} of the multiply-adds: V3 minimalistic and V4 have no gates{where}"
    reached = (
        "as fast as this machine can" if row.reached >= 1 else f"at {_pct(row.reached)} of what this machine can do"
    )
    if row.bound == "memory":
        rate = f"{row.bytes / row.ms / 1e6:.1f} of {profile.roofline.gb_per_s:.1f} GB/s"
        if row.reached >= NEAR:
            return f"{start}, {reached} ({rate}): memory bounds them, so a lower resolution helps in proportion{where}"
        return f"{start}, {reached} ({rate}): memory would bound them, the kernels are slower than that{where}"
    rate = f"{row.macs / row.ms / 1e6:.1f} of {profile.roofline.gmacs_per_s:.1f} GMAC/s"
    if row.kind.startswith("depthwise") and row.reached < NEAR:
        return (
            f"{start}, {reached} ({rate}): each number is used only a few times, so their time goes with pixels times "
            f"channels; a lower resolution helps in proportion{where}"
        )
    if row.reached >= NEAR:
        return f"{start}, {reached} ({rate}): only fewer multiply-adds help, a narrower network first{where}"
    return f"{start}, {reached} ({rate}): the kernels fall short, another target may do better{where}"


def _smaller(profile: Profile, spec: Spec) -> list[str]:
    """What the next narrower width and the next lower resolution would take, by what bounds each kind."""
    found = []
    here = cost(spec, resolution_px=profile.resolution_px)
    narrower = next((alpha for alpha in reversed(ALPHAS) if alpha < spec.alpha), None)
    if narrower is not None and is_published(spec) and (other := _varied(spec, alpha=narrower)) is not None:
        price = cost(other, resolution_px=profile.resolution_px)
        found.append(
            f"alpha {narrower:g} would take about {_ms(_foretold_ms(profile, here, price))}{_fewer(here, price)}"
        )
    height, width = (side - SIDE_STEP_PX for side in profile.resolution_px)
    if min(height, width) >= SMALLEST_SIDE_PX and (other := _varied(spec, resolution_px=(height, width))) is not None:
        price = cost(other)
        found.append(
            f"{height}x{width} pixels would take about {_ms(_foretold_ms(profile, here, price))}{_fewer(here, price)}"
        )
    return found


def _varied(spec: Spec, *, alpha: float | None = None, resolution_px: tuple[int, int] | None = None) -> Spec | None:
    """The network varied; None where it can't be."""
    try:
        if alpha is not None:  # by its name, as a width is applied to a published table, never to a scaled one
            return resolve(spec.name, alpha=alpha, classes=spec.classes, in_channels=spec.in_channels)
        return resolve(spec, resolution_px=resolution_px)
    except UsageError:
        return None


def _fewer(here: Cost, there: Cost) -> str:
    return f" ({there.macs / 1e6:.0f} M instead of {here.macs / 1e6:.0f} M multiply-adds)"


def _foretold_ms(profile: Profile, here: Cost, there: Cost) -> float:
    """The time of another size of the network: each kind by its multiply-adds, or by its maps where those bound it."""
    alive = _maps(there, None) / _maps(here, None)
    total = 0.0
    for row in profile.kinds:
        kind = row.kind.split(" ")[0] if row.kind not in WORDS else row.kind
        mine, other = _macs(here, kind), _macs(there, kind)
        if row.bound == "compute" and mine and other:
            total += row.ms * other / mine
        elif _maps(here, kind) and _maps(there, kind):
            total += row.ms * _maps(there, kind) / _maps(here, kind)
        else:
            total += row.ms * alive
    return total * profile.median_ms / profile.profiled_ms


def _macs(price: Cost, kind: str) -> int:
    return sum(layer.macs for layer in price.layers if layer.kind == kind)


def _maps(price: Cost, kind: str | None) -> int:
    """Numbers that layers of a kind (None: of all) write."""
    return sum(
        layer.c_out * layer.size_px[0] * layer.size_px[1] for layer in price.layers if kind in (None, layer.kind)
    )


def _ms(value: float) -> str:
    return f"{value:.3g} ms"


def _pct(share: float) -> str:
    return f"{share * 100:.0f} %" if share >= 0.01 or share == 0 else "below 1 %"
