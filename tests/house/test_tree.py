"""What is committed: no path of a machine, no host of a registry, no large file, one version, extras that are used."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from mobilenets import __version__

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "mobilenets"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Assembled, so that this file does not hold what it looks for.
HOSTS = re.compile("|".join(["py" + r"pi\.org", "python" + "hosted", "--index" + "-url", "--find" + "-links"]))
MACHINE = re.compile("|".join(["/" + r"work/\w", "/" + r"root/\w", "/" + r"home/\w", "/" + r"Users/\w"]))
TEXT = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".sh", ".cfg", ".json", ".csv", ".svg", ""}


def tracked() -> list[Path]:
    """The files of the tree under version control; from an unpacked archive, all that are not ignored by name."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = done.stdout.split("\0") if done.returncode == 0 else []
    paths = [ROOT / name for name in names if name] or [p for p in PACKAGE.rglob("*") if "__pycache__" not in p.parts]
    return [path for path in paths if path.is_file()]


def test_no_machine_paths_and_no_hosts() -> None:
    for file in tracked():
        if file.suffix in TEXT and file.stat().st_size < 1_000_000:
            text = file.read_text(encoding="utf-8", errors="replace")
            assert not HOSTS.search(text), f"{file}: names a registry's host"
            assert not MACHINE.search(text), f"{file}: names a folder of one machine"


def test_no_large_files() -> None:
    assert [f for f in tracked() if f.stat().st_size > 1_000_000] == []


def test_one_version() -> None:
    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert (
        f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
        or "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()
    )


def requirement(text: str) -> str:
    return re.split(r"[<>=\[ ;!~]", text)[0].lower().replace("_", "-")


def pins() -> dict[str, str]:
    """Of the usual environment, and what ExecuTorch's own has beside it."""
    lines = [
        line
        for name in ("constraints-executorch.txt", "constraints.txt")
        for line in (ROOT / name).read_text().splitlines()
    ]
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_dependency_is_pinned_and_plain() -> None:
    wanted = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    pinned = {requirement(name) for name in pins()}
    assert {requirement(r) for r in wanted} - {"mobilenets"} <= pinned
    assert all(re.fullmatch(r"[\w.]+", version) for version in pins().values())


IMPORTED_AS = {"scikit-learn": "sklearn", "pillow": "PIL"}
# What an exporter or a checker loads by itself: no file of ours names it.
USED_BY_OTHERS = {
    "onnxscript": "torch.onnx.export needs it",
    "pytest-xdist": "make test",
    "ruff": "make check",
    "mypy": "make check",
}


def test_every_dependency_is_used() -> None:
    sources = [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    imported = set()
    for file in sources:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "importorskip")):
                imported |= {str(a.value).split(".")[0] for a in node.args if isinstance(a, ast.Constant)}
    wanted = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    names = {requirement(r) for r in wanted} - {"mobilenets"} - set(USED_BY_OTHERS)
    assert {n for n in names if IMPORTED_AS.get(n, n.replace("-", "_")) not in imported} == set()


def test_every_extra_an_error_names_exists() -> None:
    extras = set(PROJECT["optional-dependencies"])
    for file in PACKAGE.rglob("*.py"):
        named = re.findall(r"mobilenets\[(\w+)\]", file.read_text())
        assert set(named) <= extras, f"{file.name} names an extra that pyproject.toml does not have"


def test_ci_and_make_say_the_same_checks() -> None:
    makefile, ci = (ROOT / "Makefile").read_text(), (ROOT / ".ci" / "run").read_text()
    for target in ("demo", "test", "check", "test-all"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"the Makefile has no target {target}"
    assert "make demo" in ci
    assert "make test" in ci
    assert "make check" in ci


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "constraints.txt"])
def test_the_files_a_visitor_looks_for(name: str) -> None:
    assert (ROOT / name).stat().st_size > 0
