"""The Python of every page, and of every help, runs."""

from pathlib import Path

import pytest
from house.reader import PAGES, ROOT, blocks, leaves, make_fitted_place, make_place, run_code

SHORTER_IN_PYTHON = (
    ("minutes=10", "minutes=0.05"),
    ("epochs=20", "epochs=1"),
    ("threads=(1, 2)", "threads=(1, 2), rounds=3"),
    ("max_mb=10))", "max_mb=10), minutes=0.2)"),
)
# Pages whose Python is run by their own room's tests.
RUN_ELSEWHERE = {
    "deploy.md": "tests/deploy/test_deploy_page.py",
    "model-file.md": "tests/bundle/test_model_file_page.py",
    "tasks.md": "tests/tasks/test_task_docs.py",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("reader"))


@pytest.fixture(scope="module")
def fitted_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_fitted_place(tmp_path_factory.mktemp("fitted"))


WITH_PYTHON = [page for page in PAGES if blocks(page, "python") and page.name not in RUN_ELSEWHERE]


def needs_a_model(page: Path) -> bool:
    """Or makes one, which takes as long."""
    code = "".join(blocks(page, "python"))
    return "runs/photos/model" in code or "import_model(" in code


def test_what_is_run_elsewhere_is_there() -> None:
    assert all((ROOT / place).exists() for place in RUN_ELSEWHERE.values())


@pytest.mark.parametrize("page", [p for p in WITH_PYTHON if not needs_a_model(p)], ids=lambda page: page.name)
def test_python_of_a_page_runs(page: Path, place: Path) -> None:
    run_code("\n".join(blocks(page, "python")), place)


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in WITH_PYTHON if needs_a_model(p)], ids=lambda page: page.name)
def test_python_of_a_page_about_a_model_runs(page: Path, fitted_place: Path) -> None:
    run_code("\n".join(blocks(page, "python")), fitted_place)


@pytest.mark.slow
@pytest.mark.parametrize("line", [command.python for command in leaves()])
def test_python_line_of_a_help_runs(line: str, fitted_place: Path) -> None:
    for long, short in SHORTER_IN_PYTHON:
        line = line.replace(long, short)
    run_code(f"import mobilenets, mobilenets.cli\n{line}", fitted_place)
