"""A wheel built from this tree installs and runs in an empty environment: the core alone, then with `train`."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAIN = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}


def call(*words: object, cwd: Path, seconds: float = 900) -> str:
    done = subprocess.run([str(word) for word in words], cwd=cwd, env=PLAIN, capture_output=True, text=True,
                          timeout=seconds, check=False)  # fmt: skip
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "-w", folder, ROOT, cwd=folder)
    (found,) = folder.glob("mobilenets-*.whl")
    return found


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the core."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "env", with_pip=True)
    install(folder, str(wheel))
    return folder


def install(folder: Path, what: str) -> None:
    python = folder / "env" / "bin" / "python"
    call(python, "-m", "pip", "install", "-qq", "-c", ROOT / "constraints.txt", what, cwd=folder)


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"mobilenets"}
    assert {"mobilenets/py.typed", "mobilenets/report/page.css"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.slow
def test_the_core_alone_looks_and_says_what_is_missing(place: Path) -> None:
    command = place / "env" / "bin" / "mobilenets"
    assert len(json.loads(call(command, "list", "--json", cwd=place))["networks"]) >= 20
    call(command, "show", "mobilenetv2", cwd=place)
    assert json.loads(call(command, "doctor", "--json", cwd=place))["targets"]["onnx"]["runs"] is True
    done = subprocess.run([command, "fit", "digits"], cwd=place, env=PLAIN, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "pip install 'mobilenets[train]'"


@pytest.mark.slow
def test_with_train_it_fits_and_the_core_uses_what_it_made(place: Path, wheel: Path) -> None:
    # PyTorch takes minutes to install and `make demo` has just done it: what lies in this environment is lent to that
    # one, behind its own packages. The lists of the extras are resolved for real.
    resolved = call(
        place / "env" / "bin" / "python", "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-",
        "-c", ROOT / "constraints.txt", f"{wheel}[train]", cwd=place,
    )  # fmt: skip
    names = {part["metadata"]["name"].lower() for part in json.loads(resolved)["install"]}
    assert {"torch", "torchvision", "onnx", "onnxscript", "scikit-learn"} <= names
    (packages,) = (place / "env" / "lib").glob("python3*/site-packages")
    (packages / "lent.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    command = place / "env" / "bin" / "mobilenets"
    made = json.loads(call(command, "fit", "digits", "--epochs", 1, "--json", "-o", "run", cwd=place))
    assert made["onnx"]["passed"] is True
    assert json.loads(call(command, "verify", "run/model", "--json", cwd=place))["passed"] is True
