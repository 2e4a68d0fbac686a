"""What is trained when only data and time are given."""

import pytest

from mobilenets.specs import Spec
from mobilenets.train import Budget, choose_photo_network
from mobilenets.train.choosing import LADDER, wanted_epochs


def rate(pictures_per_s_of_lightest: float) -> "dict[tuple[str, float, int], float]":
    """A machine on which every rung is half as fast as the one before."""
    return {(r.network, r.alpha, r.side_px): pictures_per_s_of_lightest / 2**i for i, r in enumerate(LADDER)}


def chosen(rates: "dict[tuple[str, float, int], float]", *, images: int, budget: Budget) -> Spec:
    def images_per_s(spec: Spec) -> float:
        return rates[spec.name, spec.alpha, spec.resolution_px[0]]

    return choose_photo_network(images=images, budget=budget, classes=5, in_channels=3, images_per_s=images_per_s).spec


def test_more_time_takes_a_heavier_network() -> None:
    macs = []
    for minutes in (1.0, 5.0, 20.0, 1000.0):
        spec = chosen(rate(400.0), images=650, budget=Budget(minutes=minutes))
        macs.append(
            next(
                i
                for i, r in enumerate(LADDER)
                if (r.network, r.alpha, r.side_px) == (spec.name, spec.alpha, spec.resolution_px[0])
            )
        )
    assert macs == sorted(macs)
    assert macs[0] == 0
    assert macs[-1] == len(LADDER) - 1


def test_the_lightest_where_none_is_fast_enough() -> None:
    spec = chosen(rate(0.001), images=10_000, budget=Budget(minutes=1))
    assert (spec.name, spec.alpha, spec.resolution_px[0]) == (LADDER[0].network, LADDER[0].alpha, LADDER[0].side_px)


@pytest.mark.parametrize(("images", "epochs"), [(10, 100), (648, 100), (1000, 65), (100_000, 30)])
def test_few_pictures_are_shown_more_often(images: int, epochs: int) -> None:
    assert wanted_epochs(images) == epochs
