"""Every command that a page or a help shows runs, as it is written."""

from pathlib import Path

import pytest
from house.reader import ROOT, documented, make_fitted_place, make_place, run

# What begins a line of a shell block and is no command of ours, and who runs it.
OTHERS = {
    "pip": "tests/house/test_install.py",
    "make": ".ci/run",
    "eval": "tests/cli/test_help_and_completion.py",
    "torchrun": "tests/train",
}
# Commands that train, export, or need a model: run with the slow tests.
LONG = {"fit", "train", "import", "predict", "eval", "export", "verify", "bench", "profile", "advise", "push"}

OURS = [line for line in documented() if line.startswith("mobilenets")]
QUICK = [line for line in OURS if not LONG & set(line.split()[1:2])]
SLOW = [line for line in OURS if line not in QUICK]


def test_every_line_of_a_shell_block_is_run_somewhere() -> None:
    heads = {line.split()[0] for line in documented()}
    assert heads - {"mobilenets"} <= set(OTHERS), "say in OTHERS who runs it"
    assert all((ROOT / place).exists() for place in OTHERS.values())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("reader"))


@pytest.fixture(scope="module")
def fitted_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_fitted_place(tmp_path_factory.mktemp("fitted"))


def test_quick_commands_run(place: Path) -> None:
    assert QUICK
    for line in QUICK:
        run(line, place)


@pytest.mark.slow
@pytest.mark.parametrize("line", SLOW)
def test_long_command_runs(line: str, fitted_place: Path) -> None:
    run(line, fitted_place)
