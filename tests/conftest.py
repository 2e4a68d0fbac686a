"""Fixtures for every room: the folder of real images and weights beside the checkout, one thread, fixed seeds."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `../shared` with real images and published networks; skips, saying so, where it is not there."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (real images and published weights), which is not beside this checkout")
    return SHARED
