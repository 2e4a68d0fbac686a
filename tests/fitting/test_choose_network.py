"""The choice of a network for a latency and a size: a machine whose speed is known exactly stands in for this one."""

import pytest

from mobilenets.deploy import Option, choose_network, options
from mobilenets.errors import BudgetMissed, UsageError

GRID = options(networks=("mobilenetv1", "mobilenetv2", "mobilenetv3_small"), alphas=(0.35, 0.5, 1.0))


def machine(slowness: dict[str, float]) -> "Clock":
    return Clock(slowness)


class Clock:
    """Milliseconds = multiply-adds in millions / 30 x the network's own slowness; counts what it was asked."""

    def __init__(self, slowness: dict[str, float]) -> None:
        self.slowness, self.asked = slowness, list[Option]()

    def __call__(self, option: Option) -> tuple[float, float]:
        self.asked.append(option)
        return self.ms(option), option.file_mb

    def ms(self, option: Option) -> float:
        return option.macs / 30e6 * self.slowness.get(option.network, 1.0)


@pytest.mark.parametrize("budget_ms", [1.0, 2.0, 4.0, 8.0])
@pytest.mark.parametrize("slowness", [{}, {"mobilenetv1": 0.5}, {"mobilenetv2": 2.0, "mobilenetv3_small": 3.0}])
def test_the_best_that_fits_is_found_within_eight(budget_ms: float, slowness: dict[str, float]) -> None:
    clock = machine(slowness)
    candidates = choose_network(GRID, clock, max_latency_ms=budget_ms)
    chosen = next(c for c in candidates if c.chosen)
    best = max(o.merit for o in GRID if clock.ms(o) <= budget_ms)
    assert len(clock.asked) == len(candidates) <= 8
    assert chosen.fits
    assert chosen.median_ms <= budget_ms
    assert chosen.merit >= best - 0.01


def test_the_grid_follows_the_published_table() -> None:
    merits = {(o.network, o.alpha, o.resolution_px[0]): o.merit for o in GRID}
    assert merits["mobilenetv2", 1.0, 224] == 0.718
    assert merits["mobilenetv2", 0.35, 96] == 0.455
    assert merits["mobilenetv3_small", 1.0, 224] == 0.674
    assert merits["mobilenetv3_small", 1.0, 224] > merits["mobilenetv3_small", 1.0, 160] > 0.60
    assert [o.merit for o in GRID] == sorted((o.merit for o in GRID), reverse=True)


def test_a_size_budget_alone_times_one_network() -> None:
    clock = machine({})
    candidates = choose_network(GRID, clock, max_latency_ms=None, max_mb=8.0)
    assert len(candidates) == 1
    assert candidates[0].file_mb <= 8.0
    assert candidates[0].merit == max(o.merit for o in GRID if o.file_mb <= 8.0)


def test_when_none_fits_the_closest_is_named() -> None:
    with pytest.raises(
        BudgetMissed, match=r"no network fits 0.001 ms here; closest: mobilenetv\w+ alpha 0.35 at 96x96"
    ):
        choose_network(GRID, machine({}), max_latency_ms=0.001)
    with pytest.raises(BudgetMissed, match=r"0.01 MB or less"):
        choose_network(GRID, machine({}), max_latency_ms=1.0, max_mb=0.01)


def test_a_budget_is_positive() -> None:
    with pytest.raises(UsageError, match="max_latency_ms must be positive, not -1"):
        choose_network(GRID, machine({}), max_latency_ms=-1.0)
