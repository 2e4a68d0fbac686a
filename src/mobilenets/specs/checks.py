"""Checks of single numbers in rows and specs, each an error in one line that names the place."""

from typing import TypeAlias

from ..errors import SpecError
from .steps import Pair

Sides: TypeAlias = int | tuple[int, int]
"""One number for both directions, or (vertical, horizontal)."""

MOST_CHANNELS = 1_000_000


def pair(where: str, value: Sides, *, most: int = 1024) -> Pair:
    """`value` as (vertical, horizontal). Raises SpecError naming `where` for anything but one or two counts."""
    sides = value if isinstance(value, tuple) else (value, value)
    if len(sides) != 2:
        raise SpecError(f"{where} must be a number or a pair, not {value!r}")
    for side in sides:
        check_count(where, side, most=most)
    return sides


def check_count(where: str, value: int, *, most: int = MOST_CHANNELS) -> None:
    """Raises SpecError where `value` is no whole number in 1..most."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise SpecError(f"{where} must be a whole number from 1 to {most}, not {value!r}")


def check_share(where: str, value: float) -> None:
    """Raises SpecError where `value` is not in [0, 1)."""
    if not 0 <= value < 1:
        raise SpecError(f"{where} must be in [0, 1), not {value!r}")
