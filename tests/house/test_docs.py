"""The docs say what is so: generated parts are fresh, links lead somewhere, every command and example runs."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from models.weights.made_onnx import network, unfolded

import mobilenets
from mobilenets.bundle import synthetic_images
from mobilenets.cli.app import COMMANDS
from mobilenets.cli.app import commands as group
from mobilenets.cli.options import Command

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)

# A documented command is run as written, but for these: a run of minutes becomes one of seconds.
SHORTER = (
    ("--minutes 10", "--minutes 0.05"),
    ("--epochs 20", "--epochs 1"),
    ("fit digits", "fit digits --epochs 1"),
    ("mobilenets bench", "mobilenets bench --rounds 3"),
    ("--max-latency-ms 5 ", "--minutes 0.2 --max-latency-ms 5 "),
)
SHORTER_IN_PYTHON = (
    ("minutes=10", "minutes=0.05"),
    ("epochs=20", "epochs=1"),
    ("threads=(1, 2)", "threads=(1, 2), rounds=3"),
    ("max_mb=10))", "max_mb=10), minutes=0.2)"),
)
# What begins a line of a shell block and is no command of ours, and who runs it.
OTHERS = {
    "pip": "tests/house/test_install.py",
    "make": ".ci/run",
    "eval": "tests/cli/test_help_and_completion.py",
    "torchrun": "tests/train",
}
# Commands that train, export, or need a model: run with the slow tests.
LONG = {"fit", "train", "import", "predict", "eval", "export", "verify", "bench", "profile", "advise", "push"}
# Pages whose Python is run by their own room's tests.
RUN_ELSEWHERE = {
    "deploy.md": "tests/deploy/test_deploy_page.py",
    "model-file.md": "tests/bundle/test_model_file_page.py",
    "tasks.md": "tests/tasks/test_task_docs.py",
}


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks, without comments; a backslash goes on with the next line."""
    text = "".join(blocks(page, "sh")).replace("\\\n", " ")
    lines = (" ".join(shlex.split(line, comments=True)) and line.split("  #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def leaves() -> list[Command]:
    """Every command that does something, those of groups too."""
    found: list[Command] = []
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        found += command.commands.values() if isinstance(command, click.Group) else [command]
    return found


def documented() -> list[str]:
    return list(
        dict.fromkeys(
            [line for page in PAGES for line in commands(page)]
            + [line for command in leaves() for line in command.example.splitlines()]
        )
    )


OURS = [line for line in documented() if line.startswith("mobilenets")]
QUICK = [line for line in OURS if not LONG & set(line.split()[1:2])]
SLOW = [line for line in OURS if line not in QUICK]


def test_every_line_of_a_shell_block_is_run_somewhere() -> None:
    heads = {line.split()[0] for line in documented()}
    assert heads - {"mobilenets"} <= set(OTHERS), "say in OTHERS who runs it"
    assert all((ROOT / place).exists() for place in [*OTHERS.values(), *RUN_ELSEWHERE.values()])


def make_place(place: Path) -> Path:
    """What the docs call the reader's own folder: photos/, more-photos/, cat.jpg, somebody's theirs.onnx."""
    for seed, (split, count) in enumerate((("train", 8), ("val", 4), ("test", 4))):
        made = iter(synthetic_images(2 * count, size_px=(40, 40), seed=seed))
        for label in ("cat", "dog"):
            (place / "photos" / split / label).mkdir(parents=True)
            for index in range(count):
                suffix, data = next(made)
                (place / "photos" / split / label / f"{index}{suffix}").write_bytes(data)
    shutil.copytree(place / "photos" / "test" / "cat", place / "more-photos")
    shutil.copy(next(p for p in (place / "more-photos").iterdir() if p.suffix == ".jpg"), place / "cat.jpg")
    (place / "theirs.onnx").write_bytes(unfolded(network("mobilenetv2", alpha=0.35)))
    return place


def run(line: str, place: Path) -> None:
    for long, short in SHORTER:
        line = line.replace(long, short)
    words = [sys.executable, "-m", "mobilenets", *shlex.split(line)[1:]]
    env = {**os.environ, "MOBILENETS_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=place, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("reader"))


@pytest.fixture(scope="module")
def fitted_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after `mobilenets fit photos/`."""
    made = make_place(tmp_path_factory.mktemp("fitted"))
    run("mobilenets fit photos/ --network mobilenetv3_small --alpha 0.5 --epochs 1 --resolution 32", made)
    return made


def test_quick_commands_run(place: Path) -> None:
    assert QUICK
    for line in QUICK:
        run(line, place)


@pytest.mark.slow
@pytest.mark.parametrize("line", SLOW)
def test_long_command_runs(line: str, fitted_place: Path) -> None:
    run(line, fitted_place)


WITH_PYTHON = [page for page in PAGES if blocks(page, "python") and page.name not in RUN_ELSEWHERE]


def needs_a_model(page: Path) -> bool:
    """Or makes one, which takes as long."""
    code = "".join(blocks(page, "python"))
    return "runs/photos/model" in code or "import_model(" in code


def run_code(code: str, place: Path) -> None:
    env = {**os.environ, "MOBILENETS_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=place, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"


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


def test_generated_parts_are_fresh() -> None:
    stale = [path.name for path, text in generator().pages().items() if path.read_text() != text]
    assert stale == [], "run: make docs"


def test_a_stale_part_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    made = generator()
    monkeypatch.setattr(made, "networks_table", lambda: "another table")
    assert made.pages()[ROOT / "README.md"] != (ROOT / "README.md").read_text()


def test_the_picture_is_small_and_shows_the_network() -> None:
    picture = ROOT / "docs" / "pictures" / "mobilenetv3_large.svg"
    assert picture.stat().st_size < 100_000
    assert "5,483,032 parameters" in picture.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_public_names_are_those_documented() -> None:
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(mobilenets.__all__)
    assert len(mobilenets.__all__) <= 20


@pytest.mark.parametrize("name", mobilenets.__all__)
def test_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert getattr(mobilenets, name).__doc__
    assert name in dir(mobilenets)


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        mobilenets.fitt  # noqa: B018
